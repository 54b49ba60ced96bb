//! The pump of one established connection: bytes in become messages for the torrent, its messages become
//! bytes out.
//!
//! Decides when a peer is too slow to be worth a socket. Never decides what a message means: numbers in
//! messages are unchecked here, lengths are checked.

use super::clock::Clock;
use super::closed::Closed;
use super::handshake::Connected;
use super::read_buffer::{Buffers, ReadBuffer};
use super::writer;
use bytes::Bytes;
use gaggle_core::clock::Instant;
use gaggle_core::geometry::{Block, PieceIndex};
use gaggle_core::proto::peer::{Bounds, Decoder, Frame, Message, PeerError};
use gaggle_core::swarm::PeerKey;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Capacity for the channel from all connections of a torrent to it, in reads. When it is full, connections
/// stop reading and TCP slows the peers down: at most this many times `read_max` bytes wait.
pub const FROM_PEER_QUEUE: usize = 64;
/// Capacity for the channel from a torrent to one connection. When it is full the peer is slow to take what we
/// say, and the torrent keeps the rest; how much payload waits in it is the torrent's to bound, by [`Item::Sent`].
pub const TO_PEER_QUEUE: usize = 64;

/// Most items of one [`FromPeer`]: an item in memory is larger than the four bytes that a stranger needs for one, so
/// what waits is bounded by their number, too. At the bound the rest of a read comes as the next `FromPeer`.
const ITEMS_MAX: usize = 1024;

/// What one connection tells its torrent: what one read brought, in order.
#[derive(Debug)]
pub struct FromPeer {
    /// Which connection.
    pub peer: PeerKey,
    /// Never empty.
    pub items: Vec<Item>,
}

/// One thing that happened on a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// A block arrived.
    Block {
        /// Where the peer says it belongs: any number but for the length, which is that of `data`.
        block: Block,
        /// Its bytes, a slice of the read buffer.
        data: Bytes,
    },
    /// The connection is over; nothing follows.
    Closed(Closed),
    /// A message arrived, its numbers unchecked.
    Message(Message),
    /// Blocks were handed to the system since the last such item.
    Sent {
        /// Payload bytes, headers not counted.
        bytes: u64,
    },
}

/// What a torrent tells one connection. Dropping the sender is [`Self::Close`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToPeer {
    /// Blocks to send, in this order; each with exactly its bytes.
    Blocks(Vec<(Block, Bytes)>),
    /// Send what was queued before, then close.
    Close,
    /// Send these, in this order.
    Messages(Vec<Message>),
    /// How many pieces there are: from now on a bitfield has one length only.
    MetadataKnown {
        /// At least 1.
        pieces: u32,
    },
}

/// Bounds of a pump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PumpConfig {
    /// Close when nothing came, or nothing that we sent was taken, for this long. Default 180 s: keep-alives
    /// come every 120 s, and one late keep-alive must not cost the connection.
    //= BEP 3 §peer messages (keepalives)
    pub idle_timeout: Duration,
    /// Close when a message was begun and is not complete after this long. Default 60 s, libtorrent's request
    /// timeout; a block then comes at 273 B/s at least. Deadlines are met to a quarter of themselves.
    pub message_timeout: Duration,
    /// Most bytes of one read. Default 256 KiB, beyond which reads get no cheaper. Reads begin at 4 KiB and
    /// grow as the peer fills them.
    pub read_max: usize,
}

impl Default for PumpConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(180),
            message_timeout: Duration::from_secs(60),
            read_max: 256 * 1024,
        }
    }
}

/// One connection's ties to its torrent.
#[derive(Debug)]
pub struct Pump {
    /// Its name in the torrent.
    pub peer: PeerKey,
    /// Pieces of the torrent; `None` while the metadata is unknown.
    pub pieces: Option<u32>,
    /// What to send, of capacity [`TO_PEER_QUEUE`].
    pub queue: mpsc::Receiver<ToPeer>,
    /// Where everything goes that happens, of capacity [`FROM_PEER_QUEUE`].
    pub out: mpsc::Sender<FromPeer>,
    /// Memory to read into.
    pub buffers: Buffers,
    /// For the deadlines.
    pub clock: Clock,
    /// Bounds.
    pub config: PumpConfig,
}

impl Pump {
    /// Moves bytes both ways until the connection ends; its last item is [`Item::Closed`]. Dropping the future
    /// closes the connection without one.
    pub async fn run(self, connected: Connected) {
        let Self { peer, pieces, queue, out, buffers, clock, config } = self;
        let Connected { mut stream, leftover, .. } = connected;
        let shared = Shared::new(peer, pieces);
        let (read_half, write_half) = stream.split();
        let mut reader = Reader {
            buffer: ReadBuffer::new(leftover, config.read_max, buffers),
            decoder: Decoder::new(Bounds::new(pieces)),
            heard: clock.now(),
            begun: None,
            clock,
            config,
        };
        let closed = tokio::select! {
            closed = writer::write(write_half, queue, &out, &shared, config.idle_timeout) => closed,
            closed = reader.read(read_half, &out, &shared) => closed,
        };
        let items = shared.take_sent().chain([Item::Closed(closed)]).collect();
        // Failing means that the torrent is gone and nobody wants to know.
        let _ = out.send(FromPeer { peer, items }).await;
    }
}

/// What the two directions of a connection share.
pub(super) struct Shared {
    pub(super) peer: PeerKey,
    /// 0 while the metadata is unknown.
    pub(super) pieces: AtomicU32,
    /// Payload bytes written and not yet reported.
    pub(super) sent: AtomicU64,
}

impl Shared {
    fn new(peer: PeerKey, pieces: Option<u32>) -> Self {
        let pieces = AtomicU32::new(pieces.unwrap_or(0));
        Self { peer, pieces, sent: AtomicU64::new(0) }
    }

    pub(super) fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > 0
    }

    pub(super) fn take_sent(&self) -> impl Iterator<Item = Item> {
        let bytes = self.sent.swap(0, Ordering::Relaxed);
        (bytes > 0).then_some(Item::Sent { bytes }).into_iter()
    }

    fn bounds(&self) -> Bounds {
        let pieces = self.pieces.load(Ordering::Relaxed);
        Bounds::new((pieces > 0).then_some(pieces))
    }
}

/// The incoming direction.
struct Reader {
    buffer: ReadBuffer,
    decoder: Decoder,
    /// When bytes came last.
    heard: Instant,
    /// When the incomplete message at the front was begun.
    begun: Option<Instant>,
    clock: Clock,
    config: PumpConfig,
}

impl Reader {
    async fn read(
        &mut self,
        mut socket: impl AsyncRead + Unpin,
        out: &mpsc::Sender<FromPeer>,
        shared: &Shared,
    ) -> Closed {
        // A timer of its own for every read would cost more than the read's bookkeeping.
        let tick = self.config.message_timeout.min(self.config.idle_timeout) / 4;
        let mut ticks = tokio::time::interval(tick.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (items, ended) = self.decode(shared);
            let (complete, cut) = (!items.is_empty(), items.len() == ITEMS_MAX);
            if complete {
                let items = shared.take_sent().chain(items).collect();
                // Waits while the torrent is busy: the peer is not read, and not blamed for it.
                if out.send(FromPeer { peer: shared.peer, items }).await.is_err() {
                    return Closed::ByUs;
                }
                self.heard = self.clock.now();
            }
            if let Err(error) = ended {
                return Closed::Peer(error);
            }
            if cut {
                continue;
            }
            self.note_progress(complete);
            if let Err(closed) = self.fill(&mut socket, &mut ticks).await {
                return closed;
            }
        }
    }

    /// One read, and until it brings something the deadlines.
    async fn fill(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        ticks: &mut tokio::time::Interval,
    ) -> Result<(), Closed> {
        loop {
            let wants = self.decoder.wants();
            let input = self.buffer.make_room(wants);
            let spare = input.capacity() - input.len();
            tokio::select! {
                biased; // a deadline only counts when there is nothing to read
                got = socket.read_buf(input) => {
                    let got = got?;
                    if got == 0 {
                        return Err(Closed::ByPeer);
                    }
                    self.buffer.learn(got, spare);
                    self.heard = self.clock.now();
                    return Ok(());
                }
                _ = ticks.tick() => {
                    self.check_deadlines()?;
                    if self.clock.now().since(self.heard) >= ticks.period() {
                        self.buffer.rest();
                    }
                }
            }
        }
    }

    /// What is complete in the buffer, at most [`ITEMS_MAX`] of it, and how it ends.
    fn decode(&mut self, shared: &Shared) -> (Vec<Item>, Result<(), PeerError>) {
        self.decoder.set_bounds(shared.bounds());
        let mut items = Vec::new();
        while items.len() < ITEMS_MAX {
            match self.decoder.next(self.buffer.bytes()) {
                Ok(Some(Frame::Message(message))) => items.push(Item::Message(message)),
                Ok(Some(Frame::Block { index, begin, data })) => {
                    let len = data.len() as u32; // at most `block_len_max`
                    let block = Block { piece: PieceIndex(index), begin, len };
                    items.push(Item::Block { block, data });
                }
                Ok(None) => return (items, Ok(())),
                Err(error) => return (items, Err(error.into())),
            }
        }
        (items, Ok(()))
    }

    /// Starts the clock of a message that was begun, and stops it when none is.
    fn note_progress(&mut self, complete: bool) {
        let mid_message = self.decoder.mid_message(self.buffer.bytes());
        if !mid_message {
            self.begun = None;
        } else if complete || self.begun.is_none() {
            self.begun = Some(self.clock.now());
        }
    }

    fn check_deadlines(&self) -> Result<(), PeerError> {
        let now = self.clock.now();
        let PumpConfig { idle_timeout, message_timeout, .. } = self.config;
        match self.begun.map(|begun| now.since(begun)) {
            Some(after) if after >= message_timeout => {
                Err(PeerError::Stalled { after, missing: self.decoder.wants() })
            }
            _ if now.since(self.heard) >= idle_timeout => Err(PeerError::Idle(idle_timeout)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// Says `head` once and then zeros for ever, as fast as it is read.
    struct Endless {
        head: &'static [u8],
        taken: usize,
    }

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let head = std::mem::take(&mut self.head);
            buf.put_slice(head);
            let zeros = buf.remaining();
            buf.initialize_unfilled();
            buf.advance(zeros);
            self.taken += head.len() + zeros;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_flood_of_small_messages_reaches_the_torrent_in_bounded_portions() {
        let (out, mut from) = mpsc::channel(1);
        let (clock, config) = (Clock::start(), PumpConfig::default());
        let mut reader = Reader {
            buffer: ReadBuffer::new(bytes::BytesMut::new(), config.read_max, Buffers::default()),
            decoder: Decoder::new(Bounds::new(None)),
            heard: clock.now(),
            begun: None,
            clock,
            config,
        };
        let shared = Shared::new(PeerKey(0), None);
        let keepalives = vec![0; 1 << 20];
        let read = reader.read(&keepalives[..], &out, &shared);
        let count = async {
            let mut all = 0;
            while all < keepalives.len() / 4 {
                let FromPeer { items, .. } = from.recv().await.unwrap();
                assert!(items.len() <= ITEMS_MAX, "{} at once", items.len());
                all += items.len();
            }
            all
        };
        let (ended, all) = tokio::join!(read, count);
        assert!(matches!(ended, Closed::ByPeer), "{ended:?}");
        assert_eq!(all, keepalives.len() / 4, "none is lost");
    }

    #[tokio::test]
    async fn attack_15_the_most_that_is_taken_and_held_of_an_illegal_message() {
        let illegal = [
            &[0xff, 0xff, 0xff, 0xff][..], // 4 GiB
            &[0x40, 0, 0, 0],              // 1 GiB
            &[0, 0x10, 0, 0, 20],          // an extended message of 1 MiB
            &[0, 4, 0, 2, 5],              // a bitfield for more pieces than any torrent has
        ];
        for head in illegal {
            let (out, _from) = mpsc::channel(1);
            let (clock, config) = (Clock::start(), PumpConfig::default());
            let mut reader = Reader {
                buffer: ReadBuffer::new(
                    bytes::BytesMut::new(),
                    config.read_max,
                    Buffers::default(),
                ),
                decoder: Decoder::new(Bounds::new(None)),
                heard: clock.now(),
                begun: None,
                clock,
                config,
            };
            let shared = Shared::new(PeerKey(0), None);
            let mut socket = Endless { head, taken: 0 };
            let why = reader.read(&mut socket, &out, &shared).await;
            assert!(matches!(why, Closed::Peer(PeerError::Wire(_))), "{why:?}");
            assert!(socket.taken <= 4096, "{} bytes were read", socket.taken);
            assert!(reader.buffer.held() <= 4096, "{} bytes were held", reader.buffer.held());
        }
    }
}
