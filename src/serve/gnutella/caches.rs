//! Host caches: places that know servents. Asked only if the owner has named them, and only while nobody else is known.

use bytes::BytesMut;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::overlay::gnutella::addresses;
use gaggle_core::proto::gnutella::{Descriptor, Ggep, Guid, Kind, Ping, Pong};
use gaggle_core::scope::Scope;
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;
use tokio::net::UdpSocket;

/// A cache is asked no more often.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(3_600);
/// It has answered by then, or not at all.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 16 << 10;
/// Servents of one answer that are believed.
const HOSTS_MAX: usize = 50;
/// Who asks, as caches like to know.
const CLIENT: (&str, &str) = ("GGLE", env!("CARGO_PKG_VERSION"));

/// A place that knows servents.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostCache {
    /// It answers datagrams.
    Udp(PeerHint),
    /// A web page.
    Web(Url),
}

impl FromStr for HostCache {
    type Err = String;

    /// Reads `http://..`, `https://..` or `udp://HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text} is neither http://.. nor udp://HOST:PORT");
        if let Some(host) = text.strip_prefix("udp://") {
            return PeerHint::parse(host).map(Self::Udp).ok_or_else(bad);
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.map(Self::Web).ok_or_else(bad)
    }
}

/// Asks a cache; nobody, if it does not answer. `guid` marks the question.
pub(super) async fn ask(cache: HostCache, guid: Guid) -> Vec<SocketAddrV4> {
    let asked = async {
        match &cache {
            HostCache::Udp(host) => ask_udp(host, guid).await,
            HostCache::Web(url) => ask_web(url).await,
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
    if answer.is_none() {
        tracing::debug!(?cache, "the host cache does not answer");
    }
    answer.unwrap_or_default()
}

/// The addresses of a name or of an address itself, those that the network knows.
pub(super) async fn resolve(host: &PeerHint) -> Vec<SocketAddrV4> {
    let found = tokio::net::lookup_host((host.host.as_str(), host.port));
    let found = tokio::time::timeout(PATIENCE, found).await;
    let v4 = |addr| if let SocketAddr::V4(addr) = addr { Some(addr) } else { None };
    found.into_iter().flatten().flatten().filter_map(v4).take(HOSTS_MAX).collect()
}

async fn ask_udp(host: &PeerHint, guid: Guid) -> Option<Vec<SocketAddrV4>> {
    let to = *resolve(host).await.first()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect(to).await.ok()?; // nobody else can answer
    let ping = Ping { ggep: Ggep::new().with("SCP", vec![1]) };
    socket.send(&Descriptor::new(guid, Kind::PING, 1, ping.encode()).encode()).await.ok()?;
    let mut raw = vec![0; ANSWER_MAX];
    loop {
        let len = socket.recv(&mut raw).await.ok()?;
        if let Some(hosts) = read_pong(to, guid, &raw[..len]) {
            return Some(hosts);
        }
    }
}

fn read_pong(from: SocketAddrV4, guid: Guid, raw: &[u8]) -> Option<Vec<SocketAddrV4>> {
    let answer = Descriptor::decode(&mut BytesMut::from(raw)).ok().flatten()?;
    if answer.header.kind != Kind::PONG || answer.header.guid != guid {
        return None;
    }
    let pong = Pong::parse(&answer.payload).ok()?;
    let from = IpAddr::V4(*from.ip());
    let packed = pong.ggep.get("IPP");
    let mut hosts = packed.map_or_else(Vec::new, |packed| addresses(from, packed));
    // A servent that answers can be dialled itself; what is only a cache cannot.
    if pong.ggep.get("UDPHC").is_none() && may_name(from, pong.addr) {
        hosts.push(pong.addr);
    }
    hosts.truncate(HOSTS_MAX);
    Some(hosts)
}

fn may_name(from: IpAddr, addr: SocketAddrV4) -> bool {
    addr.port() != 0 && Scope::may_tell(from, IpAddr::V4(*addr.ip()))
}

async fn ask_web(url: &Url) -> Option<Vec<SocketAddrV4>> {
    let mut url = url.clone();
    let (client, version) = CLIENT;
    url.query_pairs_mut()
        .append_pair("get", "1")
        .append_pair("net", "gnutella")
        .append_pair("client", client)
        .append_pair("version", version);
    // An error means that somebody installed one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // What it names is judged by where it stands, so nobody stands between.
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let mut answer = http.build().ok()?.get(url).send().await.ok()?.error_for_status().ok()?;
    let from = answer.remote_addr()?.ip();
    let mut text = Vec::new();
    while let Some(part) = answer.chunk().await.ok()? {
        text.extend_from_slice(&part);
        if text.len() > ANSWER_MAX {
            text.truncate(ANSWER_MAX);
            break;
        }
    }
    Some(read_lines(from, &String::from_utf8_lossy(&text)))
}

/// `H|ip:port|age` of the second kind of cache, `ip:port` of the first.
fn read_lines(from: IpAddr, text: &str) -> Vec<SocketAddrV4> {
    let host = |line: &str| {
        let line = line.trim();
        let addr = line.strip_prefix("H|").or_else(|| line.strip_prefix("h|")).unwrap_or(line);
        addr.split('|').next()?.parse().ok()
    };
    let all = text.lines().filter_map(host);
    all.filter(|&addr| may_name(from, addr)).take(HOSTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lists_and_nobody_near_by_a_strangers_word() {
        let text = "I|pong|x\r\nH|198.18.0.1:6346|20\r\nH|10.0.0.1:80|3\r\nU|http://c.example/|7\n198.18.0.2:5\n198.18.0.3:0\njunk";
        let want: Vec<SocketAddrV4> =
            vec!["198.18.0.1:6346".parse().unwrap(), "198.18.0.2:5".parse().unwrap()];
        assert_eq!(read_lines(IpAddr::from([198, 18, 9, 9]), text), want);
        assert_eq!(read_lines(IpAddr::from([10, 0, 0, 9]), text).len(), 3);
        let many: String = (0..999).map(|n| format!("198.18.1.1:{}\n", n + 1)).collect();
        assert_eq!(read_lines(IpAddr::from([198, 18, 9, 9]), &many).len(), HOSTS_MAX);
    }

    #[test]
    fn names_of_caches() {
        assert!(matches!("http://c.example/gwc.php".parse(), Ok(HostCache::Web(_))));
        let udp = PeerHint { host: "c.example".into(), port: 9 };
        assert_eq!("udp://c.example:9".parse(), Ok(HostCache::Udp(udp)));
        for bad in ["c.example", "ftp://c.example/", "udp://c.example", "http://"] {
            assert!(bad.parse::<HostCache>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_cache_that_answers_datagrams() {
        let cache = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = cache.local_addr().unwrap();
        let answered = tokio::spawn(async move {
            let mut raw = [0; 100];
            let (len, from) = cache.recv_from(&mut raw).await.unwrap();
            let mut want = vec![7; 16];
            // A Ping with TTL 1 and the block `SCP` of one byte.
            want.extend([0, 1, 0, 7, 0, 0, 0, 0xc3, 0x83, b'S', b'C', b'P', 0x41, 1]);
            assert_eq!(raw[..len], want);
            let pong = |guid: u8| {
                let ggep = Ggep::new()
                    .with("UDPHC", vec![])
                    .with("IPP", vec![198, 18, 0, 1, 0xca, 0x18, 127, 0, 0, 1, 5, 0]);
                let addr = "127.0.0.1:9".parse().unwrap();
                let pong = Pong { addr, files: 0, kbytes: 0, ggep };
                Descriptor::new(Guid([guid; 16]), Kind::PONG, 1, pong.encode()).encode()
            };
            cache.send_to(&pong(8), from).await.unwrap(); // of another question
            cache.send_to(&pong(7), from).await.unwrap();
        });
        let host = PeerHint { host: "127.0.0.1".into(), port: at.port() };
        let hosts = ask(HostCache::Udp(host), Guid([7; 16])).await;
        answered.await.unwrap();
        let want: Vec<SocketAddrV4> =
            vec!["198.18.0.1:6346".parse().unwrap(), "127.0.0.1:5".parse().unwrap()];
        assert_eq!(hosts, want);
    }

    #[tokio::test]
    async fn a_cache_on_the_web() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/gwc?x=1", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let len = stream.read(&mut head).await.unwrap();
            let body = "H|127.0.0.1:77|1\n".repeat(4000); // of 68 kB only 16 are read
            let head_out = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            _ = stream.write_all((head_out + &body).as_bytes()).await;
            String::from_utf8_lossy(&head[..len]).into_owned()
        });
        let hosts = ask(url.parse().unwrap(), Guid([7; 16])).await;
        assert_eq!(hosts, vec!["127.0.0.1:77".parse().unwrap(); HOSTS_MAX]);
        let asked = served.await.unwrap();
        let line = format!(
            "GET /gwc?x=1&get=1&net=gnutella&client=GGLE&version={} HTTP/1.1\r\n",
            CLIENT.1
        );
        assert!(asked.starts_with(&line), "{asked}");
    }
}
