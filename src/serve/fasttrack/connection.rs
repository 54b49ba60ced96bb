//! One connection with a node, our supernode or another one: its bytes, in both directions at once.

use super::speech::{Heard, Speech, SpeechError, Words};
use crate::net::Clock;
use bytes::BytesMut;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::LinkKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Messages that may wait for one connection: all shares of a node, and its searches.
const WAITING_MAX: usize = 2048;
/// Bytes of one read.
const READ: usize = 16 << 10;
/// Enciphered bytes that wait for the socket; with more, nothing further is enciphered.
const WRITING_MAX: usize = 64 << 10;
/// With so many, nothing is read either: somebody has us answer and does not read the answers.
const ANSWERS_MAX: usize = 256 << 10;
/// How long somebody may read nothing of what he is sent; then the connection ends.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Messages that may come at once: a login with all its shares.
const BURST: u32 = 3000;
/// The time in which one more may come. Who says more is not read for as long.
const EACH: Duration = Duration::from_millis(5);

/// What a connection tells.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) key: LinkKey,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It is over; nothing follows.
    Closed,
    Heard(Heard),
    /// Both sides have said what they are.
    Opened,
}

/// The way to a connection. Dropping it closes the connection after what was said.
#[derive(Debug)]
pub(super) struct Line {
    queue: mpsc::Sender<Words>,
    held: Arc<AtomicUsize>,
    /// Bytes that may wait.
    max: usize,
}

impl Line {
    /// Says something, unless there is too much that was not read yet.
    pub(super) fn say(&self, words: Words) -> bool {
        let len = words.len();
        let held = self.held.fetch_add(len, Ordering::Relaxed);
        held + len <= self.max && self.queue.try_send(words).is_ok()
    }
}

/// Why it ended, for the log.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("closed by the other side")]
    Away,
    #[error("{0}")]
    Io(std::io::ErrorKind),
    #[error(transparent)]
    Speech(#[from] SpeechError),
    #[error("nothing was read for {STALL_MAX:?}")]
    Stalled,
    /// The owner is gone.
    #[error("ended")]
    Unheard,
}

/// A connection that is about to run.
pub(super) struct Connection {
    key: LinkKey,
    clock: Clock,
    words: mpsc::Receiver<Words>,
    held: Arc<AtomicUsize>,
    told: mpsc::Sender<Told>,
    opened: bool,
    pace: Pace,
}

impl Connection {
    /// A connection, and the way to it, on which at most `held_max` bytes may wait.
    pub(super) fn new(
        key: LinkKey,
        held_max: usize,
        told: mpsc::Sender<Told>,
        clock: Clock,
    ) -> (Self, Line) {
        let (queue, words) = mpsc::channel(WAITING_MAX);
        let held = Arc::new(AtomicUsize::new(0));
        let line = Line { queue, held: Arc::clone(&held), max: held_max };
        let (opened, pace) = (false, Pace { paid_at: clock.now() });
        (Self { key, clock, words, held, told, opened, pace }, line)
    }

    /// Moves bytes until it is over, and tells so. `head` was read already.
    pub(super) async fn run(mut self, mut speech: Speech, stream: TcpStream, head: BytesMut) {
        let _ = stream.set_nodelay(true);
        if let Err(ended) = self.talk(&mut speech, stream, head).await {
            tracing::debug!(link = self.key.0, %ended, "connection");
        }
        self.fail().await;
    }

    /// Tells that it is over, or that there never was one.
    pub(super) async fn fail(self) {
        let _ = self.told.send(Told { key: self.key, what: What::Closed }).await;
    }

    async fn talk(
        &mut self,
        speech: &mut Speech,
        mut stream: TcpStream,
        mut input: BytesMut,
    ) -> Result<(), Ended> {
        let io = |error: std::io::Error| Ended::Io(error.kind());
        let (mut reader, mut writer) = stream.split();
        let mut output = BytesMut::new();
        let mut written_at = self.clock.now();
        let mut closing = false;
        loop {
            if !input.is_empty() {
                speech.handle_bytes(self.clock.now(), &input)?;
                input.clear();
                self.pass_on(speech).await?;
            }
            if let Some(bytes) = speech.poll_transmit() {
                if output.is_empty() {
                    written_at = self.clock.now();
                }
                output.extend_from_slice(&bytes);
            }
            if closing && output.is_empty() {
                return Ok(());
            }
            let stalled_at =
                if output.is_empty() { Instant::FAR_FUTURE } else { written_at + STALL_MAX };
            let due = speech.poll_timeout().min(stalled_at);
            input.reserve(READ);
            tokio::select! {
                read = reader.read_buf(&mut input), if !closing && output.len() < ANSWERS_MAX => {
                    if read.map_err(io)? == 0 {
                        return Err(Ended::Away);
                    }
                }
                written = writer.write_buf(&mut output), if !output.is_empty() => {
                    written.map_err(io)?;
                    written_at = self.clock.now();
                }
                words = self.words.recv(), if !closing && output.len() < WRITING_MAX => {
                    match words {
                        Some(words) => {
                            self.held.fetch_sub(words.len(), Ordering::Relaxed);
                            speech.say(words);
                        }
                        None => closing = true,
                    }
                }
                () = self.clock.sleep_until(Some(due)) => {
                    let now = self.clock.now();
                    if now >= stalled_at {
                        return Err(Ended::Stalled);
                    }
                    speech.handle_timeout(now)?;
                }
            }
        }
    }

    /// Passes on what has come whole.
    async fn pass_on(&mut self, speech: &mut Speech) -> Result<(), Ended> {
        if !self.opened && speech.is_open() {
            self.opened = true;
            self.tell(What::Opened).await?;
        }
        while let Some(heard) = speech.poll()? {
            let wait = self.pace.pay(self.clock.now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            self.tell(What::Heard(heard)).await?;
        }
        Ok(())
    }

    async fn tell(&self, what: What) -> Result<(), Ended> {
        self.told.send(Told { key: self.key, what }).await.map_err(|_| Ended::Unheard)
    }
}

/// How much one connection may say.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Until when all that was said so far is paid for.
    paid_at: Instant,
}

impl Pace {
    /// One more message: how long to wait before it counts.
    fn pay(&mut self, now: Instant) -> Duration {
        self.paid_at = self.paid_at.max(now) + EACH;
        self.paid_at.since(now).saturating_sub(EACH * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_not_held_up_and_a_flood_is() {
        let mut pace = Pace { paid_at: Instant::ZERO };
        let now = Instant::from_micros(1_000_000);
        assert!((0..BURST).all(|_| pace.pay(now).is_zero()));
        assert_eq!(pace.pay(now), EACH);
        assert_eq!(pace.pay(now), 2 * EACH);
        assert_eq!(pace.pay(now + EACH * BURST), Duration::ZERO);
    }
}
