//! gaggle's nodes and other clients in one DHT: what one announces, the others find; a magnet link alone is enough.
//!
//! Every program has an address in a /24 of its own, so that the rules about networks stay on. Nobody has a tracker.

use crate::case::Other;
use crate::clients::{Client, Make, Part, Role, Ways};
use crate::creators::gaggle;
use crate::meeting::apart;
use anyhow::{Context, ensure};
use gaggle_core::metainfo::{Build, Content, Metainfo};
use harness::gaggle::event;
use harness::libtorrent::{self, Libtorrent};
use harness::{Deadline, Process, Stopwatch, content, figure, full};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PORT: u16 = 6881;
/// Seconds until a network of our nodes has formed.
const FORM_S: u64 = 60;
/// Seconds from the start of a leech to its last piece. Transmission takes 15 s for each node to begin with, and
/// unchokes every 10 s.
const COMPLETE_S: u64 = 150;
/// Seconds for many links: a node sends fifty datagrams a second, and each lookup takes a dozen.
const MANY_S: u64 = 1200;
/// Nodes that a node of ours knows when it counts as settled.
const SETTLED: u64 = 8;
/// Nodes of ours that keep an announce when nobody waits for more.
const KEPT_BY: u64 = 3;
/// Networks from this number on belong to clients; those before it to our nodes.
const CLIENTS_FROM: u8 = 128;

/// The host of a network.
fn at(net: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, net, 1)), PORT)
}

/// Nodes of ours that know each other.
struct Net {
    nodes: Vec<Process>,
    work: tempfile::TempDir,
    clients: u8,
}

impl Net {
    fn form(count: u8) -> anyhow::Result<Self> {
        Self::form_with(count, &[])
    }

    fn form_with(count: u8, flags: &[&str]) -> anyhow::Result<Self> {
        let work = tempfile::Builder::new().prefix("gaggle-dhtnet-").tempdir()?;
        let addresses = (1..=count).chain(CLIENTS_FROM..CLIENTS_FROM + 40);
        let script: String = addresses
            .map(|net| format!("ip addr add {}/32 dev lo || exit 1\n", at(net).ip()))
            .collect();
        ensure!(Command::new("sh").args(["-c", &script]).status()?.success(), "no addresses");
        let mut nodes = Vec::new();
        for net in 1..=count {
            nodes.push(node(net, work.path(), flags)?);
        }
        let deadline = Deadline::after_secs(FORM_S);
        for node in &mut nodes {
            let wanted = SETTLED.min(u64::from(count) - 1);
            let settled = node.wait_line(deadline, |said| {
                let status = event(said, "dht_status")?;
                (status["nodes"].as_u64()? >= wanted).then_some(())
            });
            settled.context("a node never knows enough others")?;
        }
        Ok(Self { nodes, work, clients: CLIENTS_FROM })
    }

    /// Some node, another one each time: whoever asks there is not who announced there.
    fn entry(&self, n: u8) -> SocketAddr {
        at(1 + n % u8::try_from(self.nodes.len()).unwrap_or(u8::MAX))
    }

    /// A torrent without any tracker and its content; the hash.
    fn torrent(&self, name: &str, len: u64) -> anyhow::Result<(PathBuf, String)> {
        let folder = self.work.path().join(name);
        let path = folder.join("original").join("content.bin");
        content::write(&path, len, u64::from(self.clients))?;
        let torrent = folder.join("content.torrent");
        gaggle().create(&path, &torrent, &["--piece-length", "64KiB"])?;
        let hash = Metainfo::parse(&std::fs::read(&torrent)?)?.info_hash().to_string();
        Ok((torrent, hash))
    }

    fn client(
        &mut self,
        make: Make,
        role: Role,
        torrent: &Path,
        dir: PathBuf,
    ) -> anyhow::Result<Box<dyn Client>> {
        let net = self.clients;
        self.clients += 1;
        let part = Part {
            role,
            torrent: torrent.to_path_buf(),
            dir,
            listen: at(net),
            work: self.work.path().join(format!("client-{net}")),
            ways: Ways { dht: vec![self.entry(net)], ..Ways::default() },
        };
        make.start(&part).with_context(|| format!("{make:?} in network {net}"))
    }

    /// One seeds, the network hears of it, the other has nothing but a link. Seconds for the latter.
    fn pass_on(&mut self, seed: Make, leech: Make) -> anyhow::Result<f64> {
        let name = format!("{seed:?} to {leech:?}");
        let (torrent, hash) = self.torrent(&name, (1 << 20) + 12_345)?;
        let folder = torrent.parent().context("a torrent lies somewhere")?.to_path_buf();
        let before = self.kept();
        let (seed_make, mut seed) =
            (seed, self.client(seed, Role::Seed, &torrent, folder.join("original"))?);
        let seeds = Deadline::after_secs(60).poll(|| Ok(seed.has_all()?.then_some(())))?;
        seeds.with_context(|| format!("{name}: the seed never has all"))?;
        // Older nodes announce to the dead as well, and to each other.
        let least = if seed_make == Make::Other(Other::Transmission) { 1 } else { KEPT_BY };
        self.wait_announced(before, least)
            .with_context(|| format!("{name}\n{}", seed.process().tail()))?;
        let began = Stopwatch::new();
        let link = PathBuf::from(format!("magnet:?xt=urn:btih:{hash}"));
        let mut leech = self.client(leech, Role::Leech, &link, folder.join("copy"))?;
        let done = Deadline::after_secs(COMPLETE_S).poll(|| Ok(leech.has_all()?.then_some(())))?;
        done.with_context(|| {
            let (seed, leech) = (seed.process().tail(), leech.process().tail());
            format!("{name}: not complete after {COMPLETE_S} s\n{leech}\nseed:\n{seed}")
        })?;
        let took = began.seconds();
        let want = content::digest(&folder.join("original/content.bin"))?;
        let got = content::digest(&folder.join("copy/content.bin"))?;
        ensure!(got == want, "{name}: the copy differs");
        Ok(took)
    }

    /// Swarms that our nodes keep, each as often as it is kept.
    fn kept(&self) -> u64 {
        let last = |node: &Process| {
            let said = node.said();
            let status = said.iter().rev().find_map(|said| event(said, "dht_status"));
            status.and_then(|status| status["swarms"].as_u64()).unwrap_or(0)
        };
        self.nodes.iter().map(last).sum()
    }

    /// Waits until some of our nodes keep one swarm more than before. Nobody asks meanwhile: whoever asks and leaves
    /// is a dead node in the tables of older clients, and they wait for the dead.
    fn wait_announced(&self, before: u64, least: u64) -> anyhow::Result<()> {
        let enough = before + KEPT_BY;
        Deadline::after_secs(COMPLETE_S).poll(|| Ok((self.kept() >= enough).then_some(())))?;
        let kept = self.kept() - before;
        ensure!(kept >= least, "kept by {kept} of our nodes");
        Ok(())
    }
}

fn node(net: u8, work: &Path, flags: &[&str]) -> anyhow::Result<Process> {
    let name = format!("node-{net}");
    let home = work.join(&name);
    let mut command = gaggle().command(&home);
    // Each begins with one of those before it; the first with nobody.
    let begin = if net == 1 { "none".to_owned() } else { at(1 + (net - 2) / 2).to_string() };
    command.args(["dht", "node", "--json", "-q", "--listen", &at(net).to_string()]);
    command.args(["--bootstrap", &begin]).args(flags);
    let mut process = Process::start(&name, command, work)?;
    process.wait_line(Deadline::after_secs(20), |said| event(said, "dht_node"))?;
    Ok(process)
}

/// How many nodes of ours there are.
fn count() -> u8 {
    if full() { 64 } else { 12 }
}

fn both_ways(test: &str, kind: Other) {
    let other = Make::Other(kind);
    apart(test, &[other], || {
        let mut net = Net::form(count())?;
        let there = net.pass_on(Make::Gaggle, other)?;
        let back = net.pass_on(other, Make::Gaggle)?;
        let nodes = net.nodes.len();
        let text = format!(
            "{kind:?} among {nodes} nodes, magnet only: to it {there:.1} s, from it {back:.1} s"
        );
        figure("dhtnet", &text);
        Ok(())
    });
}

#[test]
fn claim_dhtnet_libtorrent() {
    both_ways("dhtnet::claim_dhtnet_libtorrent", Other::Libtorrent);
}

/// Only in the long form: its node takes minutes to look for its first neighbours and to announce.
#[test]
fn claim_dhtnet_transmission() {
    if !full() {
        return;
    }
    both_ways("dhtnet::claim_dhtnet_transmission", Other::Transmission);
}

#[test]
fn claim_dhtnet_aria2() {
    both_ways("dhtnet::claim_dhtnet_aria2", Other::Aria2);
}

/// The owner of mutable items in the test vectors of BEP 44, whose expanded secret key everybody knows.
const PUBLIC: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";
const SECRET: &str = "e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d\
                      b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d";
const SALT: &str = "news of today";
/// Seconds for libtorrent to put or get an item: it waits up to 15 s for whoever is gone.
const ORDER_S: u64 = 60;

/// Asks the DHT as a person would, and returns the object of this type.
fn ask(net: &Net, kind: &str, args: &[&str]) -> anyhow::Result<Value> {
    let home = net.work.path().join("asking");
    let entry = net.entry(3).to_string();
    let mut command = gaggle().command(&home);
    let from = SocketAddr::new(at(CLIENTS_FROM + 30).ip(), 0).to_string();
    command.arg("dht").args(args).args(["--json", "--listen", &from, "--bootstrap", &entry]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?}: {}\n{said}{errors}", output.status);
    let mut objects = said.lines().filter_map(|line| serde_json::from_str(line).ok());
    let found = objects.find(|object: &Value| object["type"] == kind);
    found.with_context(|| format!("{args:?}: no {kind} in {said}"))
}

/// What one has put, the other gets: values that never change, and values of one owner with a salt.
#[test]
fn claim_dhtnet_items_libtorrent() {
    let other = Make::Other(Other::Libtorrent);
    apart("dhtnet::claim_dhtnet_items_libtorrent", &[other], || {
        let net = Net::form(12)?;
        let key = net.work.path().join("owner.key");
        std::fs::write(&key, SECRET)?;
        std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let key = key.to_str().context("a path of ours is text")?;
        let (listen, logs) = (at(CLIENTS_FROM), net.work.path().join("libtorrent"));
        let formed = Deadline::after_secs(FORM_S);
        let mut session =
            Libtorrent::find()?.items("items", listen, vec![net.entry(1)], &logs, formed)?;
        let mut theirs = |mut order: Value, mutable: bool| {
            if mutable {
                order["public"] = PUBLIC.into();
                order["secret"] = SECRET.into();
                order["salt"] = data_encoding::HEXLOWER.encode(SALT.as_bytes()).into();
            }
            libtorrent::order(&mut session, &order, Deadline::after_secs(ORDER_S))
        };

        let ours = ask(&net, "dht_put", &["put", "--text", "from us"])?;
        let got = theirs(json!({"do": "get", "target": ours["target"]}), false)?;
        ensure!(got["text"] == "from us", "libtorrent got {got} of {ours}");
        let put = theirs(json!({"do": "put", "text": "from them"}), false)?;
        let target = put["target"].as_str().context("a target")?.to_owned();
        let got = ask(&net, "dht_item", &["get", &target])?;
        ensure!(got["text"] == "from them", "we got {got} of {put}");

        // In turns, each with the number after that of the other.
        let owned = ["--key", key, "--salt", SALT];
        let said = |text| [&["put", "--text", text][..], &owned].concat();
        let ours = ask(&net, "dht_put", &said("first, by us"))?;
        ensure!(ours["key"] == PUBLIC && ours["seq"] == 1, "{ours}");
        let got = theirs(json!({"do": "get"}), true)?;
        ensure!(got["text"] == "first, by us" && got["seq"] == 1, "libtorrent got {got} of {ours}");
        let put = theirs(json!({"do": "put", "text": "second, by them"}), true)?;
        ensure!(put["stored"].as_u64() > Some(0), "{put}");
        let got = ask(&net, "dht_item", &["get", PUBLIC, "--salt", SALT])?;
        ensure!(got["text"] == "second, by them" && got["seq"] == 2, "we got {got} of {put}");
        let only_after = [&said("third, by us")[..], &["--cas", "2"]].concat();
        let third = ask(&net, "dht_put", &only_after)?;
        ensure!(third["seq"] == 3, "{third}");
        let got = theirs(json!({"do": "get"}), true)?;
        ensure!(
            got["text"] == "third, by us" && got["seq"] == 3,
            "libtorrent got {got} of {third}"
        );
        let text = format!(
            "items among {} nodes and libtorrent: ours kept by {} and {}, theirs by {}; each got the other's",
            net.nodes.len(),
            ours["stored"],
            third["stored"],
            put["stored"],
        );
        figure("dhtnet", &text);
        Ok(())
    });
}

/// The others among each other, in a network of nothing but our nodes.
#[test]
fn claim_dhtnet_others_find_each_other() {
    if !full() {
        return; // what our nodes keep for them, the tests above try
    }
    let [libtorrent, transmission, aria2] =
        [Other::Libtorrent, Other::Transmission, Other::Aria2].map(Make::Other);
    let makes = [libtorrent, transmission, aria2];
    apart("dhtnet::claim_dhtnet_others_find_each_other", &makes, || {
        let mut net = Net::form(count())?;
        let mut said = Vec::new();
        for seed in makes {
            for leech in makes.into_iter().filter(|leech| *leech != seed) {
                let took = net.pass_on(seed, leech)?;
                said.push(format!("{seed:?} to {leech:?} {took:.0} s"));
            }
        }
        figure("dhtnet", &said.join(", "));
        Ok(())
    });
}

/// A link and nothing else: how long until the first piece is verified and in its place.
#[test]
fn claim_dhtnet_magnet_to_first_piece() {
    const RUNS: usize = 9;
    apart("dhtnet::claim_dhtnet_magnet_to_first_piece", &[], || {
        let mut net = Net::form(12)?;
        let (torrent, hash) = net.torrent("first", 60_000)?; // one piece
        let folder = torrent.parent().context("a torrent lies somewhere")?.to_path_buf();
        let before = net.kept();
        let mut seed = net.client(Make::Gaggle, Role::Seed, &torrent, folder.join("original"))?;
        let seeds = Deadline::after_secs(60).poll(|| Ok(seed.has_all()?.then_some(())))?;
        seeds.context("the seed never has all")?;
        net.wait_announced(before, KEPT_BY)?;
        let link = PathBuf::from(format!("magnet:?xt=urn:btih:{hash}"));
        let mut times = Vec::new();
        for run in 0..RUNS {
            let copy = folder.join(format!("copy-{run}"));
            let mut leech = net.client(Make::Gaggle, Role::Leech, &link, copy)?;
            let done = Deadline::after_secs(30).poll(|| Ok(leech.has_all()?.then_some(())))?;
            done.with_context(|| format!("not complete\n{}", leech.process().tail()))?;
            let process = leech.process();
            let said = process.said().into_iter().find(|said| event(said, "complete").is_some());
            let at = said.context("it said so")?.at;
            times.push((at - process.started()).as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[RUNS / 2], times[RUNS - 1]);
        let text =
            format!("magnet to first piece: median {median:.2} s, worst {worst:.2} s of {RUNS}");
        figure("dhtnet", &text);
        ensure!(median < 1.0, "{text}");
        Ok(())
    });
}

/// Many links at once in one process: it must not grow with them beyond measure.
#[test]
fn claim_dhtnet_thousand_magnets() {
    const PEAK_MAX: u64 = 200 << 20;
    let count = if full() { 1000 } else { 20 };
    apart("dhtnet::claim_dhtnet_thousand_magnets", &[], || {
        // One host asks for a thousand swarms: without this its queries would be too many for so few nodes.
        let unlimited = ["--per-source", "none", "--per-subnet", "none", "--reply-budget", "none"];
        let net = Net::form_with(12, &unlimited)?;
        let work = net.work.path().join("many");
        let (torrents, links) = many(&work, count)?;
        let transfer = |verb: &str, host: u8, targets: &[String]| {
            let home = work.join(verb);
            let mut command = gaggle().with_dht().command(&home);
            command.arg(verb).args(targets).args(["--json", "-q"]);
            command.args(["--listen", &at(host).to_string()]);
            command.args(["--dht-bootstrap", &net.entry(host).to_string()]);
            (home, command)
        };
        let before = net.kept();
        let (home, mut seed) = transfer("seed", CLIENTS_FROM, &torrents);
        seed.arg("--data").arg(work.join("original"));
        let seed = Process::start("many-seed", seed, &home)?;
        let deadline = Deadline::after_secs(MANY_S);
        let enough = before + KEPT_BY * u64::from(count);
        let known = deadline.poll(|| Ok((net.kept() >= enough).then_some(())))?;
        known.with_context(|| format!("{} announces\n{}", net.kept() - before, seed.tail()))?;

        let watch = Stopwatch::new();
        let (home, mut get) = transfer("get", CLIENTS_FROM + 1, &links);
        get.arg("-o").arg(work.join("copy")).args(["--seed", "never", "-j", "1000"]);
        get.args(["--metadata-timeout", "30m"]);
        let mut get = Process::start("many-get", get, &home)?;
        let mut peak = 0;
        let ended = deadline.poll(|| {
            peak = peak.max(get.peak_bytes().unwrap_or(0));
            get.try_wait()
        })?;
        let status = ended.with_context(|| format!("it does not end\n{}", get.tail()))?;
        ensure!(status.success(), "{status}\n{}", get.tail());
        let (seconds, mib) = (watch.seconds(), peak as f64 / f64::from(1 << 20));
        let text = format!("{count} magnets in one process: {seconds:.0} s, at most {mib:.0} MiB");
        figure("dhtnet", &text);
        ensure!(peak > 0 && peak < PEAK_MAX, "{text}");
        Ok(())
    });
}

/// Torrents of one small file each, and links to them.
fn many(work: &Path, count: u32) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut torrents, mut links) = (Vec::new(), Vec::new());
    for nth in 0..count {
        let name = format!("file-{nth}.bin");
        let path = work.join("original").join(&name);
        content::write(&path, 16 << 10, u64::from(nth))?;
        let build = Build {
            name: name.into_bytes(),
            piece_len: 16 << 10,
            content: Content::File(16 << 10),
            pieces: gaggle_core::hash::sha1([&std::fs::read(&path)?[..]]).to_vec(),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            private: false,
            source: None,
            comment: None,
            created_by: None,
            creation_date: None,
        };
        let bytes = build.to_bytes()?;
        let torrent = work.join(format!("{nth}.torrent"));
        std::fs::write(&torrent, &bytes)?;
        torrents.push(torrent.display().to_string());
        links.push(format!("magnet:?xt=urn:btih:{}", Metainfo::parse(&bytes)?.info_hash()));
    }
    Ok((torrents, links))
}
