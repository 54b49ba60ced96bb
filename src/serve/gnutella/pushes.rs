//! Connections that others make at our wish, and those that we make at theirs.

use super::PushError;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::gnutella::LinkId;
use gaggle_core::proto::gnutella::Guid;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How long a servent that was asked to connect is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Those who wait for servents; more are refused.
const WAITING_MAX: usize = 256;
/// Connections that we make at the wish of others, at once; further wishes are not heard.
const GIVES_MAX: usize = 64;
/// Of them, those to one address, whatever the ports.
const GIVES_EACH: usize = 4;
/// And those that one link has brought.
const GIVES_LINK: usize = 16;
/// How many such connections we begin each second for one link, so that a flood of wishes cannot make us one of connections.
const GIVES_PER_S: u64 = 4;
/// And after a pause.
const GIVES_BURST: u64 = 16;

/// Who waits for a servent to connect.
#[derive(Debug, Default)]
pub(super) struct Pushes(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    servent: Guid,
    until: Instant,
    answer: oneshot::Sender<Result<TcpStream, PushError>>,
}

impl Pushes {
    /// Somebody waits from now on; the servent has been asked.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        servent: Guid,
        answer: oneshot::Sender<Result<TcpStream, PushError>>,
    ) {
        self.0.push(Waiting { servent, until: now + PATIENCE, answer });
    }

    /// Whether one more may wait.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < WAITING_MAX
    }

    /// A servent has connected. Who has waited longest for it has it; without anybody it is closed.
    pub(super) fn on_giv(&mut self, servent: Guid, stream: TcpStream) {
        self.0.retain(|waiting| !waiting.answer.is_closed());
        if let Some(at) = self.0.iter().position(|waiting| waiting.servent == servent) {
            let _ = self.0.remove(at).answer.send(Ok(stream));
        }
    }

    /// Ends the waits that were in vain.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|waiting| !waiting.answer.is_closed());
        for late in self.0.extract_if(.., |waiting| now >= waiting.until) {
            let _ = late.answer.send(Err(PushError::NoAnswer));
        }
    }
}

/// Whom we connect to at their wish. What each neighbour may bring is counted apart, so that one that floods us takes
/// nothing from the others.
#[derive(Debug, Default)]
pub(super) struct Gives {
    /// Those that last, by the link that brought the wish and the address.
    now: Vec<(LinkId, Ipv4Addr)>,
    /// Of the links whose bucket is not full.
    buckets: BTreeMap<LinkId, Bucket>,
}

/// What one link may still bring at once.
#[derive(Debug)]
struct Bucket {
    tokens: u64,
    counted: Instant,
}

impl Bucket {
    fn earn(&mut self, now: Instant) {
        let earned = now.since(self.counted).as_secs();
        self.counted += Duration::from_secs(earned);
        self.tokens =
            self.tokens.saturating_add(earned.saturating_mul(GIVES_PER_S)).min(GIVES_BURST);
    }
}

impl Gives {
    /// Whether one more connection to an address is made.
    pub(super) fn begin(&mut self, now: Instant, by: LinkId, to: Ipv4Addr) -> bool {
        self.buckets.retain(|_, bucket| {
            bucket.earn(now);
            bucket.tokens < GIVES_BURST // a full one is as good as none, and its link may be gone
        });
        let here = self.now.iter().filter(|(_, ip)| *ip == to).count();
        let brought = self.now.iter().filter(|(link, _)| *link == by).count();
        if here >= GIVES_EACH || brought >= GIVES_LINK || self.now.len() >= GIVES_MAX {
            return false;
        }
        let full = Bucket { tokens: GIVES_BURST, counted: now };
        let bucket = self.buckets.entry(by).or_insert(full);
        if bucket.tokens == 0 {
            return false;
        }
        bucket.tokens -= 1;
        self.now.push((by, to));
        true
    }

    /// One of them is over.
    pub(super) fn end(&mut self, by: LinkId, to: Ipv4Addr) {
        if let Some(at) = self.now.iter().position(|one| *one == (by, to)) {
            self.now.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servent_is_waited_for_a_minute_and_so_many_may_wait() {
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        let mut pushes = Pushes::default();
        let (answer, mut waits) = oneshot::channel();
        pushes.wait(at(0), Guid([1; 16]), answer);
        pushes.expire(at(59));
        assert!(waits.try_recv().is_err());
        pushes.expire(at(60));
        assert_eq!(waits.try_recv().unwrap().unwrap_err(), PushError::NoAnswer);
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| oneshot::channel()).collect();
        let mut gone = Vec::new();
        for (answer, waits) in waiting {
            assert!(pushes.has_room());
            pushes.wait(at(60), Guid([2; 16]), answer);
            gone.push(waits);
        }
        assert!(!pushes.has_room());
        gone.clear();
        pushes.expire(at(61));
        assert!(pushes.has_room(), "who has gone waits no longer");
    }

    #[test]
    fn wishes_of_others_are_few_at_a_time_and_few_a_second() {
        let ip = |n: u8| Ipv4Addr::new(198, 18, 0, n);
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        let (flood, other) = (LinkId(1), LinkId(2));
        let mut gives = Gives::default();
        let heard = (0..10).filter(|_| gives.begin(at(0), flood, ip(1))).count();
        assert_eq!(heard, GIVES_EACH);
        let heard = (2..=255).filter(|&n| gives.begin(at(0), flood, ip(n))).count();
        assert_eq!(heard, 16 - GIVES_EACH, "a burst, and as many as one link may have");
        assert!(!gives.begin(at(9), flood, ip(200)));
        gives.now.clear();
        assert!((2..18).all(|n| gives.begin(at(9), flood, ip(n))));
        gives.now.clear();
        let heard = (2..=255).filter(|&n| gives.begin(at(10), flood, ip(n))).count();
        assert_eq!(heard, 4, "and then so many a second");
        assert!(gives.begin(at(10), other, ip(250)), "the others have their own");
        gives.now.clear();
        let all = (0..100).filter(|&n| gives.begin(at(20), LinkId(n), ip(n as u8)));
        assert_eq!(all.count(), GIVES_MAX);
        assert_eq!(gives.buckets.len(), GIVES_MAX);
        gives.end(LinkId(0), ip(0));
        assert!(gives.begin(at(100), other, ip(1)) && !gives.begin(at(100), other, ip(1)));
        assert_eq!(gives.buckets.len(), 1, "those that are full are forgotten");
    }
}
