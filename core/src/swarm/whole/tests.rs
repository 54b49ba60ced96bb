//! Scripted hosts that send a block each twentieth of a second.

use super::*;
use crate::swarm::source::Ask;
use std::collections::BTreeMap;

const LEN: u64 = 5_000_001;
const STEP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    /// What it sends is wrong.
    Liar,
    /// Breaks off after so many blocks, and is not there any more.
    Dies(usize),
}

struct Bench {
    now: Instant,
    whole: Whole,
    hosts: BTreeMap<SourceKey, Kind>,
    runs: BTreeMap<FetchKey, (Ask, u64)>,
    /// Where blocks begin, and who gave what lies there.
    file: BTreeMap<u64, SourceKey>,
    events: Vec<WholeEvent>,
    checks: usize,
    asked: BTreeSet<SourceKey>,
}

impl Bench {
    fn new(checked: bool, kinds: &[Kind]) -> Self {
        let config = WholeConfig { len: LEN, checked, down: None };
        let now = Instant::ZERO;
        let mut whole = Whole::new(now, config, Rng::seeded(7)).unwrap();
        let mut hosts = BTreeMap::new();
        for (nth, &kind) in kinds.iter().enumerate() {
            let addr = Some(([198, 18, 0, nth as u8 + 1], 80).into());
            let spec = SourceSpec { addr, teller: Scope::Global, span: 0..0, parallel: 1 };
            hosts.insert(whole.add_source(now, &spec).unwrap(), kind);
        }
        let (runs, file) = (BTreeMap::new(), BTreeMap::new());
        Self {
            now,
            whole,
            hosts,
            runs,
            file,
            events: Vec::new(),
            checks: 0,
            asked: BTreeSet::new(),
        }
    }

    fn ops(&mut self) {
        while let Some(op) = self.whole.poll_source() {
            match op {
                SourceOp::Ask(ask) => {
                    assert_eq!((ask.at, ask.part.file_len), (ask.part.first, LEN));
                    self.asked.insert(ask.source);
                    self.runs.insert(ask.fetch, (ask, 0));
                }
                SourceOp::Stop { fetch, .. } => assert!(self.runs.remove(&fetch).is_some()),
            }
        }
        while let Some(event) = self.whole.poll_event() {
            if event == WholeEvent::Check {
                self.checks += 1;
                assert!(self.runs.is_empty(), "nothing is written while it is read");
                let good = self.file.values().all(|giver| self.hosts[giver] != Kind::Liar);
                assert_eq!(self.file.len() as u64, LEN.div_ceil(crate::geometry::BLOCK_LEN.into()));
                let verdict = if good { Verdict::Good } else { Verdict::Bad };
                self.whole.handle_checked(self.now, verdict);
            }
            self.events.push(event);
        }
    }

    fn serve(&mut self) {
        let all: Vec<FetchKey> = self.runs.keys().copied().collect();
        for fetch in all {
            let Some((ask, sent)) = self.runs.get_mut(&fetch) else { continue };
            let (source, at) = (ask.source, ask.at + *sent);
            let geometry = *self.whole.geometry();
            let block = (at < ask.at + ask.part.len).then(|| {
                let piece = PieceIndex((at / u64::from(geometry.piece_len())) as u32);
                let nth =
                    (at % u64::from(geometry.piece_len())) as u32 / crate::geometry::BLOCK_LEN;
                geometry.block(piece, nth)
            });
            let dead = match self.hosts.get_mut(&source) {
                Some(Kind::Dies(0)) => true,
                Some(Kind::Dies(left)) => {
                    *left -= 1;
                    false
                }
                _ => false,
            };
            match block {
                Some(block) if !dead => {
                    *sent += u64::from(block.len);
                    if self.whole.handle_source_block(self.now, fetch, block) != Fate::Drop {
                        self.file.insert(at, source);
                    }
                }
                _ => {
                    self.runs.remove(&fetch);
                    let how = if dead { Err(SourceFault::Lost) } else { Ok(()) };
                    self.whole.handle_fetch_end(self.now, fetch, how);
                }
            }
            self.ops();
        }
    }

    /// Until it is over; says how.
    fn run(&mut self) -> WholeEvent {
        self.ops();
        for _ in 0..2_000_000 {
            if let Some(end @ (WholeEvent::Done | WholeEvent::Failed)) = self.events.last() {
                return end.clone();
            }
            self.now += STEP;
            if self.whole.poll_timeout().is_some_and(|at| at <= self.now) {
                self.whole.handle_timeout(self.now);
            }
            self.ops();
            self.serve();
        }
        panic!("not over: {:?}", self.whole.status(self.now));
    }

    fn gone(&self) -> Vec<(u32, SourceFault)> {
        let gone = self.events.iter().filter_map(|event| match event {
            WholeEvent::SourceGone { source, fault } => Some((source.0, fault.clone())),
            _ => None,
        });
        gone.collect()
    }
}

#[test]
fn several_hosts_share_the_work() {
    let mut bench = Bench::new(true, &[Kind::Good; 3]);
    assert_eq!(bench.run(), WholeEvent::Done);
    assert_eq!((bench.checks, bench.asked.len(), bench.gone()), (1, 3, vec![]));
    let status = bench.whole.status(bench.now);
    assert_eq!(status.done, LEN);
    assert!(status.downloaded < LEN * 11 / 10, "{} for {LEN}", status.downloaded);
    assert!(status.sources.iter().all(|source| source.downloaded > LEN / 6));
    assert_eq!(bench.whole.poll_timeout(), None);
}

#[test]
fn the_death_of_any_is_survived() {
    for victim in 0..3 {
        let mut kinds = [Kind::Good; 3];
        kinds[victim] = Kind::Dies(20);
        let mut bench = Bench::new(true, &kinds);
        assert_eq!(bench.run(), WholeEvent::Done, "without {victim}");
        assert_eq!(bench.checks, 1);
    }
}

#[test]
fn a_liar_is_found_wherever_it_stands_and_nobody_else_is_blamed() {
    for liar in 0..3 {
        let mut kinds = [Kind::Good; 3];
        kinds[liar] = Kind::Liar;
        let mut bench = Bench::new(true, &kinds);
        assert_eq!(bench.run(), WholeEvent::Done);
        assert!(bench.file.values().all(|giver| giver.0 as usize != liar));
        let gone = bench.gone();
        assert!(gone.iter().all(|gone| *gone == (liar as u32, SourceFault::BadPiece)), "{gone:?}");
        // At worst the liar was asked for all of it to prove what it is, and then one more.
        let got = bench.whole.status(bench.now).downloaded;
        assert!((2..=3).contains(&bench.checks) && got < 3 * LEN, "{} checks, {got}", bench.checks);
    }
}

#[test]
fn two_liars_and_one_that_dies_beside_an_honest_host() {
    let kinds = [Kind::Liar, Kind::Dies(30), Kind::Liar, Kind::Good];
    let mut bench = Bench::new(true, &kinds);
    assert_eq!(bench.run(), WholeEvent::Done);
    assert!(bench.file.values().all(|giver| giver.0 == 3));
    assert!(bench.checks <= 4);
}

#[test]
fn liars_alone_end_it() {
    let mut bench = Bench::new(true, &[Kind::Liar; 3]);
    assert_eq!(bench.run(), WholeEvent::Failed);
    let gone: BTreeSet<u32> = bench.gone().into_iter().map(|(source, _)| source).collect();
    assert_eq!((gone.len(), bench.checks), (3, 4), "all together, then each alone");
    let mut bench = Bench::new(true, &[Kind::Dies(0); 2]);
    assert_eq!(bench.run(), WholeEvent::Failed);
    assert_eq!(bench.checks, 0);
}

#[test]
fn what_nothing_vouches_for_comes_from_one_host() {
    let mut bench = Bench::new(false, &[Kind::Good; 3]);
    assert_eq!(bench.run(), WholeEvent::Done);
    assert_eq!(bench.asked.len(), 1);
    let mut bench = Bench::new(false, &[Kind::Dies(40), Kind::Good, Kind::Good]);
    assert_eq!(bench.run(), WholeEvent::Done);
    let givers: BTreeSet<SourceKey> = bench.file.values().copied().collect();
    assert_eq!(givers.len(), 1, "not a mixture, even if one dies: {givers:?}");
}

#[test]
fn sizes() {
    let new = |len| {
        Whole::new(Instant::ZERO, WholeConfig { len, checked: true, down: None }, Rng::seeded(1))
    };
    assert!(new(0).is_err() && new(u64::MAX).is_err());
    let parts = |len| new(len).ok().map(|whole| whole.geometry().pieces());
    assert_eq!(parts(1), Some(1));
    assert_eq!(parts(1 << 20), Some(64));
    assert_eq!(parts(1 << 33), Some(8192));
}

#[test]
fn a_limit_holds() {
    let mut bench = Bench::new(true, &[Kind::Good; 3]);
    let limit = BytesPerSec(100_000);
    let config = WholeConfig { len: LEN, checked: true, down: Some(limit) };
    bench.whole = Whole::new(bench.now, config, Rng::seeded(7)).unwrap();
    for nth in 0..3 {
        let addr = Some(([198, 18, 0, nth + 1], 80).into());
        let spec = SourceSpec { addr, teller: Scope::Global, span: 0..0, parallel: 1 };
        bench.whole.add_source(bench.now, &spec).unwrap();
    }
    assert_eq!(bench.run(), WholeEvent::Done);
    let took = bench.now.as_secs_f64();
    assert!((45.0..60.0).contains(&took), "{took} s for 5 MB at 100 kB/s");
}
