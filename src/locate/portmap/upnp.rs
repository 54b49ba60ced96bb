//! Ports by UPnP, from the router and nobody else.
//!
//! Whoever is on the wire may answer a search, with a description wherever he likes. So the library does not search the
//! wire: it asks a sieve of ours, which passes the question on and lets through what the router says. Where that leads
//! the library checks itself: the description and every address in it must be the router's, bodies end at a mebibyte,
//! and no entity is expanded.

use super::route::Route;
use super::{LEASE, Language, Mapped, Ports};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{
    AddAnyPortError, AddPortError, GatewayIpVersion, PortMappingProtocol, SearchError,
    SearchOptions,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::net::UdpSocket;

/// Where devices listen for searches.
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 1900);
/// The same where there is no multicast: newer routers answer there, too.
const PORT: u16 = 1900;
/// How far a search goes: to the neighbours, one of which is the router.
const HOPS: u32 = 1;
/// Bytes of the longest answer to a search that is passed on: one datagram on a wire.
const ANSWER_MAX: usize = 1400;
/// For the search, the description and what the router says that it can do, together.
const SEARCH_PATIENCE: Duration = Duration::from_secs(4);
/// For one order.
const ORDER_PATIENCE: Duration = Duration::from_secs(3);
/// What the router's list of ports calls ours.
const NAME: &str = "gaggle";

/// A router that speaks UPnP, and the ports that it has granted.
pub(super) struct Upnp {
    gateway: Gateway<Tokio>,
    route: Route,
    external: Option<IpAddr>,
    tcp: Option<Grant>,
    udp: Option<Grant>,
}

/// A port of ours and the one outside that leads to it.
#[derive(Clone, Copy)]
struct Grant {
    inside: NonZeroU16,
    outside: NonZeroU16,
}

/// Why there are no ports.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpnpError {
    #[error(transparent)]
    Any(#[from] AddAnyPortError),
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    This(#[from] AddPortError),
}

/// Looks for what the router says of itself.
pub(super) async fn find(route: Route) -> Result<Upnp, UpnpError> {
    let sieve = Sieve::open(route)?;
    let mut options = SearchOptions::default();
    options.bind_addr = (Ipv4Addr::LOCALHOST, 0).into();
    options.broadcast_address = sieve.inside.local_addr()?;
    options.timeout = Some(SEARCH_PATIENCE);
    options.single_search_timeout = Some(SEARCH_PATIENCE);
    options.gateway_ip_version = GatewayIpVersion::V4;
    options.allowed_gateway_ips = vec![route.router.into()];
    let gateway = tokio::select! {
        found = search_gateway(options) => found?,
        Err(error) = sieve.run() => return Err(error.into()),
    };
    Ok(Upnp { gateway, route, external: None, tcp: None, udp: None })
}

/// Between the library and the wire.
struct Sieve {
    /// What the library takes for the wire.
    inside: UdpSocket,
    outside: UdpSocket,
    router: Ipv4Addr,
}

impl Sieve {
    fn open(Route { router, us }: Route) -> io::Result<Self> {
        let bind = |ip: Ipv4Addr| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddr::new(ip.into(), 0).into())?;
            Ok::<Socket, io::Error>(socket)
        };
        let outside = bind(us)?;
        outside.set_multicast_if_v4(&us)?;
        outside.set_multicast_ttl_v4(HOPS)?;
        Ok(Self {
            inside: UdpSocket::from_std(bind(Ipv4Addr::LOCALHOST)?.into())?,
            outside: UdpSocket::from_std(outside.into())?,
            router,
        })
    }

    /// Passes on until it is dropped, or a socket breaks.
    async fn run(&self) -> io::Result<()> {
        let (mut asked, mut said) = ([0; ANSWER_MAX], [0; ANSWER_MAX + 1]);
        let mut asker = None;
        loop {
            tokio::select! {
                received = self.inside.recv_from(&mut asked) => {
                    let (len, from) = received?;
                    if *asker.get_or_insert(from) == from {
                        self.ask(&asked[..len]).await?;
                    }
                }
                received = self.outside.recv_from(&mut said) => {
                    let (len, from) = received?;
                    if let Some(asker) = asker.filter(|_| from.ip() == self.router && len <= ANSWER_MAX) {
                        self.inside.send_to(&said[..len], asker).await?;
                    }
                }
            }
        }
    }

    /// Devices read in the question whom it is for; the library has written the sieve there.
    async fn ask(&self, question: &[u8]) -> io::Result<()> {
        let question = String::from_utf8_lossy(question);
        let question = question.replace(&self.inside.local_addr()?.to_string(), &GROUP.to_string());
        // One of the two is enough: some networks have no multicast, and some routers hear nothing else.
        let to_all = self.outside.send_to(question.as_bytes(), GROUP).await;
        let to_it = self.outside.send_to(question.as_bytes(), (self.router, PORT)).await;
        to_all.or(to_it).map(drop)
    }
}

impl Upnp {
    /// Asks for both ports, the same outside if they are free. The lease, if it grants any.
    pub(super) async fn map(&mut self, ports: &Ports) -> Result<Duration, UpnpError> {
        let tcp = match ports.tcp {
            Some(port) => {
                self.grant(PortMappingProtocol::TCP, port).await.map(|g| self.tcp = Some(g))
            }
            None => Ok(()),
        };
        let udp = match ports.udp {
            Some(port) => {
                self.grant(PortMappingProtocol::UDP, port).await.map(|g| self.udp = Some(g))
            }
            None => Ok(()),
        };
        // One of them is better than none.
        if self.granted().next().is_none() {
            tcp?;
            udp?;
        }
        let external = tokio::time::timeout(ORDER_PATIENCE, self.gateway.get_external_ip()).await;
        self.external = external.ok().and_then(Result::ok);
        Ok(LEASE)
    }

    /// Asks to keep what there is.
    pub(super) async fn renew(&mut self) -> Result<Duration, UpnpError> {
        for (protocol, Grant { inside, outside }) in self.granted().collect::<Vec<_>>() {
            self.order(protocol, inside, outside).await?;
        }
        Ok(LEASE)
    }

    pub(super) async fn give_back(self) {
        let drops = self.granted().map(async |(protocol, Grant { outside, .. })| {
            if let Err(error) = self.gateway.remove_port(protocol, outside.get()).await {
                tracing::debug!(%error, "a port was not given back");
            }
        });
        futures_util::future::join_all(drops).await;
    }

    pub(super) fn router(&self) -> Ipv4Addr {
        self.route.router
    }

    pub(super) fn mapped(&self) -> Option<Mapped> {
        self.granted().next()?;
        Some(Mapped {
            by: Language::Upnp,
            router: self.route.router.into(),
            external: self.external,
            tcp: self.tcp.map(|grant| grant.outside),
            udp: self.udp.map(|grant| grant.outside),
        })
    }

    fn granted(&self) -> impl Iterator<Item = (PortMappingProtocol, Grant)> {
        let all = [(PortMappingProtocol::TCP, self.tcp), (PortMappingProtocol::UDP, self.udp)];
        all.into_iter().filter_map(|(protocol, grant)| Some((protocol, grant?)))
    }

    async fn grant(
        &self,
        protocol: PortMappingProtocol,
        inside: NonZeroU16,
    ) -> Result<Grant, UpnpError> {
        match self.order(protocol, inside, inside).await {
            Err(UpnpError::This(AddPortError::PortInUse)) => {}
            ordered => return ordered.map(|()| Grant { inside, outside: inside }),
        }
        let us = SocketAddr::new(self.route.us.into(), inside.get());
        let lease = LEASE.as_secs() as u32;
        let any = self.gateway.add_any_port(protocol, us, lease, NAME);
        let any = tokio::time::timeout(ORDER_PATIENCE, any).await;
        let any = any.map_err(|_| UpnpError::Silent(ORDER_PATIENCE))??;
        let outside = NonZeroU16::new(any).ok_or(AddAnyPortError::NoPortsAvailable)?;
        Ok(Grant { inside, outside })
    }

    /// One port. A router that gives ports for ever only is asked for that: we give them back when we leave.
    async fn order(
        &self,
        protocol: PortMappingProtocol,
        inside: NonZeroU16,
        outside: NonZeroU16,
    ) -> Result<(), UpnpError> {
        let us = SocketAddr::new(self.route.us.into(), inside.get());
        let add = async |lease| {
            let add = self.gateway.add_port(protocol, outside.get(), us, lease, NAME);
            let added = tokio::time::timeout(ORDER_PATIENCE, add).await;
            Ok::<(), UpnpError>(added.map_err(|_| UpnpError::Silent(ORDER_PATIENCE))??)
        };
        match add(LEASE.as_secs() as u32).await {
            Err(UpnpError::This(AddPortError::OnlyPermanentLeasesSupported)) => add(0).await,
            added => added,
        }
    }
}
