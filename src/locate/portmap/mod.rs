//! Ports of the router that lead to us, so that peers outside can call.
//!
//! Decides which router is asked, in which language, and how long it may take. Never asks anybody but the router that
//! this machine sends everything to, never for an address that is good outside by itself, and never keeps anybody
//! waiting: what is not done in time when we leave, the router forgets by itself.
//= RFC 6887
//= RFC 6886

mod pcp;
mod route;
#[cfg(test)]
mod tests;
mod upnp;

use crate::net::Clock;
use gaggle_core::scope::Scope;
use pcp::Pcp;
use route::Route;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use upnp::Upnp;

/// For how long ports are asked for. Whatever happens to us, they are closed after this.
const LEASE: Duration = Duration::from_secs(3600);
/// However short the lease is that the router gives, it is not asked more often than this.
const RENEW_MIN: Duration = Duration::from_secs(30);
/// When nobody gave us a port, the question is put again after this: another network, another router.
const RETRY: Duration = Duration::from_secs(900);
/// Time to give the ports back when we leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is to be reachable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ports {
    /// Where peers are listened for; the wildcard of either family is every address of this machine.
    pub listen: IpAddr,
    /// Of the listener.
    pub tcp: Option<NonZeroU16>,
    /// Of the DHT.
    pub udp: Option<NonZeroU16>,
}

/// What a router has given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mapped {
    /// The language that it understood.
    pub by: Language,
    /// The router.
    pub router: IpAddr,
    /// Its address outside, as far as it knows. Behind another router it is not good for everybody.
    pub external: Option<IpAddr>,
    /// Its port that leads to the listener.
    pub tcp: Option<NonZeroU16>,
    /// Its port that leads to the DHT.
    pub udp: Option<NonZeroU16>,
}

/// How routers are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// NAT Port Mapping Protocol, of which PCP is the successor.
    NatPmp,
    /// Port Control Protocol.
    Pcp,
    /// The Internet Gateway Device of UPnP.
    Upnp,
}

impl Language {
    /// As scripts read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NatPmp => "nat-pmp",
            Self::Pcp => "pcp",
            Self::Upnp => "upnp",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NatPmp => "NAT-PMP",
            Self::Pcp => "PCP",
            Self::Upnp => "UPnP",
        })
    }
}

/// Ports kept open as long as this lives. Dropping it leaves them to their lease.
#[derive(Debug)]
pub struct PortMap {
    mapped: watch::Receiver<Option<Mapped>>,
    /// Taken by who stops it.
    stop: std::sync::Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl PortMap {
    /// Begins to ask, in the background. Must be called inside a tokio runtime.
    pub fn start(ports: Ports, clock: Clock) -> Self {
        let (show, mapped) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let task = Task { ports, clock, held: Held::default(), show };
        let task = tokio::spawn(task.run(stopped));
        Self { mapped, stop: std::sync::Mutex::new(Some((stop, task))) }
    }

    /// What the router has given so far.
    pub fn mapped(&self) -> Option<Mapped> {
        *self.mapped.borrow()
    }

    /// The same, for whoever wants to hear about changes.
    pub fn watch(&self) -> watch::Receiver<Option<Mapped>> {
        self.mapped.clone()
    }

    /// Gives the ports back; takes a second at most.
    pub async fn stop(&self) {
        let taken = self.stop.lock().ok().and_then(|mut slot| slot.take());
        if let Some((stop, task)) = taken {
            let _ = stop.send(());
            let _ = task.await; // it keeps the time itself
        }
    }
}

impl Drop for PortMap {
    fn drop(&mut self) {
        if let Ok(Some((_, task))) = self.stop.get_mut().map(Option::take) {
            task.abort();
        }
    }
}

struct Task {
    ports: Ports,
    clock: Clock,
    held: Held,
    show: watch::Sender<Option<Mapped>>,
}

/// What the router has granted, kept from the moment that it says so: who is stopped in between gives it back.
#[derive(Default)]
struct Held {
    pcp: Pcp,
    upnp: Option<Upnp>,
}

impl Task {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let wait = tokio::select! {
                biased;
                _ = &mut stop => break,
                wait = ask(&self.ports, &mut self.held) => wait,
            };
            let mapped = self.held.mapped();
            if self.show.send_replace(mapped) != mapped {
                tracing::debug!(?mapped, "ports of the router");
            }
            let wake = self.clock.now() + wait;
            tokio::select! {
                biased;
                _ = &mut stop => break,
                () = self.clock.sleep_until(Some(wake)) => {}
            }
        }
        let _ = tokio::time::timeout(FAREWELL, self.held.give_back()).await;
    }
}

/// Asks for the ports, or to keep those that there are. How long to wait until it must be done again.
async fn ask(ports: &Ports, held: &mut Held) -> Duration {
    let Some(route) = Route::of_machine().filter(|route| route.serves(ports.listen)) else {
        *held = Held::default();
        return RETRY;
    };
    if held.router() == Some(route.router) {
        if let Some(lease) = held.renew().await {
            return pause(lease);
        }
        tracing::debug!(router = %route.router, "the router has closed our ports");
    }
    *held = Held::default();
    // PCP and NAT-PMP are three datagrams, and their word is proof enough of who has spoken; so they come first.
    match held.pcp.map(route, ports).await {
        Ok(lease) => return pause(lease),
        Err(error) => tracing::debug!(router = %route.router, %error, "no ports by PCP or NAT-PMP"),
    }
    match upnp::find(route).await {
        Ok(found) => {
            let upnp = held.upnp.insert(found);
            match upnp.map(ports).await {
                Ok(lease) => return pause(lease),
                Err(error) => tracing::debug!(router = %route.router, %error, "no ports by UPnP"),
            }
        }
        Err(error) => tracing::debug!(router = %route.router, %error, "no UPnP"),
    }
    *held = Held::default();
    RETRY
}

/// Half of the lease.
fn pause(lease: Duration) -> Duration {
    (lease.min(LEASE) / 2).max(RENEW_MIN)
}

impl Held {
    fn router(&self) -> Option<Ipv4Addr> {
        self.pcp.router().or(self.upnp.as_ref().map(Upnp::router))
    }

    fn mapped(&self) -> Option<Mapped> {
        self.pcp.mapped().or_else(|| self.upnp.as_ref()?.mapped())
    }

    /// The new lease, unless the router refuses or is silent.
    async fn renew(&mut self) -> Option<Duration> {
        match &mut self.upnp {
            Some(upnp) => upnp.renew().await.ok(),
            None => self.pcp.renew().await.ok(),
        }
    }

    async fn give_back(self) {
        match self.upnp {
            Some(upnp) => upnp.give_back().await,
            None => self.pcp.give_back().await,
        }
    }
}

impl Route {
    /// Whether a port of the router can lead to whoever listens there: only where this machine has a private address
    /// and its router another, and the listener takes what comes to that.
    fn serves(&self, listen: IpAddr) -> bool {
        let private = |ip: Ipv4Addr| Scope::of(ip.into()) == Some(Scope::Private);
        private(self.us) && private(self.router) && (listen.is_unspecified() || listen == self.us)
    }
}
