//! One question to one UDP tracker: connect, ask, retransmit, give up.
//!
//! Never opens a socket: the driver sends what [`Exchange::poll_transmit`] gives over a socket connected to
//! the tracker, so that only its endpoint can answer, and calls back at [`Exchange::poll_timeout`].

use super::{Family, Reply, Request};
use crate::clock::Instant;
use crate::id::InfoHash;
use crate::proto::announce::{Announce, Answer, Counts, Terms};
use crate::rng::Rng;
use std::time::Duration;

/// A client may use a connection id this long after it got it; then it asks for a new one.
//= BEP 15 §connect
pub const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// The exponent of the wait between retransmissions stops growing here (3 840 s).
//= BEP 15 §time outs
const BACKOFF_STEPS_MAX: u32 = 8;

/// What to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Query {
    /// Join, refresh or leave a swarm.
    Announce {
        /// Everything about us.
        announce: Announce,
        /// Path and query of the tracker's URL, empty if it has none.
        //= BEP 41
        url_data: Vec<u8>,
    },
    /// Count up to [`super::MAX_SCRAPE`] swarms; more are not asked.
    Scrape(Vec<InfoHash>),
}

/// When to send again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Wait after the first datagram; doubled after each further one, at most 8 times.
    pub first: Duration,
    /// Datagrams that may stay unanswered in a row before the exchange fails; at least 1.
    pub sends: u32,
}

impl Default for Retry {
    /// The first two steps of the schedule of BEP 15 (15 s, 30 s): the announcer then turns to another tracker and
    /// comes back to this one later, which serves better than the hour that the full schedule takes.
    fn default() -> Self {
        Self { first: Duration::from_secs(15), sends: 2 }
    }
}

/// What the tracker answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// To [`Query::Announce`].
    Announced(Answer),
    /// To [`Query::Scrape`]: as many as were asked.
    Scraped(Vec<Counts>),
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// A scrape reply with the wrong number of entries.
    #[error("{got} counts for {asked} hashes")]
    CountMismatch {
        /// Hashes asked.
        asked: usize,
        /// Entries received.
        got: usize,
    },
    /// The tracker said no.
    #[error("refused: {0}")]
    Refused(String),
    /// Nobody answered.
    #[error("timed out ({tries} tries)")]
    TimedOut {
        /// Datagrams sent in vain.
        tries: u32,
    },
}

/// One question until its answer, an error, or silence.
#[derive(Debug)]
pub struct Exchange {
    query: Query,
    family: Family,
    retry: Retry,
    rng: Rng,
    state: State,
    /// Unanswered datagrams in a row.
    silent: u32,
    outbox: Option<Vec<u8>>,
    outcome: Option<Result<Outcome, ExchangeError>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Connecting { transaction: u32, resend: Instant },
    Asking { transaction: u32, connection: u64, got: Instant, resend: Instant },
    Done,
}

impl Exchange {
    /// Starts with a connect request in the outbox.
    pub fn new(now: Instant, query: Query, family: Family, retry: Retry, mut rng: Rng) -> Self {
        let state = State::Connecting { transaction: rng.next_u32(), resend: now };
        let mut new =
            Self { query, family, retry, rng, state, silent: 0, outbox: None, outcome: None };
        new.transmit(now);
        new
    }

    /// The next datagram for the tracker.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.take()
    }

    /// When to call [`Self::handle_timeout`]; `None` once it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { resend, .. } | State::Asking { resend, .. } => Some(resend),
            State::Done => None,
        }
    }

    /// The end, given out once.
    #[must_use]
    pub fn poll_outcome(&mut self) -> Option<Result<Outcome, ExchangeError>> {
        self.outcome.take()
    }

    /// A datagram from the tracker's endpoint. Anything that does not answer the last request is ignored: it may
    /// be late, forged or from a broken tracker, and the deadline is kept either way.
    pub fn handle_datagram(&mut self, now: Instant, raw: &[u8]) {
        let Ok(reply) = Reply::parse(raw, self.family) else { return };
        match (self.state, reply) {
            (
                State::Connecting { transaction, .. },
                Reply::Connect { transaction: same, connection },
            ) if transaction == same => {
                let transaction = self.rng.next_u32();
                self.state = State::Asking { transaction, connection, got: now, resend: now };
                self.silent = 0;
                self.transmit(now);
            }
            (
                State::Connecting { transaction, .. } | State::Asking { transaction, .. },
                Reply::Error { transaction: same, reason },
            ) if transaction == same => self.end(Err(ExchangeError::Refused(reason))),
            (State::Asking { transaction, .. }, reply) if transaction == reply.transaction() => {
                self.answered(reply);
            }
            _ => {}
        }
    }

    /// Sends again or gives up, if it is time to.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        if self.silent >= self.retry.sends.max(1) {
            self.end(Err(ExchangeError::TimedOut { tries: self.silent }));
            return;
        }
        if let State::Asking { got, .. } = self.state
            && now.since(got) >= CONNECTION_LIFE
        {
            self.state = State::Connecting { transaction: self.rng.next_u32(), resend: now };
        }
        self.transmit(now);
    }

    /// A kind of reply that does not fit the question is ignored like any other noise.
    fn answered(&mut self, reply: Reply) {
        match (&self.query, reply) {
            (Query::Announce { .. }, Reply::Announce { interval_s, leeches, seeds, peers, .. }) => {
                let terms = Terms {
                    interval: Some(Duration::from_secs(interval_s.into())),
                    counts: Counts { seeds, leeches, completed: 0 },
                    ..Terms::default()
                };
                self.end(Ok(Outcome::Announced(Answer { peers, terms })));
            }
            (Query::Scrape(hashes), Reply::Scrape { counts, .. }) => {
                let (asked, got) = (hashes.len().min(super::MAX_SCRAPE), counts.len());
                self.end(if asked == got {
                    Ok(Outcome::Scraped(counts))
                } else {
                    Err(ExchangeError::CountMismatch { asked, got })
                });
            }
            _ => {}
        }
    }

    fn end(&mut self, outcome: Result<Outcome, ExchangeError>) {
        self.state = State::Done;
        self.outbox = None;
        self.outcome = Some(outcome);
    }

    fn transmit(&mut self, now: Instant) {
        let wait = self.retry.first.saturating_mul(1 << self.silent.min(BACKOFF_STEPS_MAX));
        let request = match &mut self.state {
            State::Connecting { transaction, resend } => {
                *resend = now + wait;
                Request::Connect { transaction: *transaction }
            }
            State::Asking { transaction, connection, resend, .. } => {
                *resend = now + wait;
                let (transaction, connection) = (*transaction, *connection);
                match self.query.clone() {
                    Query::Announce { announce, url_data } => {
                        Request::Announce { connection, transaction, announce, url_data }
                    }
                    Query::Scrape(hashes) => Request::Scrape { connection, transaction, hashes },
                }
            }
            State::Done => return,
        };
        self.silent += 1;
        self.outbox = Some(request.encode());
    }
}
