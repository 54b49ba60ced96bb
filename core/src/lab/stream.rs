//! Ordered byte streams between two hosts: what waits to be sent, what is under way, how fast it may go.
//!
//! Loss delays a segment and everything behind it and halves the window; nothing is ever dropped or reordered,
//! as with TCP. Which segment of which connection goes next is the sending host's affair.

use super::host::HostId;
use crate::clock::Instant;
use crate::geometry::Block;
use crate::id::PeerId;
use crate::proto::peer::{Message, PIECE_HEADER_LEN};
use crate::rng::Rng;
use crate::swarm::PeerKey;
use crate::units::BytesPerSec;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// What connects two hosts, unless a [`super::Setup`] says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Time one way.
    pub delay: Duration,
    /// Part of the packets that are lost, 0 to 1.
    pub loss: f64,
    /// Of each host's line, up and down alike.
    pub rate: BytesPerSec,
}

/// One direction of a connection: from the end `side` to the other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Way {
    pub(super) conn: u32,
    pub(super) side: u8,
}

impl Way {
    pub(super) fn back(self) -> Self {
        Self { conn: self.conn, side: 1 - self.side }
    }
}

/// One thing in a stream.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A block; `bad` if its bytes are not the content's.
    Block { block: Block, bad: bool },
    /// The sender has closed.
    Fin,
    /// Any other message.
    Message(Message),
}

impl Item {
    fn bytes(&self) -> u64 {
        match self {
            Self::Block { block, .. } => u64::from(block.len) + PIECE_HEADER_LEN as u64,
            Self::Fin => 0,
            Self::Message(message) => message.encoded_len() as u64,
        }
    }
}

/// What one segment carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cut {
    pub(super) items: u16,
    pub(super) bytes: u32,
    /// Of which blocks' content.
    pub(super) payload: u64,
}

/// One end of a connection with everything that it sends.
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) life: u32,
    /// What the machine at this end calls the connection, while it knows it.
    pub(super) key: Option<PeerKey>,
    out: VecDeque<Item>,
    out_payload: u64,
    flight: VecDeque<Item>,
    /// Whether the host's line, or a [`super::events::Happening::Pace`], has this end in view.
    pub(super) scheduled: bool,
    pub(super) next_at: Instant,
    last_arrival: Instant,
    window: f64,
    threshold: f64,
    recovering_until: Instant,
}

impl End {
    pub(super) fn new(host: HostId, life: u32) -> Self {
        Self {
            host,
            life,
            key: None,
            out: VecDeque::new(),
            out_payload: 0,
            flight: VecDeque::new(),
            scheduled: false,
            next_at: Instant::ZERO,
            last_arrival: Instant::ZERO,
            window: WINDOW_FIRST,
            threshold: WINDOW_MAX,
            recovering_until: Instant::ZERO,
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        if let Item::Block { block, .. } = &item {
            self.out_payload += u64::from(block.len);
        }
        self.out.push_back(item);
    }

    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Messages and bytes of content that wait to be sent.
    pub(super) fn backlog(&self) -> (usize, u64) {
        (self.out.len(), self.out_payload)
    }

    /// Moves the next segment onto the wire.
    pub(super) fn cut(&mut self) -> Cut {
        let mut cut = Cut::default();
        while cut.bytes < SEGMENT && cut.items < u16::MAX {
            let Some(item) = self.out.pop_front() else { break };
            cut.items += 1;
            cut.bytes += item.bytes() as u32;
            if let Item::Block { block, .. } = &item {
                cut.payload += u64::from(block.len);
            }
            self.flight.push_back(item);
        }
        self.out_payload -= cut.payload;
        cut
    }

    pub(super) fn landed(&mut self) -> Option<Item> {
        self.flight.pop_front()
    }

    /// The connection is being closed: content that has not left yet stays here.
    pub(super) fn drop_blocks(&mut self) {
        self.out.retain(|item| !matches!(item, Item::Block { .. }));
        self.out_payload = 0;
    }

    /// When a segment that leaves the line at `left` arrives; adjusts window and pace.
    pub(super) fn fly(&mut self, left: Instant, cut: Cut, link: &Link, rng: &mut Rng) -> Instant {
        let round_trip = link.delay * 2;
        let mut arrival = left + link.delay;
        if link.loss > 0.0 && rng.unit() < lost(link.loss, cut.bytes) {
            arrival += round_trip + RETRANSMIT;
            if left >= self.recovering_until {
                self.window = (self.window / 2.0).max(2.0 * PACKET);
                self.threshold = self.window;
                self.recovering_until = left + round_trip;
            }
        } else {
            let bytes = f64::from(cut.bytes);
            let slow_start = self.window < self.threshold;
            self.window += if slow_start { bytes } else { PACKET * bytes / self.window };
            self.window = self.window.min(WINDOW_MAX);
        }
        let hold = round_trip.as_micros() as f64 * f64::from(cut.bytes) / self.window;
        self.next_at = left + Duration::from_micros(hold as u64);
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }
}

/// Two ends; side 0 dialled.
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    /// What was dialled.
    pub(super) to: SocketAddr,
    /// Where the dialled host sees it come from.
    pub(super) from: SocketAddr,
    /// What the dialled side answered with.
    pub(super) answer: Option<PeerId>,
}

/// The chance that at least one packet of so many bytes is lost.
fn lost(loss: f64, bytes: u32) -> f64 {
    let through = (0..bytes.div_ceil(PACKET as u32).max(1)).fold(1.0, |p, _| p * (1.0 - loss));
    1.0 - through
}

/// A segment is filled up to here: one block, or the control messages of a moment.
const SEGMENT: u32 = 16 * 1024;
/// Bytes of one packet.
const PACKET: f64 = 1460.0;
/// Window of a new connection.
const WINDOW_FIRST: f64 = 10.0 * PACKET;
/// Largest window: what a Linux socket grows to by default.
const WINDOW_MAX: f64 = 4.0 * 1024.0 * 1024.0;
/// Least time that a lost segment costs beside the round trip: the minimum retransmission timeout of Linux.
const RETRANSMIT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PieceIndex;

    fn block() -> Item {
        Item::Block { block: Block { piece: PieceIndex(0), begin: 0, len: 16384 }, bad: false }
    }

    #[test]
    fn a_segment_holds_small_messages_and_one_block() {
        let mut end = End::new(HostId(0), 0);
        for item in [Item::Message(Message::Have(1)), block(), block(), Item::Fin] {
            end.push(item);
        }
        assert_eq!(end.backlog(), (4, 32768));
        let cut = end.cut();
        assert_eq!((cut.items, cut.payload, cut.bytes), (2, 16384, 16384 + 13 + 9));
        assert_eq!(end.backlog(), (2, 16384));
        assert_eq!((end.cut().items, end.cut().items, end.cut().items), (1, 1, 0));
    }

    #[test]
    fn loss_delays_and_halves_but_keeps_the_order() {
        let mut link =
            Link { delay: Duration::from_millis(10), loss: 1.0, rate: BytesPerSec(1 << 20) };
        let mut rng = Rng::seeded(1);
        let mut end = End::new(HostId(0), 0);
        let cut = Cut { items: 1, bytes: 16384, payload: 16384 };
        let late = end.fly(Instant::ZERO, cut, &link, &mut rng);
        assert_eq!(late.as_micros(), 10_000 + 20_000 + 200_000);
        assert!(end.window < WINDOW_FIRST);
        link.loss = 0.0;
        let next = end.fly(Instant::from_micros(1000), cut, &link, &mut rng);
        assert_eq!(next, late, "a later segment never overtakes");
    }
}
