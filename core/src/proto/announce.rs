//! What a client and a tracker tell each other, whatever carries it.
//!
//! Values only: [`super::tracker_http`] and [`super::tracker_udp`] put them into bytes, the tracker's store and
//! the announcer act on them.

use crate::id::{InfoHash, PeerId};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Peers kept of one answer; the rest is dropped, since no torrent connects to more from one tracker.
pub const MAX_PEERS: usize = 1000;
/// Characters kept of a text that a tracker wrote; the rest is cut off.
pub const MAX_TEXT_CHARS: usize = 300;

/// Why a client announces.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Event {
    /// A routine announce.
    #[default]
    None,
    /// The first announce to this tracker.
    Started,
    /// The last wanted piece has just arrived; never said by somebody who began as a seed.
    Completed,
    /// The client is leaving.
    Stopped,
}

/// One announce of one peer.
//= BEP 3 §trackers
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The asker.
    pub peer_id: PeerId,
    /// Where the asker accepts connections.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Wanted bytes still missing; 0 makes the asker a seed.
    pub left: u64,
    /// Why now.
    pub event: Event,
    /// The same for all addresses of one client, so that it can prove who it is after an address change.
    //= BEP 7 §announce
    pub key: u32,
    /// Peers wanted; `None` leaves it to the tracker.
    pub want: Option<u32>,
    /// What an earlier answer asked to be told again; empty if none did. HTTP only.
    pub tracker_id: Vec<u8>,
}

/// What a tracker says apart from peers. Durations are as received: whoever acts on them clamps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// When to announce again.
    pub interval: Option<Duration>,
    /// Never announce sooner than this.
    pub min_interval: Option<Duration>,
    /// The size of the swarm.
    pub counts: Counts,
    /// Our address as the tracker sees it.
    //= BEP 24
    pub external_ip: Option<IpAddr>,
    /// Something that the user should read.
    pub warning: Option<String>,
    /// To be sent back with each announce; at most 256 bytes, a longer one is ignored.
    pub tracker_id: Vec<u8>,
}

/// The answer to an announce.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// At most [`MAX_PEERS`], none with port 0.
    pub peers: Vec<SocketAddr>,
    /// Everything else.
    pub terms: Terms,
}

/// How many are in a swarm.
//= BEP 48
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Peers that have everything.
    pub seeds: u32,
    /// Peers that do not.
    pub leeches: u32,
    /// Downloads ever completed, as far as the tracker remembers.
    pub completed: u32,
}

/// When a tracker that refused wants to be asked again.
//= BEP 31
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryIn {
    /// Not before this.
    After(Duration),
    /// Not at all.
    Never,
}

/// A tracker's text made fit to show: lossy UTF-8, control characters replaced, cut at [`MAX_TEXT_CHARS`].
pub fn shown_text(raw: &[u8]) -> String {
    // A character takes at most 4 bytes: no need to look at a megabyte to keep 300 of them.
    let raw = &raw[..raw.len().min(MAX_TEXT_CHARS * 4)];
    String::from_utf8_lossy(raw)
        .chars()
        .take(MAX_TEXT_CHARS)
        .map(|c| if is_unfit(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Control characters would drive the terminal, bidi overrides would make the text lie about its order.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracker_cannot_drive_the_terminal() {
        assert_eq!(
            shown_text(b"not \x1b[31mregistered\r\n"),
            "not \u{fffd}[31mregistered\u{fffd}\u{fffd}"
        );
        assert_eq!(shown_text("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(shown_text(&[0xff, b'a']), "\u{fffd}a");
        assert_eq!(shown_text(&vec![b'x'; 1 << 20]).len(), MAX_TEXT_CHARS);
    }
}
