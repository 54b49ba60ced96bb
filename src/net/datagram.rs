//! The datagram sockets of an engine: one for each family, on the port of its listener where that is free.
//!
//! Decides who is given what arrives: what begins like a bencoded dictionary goes to the DHT, everything else to the
//! question that it answers, if there is one. Never reads further, and never waits for whoever takes it: what finds a
//! full queue is dropped, as the network itself would have done.

use bytes::{Bytes, BytesMut};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bytes for one read. The kernel may join many datagrams of one sender in it.
const BUFFER: usize = 65_536;
/// A longer datagram is nothing that anybody here could read, and is dropped before it is kept.
const DATAGRAM_MAX: usize = 4096;
/// Bytes that the kernel keeps for us; it may give less, and then a burst loses more.
const KERNEL_QUEUE: usize = 1 << 20;
/// Batches that may wait for the DHT; more are dropped, and whoever asked asks again.
const DHT_QUEUE: usize = 64;
/// Replies that may wait for one question; more are dropped. An honest tracker sends one.
const REPLY_QUEUE: usize = 8;
/// Questions under way; at the bound no more are asked until one has ended.
const QUESTIONS_MAX: usize = 4096;
/// A pause after a failed read, so that a broken socket does not burn a core.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// What every message of the DHT begins with.
const DICTIONARY: u8 = b'd';

/// Something that arrived.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it came to, where the system says so: an answer from another one would be ignored.
    pub to: Option<IpAddr>,
    /// What it says.
    pub data: Bytes,
}

/// What arrives for the DHT.
pub type DhtDatagrams = mpsc::Receiver<Vec<Datagram>>;

/// The sockets. Clones are the same; with the last one they close.
#[derive(Clone, Debug)]
pub struct Udp {
    sockets: Arc<Sockets>,
    _pumps: Arc<JoinSet<()>>,
}

#[derive(Debug)]
struct Sockets {
    v4: Option<Socket>,
    v6: Option<Socket>,
    /// Who waits for an answer: by the tracker's endpoint and the transaction.
    questions: Mutex<BTreeMap<(SocketAddr, u32), mpsc::Sender<Bytes>>>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
}

/// A question to one tracker. Dropping it ends it.
#[derive(Debug)]
pub struct Question {
    sockets: Arc<Sockets>,
    to: SocketAddr,
    transaction: Option<u32>,
    replies: (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>),
}

impl Udp {
    /// Opens what `listen` asks for, on its port if that is free and else on any: an IPv6 wildcard is both families, or
    /// the one that the machine has. Must be called inside a tokio runtime.
    pub fn bind(listen: SocketAddr) -> io::Result<(Self, DhtDatagrams)> {
        Self::bind_with(listen, |addr| {
            Socket::bind(addr).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Socket::bind(SocketAddr::new(addr.ip(), 0)),
                _ => Err(error),
            })
        })
    }

    /// The same on this port and no other; 0 is any.
    pub fn bind_exactly(listen: SocketAddr) -> io::Result<(Self, DhtDatagrams)> {
        Self::bind_with(listen, Socket::bind)
    }

    fn bind_with(
        listen: SocketAddr,
        bind: impl Fn(SocketAddr) -> io::Result<Socket>,
    ) -> io::Result<(Self, DhtDatagrams)> {
        let both = listen.is_ipv6() && listen.ip().is_unspecified();
        let (v4, v6) = if both {
            let v4 = bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), listen.port()))?;
            let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), v4.addr.port());
            (Some(v4), bind(v6).ok()) // one family is enough
        } else if listen.is_ipv6() {
            (None, Some(bind(listen)?))
        } else {
            (Some(bind(listen)?), None)
        };
        let sockets = Arc::new(Sockets { v4, v6, questions: Mutex::default() });
        let (dht, datagrams) = mpsc::channel(DHT_QUEUE);
        let mut pumps = JoinSet::new();
        for v6 in [false, true] {
            if sockets.of(v6).is_some() {
                pumps.spawn(pump(Arc::clone(&sockets), v6, dht.clone()));
            }
        }
        Ok((Self { sockets, _pumps: Arc::new(pumps) }, datagrams))
    }

    /// Where the socket of a family is bound, with the real port.
    pub fn addr(&self, v6: bool) -> Option<SocketAddr> {
        self.sockets.of(v6).map(|socket| socket.addr)
    }

    /// Whether datagrams can get from our sockets to there: not to a family that has none, nor from loopback out.
    pub fn leads_to(&self, to: SocketAddr) -> bool {
        let from = self.addr(to.is_ipv6());
        to.port() != 0 && from.is_some_and(|from| !from.ip().is_loopback() || to.ip().is_loopback())
    }

    /// Sends a datagram, from the given one of our addresses if there is a choice. Waits while the system is busy.
    pub async fn send(&self, from: Option<IpAddr>, to: SocketAddr, data: &[u8]) -> io::Result<()> {
        let socket = self.sockets.of(to.is_ipv6()).filter(|_| self.leads_to(to));
        match socket {
            Some(socket) => socket.send(from, to, data).await,
            None => Err(io::ErrorKind::NetworkUnreachable.into()),
        }
    }

    /// Prepares to ask a tracker.
    pub fn question(&self, to: SocketAddr) -> Question {
        let sockets = Arc::clone(&self.sockets);
        Question { sockets, to, transaction: None, replies: mpsc::channel(REPLY_QUEUE) }
    }
}

impl Question {
    /// Sends a request; from now on its answers arrive, and no others.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.forget();
        // Of every request the transaction stands behind the connection id and the action.
        let transaction = request.get(12..).and_then(<[u8]>::first_chunk).copied();
        if let Some(transaction) = transaction.map(u32::from_be_bytes) {
            let mut questions = self.sockets.questions();
            if questions.len() >= QUESTIONS_MAX {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            questions.insert((self.to, transaction), self.replies.0.clone());
            self.transaction = Some(transaction);
        }
        match self.sockets.of(self.to.is_ipv6()) {
            Some(socket) => socket.send(None, self.to, request).await,
            None => Err(io::ErrorKind::NetworkUnreachable.into()),
        }
    }

    /// The next answer, from the tracker's endpoint and to the last request.
    pub async fn receive(&mut self) -> Bytes {
        match self.replies.1.recv().await {
            Some(reply) => reply,
            None => std::future::pending().await, // cannot be: we hold a sender ourselves
        }
    }

    fn forget(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.sockets.questions().remove(&(self.to, transaction));
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Sockets {
    fn of(&self, v6: bool) -> Option<&Socket> {
        if v6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }

    fn questions(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<(SocketAddr, u32), mpsc::Sender<Bytes>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a reply of a tracker to who waits for it.
    fn answered(&self, datagram: Datagram) {
        // Of every reply the transaction stands behind the action.
        let Some(transaction) = datagram.data.get(4..).and_then(<[u8]>::first_chunk).copied()
        else {
            return;
        };
        let key = (datagram.from, u32::from_be_bytes(transaction));
        if let Some(waiting) = self.questions().get(&key) {
            let _ = waiting.try_send(datagram.data);
        }
    }
}

impl Socket {
    fn bind(addr: SocketAddr) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            raw.set_only_v6(true)?;
        }
        let _ = raw.set_recv_buffer_size(KERNEL_QUEUE);
        raw.set_nonblocking(true)?;
        raw.bind(&addr.into())?;
        let socket = UdpSocket::from_std(raw.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, state, addr })
    }

    async fn send(&self, from: Option<IpAddr>, to: SocketAddr, contents: &[u8]) -> io::Result<()> {
        let src_ip = from.filter(|_| self.addr.ip().is_unspecified());
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip };
        let write = || self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.socket.async_io(Interest::WRITABLE, write).await
    }

    async fn receive(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let read = || self.state.recv(UdpSockRef::from(&self.socket), bufs, metas);
        self.socket.async_io(Interest::READABLE, read).await
    }
}

/// Reads one socket for ever.
async fn pump(sockets: Arc<Sockets>, v6: bool, dht: mpsc::Sender<Vec<Datagram>>) {
    let Some(socket) = sockets.of(v6) else { return };
    let mut storage = vec![0; BATCH_SIZE * BUFFER];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    loop {
        let mut bufs: Vec<_> = storage.chunks_exact_mut(BUFFER).map(IoSliceMut::new).collect();
        let received = match socket.receive(&mut bufs, &mut metas).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "no datagram could be read");
                tokio::time::sleep(READ_PAUSE).await;
                continue;
            }
        };
        // One allocation for all of them, as large as what came.
        let mut kept = BytesMut::with_capacity(
            metas[..received].iter().filter(|m| m.stride <= DATAGRAM_MAX).map(|m| m.len).sum(),
        );
        let mut batch = Vec::with_capacity(received);
        for (meta, buf) in metas[..received].iter().zip(&bufs) {
            for raw in buf[..meta.len].chunks(meta.stride.max(1)) {
                if raw.len() > DATAGRAM_MAX {
                    continue;
                }
                kept.extend_from_slice(raw);
                let data = kept.split().freeze();
                let datagram = Datagram { from: meta.addr, to: meta.dst_ip, data };
                if raw.first() == Some(&DICTIONARY) {
                    batch.push(datagram);
                } else {
                    sockets.answered(datagram);
                }
            }
        }
        if !batch.is_empty() && dht.try_send(batch).is_err() {
            tracing::trace!("datagrams for the DHT dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn request(transaction: u32) -> Vec<u8> {
        let mut raw = vec![0; 12];
        raw.extend(transaction.to_be_bytes());
        raw
    }

    fn reply(transaction: u32, text: &str) -> Vec<u8> {
        let mut raw = vec![0; 4];
        raw.extend(transaction.to_be_bytes());
        raw.extend(text.bytes());
        raw
    }

    #[tokio::test]
    async fn what_arrives_goes_to_the_dht_or_to_the_question_that_it_answers() {
        let (udp, mut dht) = Udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let us = udp.addr(false).unwrap();
        assert_eq!(udp.addr(true), None);
        let tracker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut one = udp.question(tracker.local_addr().unwrap());
        let mut two = udp.question(tracker.local_addr().unwrap());
        one.send(&request(1)).await.unwrap();
        two.send(&request(2)).await.unwrap();
        tracker.recv(&mut [0; 100]).await.unwrap();
        stranger.send_to(&reply(1, "forged"), us).await.unwrap();
        tracker.send_to(&reply(7, "unasked"), us).await.unwrap();
        tracker.send_to(b"x", us).await.unwrap();
        tracker.send_to(&reply(2, "two"), us).await.unwrap();
        tracker.send_to(&reply(1, "one"), us).await.unwrap();
        stranger.send_to(b"d1:y1:qe", us).await.unwrap();
        let said = tokio::time::timeout(PATIENCE, one.receive()).await.unwrap();
        assert_eq!(&said[8..], b"one");
        let said = tokio::time::timeout(PATIENCE, two.receive()).await.unwrap();
        assert_eq!(&said[8..], b"two");
        let batch = tokio::time::timeout(PATIENCE, dht.recv()).await.unwrap().unwrap();
        assert_eq!(&batch[0].data[..], b"d1:y1:qe");
        assert_eq!(batch[0].from, stranger.local_addr().unwrap());
        drop((one, two));
        assert!(udp.sockets.questions().is_empty());
    }

    #[tokio::test]
    async fn a_flood_fills_its_queue_and_no_more() {
        let (udp, mut dht) = Udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let us = udp.addr(false).unwrap();
        let tracker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for _ in 0..20_000 {
            tracker.send_to(b"d1:y1:qe", us).await.unwrap();
        }
        // The pump has not been held up: answers still come through.
        let mut question = udp.question(tracker.local_addr().unwrap());
        let said = async {
            loop {
                question.send(&request(3)).await.unwrap();
                tracker.send_to(&reply(3, "here"), us).await.unwrap();
                let wait = Duration::from_millis(50); // the kernel's queue may have been full
                if let Ok(said) = tokio::time::timeout(wait, question.receive()).await {
                    break said;
                }
            }
        };
        let said = tokio::time::timeout(PATIENCE, said).await.unwrap();
        assert_eq!(&said[8..], b"here");
        while dht.try_recv().is_ok() {}
        tracker.send_to(&vec![b'd'; DATAGRAM_MAX + 1], us).await.unwrap();
        tracker.send_to(b"d1:y1:qe", us).await.unwrap();
        let batch = tokio::time::timeout(PATIENCE, dht.recv()).await.unwrap().unwrap();
        assert!(batch.iter().all(|datagram| datagram.data.len() < 10), "too long to be anything");
    }

    #[tokio::test]
    async fn the_port_of_the_listener_is_taken_where_it_is_free_and_loopback_leads_nowhere_else() {
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (udp, _dht) = Udp::bind(taken.local_addr().unwrap()).unwrap();
        let got = udp.addr(false).unwrap();
        assert_ne!(got, taken.local_addr().unwrap());
        assert!(Udp::bind_exactly(taken.local_addr().unwrap()).is_err());
        drop(taken);
        assert!(udp.leads_to("127.0.0.9:1".parse().unwrap()));
        assert!(!udp.leads_to("198.18.0.1:1".parse().unwrap()));
        assert!(!udp.leads_to("[::1]:1".parse().unwrap()));
        let out = udp.send(None, "198.18.0.1:1".parse().unwrap(), b"d").await;
        assert!(out.is_err());
        let (everywhere, _dht) = Udp::bind("[::]:0".parse().unwrap()).unwrap();
        let v4 = everywhere.addr(false).unwrap();
        assert!(everywhere.addr(true).is_none_or(|v6| v6.port() == v4.port()), "one port for both");
        assert!(everywhere.leads_to("198.18.0.1:1".parse().unwrap()));
    }
}
