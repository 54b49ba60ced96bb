//! Many hosts behind one socket: every address of 198.18.0.0/15 is ours, and each datagram says which of them it is
//! from.

use anyhow::Context;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Bytes for one read; the kernel may join datagrams of one sender.
const BUFFER: usize = 65_536;

/// The hosts.
pub(super) struct Crowd {
    socket: UdpSocket,
    state: UdpSocketState,
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Crowd {
    /// On this port of every address but those that are taken.
    pub(super) fn new(port: u16) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).context("the crowd's port")?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let reference = UdpSockRef::from(&socket);
        state.set_recv_buffer_size(reference, 4 << 20).ok();
        let storage = vec![0; BATCH_SIZE * BUFFER];
        Ok(Self { socket, state, storage, metas: [RecvMeta::default(); BATCH_SIZE] })
    }

    /// Sends as this host. What does not fit into the kernel's queue is lost, as on any wire.
    pub(super) fn send(&self, from: Ipv4Addr, to: SocketAddr, contents: &[u8]) {
        let src_ip = Some(IpAddr::V4(from));
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit).ok();
    }

    /// Hands over what has come: to which host, and what.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn receive(
        &mut self,
        mut take: impl FnMut(Ipv4Addr, &[u8]),
    ) -> anyhow::Result<usize> {
        let mut bufs: Vec<_> = self.storage.chunks_exact_mut(BUFFER).map(IoSliceMut::new).collect();
        let got = match self.state.recv(UdpSockRef::from(&self.socket), &mut bufs, &mut self.metas)
        {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        for (meta, buf) in self.metas[..got].iter().zip(&bufs) {
            let Some(IpAddr::V4(to)) = meta.dst_ip else { continue };
            for raw in buf[..meta.len].chunks(meta.stride.max(1)) {
                take(to, raw);
            }
        }
        Ok(got)
    }
}
