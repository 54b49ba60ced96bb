//! One file at one host, as one of the networks told of it, and how to reach that host again.

use crate::id::InfoHash;
use crate::proto::fasttrack::UuHash;
use crate::proto::gnutella::Guid;
use crate::proto::napster::{Nick, Text};
use crate::scope::Scope;
use crate::share::shown;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

/// A network that can be searched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Network {
    /// Nodes that ask their supernode.
    FastTrack,
    /// Servents that ask each other.
    Gnutella,
    /// Clients that ask their directory.
    Napster,
}

/// What is said to name the content of a file.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hashes {
    /// The torrent that it belongs to.
    pub torrent: Option<InfoHash>,
    /// Its number in that torrent, from 0.
    pub file: Option<u32>,
    /// Of the whole file.
    pub sha1: Option<[u8; 20]>,
    /// Of parts of the file: good for grouping, proves nothing.
    pub uu: Option<UuHash>,
    /// What Napster calls a hash: of the beginning, or of anything.
    pub md5: Option<[u8; 16]>,
}

/// How to reach the host once more.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reach {
    /// Directly, or by the supernode that knows it.
    FastTrack {
        /// Where it serves its files, as its supernode says.
        addr: SocketAddrV4,
        /// Its user.
        user: String,
        /// The supernode that a request to connect to us goes to.
        supernode: SocketAddrV4,
        /// It must be sent that request.
        push: bool,
    },
    /// Directly, or by the servents that its answer came through.
    Gnutella {
        /// Where it serves its files; `None` if it must be asked to connect to us.
        addr: Option<SocketAddrV4>,
        /// What such a request is addressed to.
        servent: Guid,
        /// The number of the file there.
        index: u32,
        /// Its name there, as a request for that number repeats it: safe for nothing else.
        name: String,
    },
    /// By its directory, which says where it is.
    Napster {
        /// The directory, as the user named it.
        server: String,
        /// The user.
        nick: Nick,
        /// Where he is; his port is told to who asks for the file.
        ip: Ipv4Addr,
        /// His path, as he must hear it.
        path: Text,
    },
}

/// Somebody whose word counts once, however many hits are his: a small public network, or a user of one near by.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Voice(u64);

/// One file at one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Made safe by [`Hit::name_of`].
    pub name: String,
    /// Bytes; `None` if nobody knows.
    pub size: Option<u64>,
    /// What is said to name its content.
    pub hashes: Hashes,
    /// How to reach the host.
    pub reach: Reach,
    /// Where the host takes connections of BitTorrent peers, if the file belongs to a torrent.
    pub peer: Option<SocketAddr>,
    /// What the host says it has, in kbit/s.
    pub speed: Option<u32>,
    /// It can give nothing now.
    pub busy: bool,
    /// When it was heard of, in seconds since 1970.
    pub seen_s: u64,
    /// How long the way there and back takes, if somebody has measured it.
    pub ping: Option<Duration>,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FastTrack, Self::Gnutella, Self::Napster];

    /// As scripts name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastTrack => "fasttrack",
            Self::Gnutella => "gnutella",
            Self::Napster => "napster",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|network| network.name() == text);
        named.ok_or_else(|| "one of napster, gnutella, fasttrack".to_owned())
    }
}

impl Hashes {
    /// How many there are that a download can be checked against, or that group files at least.
    pub(super) fn count(&self) -> usize {
        let Self { torrent, file: _, sha1, uu, md5 } = self;
        [torrent.is_some(), sha1.is_some(), uu.is_some(), md5.is_some()]
            .into_iter()
            .filter(|&is| is)
            .count()
    }
}

impl Reach {
    /// Which network leads there.
    pub const fn network(&self) -> Network {
        match self {
            Self::FastTrack { .. } => Network::FastTrack,
            Self::Gnutella { .. } => Network::Gnutella,
            Self::Napster { .. } => Network::Napster,
        }
    }

    /// Where to connect without asking anybody; `None` if that is told later, or the host has to connect.
    pub const fn direct(&self) -> Option<SocketAddrV4> {
        match self {
            Self::FastTrack { addr, push: false, .. } => Some(*addr),
            Self::Gnutella { addr, .. } => *addr,
            Self::FastTrack { .. } | Self::Napster { .. } => None,
        }
    }

    /// Where the host is, if anybody says so; one that must connect to us may be elsewhere.
    pub const fn ip(&self) -> Option<Ipv4Addr> {
        match self {
            Self::FastTrack { addr, .. } => Some(*addr.ip()),
            Self::Gnutella { addr: Some(addr), .. } => Some(*addr.ip()),
            Self::Gnutella { addr: None, .. } => None,
            Self::Napster { ip, .. } => Some(*ip),
        }
    }

    /// Whose word it is. Addresses near by are told apart by their users: there may be a whole network of them on one
    /// machine.
    pub fn voice(&self) -> Voice {
        let pushed = matches!(self, Self::FastTrack { push: true, .. });
        let public = self
            .ip()
            .filter(|_| !pushed)
            .filter(|&ip| Scope::of(IpAddr::V4(ip)) == Some(Scope::Global));
        if let Some(ip) = public {
            return Voice(u64::from(u32::from(ip) >> 8));
        }
        let key = match self {
            Self::FastTrack { addr, user, .. } => {
                [user.as_bytes(), &addr.port().to_be_bytes()].concat()
            }
            Self::Gnutella { servent, .. } => servent.0.to_vec(),
            Self::Napster { nick, .. } => nick.key().into_bytes(),
        };
        let hash = crate::hash::sha1([self.network().name().as_bytes(), &key]);
        // Above all of those that are public.
        Voice(1 << 63 | u64::from_be_bytes(*hash.first_chunk().expect("20 bytes")))
    }
}

impl Hit {
    /// What is left of a stranger's name for a file: no folder of his, nothing that a terminal or a disk could stumble
    /// over.
    pub fn name_of(raw: &str) -> String {
        shown(&raw.split(['/', '\\']).map(str::to_owned).collect::<Vec<_>>())
    }

    /// Which network it is from.
    pub const fn network(&self) -> Network {
        self.reach.network()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A hit of a servent whose id is one byte over and over, at a public address of its own.
    pub(crate) fn hit(servent: u8, name: &str, size: u64) -> Hit {
        Hit {
            name: name.to_owned(),
            size: Some(size),
            hashes: Hashes::default(),
            reach: Reach::Gnutella {
                addr: Some(SocketAddrV4::new([9, 9, servent, 1].into(), 6346)),
                servent: Guid([servent; 16]),
                index: size as u32,
                name: name.to_owned(),
            },
            peer: None,
            speed: None,
            busy: false,
            seen_s: 1_000_000,
            ping: None,
        }
    }

    /// The same at a user of a directory.
    pub(crate) fn napster_hit(nick: &str, ip: [u8; 4], name: &str, size: u64) -> Hit {
        let reach = Reach::Napster {
            server: "dir.example:8888".into(),
            nick: Nick::new(nick.as_bytes()).unwrap(),
            ip: ip.into(),
            path: format!("c:\\music\\{name}").as_str().into(),
        };
        Hit { reach, ..hit(0, name, size) }
    }

    /// The same at a node of a supernode.
    pub(crate) fn fasttrack_hit(user: &str, addr: &str, name: &str, size: u64) -> Hit {
        let (addr, supernode) = (addr.parse().unwrap(), "9.9.9.9:1214".parse().unwrap());
        let reach = Reach::FastTrack { addr, user: user.into(), supernode, push: false };
        Hit { reach, ..hit(0, name, size) }
    }

    #[test]
    fn names_lose_folders_and_tricks() {
        for (raw, want) in [
            ("../../etc/passwd", "passwd"),
            ("c:\\music\\Blue Moon.mp3", "Blue Moon.mp3"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a\u{1b}[2Jb", "a_[2Jb"),
            ("aux.mp3", "_aux.mp3"),
            ("x/", "_"),
            ("", "_"),
        ] {
            assert_eq!(Hit::name_of(raw), want, "{raw:?}");
        }
        assert!(Hit::name_of(&"x".repeat(10_000)).len() <= 240);
    }

    #[test]
    fn one_small_network_has_one_voice() {
        let voice = |hit: &Hit| hit.reach.voice();
        let (a, b) = (hit(1, "a", 1), hit(2, "a", 1));
        assert_ne!(voice(&a), voice(&b));
        let beside = napster_hit("ann", [9, 9, 1, 77], "a", 1);
        assert_eq!(voice(&a), voice(&beside), "of one /24");
        let near = |nick| voice(&napster_hit(nick, [127, 0, 0, 1], "a", 1));
        assert_ne!(near("ann"), near("bob"), "two on this machine");
        assert_eq!(near("ann"), near("ANN"));
        let node = |user, addr| voice(&fasttrack_hit(user, addr, "a", 1));
        assert_ne!(node("ann", "127.0.0.1:1"), node("ann", "127.0.0.1:2"));
        assert_ne!(node("ann", "127.0.0.1:1"), near("ann"));
    }

    #[test]
    fn where_to_connect() {
        let (gnutella, napster) = (hit(1, "a", 1), napster_hit("ann", [9, 9, 1, 77], "a", 1));
        assert_eq!(gnutella.reach.direct(), Some("9.9.1.1:6346".parse().unwrap()));
        assert_eq!(napster.reach.direct(), None);
        let mut node = fasttrack_hit("ann", "9.9.2.2:1214", "a", 1);
        assert!(node.reach.direct().is_some());
        let Reach::FastTrack { push, .. } = &mut node.reach else { panic!() };
        *push = true;
        assert_eq!(node.reach.direct(), None);
    }

    #[test]
    fn networks_by_name() {
        for network in Network::ALL {
            assert_eq!(network.name().parse(), Ok(network));
        }
        assert!("kazaa".parse::<Network>().is_err());
    }
}
