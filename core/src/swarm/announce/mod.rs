//! Which tracker to ask, when, and what to say to it.
//!
//! Decides tiers, events, intervals and backoff of one torrent; never opens a socket and never touches the peers
//! it hears about. One tracker is asked at a time: the first of the first tier that works, as BEP 12 wants it, so
//! that a swarm gathers in one place; only when it knows nobody and peers are needed, the next ones too. The driver takes [`Ask`]s from [`Announcer::poll`], gives back each outcome
//! through [`Announcer::handle_answer`], and calls again at [`Announcer::poll_timeout`].
//= BEP 3 §trackers
//= BEP 12
//= BEP 31

#[cfg(test)]
mod tests;

use crate::clock::Instant;
use crate::proto::announce::{Counts, Event, RetryIn, Terms};
use crate::rng::Rng;
use std::time::Duration;

/// Trackers of one torrent; further ones are ignored. A magnet or torrent with more means harm or is spam.
pub const MAX_TRACKERS: usize = 100;
/// The interval of a tracker that names none: what most trackers say.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1800);
/// The least time between two announces to a tracker that names none; Transmission's floor.
const MIN_INTERVAL_DEFAULT: Duration = Duration::from_secs(120);
/// Each failure makes the next wait this many times as long.
const BACKOFF_FACTOR: u32 = 3;

/// How fast trackers are asked. The defaults suit public trackers; a lab may hurry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// No tracker makes us announce more often than this, whatever interval it names.
    pub interval_min: Duration,
    /// No tracker makes us wait longer than this.
    pub interval_max: Duration,
    /// The wait after a first failure; each further one triples it.
    pub retry_first: Duration,
    /// The longest wait after failures.
    pub retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(60),
            interval_max: Duration::from_secs(8 * 3600),
            retry_first: Duration::from_secs(5),
            retry_max: Duration::from_secs(3600),
        }
    }
}

/// One tracker of an [`Announcer`]; valid for that announcer only.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TrackerKey(usize);

/// An announce to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Ask {
    /// To be given back with the answer.
    pub tracker: TrackerKey,
    /// Whom.
    pub url: String,
    /// Why.
    pub event: Event,
    /// What the tracker wants to hear again.
    pub tracker_id: Vec<u8>,
}

/// An announce that brought nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Shown to the user.
    pub reason: String,
    /// What the tracker asked for, if it said so; otherwise the backoff decides.
    pub retry_in: Option<RetryIn>,
}

/// How it stands with one tracker: the answer to "why does it wait".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrackerStatus {
    /// As in the torrent.
    pub url: String,
    /// 0 is asked first.
    pub tier: usize,
    /// What came of the last announce.
    pub last: LastAnswer,
    /// Whether an announce is under way.
    pub asking: bool,
}

/// What came of the last announce to a tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LastAnswer {
    /// Nothing yet: it was not its turn, or the first announce is under way.
    NotYet,
    /// It answered.
    Answered {
        /// Peers in the answer.
        peers: usize,
        /// The size of the swarm, as it says.
        counts: Counts,
        /// Something that the user should read.
        warning: Option<String>,
    },
    /// It did not.
    Failed {
        /// Why, the last time.
        reason: String,
        /// Failures in a row.
        times: u32,
        /// It said never to ask again.
        for_good: bool,
    },
}

/// The announces of one torrent.
#[derive(Debug)]
pub struct Announcer {
    trackers: Vec<Tracker>,
    /// Places in `trackers`, in the order to ask them.
    tiers: Vec<Vec<usize>>,
    pace: Pace,
    rng: Rng,
    /// The announce under way.
    asking: Option<Asking>,
    /// A walk over the tiers has begun and nobody has answered yet, or not with peers.
    walking: bool,
    /// Somebody answered in this walk, and so has said when the next one begins.
    heard: bool,
    /// When the next walk begins.
    due: Instant,
    /// When it begins if peers are needed.
    due_in_need: Instant,
    needs_peers: bool,
    stopping: bool,
}

#[derive(Debug)]
struct Tracker {
    url: String,
    tier: usize,
    last: LastAnswer,
    tracker_id: Vec<u8>,
    /// It knows us (or may, if the answer was lost).
    started: bool,
    owes: Owes,
    /// Failures in a row.
    failures: u32,
    not_before: Instant,
    /// Asked in this walk.
    tried: bool,
}

/// What a tracker that knows us has yet to hear.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owes {
    Nothing,
    Completed,
    Stopped,
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    tracker: usize,
    event: Event,
}

impl Announcer {
    /// Trackers in tiers, each tier in a random order; the first announce is due at once.
    //= BEP 12 §order of processing
    pub fn new(tiers: &[Vec<String>], pace: Pace, mut rng: Rng) -> Self {
        let mut trackers = Vec::<Tracker>::new();
        let mut order = Vec::new();
        for tier in tiers {
            let mut places = Vec::new();
            for url in tier {
                let known = trackers.iter().any(|tracker| tracker.url == *url);
                if !known && trackers.len() < MAX_TRACKERS {
                    places.push(trackers.len());
                    trackers.push(Tracker::new(url.clone(), order.len()));
                }
            }
            rng.shuffle(&mut places);
            if !places.is_empty() {
                order.push(places);
            }
        }
        trackers.shrink_to_fit(); // most torrents have one or two
        Self {
            trackers,
            tiers: order,
            pace,
            rng,
            asking: None,
            walking: false,
            heard: false,
            due: Instant::ZERO,
            due_in_need: Instant::ZERO,
            needs_peers: true,
            stopping: false,
        }
    }

    /// The next announce to make, if it is time for one. After [`Self::stop`], one for each tracker that knows us;
    /// they may all be made at once.
    pub fn poll(&mut self, now: Instant) -> Option<Ask> {
        if self.stopping {
            let owing = self.trackers.iter().position(|tracker| tracker.owes == Owes::Stopped)?;
            self.trackers[owing].owes = Owes::Nothing;
            return Some(self.ask(owing, Event::Stopped));
        }
        if self.asking.is_some() || (!self.walking && now < self.next_walk()) {
            return None;
        }
        self.walking = true;
        let next = self.tiers.iter().flatten().copied().find(|&place| {
            let tracker = &self.trackers[place];
            !tracker.tried && tracker.not_before <= now
        });
        let Some(place) = next else {
            let heard = self.heard;
            self.end_walk();
            if heard {
                return None;
            }
            let soonest = self.trackers.iter().map(|tracker| tracker.not_before).min();
            self.due = soonest.unwrap_or(Instant::FAR_FUTURE);
            self.due_in_need = self.due;
            return None;
        };
        let tracker = &mut self.trackers[place];
        tracker.tried = true;
        let event = match (tracker.started, tracker.owes) {
            (false, _) => Event::Started,
            (true, Owes::Completed) => Event::Completed,
            (true, _) => Event::None,
        };
        self.asking = Some(Asking { tracker: place, event });
        Some(self.ask(place, event))
    }

    /// What came of an [`Ask`]; the answers to `stopped` need not be given, and are ignored.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        tracker: TrackerKey,
        answer: Result<(&Terms, usize), Failure>,
    ) {
        let Some(asking) = self.asking.take_if(|asking| asking.tracker == tracker.0) else {
            return;
        };
        match answer {
            Ok((terms, peers)) => self.answered(now, asking, terms, peers),
            Err(failure) => self.failed(now, asking.tracker, failure),
        }
    }

    /// When to call [`Self::poll`] again; `None` while an answer is awaited, and when there is nobody to ask.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.asking.is_none() && !self.stopping && !self.trackers.is_empty();
        let at = if self.walking { Instant::ZERO } else { self.next_walk() };
        (waits && at != Instant::FAR_FUTURE).then_some(at)
    }

    /// Whether more peers are wanted than there are: then trackers are asked as often as they allow.
    pub fn set_needs_peers(&mut self, needs: bool) {
        self.needs_peers = needs;
    }

    /// The last wanted piece has arrived: every tracker that saw us begin hears it once, the
    /// current one now. To be called once, and never for a torrent that was complete from the start.
    pub fn completed(&mut self, now: Instant) {
        let starting = self.asking.map(|asking| asking.tracker);
        let mut owing = false;
        for (place, tracker) in self.trackers.iter_mut().enumerate() {
            // A tracker that will first hear of us as a seed has no completion to count.
            if tracker.started || starting == Some(place) {
                tracker.owes = Owes::Completed;
                owing = true;
            }
        }
        if owing {
            self.due = now;
            self.due_in_need = now;
        }
    }

    /// We leave: from here on [`Self::poll`] gives farewells only.
    pub fn stop(&mut self) {
        self.stopping = true;
        let asking = self.asking.take();
        for (place, tracker) in self.trackers.iter_mut().enumerate() {
            // An answer under way may never be read, but the tracker may have heard us.
            let heard_of_us =
                tracker.started || asking.is_some_and(|asking| asking.tracker == place);
            tracker.owes = if heard_of_us { Owes::Stopped } else { Owes::Nothing };
        }
    }

    /// How it stands with each tracker, in the order of the torrent.
    pub fn status(&self) -> Vec<TrackerStatus> {
        let status = |(place, tracker): (usize, &Tracker)| TrackerStatus {
            url: tracker.url.clone(),
            tier: tracker.tier,
            last: tracker.last.clone(),
            asking: self.asking.is_some_and(|asking| asking.tracker == place),
        };
        self.trackers.iter().enumerate().map(status).collect()
    }

    fn next_walk(&self) -> Instant {
        if self.needs_peers { self.due_in_need } else { self.due }
    }

    fn ask(&self, place: usize, event: Event) -> Ask {
        let Tracker { url, tracker_id, .. } = &self.trackers[place];
        Ask { tracker: TrackerKey(place), url: url.clone(), event, tracker_id: tracker_id.clone() }
    }

    fn answered(&mut self, now: Instant, asking: Asking, terms: &Terms, peers: usize) {
        let tracker = &mut self.trackers[asking.tracker];
        tracker.failures = 0;
        tracker.not_before = Instant::ZERO;
        tracker.started = true;
        if asking.event == Event::Completed {
            tracker.owes = Owes::Nothing;
        }
        if !terms.tracker_id.is_empty() {
            tracker.tracker_id.clone_from(&terms.tracker_id);
        }
        let (counts, warning) = (terms.counts, terms.warning.clone());
        tracker.last = LastAnswer::Answered { peers, counts, warning };
        let owes_more = tracker.owes != Owes::Nothing;

        // It works: it goes to the front of its tier.
        let tier = &mut self.tiers[tracker.tier];
        if let Some(at) = tier.iter().position(|&place| place == asking.tracker) {
            tier[..=at].rotate_right(1);
        }
        // The others of the swarm may have found another tracker first: a tier is in another order for each of us.
        let goes_on = peers == 0 && self.needs_peers && !owes_more;
        self.heard = true;
        if !goes_on {
            self.end_walk();
        }
        let Pace { interval_min, interval_max, .. } = self.pace;
        let interval = terms.interval.unwrap_or(INTERVAL_DEFAULT);
        let interval = interval.clamp(interval_min, interval_max);
        let least = terms.min_interval.unwrap_or(MIN_INTERVAL_DEFAULT);
        self.due = if owes_more { now } else { now + interval };
        self.due_in_need = if owes_more { now } else { now + least.clamp(interval_min, interval) };
    }

    fn failed(&mut self, now: Instant, place: usize, failure: Failure) {
        let Pace { retry_first, retry_max, .. } = self.pace;
        let tracker = &mut self.trackers[place];
        let backoff = BACKOFF_FACTOR.saturating_pow(tracker.failures);
        tracker.failures = tracker.failures.saturating_add(1);
        let wait = retry_first.saturating_mul(backoff).min(retry_max);
        // A little longer for some, so that a tracker that comes back is not met by everybody at once.
        let spread = self.rng.below(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / 8 + 1);
        tracker.not_before = match failure.retry_in {
            None => now + wait + Duration::from_micros(spread),
            Some(RetryIn::After(time)) => now + time.clamp(retry_first, self.pace.interval_max),
            Some(RetryIn::Never) => Instant::FAR_FUTURE,
        };
        tracker.last = LastAnswer::Failed {
            reason: failure.reason,
            times: tracker.failures,
            for_good: failure.retry_in == Some(RetryIn::Never),
        };
    }

    fn end_walk(&mut self) {
        (self.walking, self.heard) = (false, false);
        self.trackers.iter_mut().for_each(|tracker| tracker.tried = false);
    }
}

impl Tracker {
    fn new(url: String, tier: usize) -> Self {
        Self {
            url,
            tier,
            last: LastAnswer::NotYet,
            tracker_id: Vec::new(),
            started: false,
            owes: Owes::Nothing,
            failures: 0,
            not_before: Instant::ZERO,
            tried: false,
        }
    }
}
