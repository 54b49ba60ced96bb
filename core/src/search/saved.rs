//! What is kept of the last search, so that one of its results can be fetched later, by its number.
//!
//! One bencoded dictionary with a check over all of it. What is damaged, of another version or larger than anything we
//! write is no record: the search must be repeated.

use super::hit::{Hashes, Hit, Network, Reach};
use super::results::Found;
use super::spam::Spam;
use crate::bencode::{Dict, Limits, List, Value};
use crate::hash::sha1;
use crate::id::InfoHash;
use crate::metainfo::names::is_safe;
use crate::proto::fasttrack::UuHash;
use crate::proto::gnutella::Guid;
use crate::proto::napster::{Nick, Text};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// The version of the format.
const FORMAT: u64 = 1;
/// Results that are kept, the best ones.
const RESULTS_MAX: usize = 500;
/// Sources that are kept of each, the best ones.
const SOURCES_MAX: usize = 100;
/// Servers that are kept.
const SERVERS_MAX: usize = 64;
/// Bytes of a server's name that is kept.
const SERVER_LEN_MAX: usize = 260;
/// How much is read.
const LIMITS: Limits = Limits { depth: 8, tokens: 4_000_000, bytes: 32 << 20 };

/// The last search.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// What was asked.
    pub text: String,
    /// Who was asked first, `HOST:PORT`: who cannot be connected to is reached through them once more.
    pub servers: Vec<(Network, String)>,
    /// What was found, in the order in which it was shown; the first has number 1.
    pub found: Vec<Found>,
}

/// Why a record is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// Cut, altered, or not ours at all.
    #[error("the record of the last search is damaged ({0} bytes)")]
    Damaged(usize),
    /// Written by another version.
    #[error("the record of the last search is not of this version")]
    Version,
}

impl Saved {
    /// Longest record; a longer file is none of ours.
    pub const LEN_MAX: usize = LIMITS.bytes;

    /// The result of this number, counted from 1.
    pub fn number(&self, number: usize) -> Option<&Found> {
        self.found.get(number.checked_sub(1)?)
    }

    /// Self-checking bytes. What is more than a record holds is left out, from the end.
    pub fn encode(&self) -> Vec<u8> {
        let mut servers = List::new();
        for (network, server) in self.servers.iter().take(SERVERS_MAX) {
            servers = servers.list(List::new().bytes(network.name()).bytes(server));
        }
        let mut found = List::new();
        for one in self.found.iter().take(RESULTS_MAX) {
            found = found.dict(encode_found(one));
        }
        let search = Dict::new().bytes("text", &self.text).list("servers", servers);
        let search = search.list("found", found).into_bytes();
        let check = sha1([&search[..]]);
        Dict::new().int("format", FORMAT).bytes("check", check).raw("search", &search).into_bytes()
    }

    /// Reads what [`Self::encode`] wrote; anything else is an error, whatever its length.
    pub fn decode(bytes: &[u8]) -> Result<Self, SavedError> {
        let damaged = || SavedError::Damaged(bytes.len());
        let value = Value::parse(bytes, LIMITS).map_err(|_| damaged())?;
        let format = value.at("format").and_then(|format| format.as_uint()).ok_or_else(damaged)?;
        if format != FORMAT {
            return Err(SavedError::Version);
        }
        let search = value.at("search").ok_or_else(damaged)?;
        let check = value.at("check").and_then(|check| check.as_bytes());
        if check != Some(&sha1([search.raw()])) {
            return Err(damaged());
        }
        decode_search(search).ok_or_else(damaged)
    }
}

fn decode_search(search: Value<'_>) -> Option<Saved> {
    let server = |row: Value<'_>| {
        let mut row = row.as_list()?;
        let network = row.next()?.as_str()?.parse().ok()?;
        let server = row.next()?.as_str().filter(|server| server.len() <= SERVER_LEN_MAX)?;
        Some((network, server.to_owned()))
    };
    let servers = search.at("servers")?.as_list()?.take(SERVERS_MAX).map(server);
    let found = search.at("found")?.as_list()?.take(RESULTS_MAX).map(decode_found);
    Some(Saved {
        text: search.at("text")?.as_str()?.to_owned(),
        servers: servers.collect::<Option<_>>()?,
        found: found.collect::<Option<_>>()?,
    })
}

fn encode_found(found: &Found) -> Dict {
    let mut sources = List::new();
    for hit in found.sources.iter().take(SOURCES_MAX) {
        sources = sources.dict(encode_hit(hit));
    }
    let mut dict = encode_hashes(&found.hashes)
        .bytes("name", &found.name)
        .int("voices", found.voices as u64)
        .list("sources", sources);
    if let Some(size) = found.size {
        dict = dict.bytes("size", size.to_be_bytes());
    }
    if let Some(spam) = found.spam {
        dict = dict.bytes("spam", spam.name());
    }
    dict
}

fn decode_found(dict: Value<'_>) -> Option<Found> {
    let sources = dict.at("sources")?.as_list()?.take(SOURCES_MAX).map(decode_hit);
    let sources = sources.collect::<Option<Vec<_>>>()?;
    let spam = dict.at("spam").map(|spam| {
        let known = [Spam::Echo, Spam::OffTopic];
        let name = spam.as_str()?;
        known.into_iter().find(|spam| spam.name() == name)
    });
    (!sources.is_empty()).then_some(Found {
        name: decode_name(dict)?,
        size: maybe(dict, "size", |size| Some(u64::from_be_bytes(fixed(size)?)))?,
        hashes: decode_hashes(dict)?,
        sources,
        voices: dict.at("voices")?.as_uint()?.try_into().ok()?,
        spam: spam.map_or(Some(None), |spam| spam.map(Some))?,
    })
}

fn encode_hashes(hashes: &Hashes) -> Dict {
    let Hashes { torrent, file, sha1, uu, md5 } = hashes;
    let mut dict = Dict::new();
    if let Some(InfoHash(torrent)) = torrent {
        dict = dict.bytes("btih", torrent);
    }
    if let Some(file) = file {
        dict = dict.int("file", *file);
    }
    if let Some(sha1) = sha1 {
        dict = dict.bytes("sha1", sha1);
    }
    if let Some(UuHash(uu)) = uu {
        dict = dict.bytes("uu", uu);
    }
    if let Some(md5) = md5 {
        dict = dict.bytes("md5", md5);
    }
    dict
}

fn decode_hashes(dict: Value<'_>) -> Option<Hashes> {
    Some(Hashes {
        torrent: maybe(dict, "btih", |raw| fixed(raw).map(InfoHash))?,
        file: maybe(dict, "file", |file| file.as_uint()?.try_into().ok())?,
        sha1: maybe(dict, "sha1", fixed)?,
        uu: maybe(dict, "uu", |raw| fixed(raw).map(UuHash))?,
        md5: maybe(dict, "md5", fixed)?,
    })
}

fn encode_hit(hit: &Hit) -> Dict {
    let mut dict = encode_hashes(&hit.hashes).bytes("name", &hit.name).int("seen", hit.seen_s);
    if let Some(size) = hit.size {
        dict = dict.bytes("size", size.to_be_bytes());
    }
    if let Some(peer) = hit.peer {
        dict = dict.bytes("peer", peer.to_string());
    }
    if let Some(speed) = hit.speed {
        dict = dict.int("speed", speed);
    }
    if hit.busy {
        dict = dict.int("busy", 1);
    }
    if let Some(ping) = hit.ping {
        dict = dict.int("ping", u32::try_from(ping.as_micros()).unwrap_or(u32::MAX));
    }
    let reach = match &hit.reach {
        Reach::FastTrack { addr, user, supernode, push } => Dict::new()
            .bytes("addr", addr.to_string())
            .bytes("user", user)
            .bytes("supernode", supernode.to_string())
            .int("push", u8::from(*push)),
        Reach::Gnutella { addr, servent, index, name } => {
            let dict = Dict::new().bytes("servent", servent.0).int("index", *index);
            let dict = dict.bytes("name", name);
            match addr {
                Some(addr) => dict.bytes("addr", addr.to_string()),
                None => dict,
            }
        }
        Reach::Napster { server, nick, ip, path } => Dict::new()
            .bytes("server", server)
            .bytes("nick", nick.as_str())
            .bytes("ip", ip.octets())
            .bytes("path", path.as_bytes()),
    };
    dict.dict(hit.network().name(), reach)
}

fn decode_hit(dict: Value<'_>) -> Option<Hit> {
    let ping = |ping: Value<'_>| Some(Duration::from_micros(ping.as_uint()?));
    Some(Hit {
        name: decode_name(dict)?,
        size: maybe(dict, "size", |size| Some(u64::from_be_bytes(fixed(size)?)))?,
        hashes: decode_hashes(dict)?,
        reach: decode_reach(dict)?,
        peer: maybe(dict, "peer", parsed::<SocketAddr>)?,
        speed: maybe(dict, "speed", |speed| speed.as_uint()?.try_into().ok())?,
        busy: dict.at("busy").is_some(),
        seen_s: dict.at("seen")?.as_uint()?,
        ping: maybe(dict, "ping", ping)?,
    })
}

fn decode_reach(dict: Value<'_>) -> Option<Reach> {
    let (network, reach) =
        Network::ALL.iter().find_map(|network| Some((network, dict.at(network.name())?)))?;
    Some(match network {
        Network::FastTrack => Reach::FastTrack {
            addr: parsed(reach.at("addr")?)?,
            user: reach.at("user")?.as_str()?.to_owned(),
            supernode: parsed(reach.at("supernode")?)?,
            push: reach.at("push")?.as_uint()? != 0,
        },
        Network::Gnutella => Reach::Gnutella {
            addr: maybe(reach, "addr", parsed::<SocketAddrV4>)?,
            servent: Guid(fixed(reach.at("servent")?)?),
            index: reach.at("index")?.as_uint()?.try_into().ok()?,
            name: reach.at("name")?.as_str()?.to_owned(),
        },
        Network::Napster => Reach::Napster {
            server: reach.at("server")?.as_str().filter(|s| s.len() <= SERVER_LEN_MAX)?.to_owned(),
            nick: Nick::new(reach.at("nick")?.as_bytes()?)?,
            ip: Ipv4Addr::from(fixed::<4>(reach.at("ip")?)?),
            path: Text::new(reach.at("path")?.as_bytes()?),
        },
    })
}

/// Whoever writes into the folder of records must not choose a name that leads elsewhere.
fn decode_name(dict: Value<'_>) -> Option<String> {
    dict.at("name")?.as_str().filter(|name| is_safe(name)).map(str::to_owned)
}

/// `None` if what is there is not right, `Some(None)` if nothing is there.
fn maybe<'a, T>(
    dict: Value<'a>,
    key: &str,
    read: impl FnOnce(Value<'a>) -> Option<T>,
) -> Option<Option<T>> {
    dict.at(key).map_or(Some(None), |value| read(value).map(Some))
}

fn fixed<const N: usize>(value: Value<'_>) -> Option<[u8; N]> {
    value.as_bytes()?.try_into().ok()
}

fn parsed<T: std::str::FromStr>(value: Value<'_>) -> Option<T> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::hit::tests::{fasttrack_hit, hit, napster_hit};
    use super::*;
    use proptest::prelude::*;

    fn saved() -> Saved {
        let full = Hashes {
            torrent: Some(InfoHash([1; 20])),
            file: Some(3),
            sha1: Some([2; 20]),
            uu: Some(UuHash([3; 20])),
            md5: Some([4; 16]),
        };
        let firewalled = Hit {
            reach: Reach::Gnutella {
                addr: None,
                servent: Guid([9; 16]),
                index: 7,
                name: "../Blue".into(),
            },
            size: None,
            ..hit(1, "blue", 1)
        };
        let told = Hit {
            hashes: full,
            peer: Some("[2001:db8::1]:6881".parse().unwrap()),
            speed: Some(56),
            busy: true,
            ping: Some(Duration::from_micros(1_500)),
            size: Some(u64::MAX),
            ..napster_hit("ann", [9, 9, 4, 4], "blue", 1)
        };
        let found = |sources: Vec<Hit>, spam| Found {
            name: "blue".into(),
            size: sources[0].size,
            hashes: sources[0].hashes,
            voices: sources.len(),
            sources,
            spam,
        };
        Saved {
            text: "blue móon".into(),
            servers: vec![(Network::Napster, "dir.example:8888".into())],
            found: vec![
                found(vec![told, fasttrack_hit("bob", "9.9.5.5:1214", "b", 1)], None),
                found(vec![firewalled, hit(2, "blue", 1)], Some(Spam::Echo)),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Saved::decode(&saved().encode()), Ok(saved()));
        assert_eq!(Saved::decode(&Saved::default().encode()), Ok(Saved::default()));
        let saved = saved();
        assert_eq!((saved.number(0), saved.number(3)), (None, None));
        assert_eq!(saved.number(2).map(|found| found.spam), Some(Some(Spam::Echo)));
    }

    #[test]
    fn more_than_a_record_holds_is_left_out() {
        let mut saved = saved();
        saved.found[0].sources = (0..200).map(|n| hit(n, "blue", 1)).collect();
        saved.found = vec![saved.found[0].clone(); 600];
        saved.servers = vec![saved.servers[0].clone(); 100];
        let raw = saved.encode();
        assert!(raw.len() < Saved::LEN_MAX / 2, "{}", raw.len());
        let read = Saved::decode(&raw).unwrap();
        let kept = (read.found.len(), read.found[0].sources.len(), read.servers.len());
        assert_eq!(kept, (RESULTS_MAX, SOURCES_MAX, SERVERS_MAX));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let version = Dict::new().int("format", 2u8).into_bytes();
        assert_eq!(Saved::decode(&version), Err(SavedError::Version));
        let of = |search: Dict| {
            let search = search.into_bytes();
            let check = sha1([&search[..]]);
            Dict::new().int("format", 1u8).bytes("check", check).raw("search", &search).into_bytes()
        };
        let search = |found: List| {
            Dict::new().bytes("text", "x").list("servers", List::new()).list("found", found)
        };
        assert_eq!(Saved::decode(&of(search(List::new()))).map(|saved| saved.found.len()), Ok(0));
        let evil = Found { name: "../x".into(), ..saved().found[0].clone() };
        let alone = Found { sources: Vec::new(), ..saved().found[0].clone() };
        for bad in [
            Vec::new(),
            b"de".to_vec(),
            b"d6:formati1ee".to_vec(),
            of(Dict::new()),
            of(search(List::new().int(1))),
            of(search(List::new().dict(encode_found(&evil)))),
            of(search(List::new().dict(encode_found(&alone)))),
            of(search(List::new().dict(encode_found(&saved().found[0]).bytes("sha1", "short")))),
            b"l".repeat(1 << 20),
        ] {
            let len = bad.len();
            assert_eq!(
                Saved::decode(&bad),
                Err(SavedError::Damaged(len)),
                "{}",
                bad.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn damage_anywhere_is_seen(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
            let mut raw = saved().encode();
            let at = at.index(raw.len());
            if cut { raw.truncate(at) } else { raw[at] ^= flip }
            prop_assert!(Saved::decode(&raw).is_err());
        }

        #[test]
        fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Saved::decode(&raw);
        }

        #[test]
        fn altered_content_with_a_right_check_never_panics(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let raw = saved().encode();
            let value = Value::parse(&raw, LIMITS).unwrap();
            let mut search = value.at("search").unwrap().raw().to_vec();
            let at = at.index(search.len());
            search[at] ^= flip;
            let check = sha1([&search[..]]);
            let raw = Dict::new().int("format", FORMAT).bytes("check", check).raw("search", &search);
            if let Ok(read) = Saved::decode(&raw.into_bytes()) {
                prop_assert!(read.found.iter().all(|found| is_safe(&found.name)));
            }
        }
    }
}
