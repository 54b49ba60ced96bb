//! Downloads from scripted hosts of byte ranges, alone and beside peers. Hosts serve at their speed, in steps of a
//! twentieth of a second; the machine is woken when it asked to be, and not otherwise.

use super::*;
use crate::scope::Scope;
use crate::swarm::source::{
    ACTIVE_MAX, AHEAD_MAX, Ask, Cutter, FIRST_LEN, FetchKey, Head, PARALLEL_MAX, SOURCES_MAX,
    STALL_AFTER, SourceFault, SourceKey, SourceOp, SourceRefusal, SourceSpec, SourceStatus,
};
use crate::swarm::source::{LEN_MAX, RANGE_TIME};
use proptest::prelude::*;
use std::ops::Range;

const PIECE: u64 = 4 * BLOCK_LEN as u64;
const TOTAL: u64 = 320 * PIECE - 1000; // 20 MiB
const STEP: Duration = Duration::from_millis(50);
const MEG: u64 = 1 << 20;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
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

struct Host {
    kind: Kind,
    rate: u64,
}

struct Run {
    ask: Ask,
    cutter: Cutter,
    sent: u64,
    len: u64,
}

struct Hosts {
    room: Room,
    hosts: BTreeMap<SourceKey, Host>,
    runs: BTreeMap<FetchKey, Run>,
    asks: Vec<(Instant, Ask)>,
    stops: usize,
}

fn big() -> Geometry {
    Geometry::new(Version::V1, TOTAL, PIECE).unwrap()
}

fn whole() -> SourceSpec {
    SourceSpec { addr: None, teller: Scope::Global, span: 0..TOTAL, parallel: 1 }
}

impl Hosts {
    /// A leech without anything, and seeds.
    fn new(seeds: usize) -> Self {
        let mut room = Room::new(1 + seeds, 0);
        for host in 0..=seeds {
            room.hosts[host] = machine(host);
            let have = if host > 0 { Bitfield::full(320) } else { Bitfield::empty(320) };
            room.hosts[host].set_content(room.now, info(), big(), have, |_| Priority::Normal);
        }
        let (hosts, runs) = (BTreeMap::new(), BTreeMap::new());
        Self { room, hosts, runs, asks: Vec::new(), stops: 0 }
    }

    fn leech(&mut self) -> &mut Torrent {
        &mut self.room.hosts[0]
    }

    fn add(&mut self, kind: Kind, rate: u64, spec: SourceSpec) -> SourceKey {
        let now = self.room.now;
        let key = self.leech().add_source(now, spec).unwrap();
        self.hosts.insert(key, Host { kind, rate });
        self.ops();
        key
    }

    fn of(&mut self, key: SourceKey) -> SourceStatus {
        let now = self.room.now;
        self.leech().sources(now).into_iter().find(|status| status.source == key).unwrap()
    }

    fn got(&mut self, key: SourceKey) -> u64 {
        self.of(key).downloaded
    }

    /// Does what the machine wants, as long as it wants anything.
    fn ops(&mut self) {
        loop {
            self.room.settle();
            let Some(op) = self.room.hosts[0].poll_source() else { return };
            match op {
                SourceOp::Stop(fetch) => {
                    self.stops += 1;
                    assert!(self.runs.remove(&fetch).is_some(), "it stops what runs");
                }
                SourceOp::Ask(ask) => self.begin(ask),
            }
            let ahead: u64 = self.runs.values().map(|run| run.len - run.sent).sum();
            assert!(ahead <= AHEAD_MAX + LEN_MAX.max(PIECE));
        }
    }

    fn begin(&mut self, ask: Ask) {
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

    fn end(&mut self, fetch: FetchKey, how: Result<(), SourceFault>) {
        self.runs.remove(&fetch);
        let now = self.room.now;
        self.leech().handle_fetch_end(now, fetch, how);
    }

    /// Each host sends what it can since the last time.
    fn serve(&mut self) {
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

    fn pass(&mut self, time: Duration) {
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
    fn finish(&mut self, within: u64) -> f64 {
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

    fn gone(&self) -> Vec<(SourceKey, SourceFault)> {
        let gone = self.room.events.iter().filter_map(|(_, event)| match event {
            Event::SourceGone { source, fault } => Some((*source, fault.clone())),
            _ => None,
        });
        gone.collect()
    }
}

#[test]
fn sources_alone_are_enough_and_share_by_speed() {
    let mut hosts = Hosts::new(0);
    let rates = [4, 2, 1];
    let keys = rates.map(|rate| hosts.add(Kind::Good, rate * MEG, whole()));
    let took = hosts.finish(30);
    assert!(took < 5.0, "{took} s for 20 MiB at 7 MiB/s");
    let status = {
        let now = hosts.room.now;
        hosts.leech().status(now)
    };
    let got = keys.map(|key| hosts.got(key));
    assert_eq!(got.iter().sum::<u64>(), TOTAL);
    assert!(status.wasted < MEG / 2, "{} wasted", status.wasted);
    for (nth, share) in got.iter().enumerate() {
        let fair = TOTAL * rates[nth] / 7;
        assert!((fair / 2..fair * 3 / 2).contains(share), "{share} of {fair}");
    }
    assert!(hosts.asks.len() < 40, "{} requests", hosts.asks.len());
    let pieces = hosts.asks.iter().take(3).all(|(_, ask)| ask.at % PIECE == 0);
    assert!(pieces && hosts.asks.iter().take(3).all(|(_, ask)| ask.part.len % PIECE == 0));
    assert!(hosts.runs.is_empty(), "and nobody is read from any longer");
    assert_eq!(hosts.leech().poll_timeout().filter(|&at| at < Instant::FAR_FUTURE), None);
}

#[test]
fn a_lone_source_is_asked_for_long_ranges_one_after_the_other() {
    let mut hosts = Hosts::new(0);
    hosts.add(Kind::Good, 2 * MEG, whole());
    hosts.pass(Duration::from_secs(6));
    let lens: Vec<u64> = hosts.asks.iter().map(|(_, ask)| ask.part.len).collect();
    assert_eq!(lens[0], FIRST_LEN);
    let longest = *lens.iter().max().unwrap();
    assert!(longest > 4 * MEG && longest <= 2 * MEG * RANGE_TIME.as_secs(), "{longest}");
    let joined = hosts.asks.windows(2).filter(|two| two[0].1.at + two[0].1.part.len == two[1].1.at);
    assert!(joined.count() >= 1, "a range goes on where the last one ended: {lens:?}");
    assert!(hosts.finish(10) < 6.0);
}

#[test]
fn several_ranges_at_a_time_where_the_source_bears_them_and_fewer_where_it_does_not() {
    let mut hosts = Hosts::new(0);
    let key = hosts.add(Kind::Good, MEG, SourceSpec { parallel: 99, ..whole() });
    assert_eq!(hosts.of(key).fetches, PARALLEL_MAX);
    let busy = SourceFault::Busy { retry_after: None };
    let last = *hosts.runs.keys().last().unwrap();
    hosts.end(last, Err(busy));
    hosts.ops();
    assert_eq!(hosts.of(key).fetches, PARALLEL_MAX - 1, "it is not asked for a fourth again");
    hosts.finish(40);
    assert_eq!(hosts.got(key), TOTAL);
}

#[test]
fn peers_and_sources_share_the_work() {
    let mut hosts = Hosts::new(1);
    let now = hosts.room.now;
    hosts.room.hosts[1].set_limits(now, None, Some(BytesPerSec(MEG)));
    let key = hosts.add(Kind::Good, MEG, whole());
    hosts.room.connect(0, 1);
    let took = hosts.finish(30);
    assert!(took < 13.0, "{took} s for 20 MiB at 2 MiB/s");
    let got = hosts.got(key);
    assert!((TOTAL / 3..TOTAL * 2 / 3).contains(&got), "{got} from the source");
    let wasted = hosts.leech().status(now).wasted;
    assert!(wasted < MEG, "{wasted} wasted");
}

#[test]
fn the_death_of_any_is_survived() {
    for victim in 0..3 {
        let mut hosts = Hosts::new(1);
        let now = hosts.room.now;
        hosts.room.hosts[1].set_limits(now, None, Some(BytesPerSec(MEG)));
        let (peer, _) = hosts.room.connect(0, 1);
        let keys = [0, 1].map(|_| hosts.add(Kind::Good, MEG, whole()));
        hosts.pass(Duration::from_secs(3));
        if victim == 2 {
            let now = hosts.room.now;
            hosts.leech().handle_disconnected(now, peer, None);
            hosts.room.links.clear();
            hosts.ops();
        } else {
            hosts.hosts.get_mut(&keys[victim]).unwrap().kind = Kind::Down;
            let running: Vec<FetchKey> = hosts.runs.keys().copied().collect();
            for fetch in running {
                if hosts.runs.get(&fetch).is_some_and(|run| run.ask.source == keys[victim]) {
                    hosts.end(fetch, Err(SourceFault::Lost));
                }
            }
            hosts.ops();
        }
        let took = hosts.finish(40);
        assert!(took < 12.0, "{took} s without {victim}");
    }
}

#[test]
fn the_last_source_takes_over_what_a_peer_had_begun() {
    let mut hosts = Hosts::new(0);
    let peer = hosts.room.attach(0);
    hosts.room.hear(0, peer, &[Message::HaveAll, Message::Unchoke]);
    let asked: Vec<Request> = hosts
        .room
        .sent
        .iter()
        .filter_map(
            |(_, message)| {
                if let Message::Request(request) = message { Some(*request) } else { None }
            },
        )
        .collect();
    let now = hosts.room.now;
    for Request { index, begin, len } in asked.into_iter().step_by(3) {
        assert_ne!(hosts.leech().handle_block(now, peer, index, begin, len), Fate::Drop);
    }
    hosts.leech().handle_disconnected(now, peer, None);
    let key = hosts.add(Kind::Good, 4 * MEG, whole());
    hosts.finish(30);
    assert!(hosts.got(key) < TOTAL, "what was there is not fetched again");
}

#[test]
fn a_host_that_serves_wrong_bytes_is_banned_and_replaced() {
    let mut hosts = Hosts::new(0);
    let addr = Some(addr(77));
    let liar = hosts.add(Kind::Liar, 4 * MEG, SourceSpec { addr, ..whole() });
    let good = hosts.add(Kind::Good, 2 * MEG, whole());
    hosts.finish(40);
    assert_eq!(hosts.gone(), [(liar, SourceFault::BadPiece)]);
    assert!(hosts.of(liar).gone.is_some() && hosts.of(good).gone.is_none());
    let asked = hosts.asks.iter().filter(|(_, ask)| ask.source == liar).count();
    assert_eq!(asked, 1, "the first piece is proof");
    let again = hosts.room.hosts[0].add_source(hosts.room.now, SourceSpec { addr, ..whole() });
    assert_eq!(again, Err(SourceRefusal::Banned));
}

#[test]
fn a_liar_that_shares_a_piece_with_a_peer_is_found_and_the_peer_is_not_banned() {
    let mut hosts = Hosts::new(1);
    let peer = hosts.room.attach_as(0, 50);
    hosts.room.hear(0, peer, &[Message::HaveAll, Message::Unchoke]);
    let first = hosts.room.sent.iter().find_map(|(_, message)| {
        if let Message::Request(request) = message { Some(*request) } else { None }
    });
    let Request { index, begin, len } = first.unwrap();
    let now = hosts.room.now;
    assert_ne!(hosts.leech().handle_block(now, peer, index, begin, len), Fate::Drop);
    hosts.room.hear(0, peer, &[Message::Choke]); // with the fast extension it would reject; we wait
    hosts.pass(Duration::from_secs(7));
    let span = u64::from(index) * PIECE..(u64::from(index) + 1) * PIECE;
    let liar = hosts.add(Kind::Liar, 4 * MEG, SourceSpec { addr: Some(addr(78)), span, ..whole() });
    hosts.pass(Duration::from_secs(5));
    assert_eq!(hosts.gone(), [(liar, SourceFault::BadPiece)]);
    let banned = |event: &Event| matches!(event, Event::Banned { peer, .. } if *peer == addr(50));
    assert!(!hosts.room.saw(0, banned));
    hosts.room.connect(0, 1);
    hosts.finish(60);
    assert!(!hosts.room.saw(0, banned));
}

#[test]
fn attack_36_who_only_answers_wrong_is_given_up_soon() {
    for kind in [Kind::Wrong, Kind::Endless] {
        let mut hosts = Hosts::new(0);
        let key = hosts.add(kind, MEG, SourceSpec { span: 0..2 * PIECE, ..whole() });
        if kind == Kind::Endless {
            hosts.finish_part(2); // what it sent within the range is good all the same
            continue;
        }
        hosts.pass(Duration::from_secs(60));
        assert_eq!(hosts.asks.len(), 3, "{kind:?}");
        assert_eq!(hosts.gone().len(), 1);
        assert_eq!(hosts.gone()[0].0, key);
    }
}

#[test]
fn attack_36_a_slow_drip_holds_a_range_for_half_a_minute() {
    let mut hosts = Hosts::new(0);
    hosts.add(Kind::Good, 100, whole()); // a block in three minutes
    hosts.pass(STALL_AFTER + Duration::from_secs(2));
    assert_eq!((hosts.stops, hosts.runs.len()), (1, 0));
    hosts.add(Kind::Dead, MEG, whole());
    hosts.add(Kind::Good, MEG, whole());
    let took = hosts.finish(60);
    assert!(took < 40.0, "{took} s for 20 MiB at 1 MiB/s beside two who send nothing");
}

#[test]
fn the_end_does_not_wait_for_a_slow_source() {
    let mut hosts = Hosts::new(0);
    let slow = hosts.add(Kind::Good, 4 * MEG, whole());
    hosts.pass(Duration::from_secs(1));
    hosts.hosts.get_mut(&slow).unwrap().rate = 20_000; // and it sits on a long range
    hosts.add(Kind::Good, 2 * MEG, whole());
    let took = hosts.finish(60);
    assert!(took < 14.0, "{took} s");
}

#[test]
fn a_busy_host_is_asked_again_when_it_says_so_and_not_sooner() {
    for (says, rests) in [(Some(20), 20), (None, 60), (Some(0), 5), (Some(1_000_000), 1800)] {
        let mut hosts = Hosts::new(0);
        hosts.add(Kind::Full(says.map(Duration::from_secs)), MEG, whole());
        hosts.pass(Duration::from_secs(3 * rests));
        let times: Vec<f64> = hosts.asks.iter().map(|(at, _)| at.as_secs_f64()).collect();
        assert!((3..=4).contains(&times.len()), "{says:?}: {times:?}");
        assert!(times.windows(2).all(|two| two[1] - two[0] >= rests as f64), "{times:?}");
        assert!(hosts.gone().is_empty(), "to be busy is no fault");
    }
}

#[test]
fn an_unreachable_host_is_asked_less_and_less_and_then_no_more() {
    let mut hosts = Hosts::new(0);
    let key = hosts.add(Kind::Down, MEG, whole());
    hosts.pass(Duration::from_secs(3600));
    let times: Vec<f64> = hosts.asks.iter().map(|(at, _)| at.as_secs_f64()).collect();
    assert_eq!(times.len(), 8, "{times:?}");
    let pauses: Vec<f64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.windows(2).all(|two| two[1] > two[0] * 1.5), "{pauses:?}");
    assert_eq!(hosts.gone(), [(key, SourceFault::Lost)]);
    assert_eq!(hosts.leech().poll_timeout(), None, "nothing to wake up for");
}

#[test]
fn a_host_with_less_than_asked_for_is_of_use() {
    let mut hosts = Hosts::new(0);
    let key = hosts.add(Kind::Partial, 8 * MEG, whole());
    hosts.finish(60);
    assert_eq!(hosts.got(key), TOTAL);
    let mut hosts = Hosts::new(0);
    hosts.add(Kind::Short, 8 * MEG, whole());
    hosts.pass(Duration::from_secs(5));
    assert!(!hosts.room.done(0) && hosts.leech().left() < Some(TOTAL), "half of a range counts");
}

#[test]
fn who_waits_replaces_who_is_much_slower_than_the_rest() {
    let mut hosts = Hosts::new(0);
    let slow = hosts.add(Kind::Good, 4_000, whole());
    for _ in 1..ACTIVE_MAX {
        hosts.add(Kind::Good, 60_000, whole());
    }
    let spare = hosts.add(Kind::Good, 60_000, whole());
    assert_eq!((hosts.of(slow).fetches, hosts.of(spare).fetches), (1, 0), "there is no place");
    hosts.pass(Duration::from_secs(25));
    assert_eq!((hosts.of(slow).fetches, hosts.of(spare).fetches), (0, 1));
}

#[test]
fn a_source_is_asked_for_its_file_only_and_what_straddles_is_left_to_others() {
    let mut hosts = Hosts::new(0);
    let cut = 100 * PIECE + 700;
    let parts: [Range<u64>; 2] = [0..cut, cut..TOTAL];
    for span in parts.clone() {
        hosts.add(Kind::Good, 4 * MEG, SourceSpec { span, ..whole() });
    }
    hosts.pass(Duration::from_secs(20));
    assert_eq!(hosts.leech().left(), Some(PIECE), "the piece in both");
    for (_, ask) in &hosts.asks {
        let of = parts.iter().find(|span| span.contains(&ask.at)).unwrap();
        assert!(ask.at + ask.part.len <= of.end);
        assert_eq!((ask.part.first, ask.part.file_len), (ask.at - of.start, of.end - of.start));
    }
    hosts.add(Kind::Good, MEG, whole());
    hosts.finish(5);
}

#[test]
fn a_limit_holds_for_sources_too() {
    let mut hosts = Hosts::new(1);
    let limit = BytesPerSec(200_000);
    let now = hosts.room.now;
    hosts.leech().set_limits(now, Some(limit), None);
    hosts.room.hosts[1].set_limits(now, None, Some(BytesPerSec(MEG)));
    let key = hosts.add(Kind::Good, 4 * MEG, whole());
    hosts.room.connect(0, 1);
    hosts.pass(Duration::from_secs(60));
    let got = hosts.leech().status(now).downloaded;
    let fair = limit.0 * 60;
    assert!(got <= fair + FIRST_LEN, "{got} of {fair}");
    assert!(got >= fair * 8 / 10, "{got} of {fair}");
    let from_source = hosts.got(key);
    assert!(from_source > got / 10 && from_source < got, "{from_source} of {got}");
}

#[test]
fn attack_36_a_stranger_does_not_send_us_to_near_addresses() {
    let mut hosts = Hosts::new(0);
    let now = hosts.room.now;
    let mut add = |teller, at: &str| {
        let addr = Some(at.parse().unwrap());
        hosts.leech().add_source(now, SourceSpec { addr, teller, ..whole() })
    };
    for near in ["127.0.0.1:80", "10.0.0.1:80", "169.254.169.254:80", "[::ffff:127.0.0.1]:80"] {
        assert!(matches!(add(Scope::Global, near), Err(SourceRefusal::Address(_))), "{near}");
        assert!(add(Scope::Loopback, near).is_ok(), "{near}: the user may");
    }
    assert!(matches!(add(Scope::Loopback, "0.0.0.0:80"), Err(SourceRefusal::Address(_))));
    assert!(add(Scope::Private, "10.0.0.2:80").is_ok());
    assert!(add(Scope::Global, "9.9.9.9:80").is_ok());
}

#[test]
fn sources_are_bounded_and_must_have_a_piece() {
    let mut hosts = Hosts::new(0);
    let now = hosts.room.now;
    for span in [TOTAL..TOTAL + PIECE, 0..TOTAL + 1, 1..PIECE, 5..5] {
        let refused = hosts.leech().add_source(now, SourceSpec { span, ..whole() });
        assert!(matches!(refused, Err(SourceRefusal::NoPiece { .. })));
    }
    let first = hosts.add(Kind::Dead, MEG, whole());
    for _ in 1..SOURCES_MAX {
        hosts.add(Kind::Dead, MEG, whole());
    }
    let full = Err(SourceRefusal::Full(SOURCES_MAX));
    assert_eq!(hosts.leech().add_source(now, whole()), full);
    assert_eq!(hosts.runs.len(), ACTIVE_MAX);
    hosts.leech().remove_source(now, first);
    hosts.ops();
    assert_eq!(hosts.runs.len(), ACTIVE_MAX, "another has taken its place");
    hosts.add(Kind::Dead, MEG, whole());
    let fresh = machine(9).add_source(now, whole());
    assert_eq!(fresh, Err(SourceRefusal::NoMetadata));
}

impl Hosts {
    /// Waits until so many pieces are there.
    fn finish_part(&mut self, pieces: u32) {
        self.pass(Duration::from_secs(5));
        assert_eq!(self.leech().have().unwrap().count(), pieces);
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Good),
        1 => Just(Kind::Dead),
        1 => Just(Kind::Down),
        1 => Just(Kind::Endless),
        1 => Just(Kind::Liar),
        1 => Just(Kind::Partial),
        1 => Just(Kind::Short),
        1 => Just(Kind::Wrong),
        1 => Just(Kind::Full(None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn one_honest_source_among_any_others_is_enough(
        others in prop::collection::vec((any_kind(), 20_000u64..4 * MEG, 1usize..4), 0..12),
        place in any::<prop::sample::Index>(), turns in prop::collection::vec((0u64..8, any_kind()), 0..6)) {
        let mut hosts = Hosts::new(0);
        let honest = place.index(others.len() + 1);
        let mut keys = Vec::new();
        for (nth, &(kind, rate, parallel)) in others.iter().enumerate() {
            if nth == honest {
                hosts.add(Kind::Good, MEG, whole());
            }
            keys.push(hosts.add(kind, rate, SourceSpec { parallel, ..whole() }));
        }
        if honest == others.len() {
            hosts.add(Kind::Good, MEG, whole());
        }
        for (nth, &(wait, kind)) in turns.iter().enumerate() {
            hosts.pass(Duration::from_secs(wait));
            if let Some(host) = keys.get(nth).and_then(|key| hosts.hosts.get_mut(key)) {
                host.kind = kind;
            }
        }
        hosts.finish(400);
        let now = hosts.room.now;
        let got: u64 = hosts.leech().sources(now).iter().map(|source| source.downloaded).sum();
        let status = hosts.leech().status(now);
        prop_assert!(got >= TOTAL && status.downloaded <= got + status.wasted);
        prop_assert_eq!(status.done, TOTAL);
        prop_assert!(hosts.runs.is_empty());
        for (source, fault) in hosts.gone() {
            let honest = hosts.hosts[&source].kind == Kind::Good && !keys.contains(&source);
            prop_assert!(!honest, "{:?} gone for {:?}", source, fault);
        }
    }
}
