//! Scripted hosts of byte ranges beside a room of peers. Hosts serve at their speed, in steps of a twentieth of a
//! second; the machine is woken when it asked to be, and not otherwise.

use super::*;
use crate::scope::Scope;
use crate::swarm::source::{
    AHEAD_MAX, Ask, Cutter, FetchKey, Head, LEN_MAX, SourceFault, SourceKey, SourceOp, SourceSpec,
    SourceStatus,
};

pub(super) const PIECE: u64 = 4 * BLOCK_LEN as u64;
pub(super) const TOTAL: u64 = 320 * PIECE - 1000; // 20 MiB
pub(super) const STEP: Duration = Duration::from_millis(50);
pub(super) const MEG: u64 = 1 << 20;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Takes the request and then nothing.
    Dead,
    /// Ends every connection at once.
    Down,
    /// Sends one byte more than it should, each time.
    Endless,
    Full(Option<Duration>),
    Good,
    /// Every piece of it is garbage.
    Liar,
    /// Has less than asked for, one piece at a time.
    Partial,
    /// Breaks off in the middle.
    Short,
    /// Sends another range.
    Wrong,
}

pub(super) struct Host {
    pub(super) kind: Kind,
    pub(super) rate: u64,
}

pub(super) struct Run {
    pub(super) ask: Ask,
    pub(super) cutter: Cutter,
    pub(super) sent: u64,
    pub(super) len: u64,
}

pub(super) struct Hosts {
    pub(super) room: Room,
    pub(super) hosts: BTreeMap<SourceKey, Host>,
    pub(super) runs: BTreeMap<FetchKey, Run>,
    pub(super) asks: Vec<(Instant, Ask)>,
    pub(super) stops: usize,
    /// Of these, for which their hosts are to blame.
    pub(super) broken: Vec<SourceKey>,
}

pub(super) fn big() -> Geometry {
    Geometry::new(Version::V1, TOTAL, PIECE).unwrap()
}

pub(super) fn whole() -> SourceSpec {
    SourceSpec { addr: None, teller: Scope::Global, span: 0..TOTAL, parallel: 1 }
}

impl Hosts {
    /// A leech without anything, and seeds.
    pub(super) fn new(seeds: usize) -> Self {
        let mut room = Room::new(1 + seeds, 0);
        for host in 0..=seeds {
            room.hosts[host] = machine(host);
            let have = if host > 0 { Bitfield::full(320) } else { Bitfield::empty(320) };
            room.hosts[host].set_content(room.now, info(), big(), have, |_| Priority::Normal);
        }
        let (hosts, runs) = (BTreeMap::new(), BTreeMap::new());
        Self { room, hosts, runs, asks: Vec::new(), stops: 0, broken: Vec::new() }
    }

    pub(super) fn leech(&mut self) -> &mut Torrent {
        &mut self.room.hosts[0]
    }

    pub(super) fn add(&mut self, kind: Kind, rate: u64, spec: SourceSpec) -> SourceKey {
        let now = self.room.now;
        let key = self.leech().add_source(now, spec).unwrap();
        self.hosts.insert(key, Host { kind, rate });
        self.ops();
        key
    }

    pub(super) fn of(&mut self, key: SourceKey) -> SourceStatus {
        let now = self.room.now;
        self.leech().sources(now).into_iter().find(|status| status.source == key).unwrap()
    }

    pub(super) fn got(&mut self, key: SourceKey) -> u64 {
        self.of(key).downloaded
    }

    /// Does what the machine wants, as long as it wants anything.
    pub(super) fn ops(&mut self) {
        loop {
            self.room.settle();
            let Some(op) = self.room.hosts[0].poll_source() else { return };
            match op {
                SourceOp::Stop { fetch, broke_off } => {
                    self.stops += 1;
                    let run = self.runs.remove(&fetch).expect("it stops what runs");
                    self.broken.extend(broke_off.then_some(run.ask.source));
                }
                SourceOp::Ask(ask) => self.begin(ask),
            }
            let ahead: u64 = self.runs.values().map(|run| run.len - run.sent).sum();
            assert!(ahead <= AHEAD_MAX + LEN_MAX.max(PIECE));
        }
    }

    pub(super) fn begin(&mut self, ask: Ask) {
        let now = self.room.now;
        self.asks.push((now, ask));
        assert!(ask.at + ask.part.len <= TOTAL && ask.part.len <= LEN_MAX.max(PIECE));
        let (first, len) = (ask.part.first, ask.part.len);
        let status = 206;
        let range = |first, len| Some(first..=first + len - 1);
        let head = match self.hosts[&ask.source].kind {
            Kind::Down => return self.end(ask.fetch, Err(SourceFault::Lost)),
            Kind::Full(retry_after) => Head { status: 503, retry_after, ..Head::default() },
            Kind::Wrong => Head { status, range: range(first + 1, len), ..Head::default() },
            Kind::Partial => {
                Head { status, range: range(first, len.min(PIECE)), ..Head::default() }
            }
            _ => Head { status, range: range(first, len), ..Head::default() },
        };
        match ask.part.accept(&head) {
            Ok(len) => {
                let cutter = Cutter::new(big(), ask.at, len);
                self.runs.insert(ask.fetch, Run { ask, cutter, sent: 0, len });
            }
            Err(fault) => self.end(ask.fetch, Err(fault)),
        }
    }

    pub(super) fn end(&mut self, fetch: FetchKey, how: Result<(), SourceFault>) {
        self.runs.remove(&fetch);
        let now = self.room.now;
        self.leech().handle_fetch_end(now, fetch, how);
    }

    /// Each host sends what it can since the last time.
    pub(super) fn serve(&mut self) {
        let now = self.room.now;
        let all: Vec<FetchKey> = self.runs.keys().copied().collect();
        for fetch in all {
            let Some(run) = self.runs.get(&fetch) else { continue };
            let source = run.ask.source;
            let beside = self.runs.values().filter(|run| run.ask.source == source).count() as u64;
            let host = &self.hosts[&source];
            let (kind, rate) = (host.kind, host.rate / beside);
            let run = self.runs.get_mut(&fetch).unwrap();
            let most = if kind == Kind::Short { run.len / 2 } else { run.len };
            let mut bytes = (rate / 20).min(most.saturating_sub(run.sent));
            let over = run.sent + bytes >= most && kind != Kind::Dead;
            if kind == Kind::Dead {
                bytes = 0;
            }
            run.sent += bytes;
            bytes += u64::from(over && kind == Kind::Endless);
            let mut blocks = Vec::new();
            let cut = run.cutter.cut(vec![0; bytes as usize].into(), &mut blocks);
            let end = cut.and_then(|()| if over { run.cutter.end() } else { Ok(()) });
            for (block, _) in blocks {
                if self.leech().handle_source_block(now, fetch, block) == Fate::Keep(block)
                    && kind == Kind::Liar
                {
                    self.room.spoiled.insert((0, block.piece));
                }
                self.ops();
            }
            if over && self.runs.contains_key(&fetch) {
                self.end(fetch, end);
                self.ops();
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.room.now + time;
        while self.room.now < end {
            self.room.now += STEP;
            let now = self.room.now;
            for host in &mut self.room.hosts {
                if host.poll_timeout().is_some_and(|at| at <= now) {
                    host.handle_timeout(now);
                }
            }
            self.ops();
            self.serve();
        }
    }

    /// Seconds until the leech has everything.
    pub(super) fn finish(&mut self, within: u64) -> f64 {
        let from = self.room.now;
        while !self.room.done(0) {
            let took = self.room.now.since(from);
            assert!(
                took <= Duration::from_secs(within),
                "not done: {:?}",
                self.leech().status(from)
            );
            self.pass(STEP);
        }
        self.room.now.since(from).as_secs_f64()
    }

    pub(super) fn gone(&self) -> Vec<(SourceKey, SourceFault)> {
        let gone = self.room.events.iter().filter_map(|(_, event)| match event {
            Event::SourceGone { source, fault } => Some((*source, fault.clone())),
            _ => None,
        });
        gone.collect()
    }

    /// Waits until so many pieces are there.
    pub(super) fn finish_part(&mut self, pieces: u32) {
        self.pass(Duration::from_secs(5));
        assert_eq!(self.leech().have().unwrap().count(), pieces);
    }
}
