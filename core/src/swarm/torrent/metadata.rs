//! Fetching the info dictionary from peers, and serving it to them.
//!
//! Every claim of a peer is only a claim: memory grows with bytes that arrived, never with a number that was sent.

use crate::clock::Instant;
use crate::hash;
use crate::id::TorrentHashes;
use crate::proto::extension::{metadata_pieces, metadata_range};
use crate::swarm::PeerKey;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeSet;
use std::time::Duration;

/// Metadata requests one peer may leave unanswered.
const ASKED_MAX: usize = 4;
/// A block not answered for so long is asked elsewhere.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// A peer that rejected us is left alone for so long (libtorrent waits 20 to 70 s).
const REJECT_PAUSE: Duration = Duration::from_secs(20);
/// Times a peer may send metadata of a wrong hash together with others before it is not asked again.
const WRONG_MAX: u8 = 2;
/// A size, or a lone source, that takes longer than this gives way when there is another. Each time it does, the next
/// gets twice as long: so a liar that drips costs a little, and a large dictionary on a slow line still gets through.
const PATIENCE: Duration = Duration::from_secs(10);
/// Metadata blocks served to one peer beyond one whole copy; a flood is rejected.
const SERVED_SLACK: u32 = 64;

/// What one connection has to do with metadata.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// What they say the dictionary measures, if they would send it.
    pub(super) size: Option<u32>,
    not_before: Instant,
    wrong: u8,
    served: u32,
}

impl Exchange {
    fn usable(&self, now: Instant, size: u32) -> bool {
        self.size == Some(size) && now >= self.not_before && self.wrong < WRONG_MAX
    }

    /// Whether one more block of a dictionary of `size` bytes may be sent to this peer.
    pub(super) fn may_serve(&mut self, size: u32) -> bool {
        self.served = self.served.saturating_add(1);
        self.served <= metadata_pieces(size) + SERVED_SLACK
    }
}

/// What an arriving metadata block led to.
#[derive(Debug, PartialEq)]
pub(super) enum Arrived {
    /// Nothing was expected, or more is needed.
    Nothing,
    /// The dictionary is whole and right.
    Complete(Bytes),
    /// It is whole and wrong, and only this peer sent it.
    Forged(PeerKey),
    /// It is whole and wrong, and several peers sent parts.
    Doubtful(Vec<PeerKey>),
}

#[derive(Clone, Debug)]
enum Slot {
    Free,
    Asked(PeerKey, Instant),
    Here(PeerKey, Bytes),
}

/// A download of the info dictionary from several peers at once.
#[derive(Debug)]
pub(super) struct Fetch {
    want: TorrentHashes,
    size: u32,
    slots: Vec<Slot>,
    /// When the last block came or was asked for.
    moved: Instant,
    /// When this size, from these sources, was begun, and how long it may take if others offer more.
    begun: Instant,
    patience: Duration,
    /// After a doubtful copy one peer delivers everything, so that the next failure has one name.
    alone: bool,
    complete: bool,
}

impl Fetch {
    pub(super) fn new(want: TorrentHashes) -> Self {
        Self {
            want,
            size: 0,
            slots: Vec::new(),
            moved: Instant::ZERO,
            begun: Instant::ZERO,
            patience: PATIENCE,
            alone: false,
            complete: false,
        }
    }

    /// Blocks to ask of this peer now.
    pub(super) fn requests(
        &mut self,
        now: Instant,
        peer: PeerKey,
        exchange: &Exchange,
    ) -> Vec<u32> {
        if self.complete {
            return Vec::new();
        }
        if let Some(size) = exchange.size
            && exchange.usable(now, size)
        {
            if self.is_stuck(now) {
                self.start(now, size);
            } else if self.is_outlasted(now, peer, size) {
                self.patience = self.patience.saturating_mul(2);
                self.start(now, size);
            }
        }
        if self.slots.is_empty() || !exchange.usable(now, self.size) {
            return Vec::new();
        }
        if self.alone && self.owner().is_some_and(|owner| owner != peer) {
            return Vec::new();
        }
        let mine = |slot: &Slot| matches!(slot, Slot::Asked(who, _) if *who == peer);
        let mut room = ASKED_MAX.saturating_sub(self.slots.iter().filter(|s| mine(s)).count());
        let mut wanted = Vec::new();
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if room > 0 && matches!(slot, Slot::Free) {
                *slot = Slot::Asked(peer, now);
                self.moved = now;
                wanted.push(at as u32);
                room -= 1;
            }
        }
        wanted
    }

    /// A block of the dictionary; `total` is the size the peer names with it.
    pub(super) fn data(
        &mut self,
        now: Instant,
        peer: PeerKey,
        index: u32,
        total: u32,
        data: &Bytes,
    ) -> Arrived {
        let at = index as usize;
        let expected = metadata_range(self.size, index).map_or(0, |range| range.len());
        let asked = matches!(self.slots.get(at), Some(Slot::Asked(who, _)) if *who == peer);
        if !asked || total != self.size || data.len() != expected {
            return Arrived::Nothing;
        }
        // Copied out, so that 16 KiB here do not pin a read buffer of 256.
        self.slots[at] = Slot::Here(peer, Bytes::copy_from_slice(data));
        self.moved = now;
        self.finish()
    }

    /// The peer will not give this block, or did not in time: it is left alone for a while.
    pub(super) fn rejected(&mut self, now: Instant, peer: PeerKey, exchange: &mut Exchange) {
        exchange.not_before = now + REJECT_PAUSE;
        self.left(peer);
    }

    /// The peer has gone, or is not to be waited for.
    pub(super) fn left(&mut self, peer: PeerKey) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Asked(who, _) if *who == peer) {
                *slot = Slot::Free;
            }
        }
    }

    /// Who owes a block for too long. Call now and then, and [`Self::rejected`] for each.
    pub(super) fn overdue(&self, now: Instant) -> BTreeSet<PeerKey> {
        let late = |slot: &Slot| match slot {
            Slot::Asked(who, at) if now.since(*at) > ANSWER_TIMEOUT => Some(*who),
            _ => None,
        };
        self.slots.iter().filter_map(late).collect()
    }

    /// Notes that this peer took part in a copy of the wrong hash.
    pub(super) fn doubt(exchange: &mut Exchange) {
        exchange.wrong += 1;
    }

    /// Whether nobody delivers what was begun: its size, or its lone source, gives way to others.
    fn is_stuck(&self, now: Instant) -> bool {
        let waiting = self.slots.iter().any(|slot| matches!(slot, Slot::Asked(..)));
        let begun = self.slots.iter().any(|slot| matches!(slot, Slot::Here(..)));
        !waiting && (!begun || now.since(self.moved) > ANSWER_TIMEOUT)
    }

    /// Whether what is being fetched moves, but so slowly that this peer's offer is tried instead.
    fn is_outlasted(&self, now: Instant, peer: PeerKey, size: u32) -> bool {
        let other =
            size != self.size || (self.alone && self.owner().is_some_and(|owner| owner != peer));
        other && now.since(self.begun) > self.patience
    }

    fn start(&mut self, now: Instant, size: u32) {
        if size != self.size || self.alone {
            self.size = size;
            self.begun = now;
            self.slots = vec![Slot::Free; metadata_pieces(size) as usize];
        }
    }

    fn owner(&self) -> Option<PeerKey> {
        self.slots.iter().find_map(|slot| match slot {
            Slot::Here(who, _) | Slot::Asked(who, _) => Some(*who),
            Slot::Free => None,
        })
    }

    fn finish(&mut self) -> Arrived {
        let mut whole = BytesMut::new();
        let mut from = BTreeSet::new();
        for slot in &self.slots {
            let Slot::Here(who, data) = slot else { return Arrived::Nothing };
            whole.extend_from_slice(data);
            from.insert(*who);
        }
        if is_info_of(&self.want, &whole) {
            self.complete = true;
            return Arrived::Complete(whole.freeze());
        }
        self.slots.fill(Slot::Free);
        self.alone = true;
        match from.len() {
            1 => Arrived::Forged(from.pop_first().expect("one element")),
            _ => Arrived::Doubtful(from.into_iter().collect()),
        }
    }
}

fn is_info_of(want: &TorrentHashes, info: &[u8]) -> bool {
    match want {
        TorrentHashes::V1(v1) => hash::sha1([info]) == v1.0,
        TorrentHashes::V2(v2) => hash::sha256([info]) == v2.0,
        TorrentHashes::Hybrid(v1, v2) => hash::sha1([info]) == v1.0 && hash::sha256([info]) == v2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InfoHash;
    use crate::proto::extension::METADATA_PIECE_LEN;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);
    const BLOCK: usize = METADATA_PIECE_LEN as usize;

    fn block(info: &Bytes, index: u32) -> Bytes {
        info.slice(metadata_range(info.len() as u32, index).unwrap())
    }

    fn dictionary(len: usize) -> (Bytes, Fetch) {
        let info = Bytes::from((0..len).map(|i| i as u8).collect::<Vec<_>>());
        let want = TorrentHashes::V1(InfoHash(hash::sha1([&info[..]])));
        (info, Fetch::new(want))
    }

    fn peer(size: usize) -> Exchange {
        Exchange { size: Some(size as u32), ..Exchange::default() }
    }

    fn deliver(fetch: &mut Fetch, who: PeerKey, info: &Bytes, indices: &[u32]) -> Arrived {
        deliver_at(fetch, Instant::ZERO, who, info, indices)
    }

    fn deliver_at(
        fetch: &mut Fetch,
        now: Instant,
        who: PeerKey,
        info: &Bytes,
        indices: &[u32],
    ) -> Arrived {
        let mut last = Arrived::Nothing;
        for &index in indices {
            last = fetch.data(now, who, index, info.len() as u32, &block(info, index));
        }
        last
    }

    #[test]
    fn two_peers_share_the_work() {
        let (info, mut fetch) = dictionary(BLOCK * 6 + 5);
        let (a, b) = (peer(info.len()), peer(info.len()));
        let from_a = fetch.requests(Instant::ZERO, A, &a);
        let from_b = fetch.requests(Instant::ZERO, B, &b);
        assert_eq!((&from_a[..], &from_b[..]), (&[0, 1, 2, 3][..], &[4, 5, 6][..]));
        assert_eq!(deliver(&mut fetch, A, &info, &from_a), Arrived::Nothing);
        assert_eq!(deliver(&mut fetch, B, &info, &from_b), Arrived::Complete(info));
    }

    #[test]
    fn a_silent_peer_does_not_hold_the_metadata_up() {
        let (info, mut fetch) = dictionary(100);
        let (a, b) = (peer(1 << 20), peer(100));
        assert_eq!(fetch.requests(Instant::ZERO, A, &a).len(), ASKED_MAX);
        assert!(fetch.requests(Instant::ZERO, B, &b).is_empty(), "another size is being fetched");
        let later = Instant::ZERO + ANSWER_TIMEOUT + Duration::from_millis(1);
        assert_eq!(fetch.overdue(later).into_iter().collect::<Vec<_>>(), [A]);
        let mut a = a;
        fetch.rejected(later, A, &mut a);
        assert!(fetch.requests(later, A, &a).is_empty(), "it rests");
        assert_eq!(fetch.requests(later, B, &b), [0]);
        assert_eq!(deliver(&mut fetch, B, &info, &[0]), Arrived::Complete(info));
    }

    #[test]
    fn attack_24_wrong_metadata_is_pinned_on_whoever_sent_it() {
        let (info, mut fetch) = dictionary(BLOCK * 5);
        let forged = Bytes::from(vec![7; info.len()]);
        let (a, b) = (peer(info.len()), peer(info.len()));
        let from_a = fetch.requests(Instant::ZERO, A, &a);
        let from_b = fetch.requests(Instant::ZERO, B, &b);
        deliver(&mut fetch, A, &info, &from_a);
        let end = deliver(&mut fetch, B, &forged, &from_b);
        assert_eq!(end, Arrived::Doubtful(vec![A, B]));
        // From now on one peer at a time, so the liar has no cover.
        let again = fetch.requests(Instant::ZERO, B, &b);
        assert!(fetch.requests(Instant::ZERO, A, &a).is_empty());
        deliver(&mut fetch, B, &forged, &again);
        let rest = fetch.requests(Instant::ZERO, B, &b);
        assert_eq!(deliver(&mut fetch, B, &forged, &rest), Arrived::Forged(B));
        let from_a = fetch.requests(Instant::ZERO, A, &a);
        deliver(&mut fetch, A, &info, &from_a);
        let rest = fetch.requests(Instant::ZERO, A, &a);
        assert_eq!(deliver(&mut fetch, A, &info, &rest), Arrived::Complete(info));
    }

    #[test]
    fn attack_24_blocks_nobody_asked_for_or_of_wrong_size_are_ignored() {
        let (info, mut fetch) = dictionary(BLOCK + 5);
        let a = peer(info.len());
        fetch.requests(Instant::ZERO, A, &a);
        let block = block(&info, 1);
        let len = info.len() as u32;
        assert_eq!(fetch.data(Instant::ZERO, B, 1, len, &block), Arrived::Nothing);
        assert_eq!(fetch.data(Instant::ZERO, A, 1, len + 1, &block), Arrived::Nothing);
        assert_eq!(fetch.data(Instant::ZERO, A, 0, len, &block), Arrived::Nothing);
        assert_eq!(fetch.data(Instant::ZERO, A, u32::MAX, len, &block), Arrived::Nothing);
        assert!(fetch.slots.iter().all(|slot| matches!(slot, Slot::Asked(..))));
    }

    #[test]
    fn attack_24_a_request_flood_is_refused_after_one_copy_and_some_slack() {
        let mut exchange = Exchange::default();
        let size = 8 * METADATA_PIECE_LEN;
        let served = (0..10_000).filter(|_| exchange.may_serve(size)).count();
        assert_eq!(served, 8 + SERVED_SLACK as usize);
    }

    #[test]
    fn attack_24_a_forged_size_that_drips_in_gives_way() {
        let (info, mut fetch) = dictionary(BLOCK * 2);
        let (liar, honest) = (peer(31 << 20), peer(info.len()));
        let drip = Bytes::from(vec![1; BLOCK]);
        let mut now = Instant::ZERO;
        let mut owed = fetch.requests(now, A, &liar);
        // A block every few seconds: never late, never stuck, and two thousand to come.
        let asked = loop {
            now += Duration::from_secs(4);
            assert!(now < Instant::ZERO + PATIENCE * 2, "it holds the honest peer up");
            let block = owed.remove(0);
            assert_eq!(fetch.data(now, A, block, 31 << 20, &drip), Arrived::Nothing);
            owed.extend(fetch.requests(now, A, &liar));
            let asked = fetch.requests(now, B, &honest);
            if !asked.is_empty() {
                break asked;
            }
        };
        assert_eq!(deliver(&mut fetch, B, &info, &asked), Arrived::Complete(info));
        now += PATIENCE * 100;
        assert_eq!(fetch.requests(now, A, &liar), [0; 0], "it is complete");
    }

    #[test]
    fn attack_24_a_lone_source_that_drips_gives_way_too_and_the_next_has_longer() {
        let (info, mut fetch) = dictionary(BLOCK * 2);
        let (a, b) = (peer(info.len()), peer(info.len()));
        fetch.alone = true;
        let first = fetch.requests(Instant::ZERO, A, &a);
        assert_eq!(first, [0, 1]);
        let mut now = Instant::ZERO + PATIENCE / 2;
        deliver_at(&mut fetch, now, A, &info, &[0]);
        assert_eq!(fetch.requests(now, B, &b), [0; 0], "A has its time");
        now = Instant::ZERO + PATIENCE * 3 / 2;
        assert_eq!(fetch.requests(now, B, &b), [0, 1]);
        assert_eq!(deliver_at(&mut fetch, now, A, &info, &[1]), Arrived::Nothing, "too late");
        now += PATIENCE * 3 / 2;
        deliver_at(&mut fetch, now, B, &info, &[0]);
        assert_eq!(fetch.requests(now, A, &a), [0; 0], "B has twice as long");
        assert_eq!(deliver_at(&mut fetch, now, B, &info, &[1]), Arrived::Complete(info));
    }

    #[test]
    fn a_source_that_begins_and_leaves_does_not_block_the_others() {
        let (info, mut fetch) = dictionary(BLOCK * 2);
        let (liar, honest) = (peer(BLOCK * 3), peer(info.len()));
        fetch.requests(Instant::ZERO, A, &liar);
        let block = Bytes::from(vec![1; BLOCK]);
        fetch.data(Instant::ZERO, A, 0, BLOCK as u32 * 3, &block);
        fetch.left(A);
        assert!(fetch.requests(Instant::ZERO, B, &honest).is_empty());
        let later = Instant::ZERO + ANSWER_TIMEOUT * 2;
        assert_eq!(fetch.requests(later, B, &honest), [0, 1]);
    }
}
