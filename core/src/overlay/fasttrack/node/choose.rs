//! Which supernode: five are pinged, the nearest with room is taken, two more are kept for when it dies.

use super::{Event, Node, NodeOutput};
use crate::clock::Instant;
use crate::proto::fasttrack::{Datagram, NETWORK, is_network};
use std::net::SocketAddrV4;
use std::time::Duration;

/// Supernodes that are pinged at once.
const PINGED: usize = 5;
/// How long answers are waited for.
const PONG_MAX: Duration = Duration::from_millis(1500);
/// Supernodes that are kept beside the one that is used.
const BACKUPS: usize = 2;
/// How often a node looks whether another one is nearer.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// A node moves only to one whose round trip is at most this share of the present one: a move costs a login.
const MUCH_NEARER: f64 = 0.5;
/// How long a supernode may take to take us.
const CONNECT_MAX: Duration = Duration::from_secs(25);
/// Wait after all that are known have been tried, at first and at most.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Where a node belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    /// Nowhere; it looks for somebody at this time.
    None { again_at: Instant },
    /// A connection is being made.
    Connecting { to: SocketAddrV4, trip: Duration, until: Instant },
    /// A session stands.
    Attached { to: SocketAddrV4, trip: Duration, look_at: Instant },
}

impl Home {
    pub(super) fn attached(now: Instant, to: SocketAddrV4, trip: Duration) -> Self {
        Self::Attached { to, trip, look_at: now + LOOK_AGAIN }
    }

    pub(super) const fn due(&self) -> Instant {
        match *self {
            Self::None { again_at } => again_at,
            Self::Connecting { until, .. } => until,
            Self::Attached { look_at, .. } => look_at,
        }
    }
}

/// Pings under way.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    sent_at: Instant,
    asked: Vec<SocketAddrV4>,
    /// Who has room, and how far he is.
    heard: Vec<(Duration, SocketAddrV4)>,
}

impl Survey {
    pub(super) fn until(&self) -> Instant {
        if self.asked.is_empty() { self.sent_at } else { self.sent_at + PONG_MAX }
    }
}

impl Node {
    /// A datagram came; only answers of those who were just asked count.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddrV4, datagram: &Datagram) {
        let Some(survey) = &mut self.survey else { return };
        let Some(at) = survey.asked.iter().position(|asked| *asked == from) else { return };
        match datagram {
            Datagram::Pong { network, .. } if is_network(network.as_bytes()) => {
                survey.asked.swap_remove(at);
                survey.heard.push((now.since(survey.sent_at), from));
                self.cache.seen(now, from);
            }
            Datagram::Full => {
                survey.asked.swap_remove(at);
                self.cache.seen(now, from);
            }
            _ => return,
        }
        if self.survey.as_ref().is_some_and(|survey| survey.asked.is_empty()) {
            self.conclude(now);
        }
    }

    /// From now on there is no other supernode than this one, which is not pinged: it is we ourselves. With `None` a near
    /// one is looked for again. A session with another one ends.
    pub fn stay_with(&mut self, now: Instant, own: Option<SocketAddrV4>) {
        self.own = own;
        self.survey = None;
        self.backups.clear();
        if let Some(old) = self.supernode() {
            self.events.push_back(Event::Detached(old));
        }
        if !matches!(self.home, Home::None { .. }) {
            self.outbox.push_back(NodeOutput::Close);
        }
        self.home = Home::None { again_at: now };
    }

    /// The session is gone, or could not be opened.
    pub fn handle_closed(&mut self, now: Instant) {
        match self.home {
            Home::None { .. } => return,
            Home::Connecting { to, .. } => self.cache.failed(to),
            Home::Attached { to, .. } => {
                self.cache.failed(to);
                self.events.push_back(Event::Detached(to));
            }
        }
        self.home = Home::None { again_at: now };
        self.take_backup(now);
    }

    pub(super) fn choose_due(&mut self, now: Instant) {
        if let Some(survey) = &self.survey {
            if survey.until() <= now {
                self.conclude(now);
            }
            return;
        }
        if self.home.due() > now {
            return;
        }
        match &mut self.home {
            Home::None { .. } => match self.own {
                Some(own) => self.connect(now, own, Duration::ZERO),
                None => self.look(now),
            },
            Home::Connecting { .. } => {
                self.outbox.push_back(NodeOutput::Close);
                self.handle_closed(now);
            }
            Home::Attached { look_at, .. } => {
                *look_at = now + LOOK_AGAIN;
                if self.own.is_none() {
                    self.look(now);
                }
            }
        }
    }

    /// Pings the next five.
    fn look(&mut self, now: Instant) {
        let home = self.supernode();
        let asked = self.cache.draw(PINGED, home, &mut self.rng);
        for &addr in &asked {
            let ping = Datagram::Ping { network: NETWORK.to_owned() };
            self.outbox.push_back(NodeOutput::Datagram(addr, ping));
        }
        self.survey = Some(Survey { sent_at: now, asked, heard: Vec::new() });
        if self.survey.as_ref().is_some_and(|survey| survey.asked.is_empty()) {
            self.conclude(now);
        }
    }

    /// All have answered, or had their time.
    fn conclude(&mut self, now: Instant) {
        let Some(survey) = self.survey.take() else { return };
        survey.asked.iter().for_each(|silent| self.cache.failed(*silent));
        let mut heard = survey.heard;
        heard.sort_unstable();
        match self.home {
            Home::None { .. } => {
                let mut near = heard.into_iter();
                match near.next() {
                    Some((trip, to)) => {
                        self.backups = near.map(|(_, addr)| addr).take(BACKUPS).collect();
                        self.connect(now, to, trip);
                    }
                    None => {
                        let wait = self.cache.wait(RETRY_MIN, RETRY_MAX);
                        self.home = Home::None { again_at: now + wait };
                    }
                }
            }
            Home::Attached { trip, .. } => {
                let nearer =
                    |found: &Duration| found.as_secs_f64() <= MUCH_NEARER * trip.as_secs_f64();
                let mut near = heard.into_iter().peekable();
                let better = near.next_if(|(found, _)| nearer(found));
                self.backups = near.map(|(_, addr)| addr).take(BACKUPS).collect();
                if let Some((trip, to)) = better
                    && let Some(old) = self.supernode()
                {
                    self.events.push_back(Event::Detached(old));
                    self.backups.truncate(BACKUPS - 1);
                    self.backups.insert(0, old);
                    self.connect(now, to, trip);
                }
            }
            Home::Connecting { .. } => {}
        }
    }

    fn take_backup(&mut self, now: Instant) {
        if self.backups.is_empty() {
            return;
        }
        let next = self.backups.remove(0);
        // It was far less than that when it was pinged; the next look will tell.
        self.connect(now, next, PONG_MAX);
    }

    fn connect(&mut self, now: Instant, to: SocketAddrV4, trip: Duration) {
        self.survey = None;
        self.home = Home::Connecting { to, trip, until: now + CONNECT_MAX };
        self.outbox.push_back(NodeOutput::Connect(to));
    }
}
