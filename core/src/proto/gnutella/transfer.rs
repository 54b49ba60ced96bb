//! The heads of a transfer: what a servent asks for in HTTP, and what the host answers.
//!
//! Never reads a body, and never takes a name in a path for the way to a file: it is compared with what is shared.
// After Gnutella 0.6 draft, HUGE 0.94.

use super::Urn;
use crate::id::InfoHash;
use crate::proto::http::{ByteRange, Head, HeadError, number};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::ops::Range;

/// Addresses that are read of each kind in one head; further ones are ignored.
const TOLD_MAX: usize = 32;
/// Where a servent listens that does not say.
const PORT: u16 = 6346;

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// All that is shared.
    Browse,
    /// A file by its number, and the name that it must have.
    Index(u32, String),
    /// Something that nobody has.
    Unknown,
    /// A file by the name of its content; for that of a torrent, the .torrent.
    Urn(Urn),
}

/// A request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// Only the head of the answer is wanted.
    pub head_only: bool,
    /// Of what.
    pub target: Target,
    /// Which bytes; none is all.
    pub range: Option<ByteRange>,
    /// What the file must be, whatever the path says.
    pub content: Option<Urn>,
    /// Whether one who must wait will ask again on this connection.
    pub queue: bool,
    /// Whether more may be asked on the same connection.
    pub keep_alive: bool,
    /// Others who have the file, as the asker says.
    pub alternates: Vec<SocketAddrV4>,
    /// Those who have it no longer.
    pub dead: Vec<SocketAddrV4>,
}

impl Ask {
    /// Reads a head and says how long it was; `None`: not whole yet.
    ///
    /// # Errors
    /// It is none for a file, or its range is none.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let Some((head, len)) = Head::split(bytes)? else { return Ok(None) };
        let request = head.request()?;
        let mut content = head.list("X-Gnutella-Content-URN");
        let urls = head.list("X-Gnutella-Alternate-Location").filter_map(|url| {
            let (_, rest) = url.split_once("://")?;
            address(rest.split('/').next()?)
        });
        let alternates = head.list("X-Alt").filter_map(address).chain(urls);
        let ask = Self {
            head_only: request.head_only,
            target: Target::of(request.path),
            range: head.range()?,
            content: content.find_map(|urn| Urn::parse(urn.as_bytes())),
            queue: head.field("X-Queue").is_some(),
            keep_alive: !head.connection("close")
                && (request.is_1_1 || head.connection("keep-alive")),
            alternates: alternates.take(TOLD_MAX).collect(),
            dead: head.list("X-NAlt").filter_map(address).take(TOLD_MAX).collect(),
        };
        Ok(Some((ask, len)))
    }
}

impl Target {
    fn of(path: &str) -> Self {
        if path == "/" {
            return Self::Browse;
        }
        let named = || {
            let name = path.strip_prefix("/uri-res/N2R?")?;
            let urn = percent_decode_str(name).decode_utf8().ok()?;
            Urn::parse(urn.as_bytes()).map(Self::Urn)
        };
        let numbered = || {
            let (index, name) = path.strip_prefix("/get/")?.split_once('/')?;
            let name = percent_decode_str(name).decode_utf8().ok()?;
            let index = u32::try_from(number(index)?).ok()?;
            // Servents of old end it with a slash, which no name has.
            Some(Self::Index(index, name.trim_end_matches('/').into()))
        };
        named().or_else(numbered).unwrap_or(Self::Unknown)
    }
}

/// `ip` or `ip:port`; what says more, such as `tls=..`, is none.
fn address(text: &str) -> Option<SocketAddrV4> {
    match text.split_once(':') {
        Some(_) => text.parse().ok(),
        None => text.parse().ok().map(|ip| SocketAddrV4::new(ip, PORT)),
    }
}

/// What a host says of a file in the head of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload<'a> {
    /// The name that others see.
    pub name: &'a str,
    /// Its content.
    pub sha1: Option<[u8; 20]>,
    /// The torrent that it belongs to.
    pub torrent: Option<InfoHash>,
    /// Its bytes.
    pub total: u64,
    /// Others who have it.
    pub alternates: &'a [SocketAddrV4],
    /// Whether more may be asked on the same connection.
    pub keep_alive: bool,
}

impl Upload<'_> {
    /// The head before these bytes, which must lie within it; before all of it, if no range was asked for.
    pub fn head(&self, range: Option<&Range<u64>>) -> String {
        let mut out = match range {
            Some(range) => {
                let (first, last, total) = (range.start, range.end.saturating_sub(1), self.total);
                let len = range.end.saturating_sub(first);
                let status = status("206 Partial Content", len, self.keep_alive);
                format!("{status}Content-Range: bytes {first}-{last}/{total}\r\n")
            }
            None => status("200 OK", self.total, self.keep_alive),
        };
        let name = utf8_percent_encode(self.name, NON_ALPHANUMERIC);
        let _ = write!(
            out,
            "Accept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename*=UTF-8''{name}\r\n"
        );
        // The SHA-1 first: some take an info hash that stands alone for one.
        let urns = self.sha1.map(Urn::Sha1).into_iter().chain(self.torrent.map(Urn::Btih));
        let urns: Vec<String> = urns.map(|urn| urn.to_string()).collect();
        if !urns.is_empty() {
            let _ = write!(out, "X-Gnutella-Content-URN: {}\r\n", urns.join(", "));
        }
        if let Some(torrent) = self.torrent {
            let _ = write!(out, "X-Content-BTIH: {torrent}\r\n");
        }
        if !self.alternates.is_empty() {
            let alternates: Vec<_> = self.alternates.iter().map(ToString::to_string).collect();
            let _ = write!(out, "X-Alt: {}\r\n", alternates.join(", "));
        }
        out + "\r\n"
    }
}

/// The head before a .torrent.
pub fn torrent_head(len: u64, keep_alive: bool) -> String {
    status("200 OK", len, keep_alive) + "Content-Type: application/x-bittorrent\r\n\r\n"
}

/// Why no bytes follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The request cannot be read. It is the last one of its connection.
    Bad,
    /// Come again after so many seconds.
    Busy(u64),
    /// Not shown to anybody.
    Forbidden,
    /// There is no such file.
    NotFound,
    /// Ask again on this connection.
    Queued {
        /// His place; the first is 1.
        position: usize,
        /// All places that are taken.
        length: usize,
        /// Transfers at once.
        limit: usize,
        /// Seconds until he may ask, and until he must.
        poll: (u64, u64),
    },
    /// The file of so many bytes has none of those that were asked for.
    Range(u64),
}

impl Refusal {
    /// The head that says so.
    pub fn head(self, keep_alive: bool) -> String {
        let (line, fields) = match self {
            Self::Bad => ("400 Bad Request", String::new()),
            Self::Busy(s) => ("503 Service Unavailable", format!("Retry-After: {s}\r\n")),
            Self::Forbidden => ("403 Forbidden", String::new()),
            Self::NotFound => ("404 Not Found", String::new()),
            Self::Queued { position, length, limit, poll: (min, max) } => (
                "503 Service Unavailable",
                format!(
                    "X-Queue: position={position},length={length},limit={limit},pollMin={min},pollMax={max}\r\n\
                     Retry-After: {min}\r\n"
                ),
            ),
            Self::Range(total) => {
                ("416 Range Not Satisfiable", format!("Content-Range: bytes */{total}\r\n"))
            }
        };
        let keep_alive = keep_alive && self != Self::Bad;
        status(line, 0, keep_alive) + &fields + "\r\n"
    }
}

fn status(line: &str, len: u64, keep_alive: bool) -> String {
    let connection = if keep_alive { "Keep-Alive" } else { "close" };
    format!(
        "HTTP/1.1 {line}\r\nServer: gaggle\r\nConnection: {connection}\r\nContent-Length: {len}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHA1: &str = "PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB";

    fn asked(head: &str) -> Result<Ask, HeadError> {
        Ask::parse(head.as_bytes()).map(|read| {
            let (ask, len) = read.expect("a whole head");
            assert_eq!(len, head.len());
            ask
        })
    }

    fn addr(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn requests_of_servents() {
        let head = format!(
            "GET /uri-res/N2R?urn:sha1:{SHA1} HTTP/1.1\r\nHost: 1.2.3.4:6346\r\nX-Queue: 1.1\r\n\
             X-Node: 9.9.9.9:6346\r\nX-Downloaded: 0\r\nX-Features: tls/1.0\r\nUpgrade: TLS/1.0\r\n\
             X-Gnutella-Content-URN: urn:sha1:{SHA1}\r\nRange: bytes=0-1048575\r\n\
             X-Alt: 9.8.7.6, 5.4.3.2:1, tls=ff, x:1\r\nX-NAlt: 4.4.4.4:4\r\n\
             X-Gnutella-Alternate-Location: http://3.3.3.3:33/uri-res/N2R?urn:sha1:{SHA1} 2002-04-09T00:00Z\r\n\r\n"
        );
        let ask = asked(&head).unwrap();
        let urn = Urn::parse(format!("urn:sha1:{SHA1}").as_bytes()).unwrap();
        assert_eq!(ask.target, Target::Urn(urn.clone()));
        assert_eq!(
            (ask.content, ask.range),
            (Some(urn), Some(ByteRange::From(0, Some(1_048_575))))
        );
        assert!(ask.queue && ask.keep_alive && !ask.head_only);
        assert_eq!(ask.alternates, [addr("9.8.7.6:6346"), addr("5.4.3.2:1"), addr("3.3.3.3:33")]);
        assert_eq!(ask.dead, [addr("4.4.4.4:4")]);

        let old = "GET /get/2468/My%20Song.mp3/ HTTP/1.0\r\nRange: bytes=0-\r\n\r\n";
        let old = asked(old).unwrap();
        assert_eq!(old.target, Target::Index(2468, "My Song.mp3".into()));
        assert!(!old.keep_alive && !old.queue);
        let kept = asked("HEAD /get/1/a b HTTP/1.0\nConnection: Keep-Alive\n\n").unwrap();
        assert_eq!(kept.target, Target::Index(1, "a b".into()));
        assert!(kept.keep_alive && kept.head_only);
    }

    #[test]
    fn paths() {
        for (path, want) in [
            ("/", Target::Browse),
            ("/get/x/y", Target::Unknown),
            ("/get/+1/y", Target::Unknown),
            ("/get/1", Target::Unknown),
            ("/get/4294967296/y", Target::Unknown),
            ("/get/1/%ff", Target::Unknown),
            ("/get/1/../../etc/passwd", Target::Index(1, "../../etc/passwd".into())),
            ("/uri-res/N2R?urn:sha1:short", Target::Unknown),
            ("/etc/passwd", Target::Unknown),
            ("http://other/", Target::Unknown),
        ] {
            assert_eq!(asked(&format!("GET {path} HTTP/1.1\r\n\r\n")).unwrap().target, want);
        }
        let btih = asked(&format!("GET /uri-res/N2R?urn:btih:{SHA1} HTTP/1.1\r\n\r\n")).unwrap();
        assert!(matches!(btih.target, Target::Urn(Urn::Btih(_))));
        let bad = "GET / HTTP/1.1\r\nRange: bytes=5-4\r\n\r\n";
        assert_eq!(asked(bad), Err(HeadError::Range));
    }

    #[test]
    fn answers_byte_by_byte() {
        let Some(Urn::Sha1(sha1)) = Urn::parse(format!("urn:sha1:{SHA1}").as_bytes()) else {
            panic!()
        };
        let alternates = [addr("9.8.7.6:6346"), addr("5.4.3.2:1")];
        let torrent = Some(InfoHash([0xab; 20]));
        let file = Upload {
            name: "My Söng\".mp3",
            sha1: Some(sha1),
            torrent,
            total: 1000,
            alternates: &alternates,
            keep_alive: true,
        };
        let urn = Urn::Btih(InfoHash([0xab; 20]));
        assert_eq!(
            file.head(Some(&(100..200))),
            format!(
                "HTTP/1.1 206 Partial Content\r\nServer: gaggle\r\nConnection: Keep-Alive\r\n\
                 Content-Length: 100\r\nContent-Range: bytes 100-199/1000\r\nAccept-Ranges: bytes\r\n\
                 Content-Type: application/octet-stream\r\n\
                 Content-Disposition: attachment; filename*=UTF-8''My%20S%C3%B6ng%22%2Emp3\r\n\
                 X-Gnutella-Content-URN: urn:sha1:{SHA1}, {urn}\r\n\
                 X-Content-BTIH: abababababababababababababababababababab\r\n\
                 X-Alt: 9.8.7.6:6346, 5.4.3.2:1\r\n\r\n"
            )
        );
        let plain =
            Upload { sha1: None, torrent: None, alternates: &[], keep_alive: false, ..file };
        let head = plain.head(None);
        assert!(head.starts_with(
            "HTTP/1.1 200 OK\r\nServer: gaggle\r\nConnection: close\r\nContent-Length: 1000\r\nAccept"
        ));
        assert!(!head.contains("URN") && !head.contains("X-Alt"), "{head}");
        let queued = Refusal::Queued { position: 2, length: 5, limit: 4, poll: (45, 120) };
        assert_eq!(
            queued.head(true),
            "HTTP/1.1 503 Service Unavailable\r\nServer: gaggle\r\nConnection: Keep-Alive\r\n\
             Content-Length: 0\r\nX-Queue: position=2,length=5,limit=4,pollMin=45,pollMax=120\r\n\
             Retry-After: 45\r\n\r\n"
        );
        let range = Refusal::Range(9).head(true);
        assert!(
            range.starts_with("HTTP/1.1 416 ")
                && range.contains("\r\nContent-Range: bytes */9\r\n")
        );
        assert!(Refusal::Busy(60).head(false).contains("\r\nRetry-After: 60\r\n"));
        assert!(Refusal::Bad.head(true).contains("\r\nConnection: close\r\n"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..600), path in ".{0,60}") {
            let _ = Ask::parse(&raw);
            let _ = Ask::parse(format!("GET {path} HTTP/1.1\r\nX-Alt: {path}\r\n\r\n").as_bytes());
        }
    }
}
