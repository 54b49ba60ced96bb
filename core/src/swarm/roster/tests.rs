//! Candidates, connections and bans, one promise at a time.

use super::*;
use crate::external::Sighting;
use proptest::prelude::{
    ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_assert_ne, prop_oneof, proptest,
};
use proptest::strategy::{Just, Strategy};

const US: PeerId = PeerId(*b"-GG0100-aaaaaaaaaaaa");

fn id(tag: u8) -> PeerId {
    PeerId(std::array::from_fn(|at| if at == 19 { tag } else { b'z' }))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn far(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], port))
}

const fn ms(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn roster(config: RosterConfig) -> Roster {
    Roster::new(config, US, Rng::seeded(1))
}

fn dials(roster: &mut Roster, now: Instant) -> Vec<SocketAddr> {
    std::iter::from_fn(|| roster.poll_dial(now, true)).collect()
}

/// Connects to a peer at this address and hopes for no objection.
fn admit(roster: &mut Roster, at: SocketAddr, tag: u8) {
    assert_eq!(roster.connected(ms(0), at, Direction::Incoming, id(tag)), Ok(Admission::default()));
}

const USEFUL: Outcome = Outcome { useful: true, fault: None, sated: false };

#[test]
fn impossible_addresses_are_not_learned() {
    let mut roster = roster(RosterConfig { privileged_ports: false, ..RosterConfig::default() });
    for bad in [
        "1.2.3.4:0",
        "0.0.0.0:80",
        "224.0.0.1:6881",
        "[ff02::1]:6881",
        "[::]:1",
        "255.255.255.255:9999",
        "8.8.8.8:53",
    ] {
        assert!(!roster.add(ms(0), Source::Pex, addr(bad)), "{bad}");
    }
    assert!(roster.add(ms(0), Source::Pex, addr("[::ffff:9.9.9.9]:6881")));
    assert!(!roster.add(ms(0), Source::Tracker, addr("9.9.9.9:6881")), "the same in another dress");
    assert_eq!(dials(&mut roster, ms(0)), [addr("9.9.9.9:6881")]);
}

#[test]
fn a_near_peer_is_retried_within_a_second_and_a_far_one_is_not_pestered() {
    let mut roster = roster(RosterConfig::default());
    let (near, distant) = (addr("127.0.0.1:7000"), far(1, 7000));
    roster.add(ms(0), Source::Tracker, near);
    roster.add(ms(0), Source::Tracker, distant);
    let mut tried = BTreeMap::<SocketAddr, Vec<u64>>::new();
    let mut now = ms(0);
    for _ in 0..100 {
        for dialled in dials(&mut roster, now) {
            tried.entry(dialled).or_default().push(now.as_micros() / 1000);
            roster.dial_failed(now, dialled);
        }
        let Some(next) = roster.poll_timeout() else { break };
        now = now.max(next);
    }
    assert_eq!(tried[&near], [0, 100, 350, 850, 1850, 3850, 8850, 18_850]);
    assert_eq!(tried[&distant], [0, 60_000, 180_000]);
    assert_eq!(roster.poll_timeout(), None, "both are given up");
    // Listed again: one more try, and not before the last failure is paid for.
    roster.add(now, Source::Tracker, distant);
    assert_eq!(dials(&mut roster, now), []);
    assert_eq!(roster.poll_timeout(), Some(ms(360_000)));
}

#[test]
fn a_peer_that_the_user_named_is_never_given_up() {
    let mut roster = roster(RosterConfig::default());
    roster.add(ms(0), Source::Explicit, far(1, 7000));
    let mut now = ms(0);
    for _ in 0..20 {
        assert_eq!(dials(&mut roster, now), [far(1, 7000)]);
        roster.dial_failed(now, far(1, 7000));
        assert_eq!(dials(&mut roster, now), []);
        let next = roster.poll_timeout().unwrap();
        assert!(next.since(now) <= EXPLICIT_RETRY_MAX);
        now = next;
    }
}

#[test]
fn better_sources_and_fewer_failures_go_first() {
    let mut roster = roster(RosterConfig::default());
    for (host, source) in
        [(1, Source::Pex), (2, Source::Tracker), (3, Source::Dht), (4, Source::Explicit)]
    {
        roster.add(ms(0), source, far(host, 1));
    }
    assert_eq!(dials(&mut roster, ms(0)), [far(4, 1), far(2, 1), far(3, 1), far(1, 1)]);
    roster.dial_failed(ms(0), far(2, 1));
    roster.connected(ms(0), far(1, 1), Direction::Outgoing, id(1)).unwrap();
    roster.disconnected(ms(0), far(1, 1), USEFUL);
    assert_eq!(dials(&mut roster, ms(60_000)), [far(1, 1), far(2, 1)]);
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let mut roster = roster(RosterConfig::default());
    roster.add(ms(0), Source::Tracker, far(1, 7000));
    assert_eq!(dials(&mut roster, ms(0)), [far(1, 7000)]);
    let own = roster.connected(ms(0), far(1, 7000), Direction::Outgoing, US);
    assert_eq!(own, Err(Refusal::SelfConnection));
    assert!(!roster.add(ms(0), Source::Tracker, far(1, 7000)), "known as our own from now on");
    let caller = roster.connected(ms(0), far(1, 51234), Direction::Incoming, US);
    assert_eq!(
        (caller, roster.connections(), roster.dialling()),
        (Err(Refusal::SelfConnection), 0, 0)
    );
}

#[test]
fn connections_are_bounded_and_some_are_left_to_callers() {
    let mut roster = roster(RosterConfig { connections_max: 10, ..RosterConfig::default() });
    (1..=20).for_each(|host| {
        roster.add(ms(0), Source::Tracker, far(host, 1));
    });
    let dialled = dials(&mut roster, ms(0));
    assert_eq!(dialled.len(), 9);
    assert_eq!(roster.poll_timeout(), None, "nothing to wake up for");
    for (tag, at) in (0..).zip(dialled) {
        roster.connected(ms(0), at, Direction::Outgoing, id(tag)).unwrap();
    }
    admit(&mut roster, far(99, 40_000), 99);
    let one_more = roster.connected(ms(0), far(98, 40_000), Direction::Incoming, id(98));
    assert_eq!(one_more, Err(Refusal::Full(10)));
    roster.disconnected(ms(0), far(99, 40_000), USEFUL);
    admit(&mut roster, far(98, 40_000), 98);
}

#[test]
fn a_connected_peer_is_not_dialled_at_its_other_address() {
    let mut roster = roster(RosterConfig::default());
    admit(&mut roster, far(1, 40_000), 5);
    roster.listens_on(ms(0), far(1, 40_000), 6881);
    assert_eq!(dials(&mut roster, ms(0)), []);
    assert_eq!(roster.poll_timeout(), None);
    roster.disconnected(ms(1000), far(1, 40_000), USEFUL);
    assert_eq!(dials(&mut roster, ms(1000)), [far(1, 6881)]);
    // It was dialled under a name that we did not know for its own.
    roster.connected(ms(2000), far(1, 6881), Direction::Outgoing, id(5)).unwrap();
    roster.add(ms(2000), Source::Pex, far(2, 1));
    assert_eq!(dials(&mut roster, ms(2000)), [far(2, 1)]);
    let again = roster.connected(ms(2000), far(2, 1), Direction::Outgoing, id(5));
    assert_eq!(again, Err(Refusal::Duplicate));
    assert_eq!(dials(&mut roster, ms(999_000)), []);
}

#[test]
fn an_old_connection_is_not_replaced() {
    for (theirs, since) in [(id(1), 0), (PeerId([0; 20]), 0)] {
        let mut roster = roster(RosterConfig::default());
        roster.connected(ms(since), far(1, 6881), Direction::Outgoing, theirs).unwrap();
        let late =
            roster.connected(ms(since + 10_000), far(1, 40_000), Direction::Incoming, theirs);
        assert_eq!(late, Err(Refusal::Duplicate));
    }
}

#[test]
fn a_single_culprit_is_banned_and_its_id_with_it() {
    let mut roster = roster(RosterConfig::default());
    let (liar, honest) = (far(1, 40_000), far(1, 40_001));
    admit(&mut roster, liar, 1);
    admit(&mut roster, honest, 2);
    assert_eq!(roster.piece_failed(&[liar], true), [(liar, Sentence::Ban)]);
    assert!(roster.is_banned(liar));
    assert!(!roster.is_banned(honest), "somebody else at the same host");
    roster.disconnected(
        ms(0),
        liar,
        Outcome { useful: true, fault: Some(Blame::Remote), sated: false },
    );
    let back = roster.connected(ms(0), far(1, 50_000), Direction::Incoming, id(1));
    assert_eq!(back, Err(Refusal::Banned), "the same id from a new port");
    assert!(!roster.add(ms(0), Source::Tracker, liar));
}

#[test]
fn a_liar_alone_at_its_host_costs_two_pieces_and_one_among_others_sixteen() {
    for (shared, want) in [(false, BANS_PER_HOST), (true, BANS_PER_SHARED_HOST)] {
        let mut roster = roster(RosterConfig::default());
        if shared {
            admit(&mut roster, far(1, 6881), 200);
        }
        let mut wasted = 0;
        // It returns with a new port and a new id each time.
        while roster
            .connected(ms(0), far(1, 40_000 + wasted), Direction::Incoming, id(wasted as u8))
            .is_ok()
        {
            assert_eq!(roster.piece_failed(&[far(1, 40_000 + wasted)], true).len(), 1);
            roster.disconnected(ms(0), far(1, 40_000 + wasted), Outcome::default());
            wasted += 1;
        }
        assert_eq!(usize::from(wasted), want);
        assert!(roster.add(ms(0), Source::Explicit, far(1, 7000)), "unless the user insists");
    }
}

#[test]
fn attack_20_suspects_go_on_parole_until_the_liar_is_alone() {
    // Three share every piece, one of them lies in each; on parole each has a piece to itself.
    let mut roster = roster(RosterConfig::default());
    let peers = [far(1, 1), far(2, 1), far(3, 1)];
    (0..).zip(peers).for_each(|(tag, at)| admit(&mut roster, at, tag));
    let paroles = roster.piece_failed(&peers, false);
    assert_eq!(paroles, peers.map(|at| (at, Sentence::Parole)));
    assert!(peers.iter().all(|at| roster.is_on_parole(*at)));
    assert_eq!(roster.piece_passed(&[peers[0]]), [peers[0]]);
    assert!(!roster.is_on_parole(peers[0]));
    assert_eq!(roster.piece_failed(&[peers[1]], true), [(peers[1], Sentence::Ban)]);
    assert_eq!(roster.piece_passed(&[peers[2]]), [peers[2]]);
    assert_eq!(peers.map(|at| roster.is_banned(at)), [false, true, false]);
    // Two pieces were lost: the shared one, and the one that proved it.
}

#[test]
fn attack_20_a_liar_that_is_never_alone_is_banned_all_the_same() {
    let mut roster = roster(RosterConfig::default());
    let liar = far(9, 1);
    admit(&mut roster, liar, 9);
    let mut failed = 0;
    while !roster.is_banned(liar) {
        let other = far(failed + 10, 1);
        admit(&mut roster, other, failed + 10);
        let sentences = roster.piece_failed(&[liar, other], false);
        assert_eq!(sentences[1], (other, Sentence::Parole));
        failed += 1;
    }
    assert_eq!(failed, 4, "trust of -7 is reached by four bad pieces");
}

#[test]
fn parole_and_blame_outlive_a_connection() {
    let mut roster = roster(RosterConfig::default());
    let (a, b) = (far(1, 40_000), far(2, 40_000));
    admit(&mut roster, a, 1);
    admit(&mut roster, b, 2);
    assert_eq!(roster.piece_failed(&[a, b], false).len(), 2);
    roster.disconnected(ms(0), a, USEFUL);
    let back = roster.connected(ms(0), far(1, 40_001), Direction::Incoming, id(1));
    assert_eq!(back, Ok(Admission { replaces: None, parole: true }));
    // A piece of somebody who left is found bad only now.
    roster.disconnected(ms(0), b, USEFUL);
    assert_eq!(roster.piece_failed(&[b], true), [(b, Sentence::Ban)]);
    assert_eq!(
        roster.connected(ms(0), far(7, 1), Direction::Incoming, id(2)),
        Err(Refusal::Banned)
    );
}

#[test]
fn breaking_the_protocol_again_and_again_ends_in_a_ban() {
    let mut roster = roster(RosterConfig::default());
    let rude = Outcome { useful: true, fault: Some(Blame::Remote), sated: false };
    for port in 1..=u16::from(STRIKES_MAX) {
        assert!(roster.connected(ms(0), far(1, port), Direction::Incoming, id(1)).is_ok());
        roster.disconnected(ms(0), far(1, port), rude);
    }
    assert_eq!(
        roster.connected(ms(0), far(1, 9), Direction::Incoming, id(1)),
        Err(Refusal::Banned)
    );
    // Lost packets and our own limits are nobody's fault.
    for fault in [None, Some(Blame::Network), Some(Blame::Local)] {
        for port in 1..9 {
            assert!(roster.connected(ms(0), far(2, port), Direction::Incoming, id(2)).is_ok());
            roster.disconnected(
                ms(0),
                far(2, port),
                Outcome { useful: false, fault, sated: false },
            );
        }
    }
}

#[test]
fn attack_26_a_victims_address_with_a_thousand_ports_gets_a_few_packets_a_minute() {
    let mut roster = roster(RosterConfig::default());
    for port in 1000..2000 {
        roster.add(ms(0), Source::Pex, far(1, port));
    }
    assert_eq!(roster.candidates(), RosterConfig::default().candidates_per_host_max);
    let (mut now, mut packets, mut at_once) = (ms(0), 0, 0);
    while now < ms(600_000) {
        let batch = dials(&mut roster, now);
        at_once = at_once.max(batch.len());
        packets += batch.len();
        batch.into_iter().for_each(|at| roster.dial_failed(now, at));
        // The attacker says it all again.
        (1000..1100).for_each(|port| {
            roster.add(now, Source::Pex, far(1, port));
        });
        now += Duration::from_secs(1);
    }
    assert!(at_once <= DIALLING_PER_HOST, "{at_once} at once");
    assert!(packets <= 30, "{packets} dials in ten minutes");
}

#[test]
fn attack_26_no_list_of_strangers_makes_a_storm_of_dials() {
    let config =
        RosterConfig { half_open_max: 1000, connections_max: 5000, ..RosterConfig::default() };
    let mut roster = roster(config);
    for host in 0..5000u32 {
        roster.add(
            ms(0),
            Source::Pex,
            SocketAddr::from(((0x0b00_0000 + host).to_be_bytes(), 6881)),
        );
    }
    assert_eq!(roster.candidates(), config.candidates_max);
    assert_eq!(dials(&mut roster, ms(0)).len(), config.dials_burst as usize);
    let mut now = ms(0);
    let mut later = 0;
    while let Some(next) = roster.poll_timeout().filter(|next| *next <= ms(10_000)) {
        now = now.max(next);
        later += dials(&mut roster, now).len();
    }
    assert_eq!(later, 10 * config.dials_per_s as usize);
    // A tracker's word counts for more than a stranger's: there is always room for it.
    assert!(roster.add(now, Source::Tracker, far(1, 6881)));
    assert_eq!(roster.candidates(), config.candidates_max);
    assert!(!roster.add(now, Source::Pex, far(2, 6881)));
}

#[derive(Clone, Debug)]
enum Event {
    Add(u8, u16, bool),
    Answer(usize, u8),
    Call(u8, u16, u8),
    Fail(usize),
    Leave(usize, bool),
    Punish(usize),
    Wait(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0u8..6, 1u16..12, any::<bool>()).prop_map(|(host, port, named)| Event::Add(host, port, named)),
        4 => (any::<usize>(), 0u8..12).prop_map(|(nth, id)| Event::Answer(nth, id)),
        2 => (0u8..6, 40_000u16..40_020, 0u8..12).prop_map(|(host, port, id)| Event::Call(host, port, id)),
        3 => any::<usize>().prop_map(Event::Fail),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(nth, rude)| Event::Leave(nth, rude)),
        1 => any::<usize>().prop_map(Event::Punish),
        5 => (1u64..70_000_000).prop_map(Event::Wait),
        2 => Just(Event::Wait(1000)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn limits_hold_and_no_timer_spins(events in prop::collection::vec(any_event(), 0..200)) {
        let config = RosterConfig { connections_max: 9, half_open_max: 6, candidates_max: 30,
            candidates_per_host_max: 8, ..RosterConfig::default() };
        let mut roster = roster(config);
        let mut now = ms(0);
        let (mut dialling, mut live) = (Vec::<SocketAddr>::new(), Vec::<SocketAddr>::new());
        for event in events {
            let nth = |list: &[SocketAddr], nth: usize| (!list.is_empty()).then(|| nth % list.len());
            let mut met = None;
            match event {
                Event::Add(host, port, named) => {
                    let ip = if host % 2 == 0 { [10, 0, 0, host] } else { [203, 0, 113, host] };
                    let source = if named && port == 1 { Source::Explicit } else { Source::Pex };
                    roster.add(now, source, SocketAddr::from((ip, port)));
                }
                Event::Answer(at, id) => {
                    if let Some(at) = nth(&dialling, at) {
                        met = Some((dialling.remove(at), Direction::Outgoing, id));
                    }
                }
                Event::Call(host, port, id) => met = Some((far(host, port), Direction::Incoming, id)),
                Event::Fail(at) => {
                    if let Some(at) = nth(&dialling, at) {
                        roster.dial_failed(now, dialling.remove(at));
                    }
                }
                Event::Leave(at, rude) => {
                    if let Some(at) = nth(&live, at) {
                        let fault = rude.then_some(Blame::Remote);
                        roster.disconnected(now, live.remove(at), Outcome { useful: !rude, fault, sated: false });
                    }
                }
                Event::Punish(at) => {
                    if let Some(at) = nth(&live, at) {
                        let gone = live.remove(at);
                        prop_assert_eq!(roster.piece_failed(&[gone], true), [(gone, Sentence::Ban)]);
                        roster.disconnected(now, gone, Outcome::default());
                        prop_assert!(roster.is_banned(gone));
                    }
                }
                Event::Wait(us) => now += Duration::from_micros(us),
            }
            if let Some((at, direction, tag)) = met
                && let Ok(admission) = roster.connected(now, at, direction, id(tag))
            {
                prop_assert!(!live.contains(&at));
                if let Some(old) = admission.replaces {
                    prop_assert!(live.contains(&old));
                    live.retain(|other| *other != old);
                    roster.disconnected(now, old, Outcome::default());
                }
                live.push(at);
            }
            for at in dials(&mut roster, now) {
                prop_assert!(!dialling.contains(&at) && !live.contains(&at), "{} is in use", at);
                dialling.push(at);
            }
            prop_assert!(roster.poll_timeout().is_none_or(|next| next > now), "it would be asked again at once");
            prop_assert_eq!((roster.connections(), roster.dialling()), (live.len(), dialling.len()));
            prop_assert!(live.len() <= 9 && dialling.len() <= 6);
            prop_assert!(roster.candidates() <= 30);
            for host in 0..6u8 {
                let there = dialling.iter().filter(|at| at.ip() == far(host, 1).ip());
                prop_assert!(there.count() <= DIALLING_PER_HOST);
            }
        }
    }

    #[test]
    fn of_two_crossing_connections_exactly_one_survives(a_id: [u8; 20], b_id: [u8; 20],
        order_a: bool, order_b: bool, lag in 0u64..5000) {
        let (a_id, b_id) = (PeerId(a_id), PeerId(b_id));
        if a_id == b_id {
            return Ok(());
        }
        // a dials b's port 1 from port 40000, b dials a's port 1 from port 40001.
        let (host_a, host_b) = (far(1, 1), far(2, 1));
        let by_a_at_a = (host_b, Direction::Outgoing);
        let by_b_at_a = (far(2, 40_001), Direction::Incoming);
        let by_b_at_b = (host_a, Direction::Outgoing);
        let by_a_at_b = (far(1, 40_000), Direction::Incoming);
        let survivor = |us: PeerId, them: PeerId, first: (SocketAddr, Direction), second: (SocketAddr, Direction)| {
            let mut roster = Roster::new(RosterConfig::default(), us, Rng::seeded(0));
            roster.add(ms(0), Source::Tracker, if first.1 == Direction::Outgoing { first.0 } else { second.0 });
            let _ = roster.poll_dial(ms(0), true);
            assert!(roster.connected(ms(0), first.0, first.1, them).is_ok());
            match roster.connected(ms(lag), second.0, second.1, them) {
                Ok(Admission { replaces, .. }) => {
                    assert_eq!(replaces, Some(first.0));
                    second.1
                }
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Duplicate);
                    first.1
                }
            }
        };
        let sort = |swap: bool, a, b| if swap { (b, a) } else { (a, b) };
        let (first, second) = sort(order_a, by_a_at_a, by_b_at_a);
        let at_a = survivor(a_id, b_id, first, second);
        let (first, second) = sort(order_b, by_b_at_b, by_a_at_b);
        let at_b = survivor(b_id, a_id, first, second);
        prop_assert_ne!(at_a, at_b, "one end keeps it as outgoing, the other as incoming");
        prop_assert_eq!(at_a == Direction::Outgoing, a_id > b_id);
    }
}

#[test]
fn a_peer_that_needs_nothing_and_gives_nothing_is_left_alone_for_long() {
    let mut roster = roster(RosterConfig::default());
    let addr = far(1, 1000);
    roster.add(ms(0), Source::Tracker, addr);
    assert_eq!(roster.poll_dial(ms(0), true), Some(addr));
    roster.connected(ms(0), addr, Direction::Outgoing, PeerId([7; 20])).unwrap();
    roster.disconnected(ms(1), addr, Outcome { useful: true, fault: None, sated: true });
    assert_eq!(roster.poll_dial(ms(60_000), true), None);
    assert_eq!(roster.poll_dial(ms(31 * 60_000), true), Some(addr));
}

#[test]
fn the_dead_ports_of_a_near_host_do_not_hide_a_living_one() {
    for seed in 0..20 {
        let mut roster = Roster::new(RosterConfig::default(), US, Rng::seeded(seed));
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        (5000..5040).for_each(|port| _ = roster.add(ms(0), Source::Tracker, at(port)));
        let dialled = (0..30_000).step_by(50).find(|&now| {
            let dialled = dials(&mut roster, ms(now));
            dialled.iter().for_each(|&addr| roster.dial_failed(ms(now), addr));
            dialled.contains(&at(5039))
        });
        assert!(dialled.is_some_and(|now| now <= 10_000), "{dialled:?} ms");
    }
}

/// In one net many addresses would have one priority; that is its purpose.
fn in_a_net_of_its_own(n: u8) -> SocketAddr {
    SocketAddr::from(([20 + n, 3 * n, 9, 9], 7000))
}

#[test]
fn with_more_candidates_than_places_the_canonical_order_decides() {
    let config = RosterConfig { half_open_max: 3, ..RosterConfig::default() };
    let mut roster = roster(config);
    let us = addr("8.8.8.8:6881");
    let by = addr("9.9.9.9:1").ip();
    roster.seen_at(ms(0), Sighting { by, us: us.ip() }, us.port());
    let mut all: Vec<SocketAddr> = (1..=30).map(in_a_net_of_its_own).collect();
    for &at in &all {
        roster.add(ms(0), Source::Tracker, at);
    }
    roster.add(ms(0), Source::Pex, addr("7.7.7.7:1"));
    all.sort_by_key(|&there| std::cmp::Reverse(canonical_priority(us, there)));
    assert_eq!(dials(&mut roster, ms(0)), all[..3], "and a better source goes before it");
}

#[test]
fn at_the_bound_the_least_of_the_canonical_order_makes_room() {
    let mut roster = roster(RosterConfig { candidates_max: 10, ..RosterConfig::default() });
    let us = addr("8.8.8.8:6881");
    let by = addr("9.9.9.9:1").ip();
    roster.seen_at(ms(0), Sighting { by, us: us.ip() }, us.port());
    let mut all: Vec<SocketAddr> = (1..=10).map(in_a_net_of_its_own).collect();
    for &at in &all {
        roster.add(ms(0), Source::Pex, at);
    }
    assert!(roster.add(ms(0), Source::Tracker, far(200, 7000)));
    all.sort_by_key(|&there| canonical_priority(us, there));
    assert!(!roster.knows(all[0]) && all[1..].iter().all(|&kept| roster.knows(kept)));
}

#[test]
fn attack_26_a_victim_named_by_many_costs_it_a_few_packets_a_minute() {
    let mut roster = roster(RosterConfig::default());
    let victim = far(66, 0).ip();
    // Every source names it, with all of its ports, again and again.
    let sources = [Source::Pex, Source::Dht, Source::Lsd, Source::Tracker, Source::Magnet];
    let (mut now, end, mut dialled) = (ms(0), ms(3_600_000), 0);
    while now < end {
        for (n, source) in sources.into_iter().enumerate() {
            for port in 0..200 {
                roster.add(now, source, SocketAddr::new(victim, 1 + port * 5 + n as u16));
            }
        }
        let under_way = dials(&mut roster, now);
        assert!(under_way.len() <= DIALLING_PER_HOST, "{under_way:?}");
        dialled += under_way.len();
        for at in under_way {
            roster.dial_failed(now, at);
        }
        now += Duration::from_secs(1);
    }
    assert!(roster.candidates() <= RosterConfig::default().candidates_per_host_max);
    assert!((8..120).contains(&dialled), "{dialled} packets in an hour");
}
