//! Opening one port number for TCP and UDP in both families.

use crate::BindError;
use crate::udp;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, UdpSocket};

/// Connections that may wait for us to accept them.
const BACKLOG: i32 = 1024;
/// Tries to find a port number that is free for both, when any will do.
const PORT_TRIES: u32 = 16;
/// Bytes of datagrams that may wait for us: what arrives in a few milliseconds of a crowd's start.
const UDP_QUEUE: usize = 1 << 20;

pub(crate) struct Sockets {
    pub(crate) addr: SocketAddr,
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) udp: Option<udp::Socket>,
}

/// Opens what is wanted on one port number.
pub(crate) fn sockets(listen: SocketAddr, http: bool, udp: bool) -> Result<Sockets, BindError> {
    if !http && !udp {
        return Err(BindError::Nothing);
    }
    match try_ports(listen, http, udp) {
        // No IPv6 here: whoever said "everywhere" meant what there is.
        Err(BindError::Io { .. }) if is_wildcard_v6(listen) => {
            try_ports((Ipv4Addr::UNSPECIFIED, listen.port()).into(), http, udp)
        }
        outcome => outcome,
    }
}

fn try_ports(listen: SocketAddr, http: bool, udp: bool) -> Result<Sockets, BindError> {
    let mut tries = if listen.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match try_once(listen, http, udp) {
            Err(BindError::AddrInUse(_)) if tries > 0 => {}
            outcome => return outcome,
        }
    }
}

fn try_once(listen: SocketAddr, http: bool, udp: bool) -> Result<Sockets, BindError> {
    let mut addr = listen;
    let failed = |addr, source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::AddrInUse(addr),
        _ => BindError::Io { addr, source },
    };
    let tcp = http.then(|| tcp_on(addr)).transpose().map_err(|e| failed(addr, e))?;
    if let Some(tcp) = &tcp {
        addr = tcp.local_addr().map_err(|e| failed(addr, e))?;
    }
    let udp = udp.then(|| udp_on(addr)).transpose().map_err(|e| failed(addr, e))?;
    if let Some(udp) = &udp {
        addr = udp.local_addr().map_err(|e| failed(addr, e))?;
    }
    let udp = udp.map(udp::Socket::new).transpose().map_err(|e| failed(addr, e))?;
    Ok(Sockets { addr, tcp, udp })
}

fn tcp_on(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(addr, Type::STREAM, Protocol::TCP)?;
    // A tracker that is restarted must not wait for the old one's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn udp_on(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
    // The kernel may give less; a small queue only loses datagrams, which clients send again.
    let _ = socket.set_recv_buffer_size(UDP_QUEUE);
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn is_wildcard_v6(addr: SocketAddr) -> bool {
    addr.is_ipv6() && addr.ip().is_unspecified()
}
