//! What an answer tells who has searched: one value for each file, with no more than can be believed.

use crate::id::InfoHash;
use crate::proto::gnutella::{Guid, Hit, QueryHit, Urn};
use crate::scope::Scope;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddrV4};

/// Other holders of one file that are read, and as many relays of one servent; further ones are ignored.
const ADDRESSES_MAX: usize = 32;

/// A file that somebody has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// As that servent calls it: nothing says that it is safe as a file name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Of the whole file, if that servent says.
    pub sha1: Option<[u8; 20]>,
    /// The torrent that the file belongs to.
    pub torrent: Option<InfoHash>,
    /// Which of the files of that torrent it is, by servents of our own kind.
    pub nth: Option<u32>,
    /// Where that servent takes part in the torrent's swarm.
    pub peer: Option<SocketAddrV4>,
    /// The file's number at that servent.
    pub index: u32,
    /// That servent: what a Push is addressed to.
    pub servent: Guid,
    /// Where it can be asked for the file; `None` if it must be asked to connect to us.
    pub addr: Option<SocketAddrV4>,
    /// All its upload slots are taken.
    pub busy: bool,
    /// kbit/s, as it says.
    pub speed: u32,
    /// Others who have the file, as it says.
    pub alternates: Vec<SocketAddrV4>,
    /// Who relays a Push to it.
    pub proxies: Vec<SocketAddrV4>,
    /// Whose program it is.
    pub vendor: Option<[u8; 4]>,
    /// Links that the answer has crossed.
    pub hops: u8,
}

impl Found {
    /// The files of an answer that a neighbour at `from` has brought. None, if the servent names an address that is
    /// not for us to know and that it does not say is unreachable.
    pub fn of(from: IpAddr, hops: u8, answer: &QueryHit) -> Vec<Self> {
        let Some(addr) = whereabouts(from, answer) else { return Vec::new() };
        let trailer = answer.trailer.as_ref();
        let proxies = trailer.and_then(|said| said.ggep.get("PUSH"));
        let proxies = proxies.map_or_else(Vec::new, |raw| addresses(from, raw));
        let one = |hit: &Hit| {
            let extensions = &hit.extensions;
            let torrent = extensions.urns.iter().find_map(|urn| match urn {
                Urn::Btih(info) => Some(*info),
                _ => None,
            });
            let place = extensions.ggep.get("BT").and_then(|raw| Place::read(raw));
            let place = place.filter(|place| torrent.is_none_or(|info| info == place.torrent));
            let alternates = extensions.ggep.get("ALT");
            Self {
                name: hit.name.clone(),
                size: hit.size,
                sha1: extensions.sha1(),
                torrent: torrent.or(place.as_ref().map(|place| place.torrent)),
                nth: place.as_ref().map(|place| place.nth),
                peer: place
                    .filter(|place| place.port != 0)
                    .and_then(|place| Some(SocketAddrV4::new(*addr?.ip(), place.port))),
                index: hit.index,
                servent: answer.servent,
                addr,
                busy: trailer.and_then(|said| said.busy).unwrap_or(false),
                speed: answer.speed,
                alternates: alternates.map_or_else(Vec::new, |raw| addresses(from, raw)),
                proxies: proxies.clone(),
                vendor: trailer.map(|said| said.vendor),
                hops,
            }
        };
        answer.hits.iter().map(one).collect()
    }
}

/// Where a servent can be asked: `Some(None)` only by a Push, `None` not at all.
pub(super) fn whereabouts(from: IpAddr, answer: &QueryHit) -> Option<Option<SocketAddrV4>> {
    let push = answer.trailer.as_ref().and_then(|trailer| trailer.push) == Some(true);
    let good = may_name(from, answer.addr);
    (good || push).then(|| Some(answer.addr).filter(|_| good && !push))
}

fn may_name(from: IpAddr, addr: SocketAddrV4) -> bool {
    addr.port() != 0 && Scope::may_tell(from, IpAddr::V4(*addr.ip()))
}

/// Addresses of six bytes each, their ports not in network order, that somebody at `from` names and may name.
pub fn addresses(from: IpAddr, raw: &Bytes) -> Vec<SocketAddrV4> {
    let read = |raw: &[u8; 6]| {
        let [a, b, c, d, port @ ..] = *raw;
        SocketAddrV4::new([a, b, c, d].into(), u16::from_le_bytes(port))
    };
    let all = raw.as_chunks().0.iter().take(ADDRESSES_MAX).map(read);
    all.filter(|&addr| may_name(from, addr)).collect()
}

/// What our own kind says of a file of a torrent.
struct Place {
    torrent: InfoHash,
    nth: u32,
    port: u16,
}

impl Place {
    fn read(raw: &[u8]) -> Option<Self> {
        let (torrent, rest) = raw.split_first_chunk::<20>()?;
        let (nth, rest) = rest.split_first_chunk::<4>()?;
        let port = rest.first_chunk::<2>()?;
        Some(Self {
            torrent: InfoHash(*torrent),
            nth: u32::from_le_bytes(*nth),
            port: u16::from_le_bytes(*port),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gnutella::{Extensions, Ggep, Trailer};

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 9));

    fn answer(addr: &str, push: Option<bool>) -> QueryHit {
        let ggep = Ggep::new().with("BT", [&[7; 20][..], &[3, 0, 0, 0, 0xe1, 0x1a]].concat()).with(
            "ALT",
            [198, 18, 7, 7, 0xca, 0x18, 127, 0, 0, 1, 1, 1, 198, 18, 7, 8, 0, 0].to_vec(),
        );
        let urns = vec![Urn::Sha1([5; 20]), Urn::Btih(InfoHash([7; 20]))];
        let hit =
            Hit { index: 4, size: 9, name: "a".into(), extensions: Extensions { urns, ggep } };
        let proxies = Ggep::new().with("PUSH", vec![198, 18, 9, 9, 0xca, 0x18]);
        let trailer = Trailer { push, busy: Some(true), ggep: proxies, ..Trailer::default() };
        QueryHit {
            addr: addr.parse().unwrap(),
            speed: 56,
            hits: vec![hit],
            trailer: Some(trailer),
            servent: Guid([8; 16]),
        }
    }

    #[test]
    fn everything_that_is_said_of_a_file() {
        let found = Found::of(STRANGER, 2, &answer("198.18.0.1:6346", Some(false)));
        let want = Found {
            name: "a".into(),
            size: 9,
            sha1: Some([5; 20]),
            torrent: Some(InfoHash([7; 20])),
            nth: Some(3),
            peer: Some("198.18.0.1:6881".parse().unwrap()),
            index: 4,
            servent: Guid([8; 16]),
            addr: Some("198.18.0.1:6346".parse().unwrap()),
            busy: true,
            speed: 56,
            alternates: vec!["198.18.7.7:6346".parse().unwrap()],
            proxies: vec!["198.18.9.9:6346".parse().unwrap()],
            vendor: Some([0; 4]),
            hops: 2,
        };
        assert_eq!(found, [want]);
    }

    #[test]
    fn attack_45_a_strangers_word_about_addresses_near_us() {
        #[track_caller]
        fn check(from: IpAddr, addr: &str, push: Option<bool>, want: Option<Option<&str>>) {
            let got = Found::of(from, 1, &answer(addr, push));
            let got = got.first().map(|found| found.addr);
            assert_eq!(got, want.map(|addr| addr.map(|text| text.parse().unwrap())), "{addr}");
        }
        let near = IpAddr::from([127, 0, 0, 1]);
        check(STRANGER, "198.18.0.1:1", None, Some(Some("198.18.0.1:1")));
        check(STRANGER, "198.18.0.1:1", Some(true), Some(None));
        check(STRANGER, "10.0.0.1:1", Some(true), Some(None));
        for lie in ["10.0.0.1:1", "127.0.0.1:1", "198.18.0.1:0", "0.0.0.0:1", "224.0.0.1:1"] {
            check(STRANGER, lie, Some(false), None);
        }
        check(near, "127.0.0.1:1", None, Some(Some("127.0.0.1:1")));
    }

    #[test]
    fn two_torrents_for_one_file_are_the_one_that_others_understand() {
        let mut two = answer("198.18.0.1:6346", None);
        two.hits[0].extensions.urns[1] = Urn::Btih(InfoHash([9; 20]));
        let found = Found::of(STRANGER, 1, &two);
        let (torrent, nth, peer) = (found[0].torrent, found[0].nth, found[0].peer);
        assert_eq!((torrent, nth, peer), (Some(InfoHash([9; 20])), None, None));
    }
}
