//! Connections that others make at our wish, and those that we make at theirs.

use super::PushError;
use gaggle_core::clock::Instant;
use gaggle_core::proto::gnutella::Guid;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How long a servent that was asked to connect is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Those who wait for servents; more are refused.
const WAITING_MAX: usize = 256;
/// Connections that we make at the wish of others, at once; further wishes are not heard.
const GIVES_MAX: usize = 64;
/// Of them, those to one address.
const GIVES_EACH: usize = 4;
/// How many such connections we begin each second, so that a flood of wishes cannot make us one of connections.
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

/// Whom we connect to at their wish.
#[derive(Debug)]
pub(super) struct Gives {
    to: BTreeMap<SocketAddrV4, usize>,
    tokens: u64,
    counted: Instant,
}

impl Gives {
    pub(super) fn new(now: Instant) -> Self {
        Self { to: BTreeMap::new(), tokens: GIVES_BURST, counted: now }
    }

    /// Whether one more connection to an address is made.
    pub(super) fn begin(&mut self, now: Instant, to: SocketAddrV4) -> bool {
        let earned = now.since(self.counted).as_secs();
        self.counted += Duration::from_secs(earned);
        self.tokens =
            self.tokens.saturating_add(earned.saturating_mul(GIVES_PER_S)).min(GIVES_BURST);
        let here = self.to.get(&to).copied().unwrap_or_default();
        if self.tokens == 0 || here >= GIVES_EACH || self.to.values().sum::<usize>() >= GIVES_MAX {
            return false;
        }
        self.tokens -= 1;
        self.to.insert(to, here + 1);
        true
    }

    /// One of them is over.
    pub(super) fn end(&mut self, to: SocketAddrV4) {
        match self.to.get_mut(&to) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                self.to.remove(&to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_of_others_are_few_at_a_time_and_few_a_second() {
        let addr = |n: u8| SocketAddrV4::new([198, 18, 0, n].into(), 1);
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        let mut gives = Gives::new(at(0));
        let heard = (0..10).filter(|_| gives.begin(at(0), addr(1))).count();
        assert_eq!(heard, GIVES_EACH);
        let heard = (2..=255).filter(|&n| gives.begin(at(0), addr(n))).count();
        assert_eq!(heard, 16 - GIVES_EACH, "a burst");
        let heard = (2..=255).filter(|&n| gives.begin(at(1), addr(n))).count();
        assert_eq!(heard, 4, "and then so many a second");
        let all = (2..60).flat_map(|s| [s; 9]).filter(|&s| gives.begin(at(s), addr(s as u8)));
        assert_eq!(all.count(), GIVES_MAX - 20);
        gives.end(addr(1));
        assert!(gives.begin(at(100), addr(1)) && !gives.begin(at(100), addr(1)));
    }
}
