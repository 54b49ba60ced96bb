//! From a socket address, or an accepted socket, to two exchanged handshakes.
//!
//! Decides how long that may take. Never decides which torrents are served: the caller's lookup does.
//= BEP 3 §peer protocol (handshake)

use super::closed::{ConnectError, Phase};
use super::congestion::Congestion;
use bytes::BytesMut;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::peer::{HANDSHAKE_LEN, Handshake, HandshakeError, HandshakeReader};
use gaggle_core::scope::{Scope, canonical};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Most time for both handshakes once TCP is connected: libtorrent's. A side that is slower is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most time for TCP to connect; libtorrent allows 15 s, which in a swarm full of dead addresses is long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection whose handshakes are done.
#[derive(Debug)]
pub struct Connected {
    /// The socket, without Nagle's delay.
    pub stream: TcpStream,
    /// The other end; an IPv4 address is never in IPv6 form.
    pub addr: SocketAddr,
    /// What we said.
    pub ours: Handshake,
    /// What they said. Nobody has compared the peer id to anything yet.
    pub theirs: Handshake,
    /// What they sent after their handshake already.
    pub leftover: BytesMut,
}

/// How to connect to others.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// Most time for TCP to connect. Default 10 s.
    pub connect_timeout: Duration,
    /// Most time for the handshakes. Default [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// Local address to dial from, for addresses of its family that it can lead to. Default: the system chooses.
    pub bind: Option<IpAddr>,
    /// Congestion control. Default: the system's.
    pub congestion: Option<Congestion>,
    /// Whether nobody in other networks is dialled. Default: anybody may be.
    pub lan: bool,
}

impl Default for Dialer {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            bind: None,
            congestion: None,
            lan: false,
        }
    }
}

impl Dialer {
    /// Connects, says our handshake, and waits for theirs, which must be about the same torrent.
    pub async fn dial(&self, to: SocketAddr, ours: Handshake) -> Result<Connected, ConnectError> {
        let mut stream = self.connect(to).await?;
        let talk = async {
            stream.write_all(&ours.encode()).await.map_err(failed)?;
            let mut reading = Reading::default();
            let theirs = reading.until_info_hash(&mut stream).await?;
            if theirs != ours.info_hash {
                let ours = ours.info_hash;
                return Err(HandshakeError::WrongTorrent { ours, theirs }.into());
            }
            reading.rest(&mut stream).await
        };
        let (theirs, leftover) = timeout(self.handshake_timeout, talk)
            .await
            .map_err(|_| late(Phase::Handshake, self.handshake_timeout))??;
        Ok(Connected { stream, addr: canonical(to), ours, theirs, leftover })
    }

    /// Connects, within [`Self::connect_timeout`], and says nothing.
    pub async fn connect(&self, to: SocketAddr) -> Result<TcpStream, ConnectError> {
        timeout(self.connect_timeout, self.open(to))
            .await
            .map_err(|_| late(Phase::Connect, self.connect_timeout))?
            .map_err(|error| ConnectError::Io { phase: Phase::Connect, kind: error.kind() })
    }

    /// Whether somebody at this address may be dialled.
    pub fn may_dial(&self, to: IpAddr) -> bool {
        !self.lan || Scope::is_near(to)
    }

    async fn open(&self, to: SocketAddr) -> io::Result<TcpStream> {
        if !self.may_dial(to.ip()) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // From loopback nothing leads elsewhere.
        let leads = |from: &IpAddr| {
            from.is_ipv4() == to.is_ipv4() && (to.ip().is_loopback() || !from.is_loopback())
        };
        if let Some(from) = self.bind.filter(leads) {
            // An address of one wire leads nowhere without it.
            let mut from = SocketAddr::new(from, 0);
            if let (SocketAddr::V6(from), SocketAddr::V6(to)) = (&mut from, to) {
                from.set_scope_id(to.scope_id());
            }
            socket.bind(from)?;
        }
        if let Some(congestion) = &self.congestion {
            congestion.set(&socket)?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Waits for the handshake of an accepted connection, of which `head` was read already, and answers it. `lookup`
/// turns the info hash into our handshake for that torrent, or `None` if nobody here serves it; it is asked as
/// soon as the hash is there, because some wait for the answer before they send their peer id.
pub async fn answer(
    mut stream: TcpStream,
    addr: SocketAddr,
    head: &[u8],
    within: Duration,
    lookup: impl Fn(InfoHash) -> Option<Handshake>,
) -> Result<Connected, ConnectError> {
    stream.set_nodelay(true).map_err(failed)?;
    let talk = async {
        let mut reading = Reading::default();
        reading.take(head)?;
        let info_hash = reading.until_info_hash(&mut stream).await?;
        let ours = lookup(info_hash).ok_or(HandshakeError::UnknownTorrent(info_hash))?;
        stream.write_all(&ours.encode()).await.map_err(failed)?;
        let (theirs, leftover) = reading.rest(&mut stream).await?;
        Ok::<_, ConnectError>((ours, theirs, leftover))
    };
    let (ours, theirs, leftover) =
        timeout(within, talk).await.map_err(|_| late(Phase::Handshake, within))??;
    Ok(Connected { stream, addr: canonical(addr), ours, theirs, leftover })
}

/// A handshake on its way in.
#[derive(Default)]
struct Reading {
    reader: HandshakeReader,
    leftover: BytesMut,
}

impl Reading {
    async fn until_info_hash(&mut self, stream: &mut TcpStream) -> Result<InfoHash, ConnectError> {
        loop {
            if let Some(info_hash) = self.reader.info_hash() {
                return Ok(info_hash);
            }
            self.read(stream).await?;
        }
    }

    async fn rest(mut self, stream: &mut TcpStream) -> Result<(Handshake, BytesMut), ConnectError> {
        loop {
            if let Some(theirs) = self.reader.complete() {
                return Ok((theirs, self.leftover));
            }
            self.read(stream).await?;
        }
    }

    /// One read, of any size down to a byte. What follows the handshake is kept.
    async fn read(&mut self, stream: &mut TcpStream) -> Result<(), ConnectError> {
        let mut raw = [0; 4 * HANDSHAKE_LEN];
        let got = stream.read(&mut raw).await.map_err(failed)?;
        if got == 0 {
            return Err(ConnectError::Closed);
        }
        self.take(&raw[..got])
    }

    fn take(&mut self, raw: &[u8]) -> Result<(), ConnectError> {
        let taken = self.reader.feed(raw)?;
        self.leftover.extend_from_slice(&raw[taken..]);
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: io::Error) -> ConnectError {
    ConnectError::Io { phase: Phase::Handshake, kind: error.kind() }
}

const fn late(phase: Phase, after: Duration) -> ConnectError {
    ConnectError::Timeout { phase, after }
}
