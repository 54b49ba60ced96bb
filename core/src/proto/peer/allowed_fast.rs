//! Which pieces a choked peer may ask for, computed from its address so that reconnecting gains nothing.
//= BEP 6 §allowed fast set generation

use crate::geometry::PieceIndex;
use crate::hash::sha1;
use crate::id::InfoHash;
use std::net::IpAddr;

/// Pieces offered to a newcomer: the BEP's suggestion is 10, libtorrent sends 5; enough to trade one piece.
pub const ALLOWED_FAST_PIECES: u32 = 5;

/// The first `count` pieces of the set for the peer at `ip`, in the BEP's order; all pieces, in index order,
/// when the torrent has no more than `count`.
///
/// The BEP masks an IPv4 address to its /24, as neighbours tend to be one party, and says nothing of IPv6:
/// here an IPv6 address is masked to its /64, the smallest net that one party is given. A v4-mapped address
/// counts as IPv4.
pub fn allowed_fast(ip: IpAddr, info_hash: InfoHash, pieces: u32, count: u32) -> Vec<PieceIndex> {
    if pieces <= count {
        return (0..pieces).map(PieceIndex).collect();
    }
    let mut set = Vec::with_capacity(count as usize);
    let mut x = match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            sha1([&[a, b, c, 0], &info_hash.0[..]])
        }
        IpAddr::V6(v6) => sha1([&v6.octets()[..8], &[0; 8], &info_hash.0]),
    };
    while set.len() < count as usize {
        for word in x.as_chunks::<4>().0 {
            let piece = PieceIndex(u32::from_be_bytes(*word) % pieces);
            if set.len() < count as usize && !set.contains(&piece) {
                set.push(piece);
            }
        }
        x = sha1([&x[..]]);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ip: &str, pieces: u32, count: u32) -> Vec<u32> {
        let set = allowed_fast(ip.parse().unwrap(), InfoHash([0xaa; 20]), pieces, count);
        set.iter().map(|piece| piece.0).collect()
    }

    #[test]
    fn the_sets_that_the_bep_publishes() {
        assert_eq!(set("80.4.4.200", 1313, 7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set("80.4.4.200", 1313, 9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn neighbours_share_a_set_and_small_torrents_end() {
        assert_eq!(set("80.4.4.1", 1313, 7), set("80.4.4.200", 1313, 7));
        assert_eq!(set("::ffff:80.4.4.1", 1313, 7), set("80.4.4.200", 1313, 7));
        assert_ne!(set("80.4.5.1", 1313, 7), set("80.4.4.200", 1313, 7));
        assert_eq!(set("2001:db8::1", 1313, 7), set("2001:db8::ffff:1", 1313, 7));
        assert_ne!(set("2001:db8::1", 1313, 7), set("2001:db8:0:1::1", 1313, 7));
        assert_eq!(set("80.4.4.200", 3, 5), [0, 1, 2]);
        assert_eq!(set("80.4.4.200", 0, 5), []);
        let mut near = set("80.4.4.200", 6, 5);
        near.dedup();
        assert_eq!(near.len(), 5);
    }
}
