//! What is measured, and the bars: all of them stand here.

/// A key of a record, and the measurement whose record it is.
pub(super) type Figure = (String, String);

/// What a figure must be.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    /// Judged as printed, to two decimals: on a full link everybody is as fast as the link.
    pub(super) fn holds(self, value: f64) -> bool {
        let value = (value * 100.0).round() / 100.0;
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// One bar: a figure of ours, or its ratio to the best of others.
pub(super) struct Bar {
    pub(super) ours: Figure,
    pub(super) beside: Vec<Figure>,
    pub(super) limit: Limit,
}

impl Bar {
    pub(super) fn name(&self) -> String {
        let (key, name) = &self.ours;
        format!("{name} {key}")
    }

    /// The value beside its bar.
    pub(super) fn says(&self, value: f64) -> String {
        let (key, name) = &self.ours;
        // What a name says behind its comma is that of ours.
        let tail = name.find(',').map_or("", |at| &name[at..]);
        let whose: Vec<&str> = self
            .beside
            .iter()
            .map(|(other, whose)| if whose == name && other != key { other } else { whose })
            .map(|words| words.strip_suffix(tail).unwrap_or(words))
            .collect();
        let unit =
            if whose.is_empty() { String::new() } else { format!(" x {}", whose.join(", ")) };
        let (word, bar) = match self.limit {
            Limit::AtLeast(bar) => ("at least", bar),
            Limit::AtMost(bar) => ("at most", bar),
        };
        format!("{value:.2}{unit} ({word} {bar})")
    }
}

/// One bench.
pub(super) struct Bench {
    pub(super) name: &'static str,
    /// Name, and what `tests/bench/bench.py` is told.
    pub(super) measurements: Vec<(String, String)>,
    pub(super) bars: Vec<Bar>,
}

impl Bench {
    fn new(name: &'static str) -> Self {
        Self { name, measurements: Vec::new(), bars: Vec::new() }
    }

    fn measure(mut self, name: &str, does: &str) -> Self {
        self.measurements.push((name.to_owned(), does.to_owned()));
        self
    }

    /// A bar for a figure itself.
    fn bar(mut self, name: &str, key: &str, limit: Limit) -> Self {
        self.bars.push(Bar { ours: (key.into(), name.into()), beside: Vec::new(), limit });
        self
    }

    /// A bar for the ratio of a figure to the best of the same figure elsewhere.
    fn ratio(mut self, name: &str, key: &str, beside: &[&str], limit: Limit) -> Self {
        let beside = beside.iter().map(|&other| (key.into(), other.into())).collect();
        self.bars.push(Bar { ours: (key.into(), name.into()), beside, limit });
        self
    }

    /// Without the measurements whose name contains none of these words, and without the bars that need them.
    pub(super) fn only(mut self, words: &[String]) -> Self {
        let kept = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
        self.measurements.retain(|(name, _)| kept(name));
        self.bars.retain(|bar| kept(&bar.ours.1) && bar.beside.iter().all(|(_, name)| kept(name)));
        self
    }
}

use Limit::{AtLeast, AtMost};

pub(super) fn transfer() -> Bench {
    const LENGTHS: [&str; 3] = ["gaggle", "gaggle 256K", "gaggle 4M"];
    Bench::new("transfer")
        .measure("gaggle", "transfer gaggle gaggle")
        .measure("lt-tuned", "transfer lt-tuned lt-tuned")
        .measure("rt", "transfer rt rt")
        .measure("rqbit", "transfer rqbit rqbit")
        .measure("null", "transfer null null-full")
        .measure("gaggle 256K", "transfer gaggle gaggle --piece 256K")
        .measure("gaggle 4M", "transfer gaggle gaggle --piece 4M")
        .measure("gaggle on disk", "transfer gaggle gaggle --disk")
        .measure("lt-tuned on disk", "transfer lt-tuned lt-tuned --disk")
        .ratio("gaggle", "mb_s", &["lt-tuned"], AtLeast(2.0))
        .ratio("gaggle", "mb_s", &["rt"], AtLeast(2.0))
        .ratio("gaggle", "mb_s", &["rqbit"], AtLeast(3.5))
        .ratio("gaggle", "mb_s", &["null"], AtLeast(1.0))
        .bar("gaggle", "cpu_s_gib", AtMost(1.6))
        .ratio("gaggle", "mb_s", &LENGTHS, AtLeast(0.85))
        .ratio("gaggle 256K", "mb_s", &LENGTHS, AtLeast(0.85))
        .ratio("gaggle 4M", "mb_s", &LENGTHS, AtLeast(0.85))
        .ratio("gaggle on disk", "mb_s", &["lt-tuned on disk"], AtLeast(1.5))
}

pub(super) fn ends() -> Bench {
    Bench::new("ends")
        .measure("gaggle seeds", "transfer gaggle null")
        .measure("rt seeds", "transfer rt null")
        .measure("gaggle leeches", "transfer null gaggle")
        .measure("lt leeches", "transfer null lt")
        .ratio("gaggle seeds", "mb_s", &["rt seeds"], AtLeast(1.5))
        .ratio("gaggle leeches", "mb_s", &["lt leeches"], AtLeast(1.15))
}

pub(super) fn leeches() -> Bench {
    let four = |name: &str| format!("transfer {name} {name}*4 --size 256M --piece 256K");
    Bench::new("leeches")
        .measure("gaggle", &four("gaggle"))
        .measure("lt-tuned", &four("lt-tuned"))
        .measure("rqbit", &four("rqbit"))
        .ratio("gaggle", "mb_s", &["lt-tuned"], AtLeast(1.5))
        .ratio("gaggle", "mb_s", &["rqbit"], AtLeast(1.5))
}

pub(super) fn files() -> Bench {
    Bench::new("files")
        .measure("gaggle", "transfer gaggle gaggle --files 5000 --size 40K --piece 64K")
        .measure("lt-tuned", "transfer lt-tuned lt-tuned --files 5000 --size 40K --piece 64K")
        .ratio("gaggle", "mb_s", &["lt-tuned"], AtLeast(1.8))
}

pub(super) fn crowd() -> Bench {
    Bench::new("crowd")
        .measure("gaggle", "transfer gaggle gaggle*50 --size 64M --piece 256K")
        .measure("lt", "transfer lt lt*50 --size 64M --piece 256K")
        .ratio("gaggle", "wall_s", &["lt"], AtMost(1.0))
        .bar("gaggle", "copies", AtMost(2.0))
        .bar("gaggle", "leech_mib", AtMost(40.0))
        .bar("gaggle", "seed_mib", AtMost(100.0))
}

pub(super) fn mixed() -> Bench {
    const SIZES: &str = "--size 256M --piece 256K --cap 20M";
    let mut bench = Bench::new("mixed")
        .measure("mixed", &format!("transfer lt gaggle*4+lt*4 {SIZES}"))
        .measure("lt alone", &format!("transfer lt lt*8 {SIZES}"))
        .ratio("mixed", "median_s lt", &["lt alone"], AtMost(1.05));
    let figure = |key: &str| (key.to_owned(), "mixed".to_owned());
    bench.bars.push(Bar {
        ours: figure("median_s gaggle"),
        beside: vec![figure("median_s lt")],
        limit: AtMost(1.0),
    });
    bench
}

pub(super) fn hashing() -> Bench {
    Bench::new("hashing")
        .measure("re-check", "check gaggle --size 4G")
        .measure("re-check by lt-tuned", "check lt-tuned --size 4G")
        .measure("create", "create gaggle --size 4G")
        .measure("create by mktorrent", "create mktorrent --size 4G")
        .measure("create by transmission", "create transmission --size 4G")
        .ratio("re-check", "mb_s", &["re-check by lt-tuned"], AtLeast(1.6))
        .ratio("create", "mb_s", &["re-check"], AtLeast(0.95))
        .ratio("create", "mb_s", &["create by mktorrent"], AtLeast(1.4))
        .ratio("create", "mb_s", &["create by transmission"], AtLeast(3.0))
}

/// Round trip in ms, Mbit/s, lost packets in percent.
const LINKS: [(u32, u32, f64); 4] =
    [(100, 400, 0.0), (100, 400, 0.1), (50, 100, 1.0), (200, 100, 0.0)];

pub(super) fn links() -> Bench {
    let mut bench = Bench::new("links");
    for (round_trip_ms, mbit, loss_percent) in LINKS {
        for congestion in ["cubic", "bbr"] {
            let at =
                format!("{round_trip_ms} ms, {mbit} Mbit/s, {loss_percent} % lost, {congestion}");
            let link = format!(
                "--round-trip-ms {round_trip_ms} --mbit {mbit} --loss-percent {loss_percent} --congestion {congestion} --seconds 25 --size 2G"
            );
            let name = |client: &str| format!("{client}, {at}");
            for client in ["gaggle", "iperf3", "lt-far"] {
                bench = bench.measure(&name(client), &format!("link {client} {link}"));
            }
            bench = bench.ratio(&name("gaggle"), "mbit_s", &[&name("iperf3")], AtLeast(0.9)).ratio(
                &name("gaggle"),
                "mbit_s",
                &[&name("lt-far")],
                AtLeast(1.0),
            );
        }
    }
    bench
}

pub(super) fn latency() -> Bench {
    Bench::new("latency")
        .measure("gaggle", "transfer gaggle gaggle --size 16K --piece 16K")
        .measure("from transmission", "transfer transmission gaggle --size 16K --piece 16K")
        .measure("null from transmission", "transfer transmission null --size 16K --piece 16K")
        .bar("gaggle", "since_up_ms", AtMost(50.0))
        // Who only waits waits for its ten seconds and one of its half-second pulses: no more than another pulse.
        .ratio("from transmission", "wall_s", &["null from transmission"], AtMost(1.05))
}

pub(super) fn memory() -> Bench {
    Bench::new("memory")
        .measure("1 GiB", "transfer gaggle gaggle")
        .measure("1000 idle torrents", "idle gaggle --torrents 1000")
        .bar("1 GiB", "leech_mib", AtMost(80.0))
        .bar("1 GiB", "seed_mib", AtMost(40.0))
        .bar("1000 idle torrents", "anon_mb", AtMost(20.0))
        .bar("1000 idle torrents", "core_percent", AtMost(0.15))
        .bar("1000 idle torrents", "descriptors", AtMost(63.0))
}
