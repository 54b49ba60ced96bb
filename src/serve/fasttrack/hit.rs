//! What a search finds.

use gaggle_core::id::InfoHash;
use gaggle_core::proto::fasttrack::{self as wire, File, Tags, UuHash};
use gaggle_core::scope::Scope;
use std::net::{IpAddr, SocketAddrV4};

/// Who has a file, and by which way to have him connect to us.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Host {
    /// Where he listens, as far as his supernode knows.
    pub addr: SocketAddrV4,
    /// His user.
    pub user: String,
    /// The supernode that knows him.
    pub supernode: SocketAddrV4,
}

/// One file at one host. Nothing of it is proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Name of the file, safe to be stored under.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Names the content, and may be the same for another one.
    pub hash: UuHash,
    /// By which the host also knows the file, in the old form of a request.
    pub file_id: u64,
    /// The torrent that the file belongs to.
    pub torrent: Option<InfoHash>,
    /// Who has it.
    pub host: Host,
    /// Kilobits per second that the host says it has; `None` is not told, or without end.
    pub kbps: Option<u32>,
    /// What else is said of the file.
    pub tags: Tags,
}

impl Host {
    /// Whether he cannot be connected to from where we are, and has to be pushed.
    pub fn is_firewalled(&self) -> bool {
        // Who is near himself reaches what is near.
        let scope = |addr: SocketAddrV4| Scope::of(IpAddr::V4(*addr.ip()));
        self.addr.port() == 0 || scope(self.addr) < scope(self.supernode)
    }

    pub(super) fn as_hit(&self) -> wire::Hit {
        let file = File { hash: UuHash([0; 20]), file_id: 0, size: 0, tags: Tags::default() };
        let (user, network) = (self.user.clone(), String::new());
        wire::Hit { addr: self.addr, bandwidth: 0, user, network, file }
    }
}

impl Hit {
    pub(super) fn new(supernode: SocketAddrV4, hit: wire::Hit) -> Self {
        let wire::Hit { addr, bandwidth, user, file, .. } = hit;
        Self {
            name: file.tags.file_name().unwrap_or_default().into_owned(),
            size: file.size,
            hash: file.hash,
            file_id: file.file_id,
            torrent: file.tags.torrent(),
            host: Host { addr, user, supernode },
            kbps: kbps(bandwidth),
            tags: file.tags,
        }
    }
}

/// What a logarithm of a speed means; 0 is not told and 0xd1 without end.
fn kbps(bandwidth: u8) -> Option<u32> {
    const ENDLESS: u8 = 0xd1;
    if bandwidth == 0 || bandwidth >= ENDLESS {
        return None;
    }
    Some((f64::from(bandwidth) * 0.049_510_5 - 2.921_120_2).exp().round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addr: &str, supernode: &str) -> Host {
        Host {
            addr: addr.parse().unwrap(),
            user: "ann".into(),
            supernode: supernode.parse().unwrap(),
        }
    }

    #[test]
    fn who_must_be_pushed() {
        for (addr, supernode, want) in [
            ("9.9.9.9:1214", "8.8.8.8:1214", false),
            ("192.168.0.9:1214", "8.8.8.8:1214", true),
            ("127.0.0.1:1214", "192.168.0.1:1214", true),
            ("127.0.0.1:1214", "127.0.0.1:1215", false),
            ("192.168.0.9:1214", "192.168.0.1:1214", false),
            ("9.9.9.9:0", "8.8.8.8:1214", true),
            ("0.0.0.0:1214", "8.8.8.8:1214", true),
        ] {
            assert_eq!(host(addr, supernode).is_firewalled(), want, "{addr} of {supernode}");
        }
    }

    #[test]
    fn speeds() {
        // 59 is one kilobit; giFT says 0x60, mldonkey 0x68.
        assert_eq!((kbps(59), kbps(0x60), kbps(0x68)), (Some(1), Some(6), Some(9)));
        assert_eq!((kbps(0), kbps(0xd1), kbps(0xff)), (None, None, None));
        assert!(kbps(0xd0).unwrap() > 1500);
    }
}
