//! What is asked for, in either network's words, and the heads that answer it.

use super::config::{Dialect, Me};
use gaggle_core::id::InfoHash;
use gaggle_core::overlay::fasttrack::Identity;
use gaggle_core::proto::fasttrack;
use gaggle_core::proto::gnutella::{self, Refusal, Urn};
use gaggle_core::proto::http::ByteRange;
use gaggle_core::scope::{Scope, canonical, network_of};
use gaggle_core::share::{Catalogue, Item};
use gaggle_core::words::words;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::sync::Arc;

/// Files of one name among which the one with a certain number is looked for.
const NAMESAKES_MAX: usize = 100;

/// What one request wants.
pub(super) struct Request {
    pub(super) what: What,
    pub(super) head_only: bool,
    pub(super) range: Option<ByteRange>,
    pub(super) keep_alive: bool,
    /// Whether who must wait asks again on this connection.
    pub(super) queue: bool,
    pub(super) who: Identity,
    /// The supernode that knows him.
    pub(super) supernode: Option<SocketAddrV4>,
    /// Others who have the file, and such as have it no longer.
    pub(super) alive: Vec<SocketAddrV4>,
    pub(super) dead: Vec<SocketAddrV4>,
}

pub(super) enum What {
    File(u32, Arc<Item>),
    /// The list of all files.
    List,
    Nothing,
    /// The .torrent itself.
    Torrent(InfoHash),
}

impl Request {
    /// Reads a head and says how long it was; `Ok(None)`: not whole yet. An error is no request at all.
    pub(super) fn parse(
        dialect: &Dialect,
        files: &Catalogue,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<Option<(Self, usize)>, String> {
        let read = match dialect {
            Dialect::Gnutella => gnutella::Ask::parse(bytes)
                .map_err(|error| error.to_string())?
                .map(|(ask, len)| (Self::gnutella(ask, files, from), len)),
            Dialect::FastTrack(_) => fasttrack::Ask::parse(bytes)
                .map_err(|error| error.to_string())?
                .map(|(ask, len)| (Self::fasttrack(ask, files, from), len)),
        };
        Ok(read)
    }

    fn gnutella(ask: gnutella::Ask, files: &Catalogue, from: SocketAddr) -> Self {
        use gnutella::Target;
        let what = match ask.target {
            Target::Browse => What::List,
            Target::Index(number, name) => file(files, Some(number), |item| item.name == name),
            Target::Urn(Urn::Btih(info)) => What::Torrent(info),
            Target::Urn(Urn::Sha1(sha1)) => file(files, files.with_sha1(&sha1), |_| true),
            Target::Urn(Urn::Wanted(_) | Urn::Other(_)) | Target::Unknown => What::Nothing,
        };
        // Who says what it must be is told when it is not.
        let what = match (what, ask.content) {
            (What::File(number, item), Some(Urn::Sha1(sha1))) => {
                file(files, Some(number), |_| item.hashes.is_some_and(|known| known.sha1 == sha1))
            }
            (what, _) => what,
        };
        Self {
            what,
            head_only: ask.head_only,
            range: ask.range,
            keep_alive: ask.keep_alive,
            queue: ask.queue,
            who: identity(String::new(), from),
            supernode: None,
            alive: ask.alternates,
            dead: ask.dead,
        }
    }

    fn fasttrack(ask: fasttrack::Ask, files: &Catalogue, from: SocketAddr) -> Self {
        use fasttrack::Target;
        let hashed = |item: &Item| item.hashes.is_some();
        let what = match ask.target {
            Target::Hash(uu) => file(files, files.with_uu(&uu), hashed),
            Target::Name { file_id, name } => {
                let is = |item: &Item| {
                    let id = item.hashes.map(|hashes| hashes.uu.file_id());
                    item.name == name && id.is_some_and(|id| u32::from(id) == file_id)
                };
                let named = files.find(&words(&name), NAMESAKES_MAX);
                let number = named.into_iter().find(|n| files.get(*n).is_some_and(|item| is(item)));
                file(files, number, hashed)
            }
            Target::Torrent(info, nth) => {
                let number = files.of_torrent(info).find(|(file, _)| *file == nth);
                file(files, number.map(|(_, number)| number), hashed)
            }
        };
        let ip = canonical(from).ip();
        let supernode = ask.supernode.filter(|addr| Scope::may_tell(ip, IpAddr::V4(*addr.ip())));
        Self {
            what,
            head_only: ask.head_only,
            range: ask.range.map(|range| ByteRange::From(*range.start(), Some(*range.end()))),
            keep_alive: ask.keep_alive,
            queue: false,
            who: identity(ask.user, from),
            supernode,
            alive: Vec::new(),
            dead: Vec::new(),
        }
    }
}

fn file(files: &Catalogue, number: Option<u32>, is: impl Fn(&Item) -> bool) -> What {
    let found = number.and_then(|number| Some((number, files.get(number)?)));
    match found.filter(|(_, item)| is(item)) {
        Some((number, item)) => What::File(number, Arc::clone(item)),
        None => What::Nothing,
    }
}

/// By what somebody is counted. The networks know no IPv6: a host of it has an address that nobody has, one for each
/// network that is one party's.
fn identity(user: String, from: SocketAddr) -> Identity {
    let ip = match network_of(canonical(from).ip()) {
        IpAddr::V4(ip) => ip,
        ip @ IpAddr::V6(_) if ip.is_loopback() => Ipv4Addr::LOCALHOST,
        IpAddr::V6(ip) => {
            let folded = ip.segments()[..4]
                .iter()
                .fold(0u32, |folded, segment| folded.rotate_left(9) ^ u32::from(*segment));
            Ipv4Addr::from_bits(folded | 0xf000_0000)
        }
    };
    Identity { user, ip }
}

/// The head before bytes of a file; all of it if there is no range.
pub(super) fn file_head(
    dialect: &Dialect,
    item: &Item,
    range: Option<&Range<u64>>,
    alternates: &[SocketAddrV4],
    keep_alive: bool,
) -> String {
    let torrent = item.torrent.map(|(info, _)| info);
    match (dialect, item.hashes) {
        (Dialect::FastTrack(Me { addr, user, supernode }), Some(hashes)) => {
            let upload = fasttrack::Upload {
                addr: *addr,
                user: user.clone(),
                supernode: *supernode,
                hash: hashes.uu,
                torrent,
                total: item.size(),
            };
            let whole = || upload.whole();
            range.map_or_else(whole, |range| upload.partial(&(range.start..=range.end - 1)))
        }
        (_, hashes) => gnutella::Upload {
            name: &item.name,
            sha1: hashes.map(|hashes| hashes.sha1),
            torrent,
            total: item.size(),
            alternates,
            keep_alive,
        }
        .head(range),
    }
}

/// The head that nothing follows.
pub(super) fn refusal(dialect: &Dialect, why: Refusal, keep_alive: bool) -> String {
    use fasttrack::Status;
    if *dialect == Dialect::Gnutella {
        return why.head(keep_alive);
    }
    let status = match why {
        Refusal::Busy(_) | Refusal::Queued { .. } => Status::Busy,
        Refusal::Forbidden | Refusal::NotFound => Status::NotFound,
        // As this network's hosts answer a range that lies outside the file.
        Refusal::Bad | Refusal::Range(_) => Status::Bad,
    };
    status.refusal()
}
