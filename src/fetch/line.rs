//! One connection to a host.

use super::Stream;
use crate::net::{Buffers, ReadBuffer};
use bytes::{Bytes, BytesMut};
use gaggle_core::clock::Instant;
use gaggle_core::swarm::source::SourceFault;
use std::any::Any;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes of one read.
const READ_MAX: usize = 256 << 10;

/// A connection, and what it has brought that nobody has looked at.
pub(super) struct Line {
    tcp: TcpStream,
    pub(super) addr: SocketAddr,
    /// See [`Stream::dialled`].
    pub(super) dialled: bool,
    /// See [`Stream::size`].
    pub(super) size: Option<u64>,
    _guard: Option<Box<dyn Any + Send>>,
    read: ReadBuffer,
    /// When its last answer was over.
    pub(super) idle_since: Instant,
}

impl Line {
    pub(super) fn new(
        Stream { tcp, read, dialled, size, guard }: Stream,
        buffers: &Buffers,
    ) -> Result<Self, SourceFault> {
        let addr = tcp.peer_addr().map_err(|_| SourceFault::Lost)?;
        let read = ReadBuffer::new(read, READ_MAX, buffers.clone());
        Ok(Self { tcp, addr, dialled, size, _guard: guard, read, idle_since: Instant::ZERO })
    }

    /// Whether it can be used again, as far as is known: it is open, and has sent nothing unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        let probe = self.tcp.try_read(&mut [0]);
        self.read.bytes().is_empty()
            && probe.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    pub(super) async fn say(&mut self, bytes: &[u8], within: Duration) -> Result<(), SourceFault> {
        match timeout(within, self.tcp.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SourceFault::Lost),
            Err(_) => Err(SourceFault::Stalled),
        }
    }

    /// One read. Says whether it brought anything: if not, no more will come. May be dropped at any time.
    pub(super) async fn hear(&mut self) -> Result<bool, SourceFault> {
        let room = self.read.make_room(1);
        let spare = room.capacity() - room.len();
        let got = self.tcp.read_buf(room).await.map_err(|_| SourceFault::Lost)?;
        self.read.learn(got, spare);
        Ok(got > 0)
    }

    /// What has come.
    pub(super) const fn heard(&mut self) -> &mut BytesMut {
        self.read.bytes()
    }

    /// The same, off the line.
    pub(super) fn take(&mut self) -> Bytes {
        self.read.bytes().split().freeze()
    }
}
