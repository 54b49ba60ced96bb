//! What a side says about itself in the extension handshake, and which message ids it wants to receive.
//!
//! The ids are the receiver's: each side assigns its own and must be sent those.
//= BEP 10 §handshake message

use super::LIMITS;
use super::error::ExtensionError;
use super::metadata::METADATA_LEN_MAX;
use crate::bencode::{Dict, Value};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// Id of the extension handshake itself.
pub const HANDSHAKE_ID: u8 = 0;
/// Outstanding requests to assume when a peer does not say: libtorrent's default, which the BEP names.
pub const REQQ_DEFAULT: NonZeroU16 = NonZeroU16::new(250).expect("not 0");
/// Most outstanding requests that are believed; a larger number counts as this one. Transmission and
/// libtorrent say 2000.
pub const REQQ_MAX: NonZeroU16 = NonZeroU16::new(2048).expect("not 0");
/// Most bytes that are kept of a client's name; the rest is cut off.
pub const CLIENT_LEN_MAX: usize = 64;

/// The extensions that this program knows. The number is the id that it assigns.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Extension {
    /// Exchange of the info dictionary.
    //= BEP 9
    Metadata = 1,
    /// Exchange of addresses.
    //= BEP 11
    Pex = 2,
    /// Meetings of peers that cannot be dialled.
    //= BEP 55
    Holepunch = 3,
}

impl Extension {
    const ALL: [Self; 3] = [Self::Metadata, Self::Pex, Self::Holepunch];

    /// Its key in `m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "ut_metadata",
            Self::Pex => "ut_pex",
            Self::Holepunch => "ut_holepunch",
        }
    }

    /// The id under which we receive it.
    pub const fn our_id(self) -> u8 {
        self as u8
    }

    /// Which extension a message to us belongs to; `None` for one that we never offered.
    pub fn from_our_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.our_id() == id)
    }
}

/// The ids that one side assigned, of the extensions known here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ids([Option<u8>; Extension::ALL.len()]);

impl Ids {
    /// Ours, of all extensions but those that `off` names.
    pub fn ours(off: impl Fn(Extension) -> bool) -> Self {
        Self(Extension::ALL.map(|extension| (!off(extension)).then_some(extension.our_id())))
    }

    /// The id to send to that side. `None` when it does not have the extension or has withdrawn it.
    pub fn of(&self, extension: Extension) -> Option<u8> {
        self.0[Self::slot(extension)].filter(|&id| id != 0)
    }

    /// Assigns an id; 0 withdraws the extension.
    #[must_use]
    pub fn with(mut self, extension: Extension, id: u8) -> Self {
        self.0[Self::slot(extension)] = Some(id);
        self
    }

    /// What is missing here and was assigned before is withdrawn.
    #[must_use]
    pub fn taking_back(self, before: Self) -> Self {
        let mut ids = self;
        for (id, before) in ids.0.iter_mut().zip(before.0) {
            *id = id.or(before.map(|_| 0));
        }
        ids
    }

    fn slot(extension: Extension) -> usize {
        Extension::ALL.iter().position(|known| *known == extension).expect("ALL lists them all")
    }
}

/// An extension handshake, ours or theirs. Every field may be absent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExtensionHandshake {
    /// The sender's own ids.
    pub ids: Ids,
    /// Name and version of its program: printable, at most [`CLIENT_LEN_MAX`] bytes.
    pub client: Option<String>,
    /// Requests it will hold before it drops some, at most [`REQQ_MAX`].
    pub reqq: Option<NonZeroU16>,
    /// The port it listens on.
    pub port: Option<NonZeroU16>,
    /// Bytes of the info dictionary, 1..=[`METADATA_LEN_MAX`]. A claim until the hash was checked.
    //= BEP 9 §extension header
    pub metadata_size: Option<u32>,
    /// Whether it wants nothing any more, a partial seed included.
    //= BEP 21
    pub upload_only: Option<bool>,
    /// The address that it sees us at.
    pub your_ip: Option<IpAddr>,
    /// An IPv4 address of it.
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of it.
    pub ipv6: Option<Ipv6Addr>,
}

impl ExtensionHandshake {
    /// Reads a payload. A field of the wrong kind or size is as good as absent.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtensionError> {
        // Not `Value::parse`: some clients pad behind the dictionary.
        let (dict, _) = Value::parse_first(payload, LIMITS)?;
        dict.as_dict().ok_or(ExtensionError::NotDictionary)?;
        let mut ids = Ids::default();
        for extension in Extension::ALL {
            let id = dict.at("m").and_then(|m| m.at(extension.name())).and_then(|id| id.as_int());
            if let Some(id) = id.and_then(|id| u8::try_from(id).ok()) {
                ids = ids.with(extension, id);
            }
        }
        let number = |key| dict.at(key).and_then(|value| value.as_int());
        let bytes = |key| dict.at(key).and_then(|value| value.as_bytes());
        Ok(Self {
            ids,
            client: bytes("v").and_then(printable),
            reqq: number("reqq").and_then(reqq),
            port: number("p").and_then(|p| NonZeroU16::new(u16::try_from(p).ok()?)),
            metadata_size: number("metadata_size").and_then(metadata_size),
            upload_only: number("upload_only").map(|flag| flag != 0),
            your_ip: bytes("yourip").and_then(ip),
            ipv4: bytes("ipv4").and_then(|raw| Some(<[u8; 4]>::try_from(raw).ok()?.into())),
            ipv6: bytes("ipv6").and_then(|raw| Some(<[u8; 16]>::try_from(raw).ok()?.into())),
        })
    }

    /// The payload to send under [`HANDSHAKE_ID`].
    pub fn encode(&self) -> Bytes {
        let mut m = Dict::new();
        for (extension, id) in Extension::ALL.into_iter().zip(self.ids.0) {
            if let Some(id) = id {
                m = m.int(extension.name(), id);
            }
        }
        let mut dict = Dict::new().dict("m", m);
        let numbers = [
            ("metadata_size", self.metadata_size),
            ("p", self.port.map(|port| port.get().into())),
            ("reqq", self.reqq.map(|reqq| reqq.get().into())),
            ("upload_only", self.upload_only.map(u32::from)),
        ];
        for (key, value) in numbers {
            if let Some(value) = value {
                dict = dict.int(key, value);
            }
        }
        if let Some(client) = &self.client {
            dict = dict.bytes("v", client);
        }
        dict = match self.your_ip {
            Some(IpAddr::V4(ip)) => dict.bytes("yourip", ip.octets()),
            Some(IpAddr::V6(ip)) => dict.bytes("yourip", ip.octets()),
            None => dict,
        };
        if let Some(ip) = self.ipv4 {
            dict = dict.bytes("ipv4", ip.octets());
        }
        if let Some(ip) = self.ipv6 {
            dict = dict.bytes("ipv6", ip.octets());
        }
        dict.into_bytes().into()
    }

    /// Takes over what a later handshake of the same peer says; what it leaves out stays. The first
    /// `metadata_size` stands: the size of one info dictionary cannot change.
    //= BEP 10 §handshake message (subsequent handshakes)
    pub fn update(&mut self, later: Self) {
        for (mine, id) in self.ids.0.iter_mut().zip(later.ids.0) {
            *mine = id.or(*mine);
        }
        self.client = later.client.or_else(|| self.client.take());
        self.reqq = later.reqq.or(self.reqq);
        self.port = later.port.or(self.port);
        self.metadata_size = self.metadata_size.or(later.metadata_size);
        self.upload_only = later.upload_only.or(self.upload_only);
        self.your_ip = later.your_ip.or(self.your_ip);
        self.ipv4 = later.ipv4.or(self.ipv4);
        self.ipv6 = later.ipv6.or(self.ipv6);
    }
}

/// A name that can be shown: nothing that moves the cursor, hides, or turns the text around.
fn printable(raw: &[u8]) -> Option<String> {
    let raw = &raw[..raw.len().min(CLIENT_LEN_MAX)];
    let mut name = String::new();
    for c in String::from_utf8_lossy(raw).chars().filter(|c| !is_deceptive(*c)) {
        // A replacement character is longer than the byte that it stands for.
        if name.len() + c.len_utf8() <= CLIENT_LEN_MAX {
            name.push(c);
        }
    }
    (!name.is_empty()).then_some(name)
}

fn is_deceptive(c: char) -> bool {
    let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    c.is_control() || invisible || matches!(c, '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}')
}

fn reqq(claimed: i64) -> Option<NonZeroU16> {
    let believed = claimed.min(REQQ_MAX.get().into());
    NonZeroU16::new(u16::try_from(believed).ok()?)
}

fn metadata_size(claimed: i64) -> Option<u32> {
    u32::try_from(claimed).ok().filter(|size| (1..=METADATA_LEN_MAX).contains(size))
}

fn ip(raw: &[u8]) -> Option<IpAddr> {
    match raw.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(raw).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(raw).ok()?).to_canonical()),
        _ => None,
    }
}
