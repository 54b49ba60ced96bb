//! Downloads from hosts of byte ranges, alone and beside peers.

use super::hosts::{Hosts, Kind, MEG, PIECE, TOTAL, big, whole};
use super::*;
use crate::scope::Scope;
use crate::swarm::source::{
    ACTIVE_MAX, AHEAD_MAX, FIRST_LEN, FetchKey, PARALLEL_MAX, RANGE_TIME, SOURCES_MAX, STALL_AFTER,
    SourceFault, SourceOp, SourceRefusal, SourceSpec,
};
use proptest::prelude::*;
use std::ops::Range;

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
    assert_eq!((asked, hosts.got(liar)), (1, PIECE), "the first piece is proof");
    assert_eq!((hosts.of(liar).good, hosts.of(good).good), (0, TOTAL));
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
    assert_eq!(hosts.broken, [], "it had not begun");
    hosts.add(Kind::Dead, MEG, whole());
    hosts.add(Kind::Good, MEG, whole());
    let took = hosts.finish(60);
    assert!(took < 40.0, "{took} s for 20 MiB at 1 MiB/s beside two who send nothing");
}

#[test]
fn who_falls_silent_in_the_middle_of_a_range_has_broken_it_off() {
    let mut hosts = Hosts::new(0);
    let silent = hosts.add(Kind::Good, MEG, whole());
    hosts.pass(Duration::from_secs(1));
    hosts.hosts.get_mut(&silent).unwrap().kind = Kind::Dead;
    hosts.add(Kind::Good, MEG / 2, whole());
    hosts.finish(60);
    assert_eq!(hosts.broken, [silent], "once, and nobody else");
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
fn what_others_have_sent_meanwhile_is_not_read() {
    let mut hosts = Hosts::new(0);
    hosts.room.hosts[0] = machine(0);
    let wanted = |piece: PieceIndex| if piece.0 < 5 { Priority::Normal } else { Priority::Skip };
    let now = hosts.room.now;
    hosts.leech().set_content(now, info(), big(), Bitfield::empty(320), wanted);
    hosts.add(Kind::Dead, MEG, SourceSpec { span: 0..4 * PIECE, ..whole() });
    hosts.add(Kind::Dead, MEG, SourceSpec { span: 4 * PIECE..5 * PIECE, ..whole() });
    assert_eq!(hosts.runs.len(), 2, "the end has begun");
    let peer = hosts.room.attach(0);
    let has = (0..4).map(Message::Have);
    let first: Vec<Message> = [Message::HaveNone].into_iter().chain(has).collect();
    hosts.room.hear(0, peer, &first);
    hosts.room.hear(0, peer, &[Message::Unchoke]);
    for nth in 0..16 {
        let asked = hosts.room.sent.iter().rev().find_map(|(_, message)| {
            if let Message::Request(request) = message { Some(*request) } else { None }
        });
        let Request { index, begin, len } = asked.expect("one block after the other");
        assert_ne!(hosts.leech().handle_block(now, peer, index, begin, len), Fate::Drop);
        assert_eq!(hosts.runs.len(), 2, "{nth}");
        hosts.room.settle();
    }
    hosts.ops();
    assert_eq!((hosts.stops, hosts.runs.len()), (1, 1), "the other is still needed");
    assert!(!hosts.room.done(0));
}

#[test]
fn what_is_asked_of_all_is_bounded() {
    let mut leech = machine(0);
    let len = 16 * MEG;
    let geometry = Geometry::new(Version::V1, 64 * len, len).unwrap();
    let normal = |_| Priority::Normal;
    leech.set_content(Instant::ZERO, info(), geometry, Bitfield::empty(64), normal);
    for _ in 0..ACTIVE_MAX {
        let spec = SourceSpec { span: 0..64 * len, parallel: PARALLEL_MAX, ..whole() };
        leech.add_source(Instant::ZERO, spec).unwrap();
    }
    let mut asked = 0;
    while let Some(SourceOp::Ask(ask)) = leech.poll_source() {
        asked += ask.part.len;
    }
    assert!((AHEAD_MAX..AHEAD_MAX + len).contains(&asked), "{asked}");
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
fn a_good_piece_makes_up_for_failures() {
    let mut hosts = Hosts::new(0);
    let key = hosts.add(Kind::Down, 100_000, whole());
    for turn in 0..2 {
        hosts.pass(Duration::from_secs(400)); // the 7th time was after 315 s
        assert!(hosts.gone().is_empty(), "turn {turn}: {:?}", hosts.asks.len());
        hosts.hosts.get_mut(&key).unwrap().kind = Kind::Good;
        hosts.pass(Duration::from_secs(300));
        assert!(!hosts.runs.is_empty() && hosts.got(key) > 0);
        hosts.hosts.get_mut(&key).unwrap().kind = Kind::Down;
        let running = *hosts.runs.keys().next().unwrap();
        hosts.end(running, Err(SourceFault::Lost));
        hosts.ops();
    }
}

#[test]
fn who_has_nothing_left_for_us_makes_room() {
    let mut hosts = Hosts::new(0);
    for _ in 0..ACTIVE_MAX {
        hosts.add(Kind::Good, MEG, SourceSpec { span: 0..2 * PIECE, ..whole() });
    }
    hosts.add(Kind::Good, 4 * MEG, whole());
    hosts.finish(10);
}

#[test]
fn what_is_taken_back_before_the_driver_saw_it_is_not_asked_for() {
    let mut hosts = Hosts::new(0);
    let now = hosts.room.now;
    let leech = hosts.leech();
    let source = leech.add_source(now, whole()).unwrap();
    leech.remove_source(now, source);
    assert_eq!(leech.poll_source(), None);
    assert_eq!(leech.sources(now)[0].gone, Some(SourceFault::Removed));
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
fn with_a_limit_all_sources_have_their_turns() {
    let mut hosts = Hosts::new(0);
    let now = hosts.room.now;
    hosts.leech().set_limits(now, Some(BytesPerSec(500_000)), None);
    let keys = [16 * MEG, 4 * MEG, MEG].map(|rate| hosts.add(Kind::Good, rate, whole()));
    hosts.pass(Duration::from_secs(20));
    let got = keys.map(|key| hosts.got(key));
    let all: u64 = got.iter().sum();
    assert!(got.iter().all(|&got| got > all / 10), "{got:?}");
}

#[test]
fn with_a_limit_who_is_asked_first_does_not_keep_what_the_others_could_send() {
    let mut hosts = Hosts::new(1);
    let now = hosts.room.now;
    hosts.leech().set_limits(now, Some(BytesPerSec(4 * MEG)), None);
    hosts.room.connect(0, 1);
    let spec = || SourceSpec { parallel: PARALLEL_MAX, ..whole() };
    let first = hosts.add(Kind::Good, 64 * MEG, spec());
    hosts.pass(Duration::from_millis(400)); // what it has shown is the limit
    let late = [64, 32].map(|rate| hosts.add(Kind::Good, rate * MEG, spec()));
    hosts.pass(Duration::from_millis(2600));
    let got = [first, late[0], late[1]].map(|key| hosts.got(key));
    let all: u64 = got.iter().sum();
    assert!(got.iter().all(|&got| (all / 5..all / 2).contains(&got)), "{got:?}");
    let from_peers = hosts.leech().status(now).downloaded - all;
    assert!(from_peers > all / 5, "{from_peers} beside {all}: nor what peers could send");
}

#[test]
fn a_limit_does_not_pay_for_what_never_comes() {
    let mut hosts = Hosts::new(0);
    let (now, limit) = (hosts.room.now, BytesPerSec(500_000));
    hosts.leech().set_limits(now, Some(limit), None);
    for _ in 0..40 {
        hosts.add(Kind::Full(None), MEG, whole());
    }
    let key = hosts.add(Kind::Good, MEG, whole());
    hosts.pass(Duration::from_secs(10));
    let (got, fair) = (hosts.got(key), limit.0 * 10);
    assert!((fair * 7 / 10..fair + FIRST_LEN).contains(&got), "{got} of {fair}");
}

#[test]
fn attack_36_a_stranger_does_not_send_us_to_near_addresses() {
    let mut hosts = Hosts::new(0);
    let now = hosts.room.now;
    let mut add = |teller, at: &str| {
        let addr = Some(at.parse().unwrap());
        hosts.leech().add_source(now, SourceSpec { addr, teller, ..whole() })
    };
    for near in ["127.0.0.1:80", "10.0.0.1:80", "169.254.169.254:80", "[::ffff:127.0.0.1]:81"] {
        assert!(matches!(add(Scope::Global, near), Err(SourceRefusal::Address(_))), "{near}");
        assert!(add(Scope::Loopback, near).is_ok(), "{near}: the user may");
    }
    assert!(matches!(add(Scope::Loopback, "0.0.0.0:80"), Err(SourceRefusal::Address(_))));
    assert!(add(Scope::Private, "10.0.0.2:80").is_ok());
    assert!(add(Scope::Global, "9.9.9.9:80").is_ok());
}

#[test]
fn a_private_torrent_has_no_sources() {
    let mut leech = machine(0);
    let info = Bytes::from_static(b"d7:privatei1ee");
    let none = Bitfield::empty(320);
    leech.set_content(Instant::ZERO, info, big(), none, |_| Priority::Normal);
    assert_eq!(leech.add_source(Instant::ZERO, whole()), Err(SourceRefusal::Private));
}

#[test]
fn a_host_that_two_hits_name_is_one_source() {
    let mut hosts = Hosts::new(0);
    let at = |addr: &str| SourceSpec { addr: Some(addr.parse().unwrap()), ..whole() };
    let key = hosts.add(Kind::Dead, MEG, at("198.18.0.7:80"));
    let now = hosts.room.now;
    let again = hosts.leech().add_source(now, at("[::ffff:198.18.0.7]:80"));
    assert_eq!(again, Err(SourceRefusal::Known));
    let other_file = SourceSpec { span: 0..4 * PIECE, ..at("198.18.0.7:80") };
    assert!(hosts.leech().add_source(now, other_file).is_ok());
    hosts.leech().remove_source(now, key);
    assert!(hosts.leech().add_source(now, at("198.18.0.7:80")).is_ok(), "it may come back");
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
