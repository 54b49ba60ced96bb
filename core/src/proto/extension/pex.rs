//! Peer exchange: who joined and who left since the last message.
//!
//! Decides how much of a message is used: the first [`PEX_MAX`] addresses of each list, and no word about the rest.
//! Never judges an address beyond its port, and never counts time: the torrent does.
//= BEP 11

use super::LIMITS;
use super::error::ExtensionError;
use crate::bencode::{Dict, Value};
use crate::compact;
use bytes::Bytes;
use std::net::SocketAddr;

/// Most addresses of a message that are used, of both families together, and as many that left. What goes beyond is
/// not looked at. The BEP allows more in a first message only.
//= BEP 11 §message content (limits)
pub const PEX_MAX: usize = 50;

/// What is said about a peer that joined.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Wants its connections encrypted.
    pub const ENCRYPTION: Self = Self(0x01);
    /// Fetches nothing: a seed, or a partial one.
    pub const SEED: Self = Self(0x02);
    /// Speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// Helps others through a NAT.
    pub const HOLEPUNCH: Self = Self(0x08);
    /// Could be dialled at this address.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether all of these are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These as well, if `set`.
    #[must_use]
    pub const fn with(self, flags: Self, set: bool) -> Self {
        if set { Self(self.0 | flags.0) } else { self }
    }
}

/// A peer that joined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What the sender says about it.
    pub flags: PexFlags,
}

/// One message. Each list is in the order of the message, IPv4 first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PexMessage {
    /// Who joined; at most [`PEX_MAX`] are read.
    pub added: Vec<PexPeer>,
    /// Who left; at most [`PEX_MAX`] are read.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Reads a payload. A list of the wrong kind counts as empty, flags that are missing as none; half an address at
    /// the end of a list is left out, and so is one with port 0.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtensionError> {
        let (dict, _) = Value::parse_first(payload, LIMITS)?;
        dict.as_dict().ok_or(ExtensionError::NotDictionary)?;
        let list = |key| dict.at(key).and_then(|value| value.as_bytes()).unwrap_or_default();
        let v4 = flagged(list("added"), compact::V4_LEN, list("added.f"), first_v4);
        let v6 = flagged(list("added6"), compact::V6_LEN, list("added6.f"), first_v6);
        let dropped = compact::read_v4(list("dropped")).chain(compact::read_v6(list("dropped6")));
        Ok(Self {
            added: v4.chain(v6).take(PEX_MAX).collect(),
            dropped: dropped.take(PEX_MAX).collect(),
        })
    }

    /// The payload to send under the id that the peer assigned. Empty lists are left out, as others do.
    pub fn encode(&self) -> Bytes {
        let mut added = [Vec::new(), Vec::new()];
        let mut flags = [Vec::new(), Vec::new()];
        let mut dropped = [Vec::new(), Vec::new()];
        for peer in &self.added {
            let family = usize::from(peer.addr.is_ipv6());
            compact::push(&mut added[family], peer.addr);
            flags[family].push(peer.flags.0);
        }
        for addr in &self.dropped {
            compact::push(&mut dropped[usize::from(addr.is_ipv6())], *addr);
        }
        let [added, added6] = added;
        let [flags, flags6] = flags;
        let [dropped, dropped6] = dropped;
        let lists = [
            ("added", added),
            ("added.f", flags),
            ("added6", added6),
            ("added6.f", flags6),
            ("dropped", dropped),
            ("dropped6", dropped6),
        ];
        let mut dict = Dict::new();
        for (key, list) in lists {
            if !list.is_empty() {
                dict = dict.bytes(key, list);
            }
        }
        dict.into_bytes().into()
    }
}

/// Addresses with their flags, which count by place: an address that is left out takes its flag with it.
fn flagged<'a>(
    list: &'a [u8],
    len: usize,
    flags: &'a [u8],
    read: fn(&[u8]) -> Option<SocketAddr>,
) -> impl Iterator<Item = PexPeer> + 'a {
    let flags = flags.iter().copied().chain(std::iter::repeat(0));
    list.chunks_exact(len)
        .zip(flags)
        .filter_map(move |(raw, flags)| Some(PexPeer { addr: read(raw)?, flags: PexFlags(flags) }))
}

fn first_v4(raw: &[u8]) -> Option<SocketAddr> {
    compact::read_v4(raw).next()
}

fn first_v6(raw: &[u8]) -> Option<SocketAddr> {
    compact::read_v6(raw).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_addr() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<[u8; 4]>().prop_map(std::net::IpAddr::from);
        let v6 = any::<[u8; 16]>().prop_map(std::net::IpAddr::from);
        (prop_oneof![v4, v6], 1..=u16::MAX).prop_map(SocketAddr::from)
    }

    fn any_message() -> impl Strategy<Value = PexMessage> {
        let peer = (any_addr(), any::<u8>())
            .prop_map(|(addr, flags)| PexPeer { addr, flags: PexFlags(flags) });
        let added = prop::collection::vec(peer, 0..=PEX_MAX);
        let dropped = prop::collection::vec(any_addr(), 0..=PEX_MAX);
        (added, dropped).prop_map(|(mut added, mut dropped)| {
            // Both families have lists of their own, so their order among each other is not kept.
            added.sort_by_key(|peer| peer.addr.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            PexMessage { added, dropped }
        })
    }

    proptest! {
        #[test]
        fn messages_round_trip(sent in any_message()) {
            prop_assert_eq!(PexMessage::parse(&sent.encode()), Ok(sent));
        }

        #[test]
        fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = PexMessage::parse(&raw);
        }

        #[test]
        fn lists_of_any_length_are_cut(added: Vec<u8>, flags: Vec<u8>, dropped6: Vec<u8>) {
            let dict = Dict::new().bytes("added", &added).bytes("added.f", flags);
            let message = PexMessage::parse(&dict.bytes("dropped6", &dropped6).into_bytes()).unwrap();
            prop_assert!(message.added.len() <= PEX_MAX.min(added.len() / compact::V4_LEN));
            prop_assert!(message.dropped.len() <= PEX_MAX.min(dropped6.len() / compact::V6_LEN));
            prop_assert!(message.added.iter().all(|peer| peer.addr.port() != 0));
        }
    }

    #[test]
    fn the_lists_on_the_wire() {
        let peer = |addr: &str, flags| PexPeer { addr: addr.parse().unwrap(), flags };
        let reachable_seed = PexFlags::SEED.with(PexFlags::REACHABLE, true);
        let message = PexMessage {
            added: vec![
                peer("1.2.3.4:258", reachable_seed),
                peer("[2001:db8::1]:259", PexFlags::NONE),
            ],
            dropped: vec!["5.6.7.8:260".parse().unwrap()],
        };
        let wire: &[u8] = b"d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x12\
            6:added618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x038:added6.f1:\0\
            7:dropped6:\x05\x06\x07\x08\x01\x04e";
        assert_eq!(message.encode(), wire);
        assert_eq!(PexMessage::parse(wire), Ok(message));
        assert_eq!(PexMessage::default().encode(), &b"de"[..]);
        assert!(reachable_seed.has(PexFlags::SEED) && !reachable_seed.has(PexFlags::UTP));
    }

    #[test]
    fn what_others_send_is_read_as_far_as_it_goes() {
        // libtorrent sends every list, the empty ones too.
        let wire: &[u8] =
            b"d5:added12:\x01\x01\x01\x01\0\0\x02\x02\x02\x02\0\x057:added.f2:\x01\x02\
            6:added60:8:added6.f0:7:dropped0:8:dropped60:e";
        let message = PexMessage::parse(wire).unwrap();
        let addr = "2.2.2.2:5".parse().unwrap();
        assert_eq!(message.added, [PexPeer { addr, flags: PexFlags(2) }], "flags count by place");
        for odd in [
            &b"d5:addedi7e7:added.fi1ee"[..],
            b"d5:added5:\x01\x01\x01\x01\x01e",
            b"d6:added617:aaaaaaaaaaaaaaaaae",
            b"d5:addedl6:aaaaaaeeXX",
        ] {
            assert_eq!(PexMessage::parse(odd), Ok(PexMessage::default()), "{}", odd.escape_ascii());
        }
        let short = PexMessage::parse(
            b"d5:added12:\x01\x01\x01\x01\0\x01\x02\x02\x02\x02\0\x057:added.f1:\x02e",
        );
        assert_eq!(short.unwrap().added[1].flags, PexFlags::NONE);
        assert_eq!(PexMessage::parse(b"le"), Err(ExtensionError::NotDictionary));
    }

    #[test]
    fn attack_25_ten_thousand_addresses_are_cut_to_fifty() {
        let mut many = Vec::new();
        for n in 0..10_000u32 {
            compact::push(&mut many, SocketAddr::from((n.to_be_bytes(), 6881)));
        }
        let dict = Dict::new().bytes("added", &many).bytes("dropped", &many).into_bytes();
        let message = PexMessage::parse(&dict[..]).map(|m| (m.added.len(), m.dropped.len()));
        // So long a message is refused as a whole; one that just fits is cut.
        assert!(message.is_err());
        many.truncate(5_000 * compact::V4_LEN);
        let dict = Dict::new().bytes("added", &many).bytes("dropped", &many).into_bytes();
        let message = PexMessage::parse(&dict).unwrap();
        assert_eq!((message.added.len(), message.dropped.len()), (PEX_MAX, PEX_MAX));
    }
}
