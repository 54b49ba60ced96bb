//! Incoming connections, up to their handshake.
//!
//! Decides how many strangers may be in the middle of a handshake. Never decides which torrents are served.

use super::congestion::Congestion;
use super::door::Door;
use gaggle_core::scope::{Scope, canonical, network_of};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Most connections that may be in the middle of their handshake. At the bound no more are accepted until one
/// is done or late; the system's backlog holds the others.
pub const HANDSHAKES_MAX: usize = 256;
/// Most of them from one host, or one /64 of IPv6, which a host can fill at will; more are closed at once. Else a
/// single host could keep all others out.
pub const HANDSHAKES_PER_HOST: usize = 64;
/// Connections that the system holds for us until they are accepted; beyond, it drops them.
const BACKLOG: i32 = 512;
/// Pause after the system could not accept, most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound and listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    lan: bool,
}

impl Listener {
    /// Binds. A wildcard address of either family serves both, or IPv4 alone where there is no IPv6.
    /// Must be called inside a tokio runtime.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = if addr.ip().is_unspecified() {
            let (v6, v4) = (Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into());
            match listen(SocketAddr::new(v6, addr.port())) {
                Err(error) if is_no_ipv6(&error) => listen(SocketAddr::new(v4, addr.port()))?,
                bound => bound?,
            }
        } else {
            listen(addr)?
        };
        let socket = TcpListener::from_std(socket.into())?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr, lan: false })
    }

    /// Whether nobody in other networks is let in, as [`super::Dialer::lan`] is whether nobody there is dialled.
    #[must_use]
    pub fn keeping_near(self, lan: bool) -> Self {
        Self { lan, ..self }
    }

    fn lets_in(&self, from: SocketAddr) -> bool {
        !self.lan || Scope::is_near(canonical(from).ip())
    }

    /// Sets the congestion control of what it will accept.
    pub fn set_congestion(&self, congestion: &Congestion) -> io::Result<()> {
        congestion.set(&self.socket)
    }

    /// Where it listens; the port is the real one even if 0 was asked for.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next connection, whatever it is for. Nothing is lost if it is dropped before.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, from)) if self.lets_in(from) => return (stream, from),
                Ok(_) => {} // closes it
                Err(error) => {
                    tracing::debug!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts, and lets peers in by `door`. Whatever is no handshake is closed without an answer. Ends when nobody receives
    /// any more; dropping the future closes the socket and every connection not passed on.
    pub async fn run(self, door: Door) {
        let out = door.out();
        let greet = move |stream, from| {
            let door = door.clone();
            async move { door.greet(stream, from, &[]).await }
        };
        self.greet(greet, out).await;
    }

    /// Accepts, and passes on what `greet` makes of each connection: `None` closes it. Whoever greets sees to it that that
    /// takes an end. Ends as [`Self::run`] does.
    pub async fn greet<T: Send + 'static, F>(
        self,
        greet: impl Fn(TcpStream, SocketAddr) -> F,
        out: mpsc::Sender<T>,
    ) where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let mut handshakes: JoinSet<IpAddr> = JoinSet::new();
        let mut hosts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        loop {
            tokio::select! {
                () = out.closed() => return,
                Some(ended) = handshakes.join_next() => if let Ok(host) = ended {
                    release(&mut hosts, host);
                },
                accepted = self.socket.accept(), if handshakes.len() < HANDSHAKES_MAX => {
                    match accepted {
                        Ok((_, from)) if !self.lets_in(from) => {} // closes it
                        Ok((stream, from)) => {
                            let host = network_of(canonical(from).ip());
                            let open = hosts.entry(host).or_default();
                            if *open >= HANDSHAKES_PER_HOST {
                                tracing::debug!(%host, "too many handshakes at once");
                                continue; // closes it
                            }
                            *open += 1;
                            let (greeted, out) = (greet(stream, from), out.clone());
                            handshakes.spawn(async move {
                                if let Some(connection) = greeted.await {
                                    // Failing means that nobody receives: the loop ends by itself.
                                    let _ = out.send(connection).await;
                                }
                                host
                            });
                        }
                        Err(error) => {
                            tracing::debug!(%error, "cannot accept");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }
}

fn release(hosts: &mut BTreeMap<IpAddr, usize>, host: IpAddr) {
    if let Some(open) = hosts.get_mut(&host) {
        *open -= 1;
        if *open == 0 {
            hosts.remove(&host);
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if let IpAddr::V6(ip) = addr.ip() {
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    // Else a restart fails for a minute while connections of the last run are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Whether the machine has no IPv6: compiled out, or switched off.
fn is_no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let no_family = code == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    no_family || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_is_near_is_let_in_if_that_is_wanted() {
        let bind = || Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        for (from, near) in [
            ("127.0.0.1:9", true),
            ("10.1.2.3:9", true),
            ("[::ffff:192.168.1.2]:9", true),
            ("9.9.9.9:9", false),
            ("[::ffff:9.9.9.9]:9", false),
        ] {
            let from = from.parse().unwrap();
            assert!(bind().lets_in(from), "{from}");
            assert_eq!(bind().keeping_near(true).lets_in(from), near, "{from}");
        }
    }
}
