//! What a tracker's URL may make us do.
//!
//! A torrent's URLs are written by strangers, and our computer stands where they do not: behind the router, beside
//! services that trust whoever can reach them. So a URL from a torrent gets to private addresses only in the plainest
//! form, `/announce` without a query, which no other service has a use for.

use super::LocateError;
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a tracker's URL; a longer one is refused.
const URL_MAX: usize = 2048;

/// A tracker's URL, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    Http(HttpTarget),
    Udp(UdpTarget),
}

/// Where to send a request over HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HttpTarget {
    /// Without the part that the announce adds.
    pub(super) url: Url,
    pub(super) reach: Reach,
}

/// Which addresses a request may go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// This machine, named as such: no proxy on the way.
    Loopback,
    /// Any, private ones too.
    Anywhere,
    /// Addresses that everybody can reach.
    GlobalOnly,
}

/// Where to send datagrams.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct UdpTarget {
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    //= BEP 41
    pub(super) url_data: Vec<u8>,
}

impl Target {
    /// Checks a URL; `trusted` ones were typed by the user, who may go anywhere.
    pub(super) fn parse(text: &str, trusted: bool) -> Result<Self, LocateError> {
        let url = parse_url(text)?;
        if url.scheme() != "udp" {
            return HttpTarget::new(url, trusted).map(Self::Http);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocateError::Url("a user name in a udp:// URL"));
        }
        let host = url.host_str().ok_or(LocateError::Url("no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port().filter(|&port| port != 0).ok_or(LocateError::Url("no port"))?;
        let mut url_data = url.path().as_bytes().to_vec();
        if let Some(query) = url.query() {
            url_data.push(b'?');
            url_data.extend_from_slice(query.as_bytes());
        }
        Ok(Self::Udp(UdpTarget { host, port, url_data }))
    }
}

impl HttpTarget {
    /// Checks where a URL leads.
    pub(super) fn new(url: Url, trusted: bool) -> Result<Self, LocateError> {
        let is_plain = url.path() == "/announce" && url.query().is_none();
        Self::with(url, trusted || is_plain)
    }

    /// The place that a redirect leads to. From a server that everybody can reach it leads nowhere private, and never
    /// from TLS to clear text. `lan` keeps it in this network, or where it was: what the user named may lie elsewhere.
    ///
    /// `query` is our own part of the URL, which a redirect may repeat.
    pub(super) fn redirected(
        from: &Url,
        location: &str,
        from_private: bool,
        lan: bool,
        query: &str,
    ) -> Result<Self, LocateError> {
        let mut url = from.join(location).map_err(|_| LocateError::Redirect("to no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(LocateError::Redirect("to another scheme"));
        }
        if from.scheme() == "https" && url.scheme() == "http" {
            return Err(LocateError::Redirect("from https to http"));
        }
        let host = url.host_str();
        if lan && host != from.host_str() && !host.is_some_and(is_near_host) {
            return Err(LocateError::Redirect("out of this network"));
        }
        // Only the user's own URL may carry a name and a password, to its own host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let repeats = url.query().is_none_or(|theirs| theirs == query);
        let is_plain = url.path() == "/announce" && repeats;
        Self::with(url, from_private && is_plain)
    }

    fn with(mut url: Url, may_be_private: bool) -> Result<Self, LocateError> {
        url.set_fragment(None);
        let host = url.host_str().ok_or(LocateError::Url("no host"))?;
        let ip = ip_of(host);
        let is_loopback =
            is_local_name(host) || ip.is_some_and(|ip| ip.to_canonical().is_loopback());
        let is_private = is_loopback || ip.is_some_and(is_private);
        let reach = match (may_be_private, is_private, is_loopback) {
            (false, true, _) => return Err(LocateError::PrivateTarget(host.to_owned())),
            (false, false, _) => Reach::GlobalOnly,
            (true, _, true) => Reach::Loopback,
            (true, _, false) => Reach::Anywhere,
        };
        Ok(Self { url, reach })
    }

    /// The URL with `query` added to the tracker's own.
    pub(super) fn with_query(&self, query: &str) -> Url {
        let mut url = self.url.clone();
        let joined = match url.query() {
            Some(own) if !own.is_empty() => format!("{own}&{query}"),
            _ => query.to_owned(),
        };
        url.set_query(Some(&joined));
        url
    }
}

/// Whether a tracker's URL names an address of this machine or of this network. A name could lead anywhere, and to look it
/// up would ask somebody outside.
pub fn is_near(url: &str) -> bool {
    let Ok(url) = parse_url(url) else { return false };
    url.host_str().is_some_and(is_near_host)
}

/// The same of a host alone.
pub fn is_near_host(host: &str) -> bool {
    is_local_name(host) || ip_of(host).is_some_and(is_private)
}

fn ip_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Checks form, length and scheme.
fn parse_url(text: &str) -> Result<Url, LocateError> {
    // Torrents in the wild begin announce URLs with a tab.
    let text = text.trim();
    if text.len() > URL_MAX {
        return Err(LocateError::Url("too long"));
    }
    // The URL parser would silently drop line breaks.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(LocateError::Url("blanks or control characters inside"));
    }
    let url = Url::parse(text).map_err(|_| LocateError::Url("not a URL"))?;
    match url.scheme() {
        "http" | "https" | "udp" => Ok(url),
        other => Err(LocateError::UnsupportedScheme(other.chars().take(20).collect())),
    }
}

/// Whether an address is on this machine, in this network, or otherwise not for everybody.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_multicast()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // carrier NAT
        || (a == 198 && (b == 18 || b == 19)) // benchmarks
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    // NAT64 and 6to4 carry an IPv4 address inside.
    let inner = match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    };
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        || ip.is_multicast()
        || inner.is_some_and(is_private_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(text: &str) -> Result<Reach, LocateError> {
        match Target::parse(text, false)? {
            Target::Http(target) => Ok(target.reach),
            Target::Udp(target) => panic!("{target:?}"),
        }
    }

    #[test]
    fn only_plain_addresses_are_known_to_be_near() {
        for url in ["http://10.1.0.5:6969/announce", "udp://[fe80::1]:1", "http://localhost/a?b=c"]
        {
            assert!(is_near(url), "{url}");
        }
        for url in
            ["http://8.8.8.8/announce", "udp://tracker.example:1", "http://10.0.0.1.example/", ""]
        {
            assert!(!is_near(url), "{url}");
        }
    }

    #[test]
    fn attack_35_urls_from_torrents_press_nobodys_buttons() {
        #[track_caller]
        fn refused(text: &str) {
            assert!(Target::parse(text, false).is_err(), "{text}");
        }
        for text in [
            "",
            "announce",
            "file:///etc/passwd",
            "gopher://example.com/announce",
            "ftp://example.com/announce",
            "http://127.0.0.1/admin",
            "http://127.0.0.1:9091/transmission/rpc?x=1",
            "http://127.0.0.1/announce?x=1",
            "http://localhost/admin/announce",
            "http://x.localhost/reboot",
            "http://2130706433/admin", // 127.0.0.1 as one number
            "http://0x7f.1/admin",
            "http://0/admin",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/cgi-bin/reboot",
            "http://[::1]/admin",
            "http://[::ffff:192.168.1.1]/admin",
            "http://[fe80::1]/admin",
            "http://[fd00::1]/admin",
            "http://[64:ff9b::a00:1]/admin",
            "http://100.64.0.1/admin",
            "http://example.com/announce\r\nHost: evil",
            "http://exa mple.com/announce",
            "http://example.com/ann\tounce",
            "udp://example.com/announce",
            "udp://user@example.com:80/announce",
            "udp://example.com:0",
        ] {
            refused(text);
        }
        refused(&format!("http://example.com/{}", "a".repeat(URL_MAX)));
        assert_eq!(
            Target::parse("wss://t.example/", false),
            Err(LocateError::UnsupportedScheme("wss".into()))
        );
    }

    #[test]
    fn trackers_are_reached_where_they_are() {
        assert_eq!(http("http://127.0.0.1:6969/announce"), Ok(Reach::Loopback));
        assert_eq!(http("http://[::1]:6969/announce"), Ok(Reach::Loopback));
        assert_eq!(http("http://localhost:6969/announce"), Ok(Reach::Loopback));
        assert_eq!(http("http://10.1.0.5:6969/announce"), Ok(Reach::Anywhere));
        assert_eq!(http("\thttp://tracker.example/announce "), Ok(Reach::Anywhere));
        // Whatever the name resolves to, a query string stays among public addresses.
        assert_eq!(http("https://tracker.example/announce?key=1"), Ok(Reach::GlobalOnly));
        assert_eq!(http("https://tracker.example/key/announce"), Ok(Reach::GlobalOnly));
        let Ok(Target::Http(own)) = Target::parse("http://10.0.0.1/key/announce", true) else {
            panic!("what the user typed is asked")
        };
        assert_eq!(own.reach, Reach::Anywhere);
    }

    #[test]
    fn udp_urls_keep_path_and_query() {
        let Ok(Target::Udp(target)) = Target::parse("udp://[2001:db8::1]:80/dir?a=b&c=d", false)
        else {
            panic!("a tracker")
        };
        assert_eq!((target.host.as_str(), target.port), ("2001:db8::1", 80));
        assert_eq!(target.url_data, b"/dir?a=b&c=d");
    }

    #[test]
    fn attack_35_redirects_lead_from_nowhere_public_to_anything_private() {
        let check = |from: &str, to: &str, from_private: bool| {
            let from = Url::parse(from).unwrap();
            HttpTarget::redirected(&from, to, from_private, false, "a=b")
                .map(|t| (t.url.to_string(), t.reach))
        };
        let public = "http://t.example/announce?a=b";
        for to in [
            "http://127.0.0.1/announce",
            "http://10.0.0.1/announce?a=b",
            "http://[::1]:8080/",
            "http://localhost/announce",
            "file:///etc/passwd",
            "udp://t.example:80",
        ] {
            assert!(check(public, to, false).is_err(), "{to}");
        }
        assert!(check("https://t.example/announce", "http://t.example/announce", false).is_err());
        // A name may resolve to a private address: the resolver gives none out for this reach.
        let other = check(public, "https://user:secret@other.example/x?y#z", false);
        assert_eq!(other, Ok(("https://other.example/x?y".into(), Reach::GlobalOnly)));
        // A private tracker may send us to another tracker, not to another service.
        let private = "http://10.0.0.1:6969/announce?a=b";
        assert_eq!(
            check(private, "http://10.0.0.2/announce?a=b", true).unwrap().1,
            Reach::Anywhere
        );
        assert!(check(private, "http://10.0.0.2/reboot", true).is_err());
        assert!(check(private, "/announce?reboot=1", true).is_err());
    }

    #[test]
    fn who_keeps_to_this_network_follows_no_redirect_out_of_it() {
        let check = |from: &str, to: &str, want: bool| {
            let from = Url::parse(from).unwrap();
            let led = HttpTarget::redirected(&from, to, true, true, "a=b");
            assert_eq!(led.is_ok(), want, "{from} {to}");
        };
        let near = "http://10.0.0.1/announce";
        for to in ["http://9.9.9.9/announce", "http://t.example/announce", "//[2001:db8::1]/x"] {
            check(near, to, false);
        }
        check(near, "http://10.0.0.2/announce", true);
        check(near, "//10.0.0.1:6969/announce", true);
        // The user named that one himself.
        check("http://t.example/announce", "https://t.example/announce", true);
        check("http://t.example/announce", "http://u.example/announce", false);
    }

    #[test]
    fn queries_join_the_trackers_own() {
        let url = |text: &str| {
            let Ok(Target::Http(target)) = Target::parse(text, true) else { panic!("{text}") };
            target.with_query("info_hash=%00%FF").to_string()
        };
        assert_eq!(url("http://a.b/announce"), "http://a.b/announce?info_hash=%00%FF");
        assert_eq!(url("http://a.b/x?k=1#f"), "http://a.b/x?k=1&info_hash=%00%FF");
    }
}
