//! Announce and scrape over UDP.
//!
//! Decides what a datagram deserves: silence, or a reply. Before an asker has proven that it receives at its
//! address, a reply is never longer than what it answers, so that nobody can be flooded through us.
//= BEP 15

use crate::connection_id::ConnectionIds;
use crate::server::Service;
use crate::store::Families;
use gaggle_core::clock::Instant;
use gaggle_core::proto::announce::Announce;
use gaggle_core::proto::tracker_udp::{Family, Reply, Request, RequestError};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams read with one system call.
const BATCH: usize = 8;
/// Bytes for one of them. The kernel may join up to 64 small ones of one sender; no request is longer than 1 496.
const BUFFER: usize = 65_536;
/// A pause after a failed read, so that a broken socket does not burn a core.
const READ_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The tracker's socket. It knows at which of our addresses a datagram arrived and answers from there: a client
/// rightly ignores a reply from elsewhere, and machines with several addresses are common, with IPv6 above all.
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    async fn receive(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let read = || self.state.recv(UdpSockRef::from(&self.socket), bufs, metas);
        self.socket.async_io(Interest::READABLE, read).await
    }

    async fn send(&self, from: Option<IpAddr>, to: SocketAddr, contents: &[u8]) -> io::Result<()> {
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: from };
        let write = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.socket.async_io(Interest::WRITABLE, write).await
    }
}

/// Answers datagrams until it is aborted.
pub(crate) async fn serve(socket: Socket, service: Arc<Service>, ids: ConnectionIds) {
    let mut storage = vec![0; BATCH * BUFFER];
    let mut metas = [RecvMeta::default(); BATCH];
    loop {
        let mut bufs: Vec<_> = storage.chunks_exact_mut(BUFFER).map(IoSliceMut::new).collect();
        let received = match socket.receive(&mut bufs, &mut metas).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "udp read failed");
                tokio::time::sleep(READ_ERROR_PAUSE).await;
                continue;
            }
        };
        let now = service.clock.now();
        for (meta, buf) in metas[..received].iter().zip(&bufs) {
            for raw in buf[..meta.len].chunks(meta.stride.max(1)) {
                let Some(reply) = answer(&service, &ids, now, meta.addr, raw) else { continue };
                if let Err(error) = socket.send(meta.dst_ip, meta.addr, &reply).await {
                    tracing::debug!(%error, "udp reply not sent");
                }
            }
        }
    }
}

/// The reply, or `None` for what deserves silence.
pub(crate) fn answer(
    service: &Service,
    ids: &ConnectionIds,
    now: Instant,
    from: SocketAddr,
    raw: &[u8],
) -> Option<Vec<u8>> {
    let ip = from.ip().to_canonical();
    let (connection, transaction) = Request::head(raw)?;
    let request = Request::parse(raw);
    if let Ok(Request::Connect { transaction }) = request {
        return Some(Reply::Connect { transaction, connection: ids.mint(now, ip) }.encode());
    }
    let refuse = |reason: String| Some(Reply::Error { transaction, reason }.encode());
    if !ids.is_good(now, ip, connection) {
        // A client whose id is too old must learn it; noise must not learn that we exist.
        let asks = matches!(request, Ok(_) | Err(RequestError::Event(_) | RequestError::Options));
        let reply = refuse("connection id expired".to_owned()).filter(|_| asks);
        return reply.filter(|reply| reply.len() <= raw.len());
    }
    match request {
        Ok(Request::Announce { announce, .. }) => {
            match announced(service, now, ip, transaction, &announce) {
                Ok(reply) => Some(reply.encode()),
                Err(refusal) => refuse(refusal.to_string()),
            }
        }
        Ok(Request::Scrape { hashes, .. }) => {
            let counts = hashes.iter().map(|&hash| service.store.scrape(now, hash)).collect();
            Some(Reply::Scrape { transaction, counts }.encode())
        }
        Ok(Request::Connect { .. }) => None,
        Err(error) => refuse(error.to_string()),
    }
}

fn announced(
    service: &Service,
    now: Instant,
    ip: IpAddr,
    transaction: u32,
    ask: &Announce,
) -> Result<Reply, crate::store::Refusal> {
    // What would not fit into the datagram need not be drawn.
    let room = u32::try_from(Family::of(ip).peers_max()).unwrap_or(u32::MAX);
    let want = ask.want.map(|want| want.min(room));
    let told = service.store.announce(now, ip, &Announce { want, ..ask.clone() }, Families::Own)?;
    let interval = told.terms.interval.unwrap_or_default().as_secs();
    Ok(Reply::Announce {
        transaction,
        interval_s: u32::try_from(interval).unwrap_or(u32::MAX),
        leeches: told.terms.counts.leeches,
        seeds: told.terms.counts.seeds,
        peers: told.peers.into_iter().map(|(addr, _)| addr).collect(),
    })
}
