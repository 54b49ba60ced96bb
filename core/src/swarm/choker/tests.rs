//! Rounds of the choker among peers whose rates and interest the test plays.

use super::*;
use proptest::prelude::{
    ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::strategy::{Just, Strategy};

const fn secs(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

fn contender(peer: u32, down: u64) -> Contender {
    Contender {
        peer: PeerKey(peer),
        interested: true,
        unchoked: false,
        down: BytesPerSec(down),
        up: BytesPerSec(0),
        snubbed: false,
        joined: Instant::ZERO,
        sent: 0,
        complete: false,
        given: 0,
        taken: 0,
        hoards: false,
    }
}

fn choker(slots: usize, seed: u64) -> Choker {
    Choker::new(
        ChokerConfig { slots: Slots::Fixed(slots), ..ChokerConfig::default() },
        Rng::seeded(seed),
    )
}

/// Peers and the choker that judges them; changes are applied as the torrent would.
struct Play {
    choker: Choker,
    peers: Vec<Contender>,
    seeding: bool,
    limit: Option<BytesPerSec>,
    rate: BytesPerSec,
}

impl Play {
    fn new(choker: Choker, peers: Vec<Contender>) -> Self {
        Self { choker, peers, seeding: false, limit: None, rate: BytesPerSec(0) }
    }

    fn round(&mut self, now: Instant) -> Vec<(PeerKey, Choke)> {
        assert!(self.choker.round_due() <= now);
        let changes = self.choker.round(now, self.seeding, self.limit, self.rate, &self.peers);
        for (key, choke) in &changes {
            self.set(*key, *choke);
        }
        changes
    }

    fn fill(&mut self, now: Instant) -> Vec<PeerKey> {
        let new = self.choker.fill(now, self.seeding, &self.peers);
        for key in &new {
            self.set(*key, Choke::Unchoked);
        }
        new
    }

    fn set(&mut self, key: PeerKey, choke: Choke) {
        let peer = self.peers.iter_mut().find(|peer| peer.peer == key).expect("a peer of ours");
        let unchoked = choke == Choke::Unchoked;
        assert_ne!(peer.unchoked, unchoked, "only changes are reported");
        peer.unchoked = unchoked;
        if unchoked {
            peer.sent = 0;
        }
    }

    fn unchoked(&self) -> Vec<u32> {
        self.peers.iter().filter(|peer| peer.unchoked).map(|peer| peer.peer.0).collect()
    }
}

#[test]
fn the_best_rates_get_the_regular_slots_and_one_more_is_tried() {
    let mut play = Play::new(
        choker(3, 1),
        (0..10).map(|peer| contender(peer, u64::from(peer) * 100)).collect(),
    );
    play.round(secs(0));
    let tried = play.choker.optimistic().expect("somebody is tried").0;
    assert!(tried < 7);
    let mut want = vec![tried, 7, 8, 9];
    assert_eq!(play.unchoked(), want);
    // The order turns round; the one that is tried keeps its chance.
    for peer in &mut play.peers {
        peer.down = BytesPerSec(1000 - peer.down.0);
    }
    play.round(secs(10));
    want = (0..10).filter(|peer| *peer != tried).take(3).chain([tried]).collect();
    if tried < 3 {
        // It earned a regular slot, so that another one is tried.
        want.pop();
        want.extend([tried, play.choker.optimistic().unwrap().0]);
        want.retain(|peer| *peer != 3 || play.choker.optimistic() == Some(PeerKey(3)));
    }
    want.sort_unstable();
    want.dedup();
    assert_eq!(play.unchoked(), want);
}

#[test]
fn the_optimistic_slot_turns_every_30_s_and_everybody_gets_it() {
    let mut play = Play::new(choker(2, 5), (0..6).map(|peer| contender(peer, 0)).collect());
    play.peers[0].down = BytesPerSec(9000);
    play.peers[1].down = BytesPerSec(8000);
    let mut holders = Vec::new();
    for round in 0..24 {
        play.round(secs(round * 10));
        holders.push(play.choker.optimistic().unwrap().0);
    }
    assert!(holders.chunks(3).all(|turn| turn[0] == turn[1] && turn[1] == turn[2]), "{holders:?}");
    let turns: Vec<u32> = holders.chunks(3).map(|turn| turn[0]).collect();
    // The first ones go to those who never had it, though not three in a row; then whoever waits longest is next.
    assert_eq!(turns[..5].iter().collect::<BTreeSet<_>>().len(), 4, "{turns:?}");
    assert_eq!(turns[4..].iter().collect::<BTreeSet<_>>().len(), 4, "{turns:?}");
}

#[test]
fn a_newcomer_is_served_within_three_optimistic_periods() {
    for seed in 0..20 {
        let mut play =
            Play::new(choker(4, seed), (0..20).map(|peer| contender(peer, 5000)).collect());
        let mut now = 0;
        for _ in 0..100 {
            play.round(secs(now));
            now += 10;
        }
        now += seed;
        let joined = now;
        play.peers.push(Contender { joined: secs(now), ..contender(99, 0) });
        play.fill(secs(now));
        while !play.peers[20].unchoked {
            now += 1;
            if play.choker.round_due() <= secs(now) {
                play.round(secs(now));
            }
            assert!(now - joined <= 3 * OPTIMISTIC.as_secs(), "seed {seed}: still waiting");
        }
    }
}

#[test]
fn endless_newcomers_do_not_starve_those_who_wait() {
    let mut play = Play::new(choker(1, 7), (0..3).map(|peer| contender(peer, 0)).collect());
    play.peers[0].down = BytesPerSec(5000);
    let mut served = BTreeSet::new();
    for round in 0..60u32 {
        // The same stranger connects anew all the time, with a new key each.
        play.peers
            .push(Contender { joined: secs(u64::from(round) * 10), ..contender(100 + round, 0) });
        play.round(secs(u64::from(round) * 10));
        if round > 12 {
            served.extend(play.choker.optimistic().filter(|peer| peer.0 < 100));
        }
    }
    assert!(served.contains(&PeerKey(1)) && served.contains(&PeerKey(2)), "{served:?}");
}

#[test]
fn a_snubbed_peer_loses_its_regular_slot() {
    let mut play = Play::new(
        choker(2, 3),
        (0..4).map(|peer| contender(peer, 1000 - u64::from(peer))).collect(),
    );
    play.round(secs(0));
    assert!(play.peers[0].unchoked && play.peers[1].unchoked);
    play.peers[0].snubbed = true;
    play.round(secs(10));
    assert!(!play.peers[0].unchoked, "fast once, but it keeps us waiting");
    assert!(play.peers[1].unchoked && play.peers[2].unchoked);
    play.peers[0].snubbed = false;
    play.round(secs(20));
    assert!(play.peers[0].unchoked);
}

#[test]
fn who_only_takes_comes_after_everybody_else() {
    // Two that give, two newcomers, two that have taken their credit and given nothing.
    let peers: Vec<Contender> =
        (0..6).map(|n| contender(n, if n < 2 { 1000 } else { 0 })).collect();
    let mut play = Play::new(choker(4, 1), peers);
    for rider in 4..6 {
        play.peers[rider].taken = TAKER_MIN;
    }
    play.choker.riders_due = secs(1000); // their turn is not now
    play.round(Instant::ZERO);
    assert_eq!(play.unchoked(), [0, 1, 2, 3], "nobody waits but free riders");
    assert!(play.fill(secs(1)).is_empty());
    // What nobody else wants they may have; how much of a limit that is the torrent sees to. Nobody loses by it.
    play.peers[3].interested = false;
    play.peers[3].unchoked = false;
    assert!(play.fill(secs(9)).is_empty(), "an interest may come back in a second");
    play.round(secs(10));
    assert!(play.unchoked().contains(&4) || play.unchoked().contains(&5));
    play.peers[3].interested = true;
    assert_eq!(play.fill(secs(11)), [PeerKey(3)], "what free riders hold is no slot taken");
    // What they gave may be little, but it must be something; and who never had a piece had nothing to give.
    let is_rider = |play: &Play| play.choker.is_free_rider(false, &play.peers[4]);
    assert!(is_rider(&play));
    play.peers[4].given = TAKER_MIN / TAKER_SHARE;
    assert!(!is_rider(&play));
    play.peers[4].given = 0;
    play.choker.set_piece_len(TAKER_MIN);
    assert!(!is_rider(&play), "it has taken one piece of two");
    play.peers[4].taken = 2 * TAKER_MIN;
    assert!(is_rider(&play));
}

#[test]
fn a_giver_does_not_lose_the_optimistic_slot_to_nobody() {
    // Two slots for three that give; two free riders wait.
    let mut play = Play::new(
        choker(2, 1),
        (0..5).map(|n| contender(n, if n < 3 { 1000 - u64::from(n) } else { 0 })).collect(),
    );
    play.choker.riders_due = secs(10_000);
    for rider in 3..5 {
        play.peers[rider].taken = TAKER_MIN;
    }
    let mut alone = 0;
    for round in 0..72 {
        play.round(secs(round * 10));
        let served = play.unchoked();
        alone += u32::from(served != [0, 1, 2]);
    }
    assert_eq!(alone, 0, "the third slot was empty");
}

#[test]
fn no_slots_means_no_uploads() {
    let mut play = Play::new(choker(0, 1), (0..3).map(|n| contender(n, 1000)).collect());
    for round in 0..10 {
        play.round(secs(round * 10));
        assert!(play.fill(secs(round * 10 + 5)).is_empty());
        assert!(play.unchoked().is_empty());
    }
}

#[test]
fn a_free_slot_is_filled_at_once_and_nobody_pays_for_it() {
    let mut play = Play::new(choker(2, 3), vec![contender(0, 50)]);
    play.round(secs(0));
    play.peers.push(contender(1, 0));
    assert_eq!(play.fill(secs(1)), [PeerKey(1)]);
    play.peers.push(contender(2, 0));
    assert_eq!(play.fill(secs(2)), [PeerKey(2)], "the optimistic slot");
    assert_eq!(play.choker.optimistic(), Some(PeerKey(2)));
    play.peers.push(contender(3, 9999));
    assert_eq!(play.fill(secs(3)), [], "it has to wait for a round, or for somebody to leave");
    play.peers.remove(0);
    play.choker.peer_left(PeerKey(0));
    assert_eq!(play.fill(secs(4)), [PeerKey(3)]);
    play.peers.remove(1);
    play.choker.peer_left(PeerKey(2));
    assert_eq!((play.choker.optimistic(), play.fill(secs(5)).len()), (None, 0));
}

#[test]
fn an_interest_that_flickers_costs_nothing_while_there_is_room() {
    let mut play = Play::new(choker(3, 3), (0..3).map(|peer| contender(peer, 0)).collect());
    assert_eq!(play.round(secs(0)).len(), 3);
    play.peers[1].interested = false;
    assert_eq!(play.round(secs(10)), []);
    play.peers[1].interested = true;
    assert_eq!(play.round(secs(20)), []);
    // With others waiting, a slot without use is given away.
    play.peers[1].interested = false;
    play.peers.extend((3..9).map(|peer| contender(peer, 10)));
    play.round(secs(30));
    assert!(!play.peers[1].unchoked);
    // And one that has everything is not served at all.
    let peer = play.unchoked()[0] as usize;
    play.peers[peer].complete = true;
    play.round(secs(40));
    assert!(!play.peers[peer].unchoked);
}

#[test]
fn a_seed_serves_everybody_in_turn() {
    let mut play = Play::new(choker(3, 4), (0..12).map(|peer| contender(peer, 0)).collect());
    play.seeding = true;
    let mut got = [0u64; 12];
    for round in 0..60 {
        play.round(secs(round * 10));
        for (peer, got) in play.peers.iter_mut().zip(&mut got) {
            let rate = if peer.unchoked { 100_000 + 10_000 * u64::from(peer.peer.0) } else { 0 };
            peer.up = BytesPerSec(rate);
            peer.sent += rate * 10;
            *got += rate * 10;
        }
    }
    let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
    assert!(*least > 0 && most / least < 4, "{got:?}");
}

#[test]
fn a_seed_serves_first_who_passes_on_and_lets_the_others_try_now_and_then() {
    let mut play = Play::new(choker(2, 1), (0..6).map(|n| contender(n, 0)).collect());
    play.seeding = true;
    for hoarder in 4..6 {
        play.peers[hoarder].hoards = true;
    }
    let mut served = [0; 6];
    for round in 0..96 {
        play.round(secs(round * 10));
        for peer in &mut play.peers {
            peer.up = BytesPerSec(if peer.unchoked { 500 } else { 0 });
        }
        for n in play.unchoked() {
            let regular = Some(PeerKey(n)) != play.choker.optimistic();
            assert!(!(regular && n >= 4), "round {round}: no regular slot for {n}");
            served[n as usize] += 1;
        }
    }
    // 960 s are 32 turns of the optimistic slot.
    let turns: u32 = (served[4] + served[5]) * 10 / OPTIMISTIC.as_secs() as u32;
    assert_eq!(turns, 32 / RIDER_TURNS, "{served:?}");
    assert!(served[..4].iter().all(|&rounds| rounds > 40), "{served:?}");
    for peer in &mut play.peers[..4] {
        peer.interested = false;
    }
    play.round(secs(1000));
    assert!(play.unchoked().contains(&4) && play.unchoked().contains(&5), "nobody else wants");
}

#[test]
fn a_peer_that_vanished_does_not_hold_a_slot_of_a_seed() {
    let mut play = Play::new(choker(1, 1), (0..3).map(|n| contender(n, 0)).collect());
    play.seeding = true;
    for peer in &mut play.peers {
        peer.up = BytesPerSec(1000);
    }
    play.round(secs(0));
    let regular =
        play.unchoked().into_iter().find(|&n| Some(PeerKey(n)) != play.choker.optimistic());
    let regular = regular.expect("one slot");
    play.round(secs(10));
    assert!(play.unchoked().contains(&regular), "it takes, and has not had its turn");
    play.peers[regular as usize].up = BytesPerSec(0);
    play.round(secs(20));
    assert!(!play.unchoked().contains(&regular));
}

#[test]
fn a_peer_of_a_seed_keeps_its_slot_for_its_quota() {
    let mut play = Play::new(choker(1, 4), (0..4).map(|peer| contender(peer, 0)).collect());
    play.seeding = true;
    play.round(secs(0));
    let first = play
        .unchoked()
        .into_iter()
        .find(|peer| Some(PeerKey(*peer)) != play.choker.optimistic())
        .unwrap();
    for peer in &mut play.peers {
        peer.sent = if peer.peer.0 == first { QUOTA } else { 0 };
        peer.up = BytesPerSec(1000);
    }
    play.round(secs(50));
    assert!(play.unchoked().contains(&first), "quota, but not a minute yet");
    play.round(secs(60));
    assert!(!play.unchoked().contains(&first));
}

#[test]
fn automatic_slots_follow_the_uplink() {
    #[track_caller]
    fn check(limit: Option<u64>, each: u64, want: std::ops::RangeInclusive<usize>) {
        let mut play = Play::new(Choker::new(ChokerConfig::default(), Rng::seeded(1)), vec![]);
        play.peers = (0..60).map(|peer| contender(peer, 0)).collect();
        play.limit = limit.map(BytesPerSec);
        for round in 0..40 {
            play.round(secs(round * 10));
            let served = play.unchoked().len() as u64;
            // `each` is what a peer can take; together they take no more than the uplink gives.
            let rate = each.min(limit.unwrap_or(100 << 10) / served.max(1));
            play.peers
                .iter_mut()
                .for_each(|peer| peer.up = BytesPerSec(if peer.unchoked { rate } else { 0 }));
            play.rate = BytesPerSec(rate * served);
        }
        let slots = play.choker.slots();
        assert!(want.contains(&slots), "{slots} slots for {limit:?} at {each}");
    }
    check(Some(100 << 10), u64::MAX, 4..=4); // a home uplink
    check(Some(20 << 20), u64::MAX, 11..=11); // eight leeches get a slot each, pieces still leave in 0.15 s
    check(Some(20 << 20), 1 << 20, 15..=19); // slow takers: more of them, until the uplink is in use
    check(Some(20 << 20), 1 << 10, 25..=25); // but not without end
    check(Some(1 << 10), u64::MAX, 4..=4);
    check(None, u64::MAX, 4..=5); // an unknown uplink of 100 KiB/s is found out
}

#[test]
fn an_unlimited_uplink_serves_as_many_as_it_speeds_up() {
    let mut play = Play::new(Choker::new(ChokerConfig::default(), Rng::seeded(1)), vec![]);
    play.peers =
        (0..30).map(|peer| Contender { up: BytesPerSec(50 << 20), ..contender(peer, 0) }).collect();
    for round in 0..30 {
        play.round(secs(round * 10));
    }
    assert_eq!(play.choker.slots(), SLOTS_AUTO_MAX);
}

#[test]
fn without_reciprocity_anybody_is_served() {
    let config = ChokerConfig {
        slots: Slots::Fixed(2),
        policy: ChokerPolicy::Random,
        ..ChokerConfig::default()
    };
    let peers = (0..8).map(|peer| contender(peer, if peer < 2 { 9000 } else { 0 })).collect();
    let mut play = Play::new(Choker::new(config, Rng::seeded(1)), peers);
    let best = (0..50).filter(|round| {
        play.round(secs(round * 10));
        play.peers[0].unchoked && play.peers[1].unchoked
    });
    assert!(best.count() < 20);
}

#[derive(Clone, Debug)]
enum Event {
    Fill,
    Interest(usize, bool),
    Join(u64),
    Leave(usize),
    Rate(usize, u64),
    Snub(usize, bool),
    Wait(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Fill),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(peer, on)| Event::Interest(peer, on)),
        2 => (0u64..100_000).prop_map(Event::Join),
        1 => any::<usize>().prop_map(Event::Leave),
        4 => (any::<usize>(), 0u64..100_000).prop_map(|(peer, rate)| Event::Rate(peer, rate)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(peer, on)| Event::Snub(peer, on)),
        6 => (1u64..15_000_000).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_peer_flickers_and_slots_are_kept(seed: u64, slots in 1usize..6, seeding: bool,
        events in prop::collection::vec(any_event(), 0..200)) {
        let mut play = Play::new(choker(slots, seed), vec![]);
        play.seeding = seeding;
        let mut now = Instant::ZERO;
        let mut changed = BTreeMap::<PeerKey, Instant>::new();
        let mut next = 0;
        for event in events {
            let count = play.peers.len().max(1);
            let at = |index: usize| index % count;
            match event {
                Event::Fill => {
                    for key in play.fill(now) {
                        let last = changed.insert(key, now);
                        prop_assert!(last.is_none_or(|last| now.since(last) >= FIBRILLATION_GUARD));
                    }
                    let wanting = play.peers.iter().filter(|peer| peer.unchoked && peer.interested).count();
                    let choked = play.peers.iter().filter(|peer| !peer.unchoked && peer.interested);
                    let fresh = |peer: &&Contender| {
                        changed.get(&peer.peer).is_none_or(|last| now.since(*last) >= FIBRILLATION_GUARD)
                    };
                    prop_assert!(wanting > slots || choked.filter(fresh).count() == 0, "a slot is left idle");
                }
                Event::Interest(peer, on) => {
                    if let Some(peer) = play.peers.get_mut(at(peer)) {
                        peer.interested = on;
                    }
                }
                Event::Join(rate) => {
                    play.peers.push(Contender { joined: now, ..contender(next, rate) });
                    next += 1;
                }
                Event::Leave(peer) if !play.peers.is_empty() => {
                    let gone = play.peers.remove(at(peer));
                    play.choker.peer_left(gone.peer);
                }
                Event::Leave(_) => {}
                Event::Rate(peer, rate) => {
                    if let Some(peer) = play.peers.get_mut(at(peer)) {
                        (peer.down, peer.up) = (BytesPerSec(rate), BytesPerSec(rate));
                    }
                }
                Event::Snub(peer, on) => {
                    if let Some(peer) = play.peers.get_mut(at(peer)) {
                        peer.snubbed = on;
                    }
                }
                Event::Wait(us) => now += Duration::from_micros(us),
            }
            if play.choker.round_due() <= now {
                for (key, _) in play.round(now) {
                    let last = changed.insert(key, now);
                    prop_assert!(last.is_none_or(|last| now.since(last) >= FIBRILLATION_GUARD), "fibrillation");
                }
                let bound = |peer: &&Contender| {
                    changed.get(&peer.peer).is_some_and(|last| *last < now && now.since(*last) < FIBRILLATION_GUARD)
                };
                let unchoked = play.peers.iter().filter(|peer| peer.unchoked);
                let held = unchoked.clone().filter(bound).count();
                prop_assert!(unchoked.count() <= slots + 1 + held);
            }
            let holder = play.choker.optimistic();
            prop_assert!(holder.is_none_or(|key| play.peers.iter().any(|peer| peer.peer == key)));
        }
    }

    #[test]
    fn settled_rates_give_the_slots_to_the_best(seed: u64, slots in 1usize..6,
        rates in prop::collection::btree_set(1u64..1_000_000, 1..30)) {
        let peers = rates.iter().zip(0..).map(|(rate, peer)| contender(peer, *rate)).collect();
        let mut play = Play::new(choker(slots, seed), peers);
        for round in 0..10 {
            play.round(secs(round * 10));
            let best: Vec<u32> = (0..rates.len() as u32).rev().take(slots).collect();
            let tried = play.choker.optimistic().map(|peer| peer.0);
            let mut regular: Vec<u32> = play.unchoked().into_iter().filter(|peer| Some(*peer) != tried).collect();
            regular.reverse();
            prop_assert_eq!(regular, best);
        }
    }
}
