//! HTTP clients for trackers: made when first needed, one for each reach and kind of transport.
//!
//! Redirects are followed by [`super::tracker_http`] alone, since each hop must pass the rules of
//! [`super::target`] again.

use super::LocateError;
use super::target::{Reach, is_private};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A connection must be there after this long, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Says who asks, as trackers like to know.
const USER_AGENT: &str = concat!("gaggle/", env!("CARGO_PKG_VERSION"));
/// Environment variables that name a proxy.
const PROXY_VARIABLES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// All clients.
pub(super) struct HttpClients {
    from: Option<IpAddr>,
    clear: [OnceLock<Client>; 3],
    tls: [OnceLock<Client>; 3],
}

impl HttpClients {
    /// Clients that ask from this address, where it can lead.
    pub(super) fn new(from: Option<IpAddr>) -> Self {
        Self { from, clear: <_>::default(), tls: <_>::default() }
    }

    /// The client for a URL.
    pub(super) fn of(&self, url: &Url, reach: Reach) -> Result<Client, LocateError> {
        let is_tls = url.scheme() == "https";
        let slot = match reach {
            Reach::Loopback => 0,
            Reach::Anywhere => 1,
            Reach::GlobalOnly => 2,
        };
        let slot = if is_tls { &self.tls[slot] } else { &self.clear[slot] };
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = build(reach, is_tls, self.from)?;
        Ok(slot.get_or_init(|| client).clone())
    }
}

/// Whether requests may go through a proxy, which then sees the names and looks up the addresses.
pub(super) fn is_proxied(reach: Reach) -> bool {
    reach != Reach::Loopback && PROXY_VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
}

fn build(reach: Reach, is_tls: bool, from: Option<IpAddr>) -> Result<Client, LocateError> {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // An error means that somebody installed one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    // Only loopback can be reached from loopback.
    let from = from.filter(|from| reach == Reach::Loopback || !from.is_loopback());
    let builder = || {
        let builder = ClientBuilder::new()
            .local_address(from)
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0); // minutes pass between two announces
        match reach {
            Reach::Loopback => builder.no_proxy(),
            Reach::Anywhere => builder,
            // The proxy itself may well be private; what it reaches is its own business.
            Reach::GlobalOnly if is_proxied(reach) => builder,
            Reach::GlobalOnly => builder.dns_resolver(Arc::new(GlobalAddressesOnly)),
        }
    };
    // Reading the system's certificates takes long and fails where there are none: only TLS needs them.
    let client = match is_tls {
        true => builder().build(),
        false => builder().tls_certs_only([]).build(),
    };
    client.map_err(|error| LocateError::Connection(innermost(&error)))
}

/// Resolves names, and forgets every address that is not for everybody: so a name cannot lead us to a neighbour.
struct GlobalAddressesOnly;

impl Resolve for GlobalAddressesOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (private, global): (Vec<SocketAddr>, Vec<_>) =
                found.partition(|addr| is_private(addr.ip()));
            if global.is_empty() && !private.is_empty() {
                return Err(LocateError::PrivateTarget(name.as_str().to_owned()).into());
            }
            let addrs: Addrs = Box::new(global.into_iter());
            Ok(addrs)
        })
    }
}

/// What reqwest wraps three times, in the words of whoever knew: `Connection refused (os error 111)`.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
