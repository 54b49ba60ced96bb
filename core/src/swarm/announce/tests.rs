use super::*;

/// An announcer and a clock of numbers.
struct Scene {
    announcer: Announcer,
    now: Instant,
}

impl Scene {
    fn new(tiers: &[&[&str]]) -> Self {
        Self::with(tiers, Pace::default(), 1)
    }

    fn with(tiers: &[&[&str]], pace: Pace, seed: u64) -> Self {
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
        let mut announcer = Announcer::new(&tiers, pace, Rng::seeded(seed));
        announcer.set_needs_peers(false);
        Self { announcer, now: Instant::from_micros(1_000_000) }
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    /// Goes to the next moment at which something is due and says how many seconds that took.
    #[track_caller]
    fn wait_for_it(&mut self) -> f64 {
        let at = self.announcer.poll_timeout().expect("something is due").max(self.now);
        let waited = at.since(self.now).as_secs_f64();
        self.now = at;
        waited
    }

    #[track_caller]
    fn asks(&mut self, url: &str, event: Event) -> TrackerKey {
        let ask = self.announcer.poll(self.now).expect("an announce");
        assert_eq!((ask.url.as_str(), ask.event), (url, event));
        assert_eq!(self.announcer.poll_timeout(), None, "one at a time");
        assert_eq!(self.announcer.poll(self.now), None, "one at a time");
        ask.tracker
    }

    #[track_caller]
    fn silent(&mut self) {
        assert_eq!(self.announcer.poll(self.now), None);
    }

    fn answer(&mut self, tracker: TrackerKey, interval: u64) {
        self.answer_terms(
            tracker,
            &Terms { interval: Some(Duration::from_secs(interval)), ..Terms::default() },
        );
    }

    fn answer_terms(&mut self, tracker: TrackerKey, terms: &Terms) {
        self.announcer.handle_answer(self.now, tracker, Ok((terms, 3)));
    }

    fn fail(&mut self, tracker: TrackerKey) {
        self.fail_with(tracker, None);
    }

    fn fail_with(&mut self, tracker: TrackerKey, retry_in: Option<RetryIn>) {
        let failure = Failure { reason: "timed out".into(), retry_in };
        self.announcer.handle_answer(self.now, tracker, Err(failure));
    }
}

#[test]
fn started_once_then_at_the_interval() {
    let mut scene = Scene::new(&[&["a"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.answer(tracker, 900);
    scene.silent();
    assert_eq!(scene.wait_for_it(), 900.0);
    let tracker = scene.asks("a", Event::None);
    scene.answer(tracker, 900);
}

#[test]
fn a_failed_tier_gives_way_to_the_next_and_is_asked_first_again() {
    let mut scene = Scene::new(&[&["a"], &["b"], &["c"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.wait(45); // it took its time to fail, longer than its own backoff
    scene.fail(tracker);
    let tracker = scene.asks("b", Event::Started);
    scene.wait(45);
    scene.fail(tracker);
    let tracker = scene.asks("c", Event::Started);
    scene.answer(tracker, 1800);
    scene.silent();
    assert_eq!(scene.wait_for_it(), 1800.0);
    let tracker = scene.asks("a", Event::Started);
    scene.answer(tracker, 1800);
    scene.silent();
}

#[test]
fn within_a_tier_the_order_is_random_and_the_working_one_goes_first() {
    let tier: &[&str] = &["a", "b", "c", "d"];
    let first = |seed| {
        let mut scene = Scene::with(&[tier], Pace::default(), seed);
        scene.announcer.poll(scene.now).unwrap().url
    };
    let mut firsts: Vec<_> = (0..50).map(first).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts, tier, "each comes first for somebody");

    let mut scene = Scene::new(&[tier, &["z"]]);
    let mut order = Vec::new();
    for _ in 0..3 {
        let ask = scene.announcer.poll(scene.now).unwrap();
        order.push(ask.url.clone());
        if order.len() < 3 { scene.fail(ask.tracker) } else { scene.answer(ask.tracker, 100) }
    }
    scene.wait_for_it();
    let tracker = scene.asks(&order[2], Event::None);
    scene.fail(tracker);
    // The others keep their order behind it.
    let tracker = scene.asks(&order[0], Event::Started);
    scene.fail(tracker);
    scene.asks(&order[1], Event::Started);
}

#[test]
fn completed_is_said_once_and_at_once_to_who_saw_us_begin() {
    let mut scene = Scene::new(&[&["a"], &["b"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.answer(tracker, 1800);
    scene.wait(30); // well before any interval
    scene.announcer.completed(scene.now);
    assert_eq!(scene.wait_for_it(), 0.0);
    let tracker = scene.asks("a", Event::Completed);
    scene.fail(tracker);
    // Somebody else does not know us: a seed that starts there has completed nothing.
    let tracker = scene.asks("b", Event::Started);
    scene.answer(tracker, 1800);
    scene.wait(1800);
    let tracker = scene.asks("a", Event::Completed);
    scene.answer(tracker, 1800);
    scene.wait(1800);
    scene.asks("a", Event::None);
}

#[test]
fn completed_while_the_first_announce_is_under_way() {
    let mut scene = Scene::new(&[&["a"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.announcer.completed(scene.now);
    scene.answer(tracker, 1800);
    assert_eq!(scene.wait_for_it(), 0.0);
    let tracker = scene.asks("a", Event::Completed);
    scene.answer(tracker, 1800);
    scene.silent();
}

#[test]
fn stopped_goes_to_all_who_know_us_at_once() {
    let mut scene = Scene::new(&[&["a"], &["b"], &["c"], &["d"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.answer(tracker, 60);
    scene.wait_for_it();
    let tracker = scene.asks("a", Event::None);
    scene.fail(tracker);
    let tracker = scene.asks("b", Event::Started);
    scene.fail(tracker);
    scene.asks("c", Event::Started); // under way while we leave
    scene.announcer.stop();
    let mut farewells = Vec::new();
    while let Some(ask) = scene.announcer.poll(scene.now) {
        assert_eq!(ask.event, Event::Stopped);
        farewells.push(ask.url);
    }
    assert_eq!(farewells, ["a", "c"]);
    assert_eq!(scene.announcer.poll_timeout(), None);
    scene.wait(100_000);
    scene.silent();
}

#[test]
fn backoff_triples_up_to_an_hour_and_success_forgets_it() {
    let mut scene = Scene::new(&[&["a"]]);
    let mut wants = vec![5.0, 15.0, 45.0, 135.0, 405.0, 1215.0, 3600.0, 3600.0];
    wants.extend([3600.0; 40]); // no overflow, ever
    for want in wants {
        let tracker = scene.asks("a", Event::Started);
        scene.fail(tracker);
        scene.silent();
        let waited = scene.wait_for_it();
        assert!((want..=want * 1.125).contains(&waited), "{waited} for {want}");
    }
    let tracker = scene.asks("a", Event::Started);
    scene.answer(tracker, 60);
    scene.wait_for_it();
    let tracker = scene.asks("a", Event::None);
    scene.fail(tracker);
    assert!(scene.wait_for_it() < 6.0);
}

#[test]
fn attack_34_intervals_are_clamped() {
    #[track_caller]
    fn check(terms: &Terms, needs_peers: bool, want: f64) {
        let mut scene = Scene::new(&[&["a"]]);
        scene.announcer.set_needs_peers(needs_peers);
        let tracker = scene.asks("a", Event::Started);
        scene.answer_terms(tracker, terms);
        assert_eq!(scene.wait_for_it(), want, "{terms:?}");
    }
    let terms = |interval, min_interval: Option<u64>| Terms {
        interval: Some(Duration::from_secs(interval)),
        min_interval: min_interval.map(Duration::from_secs),
        ..Terms::default()
    };
    check(&terms(0, None), false, 60.0);
    check(&terms(u64::MAX, None), false, 8.0 * 3600.0);
    check(&terms(1 << 31, Some(u64::MAX)), true, 8.0 * 3600.0);
    check(&Terms::default(), false, 1800.0);
    // In need: as early as the tracker allows, no earlier.
    check(&terms(1800, Some(300)), true, 300.0);
    check(&terms(1800, Some(0)), true, 60.0);
    check(&terms(1800, Some(7200)), true, 1800.0);
    check(&terms(1800, None), true, 120.0);
    check(&terms(90, None), true, 90.0);
}

#[test]
fn need_that_arises_later_brings_the_next_announce_forward() {
    let mut scene = Scene::new(&[&["a"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.answer(tracker, 1800);
    scene.wait(60);
    scene.announcer.set_needs_peers(true);
    scene.silent();
    assert_eq!(scene.wait_for_it(), 60.0);
    scene.asks("a", Event::None);
}

#[test]
fn a_refusal_may_say_when_to_come_back() {
    let mut scene = Scene::new(&[&["a"], &["b"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.fail_with(tracker, Some(RetryIn::Never));
    let tracker = scene.asks("b", Event::Started);
    scene.fail_with(tracker, Some(RetryIn::After(Duration::from_secs(1200))));
    scene.silent();
    assert_eq!(scene.wait_for_it(), 1200.0);
    let tracker = scene.asks("b", Event::Started);
    scene.fail_with(tracker, Some(RetryIn::Never));
    scene.silent();
    assert_eq!(scene.announcer.poll_timeout(), None, "nobody is left");
    assert!(matches!(scene.announcer.status()[0].last, LastAnswer::Failed { for_good: true, .. }));
    let mut lonely = Scene::new(&[]);
    lonely.silent();
    assert_eq!(lonely.announcer.poll_timeout(), None);
}

#[test]
fn a_tracker_id_is_sent_back() {
    let mut scene = Scene::new(&[&["a"]]);
    let tracker = scene.asks("a", Event::Started);
    let interval = Some(Duration::from_secs(60));
    scene.answer_terms(tracker, &Terms { interval, tracker_id: b"id".into(), ..Terms::default() });
    scene.wait_for_it();
    let ask = scene.announcer.poll(scene.now).unwrap();
    assert_eq!(ask.tracker_id, b"id");
    scene.answer(ask.tracker, 60);
    scene.wait_for_it();
    assert_eq!(
        scene.announcer.poll(scene.now).unwrap().tracker_id,
        b"id",
        "absent means unchanged"
    );
}

#[test]
fn status_says_why_it_waits() {
    let mut scene = Scene::new(&[&["a"], &["b"], &["b", "a", "c"]]);
    let tracker = scene.asks("a", Event::Started);
    scene.fail(tracker);
    let tracker = scene.asks("b", Event::Started);
    let status = scene.announcer.status();
    let seen: Vec<_> = status.iter().map(|s| (s.url.as_str(), s.tier, s.asking)).collect();
    assert_eq!(seen, [("a", 0, false), ("b", 1, true), ("c", 2, false)], "nobody twice");
    let reason = "timed out".to_owned();
    assert_eq!(status[0].last, LastAnswer::Failed { reason, times: 1, for_good: false });
    assert_eq!(status[1].last, LastAnswer::NotYet);
    scene.answer(tracker, 60);
    let answered = &scene.announcer.status()[1].last;
    assert!(matches!(answered, LastAnswer::Answered { peers: 3, .. }));
}

#[test]
fn attack_14_ten_thousand_trackers_are_cut() {
    let urls: Vec<String> = (0..10_000).map(|n| format!("udp://{n}")).collect();
    let tiers: Vec<_> = urls.iter().map(|url| vec![url.clone()]).collect();
    let flat = Announcer::new(&[urls], Pace::default(), Rng::seeded(1));
    let deep = Announcer::new(&tiers, Pace::default(), Rng::seeded(1));
    assert_eq!((flat.status().len(), deep.status().len()), (MAX_TRACKERS, MAX_TRACKERS));
    assert_eq!(deep.tiers.len(), MAX_TRACKERS);
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let mut scene = Scene::new(&[&["a"], &["b"]]);
    let first = scene.asks("a", Event::Started);
    scene.fail(first);
    let second = scene.asks("b", Event::Started);
    scene.answer(first, 60); // late
    assert!(scene.announcer.status()[1].asking);
    scene.answer(second, 60);
    scene.answer(second, 6000);
    assert_eq!(scene.wait_for_it(), 60.0);
}

#[test]
fn a_tracker_that_knows_nobody_does_not_hide_the_others() {
    let mut scene = Scene::new(&[&["a"], &["b"], &["c"]]);
    scene.announcer.set_needs_peers(true);
    let terms = Terms { interval: Some(Duration::from_secs(600)), ..Terms::default() };
    for url in ["a", "b", "c"] {
        let tracker = scene.asks(url, Event::Started);
        scene.announcer.handle_answer(scene.now, tracker, Ok((&terms, 0)));
    }
    scene.silent();
    assert!(scene.wait_for_it() >= 60.0, "the walk ends, and the next one waits");
    let first = scene.asks("a", Event::None);
    scene.announcer.handle_answer(scene.now, first, Ok((&terms, 1)));
    scene.silent();
}
