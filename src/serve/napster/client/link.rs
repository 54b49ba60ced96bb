//! The connection to the directory.

use crate::net::{ConnectError, Dialer};
use bytes::{Buf as _, BytesMut};
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long it may take to find the addresses of a name.
const LOOKUP_WAIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Bytes of one read.
pub(super) const READ_BYTES: usize = 16 << 10;

/// Reads and writes, without a task of its own.
pub(super) struct Link {
    stream: TcpStream,
    out: BytesMut,
}

/// What a link has done.
pub(super) enum Moved {
    Lost,
    /// So many bytes were read.
    Read(usize),
    /// All that was to be written is.
    Written,
}

/// Connects to the first address of a name that answers.
pub(super) async fn dial(dialer: &Dialer, server: String) -> Result<TcpStream, Error> {
    let found = timeout(LOOKUP_WAIT, lookup_host(&server)).await?;
    let mut last = Error::from(ErrorKind::AddrNotAvailable);
    for addr in found?.take(ADDRESSES_MAX) {
        match dialer.connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(ConnectError::Io { kind, .. }) => last = kind.into(),
            Err(_) => last = ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, out: BytesMut::new() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Whether it takes more.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Waits until something has moved. Nothing is lost if it is dropped before.
    pub(super) async fn moved(&mut self, buffer: &mut [u8]) -> Moved {
        loop {
            let wanted = if self.is_idle() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let Ok(ready) = self.stream.ready(wanted).await else { return Moved::Lost };
            if ready.is_writable() && !self.is_idle() {
                match self.stream.try_write(&self.out) {
                    Ok(written) => self.out.advance(written),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return Moved::Lost,
                }
                if self.is_idle() {
                    return Moved::Written;
                }
            }
            if ready.is_readable() {
                match self.stream.try_read(buffer) {
                    Ok(0) => return Moved::Lost,
                    Ok(read) => return Moved::Read(read),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return Moved::Lost,
                }
            }
        }
    }
}
