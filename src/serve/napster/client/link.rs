//! The connection to the directory.

use crate::net::{ConnectError, Dialer};
use bytes::{Buf as _, BytesMut};
use gaggle_core::proto::napster::{METASERVER_PORT, read_server};
use gaggle_core::scope::Scope;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Interest};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long it may take to find the addresses of a name.
const LOOKUP_WAIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// How long a redirector may take to name a server, and bytes of its answer.
const NAME_WAIT: Duration = Duration::from_secs(10);
const NAME_MAX: u64 = 64;
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

/// Connects to the first address of a name that answers, and from a redirector's port on to the server that it names.
/// Says to which server that is: the name that it was given, or the address that a redirector has named.
pub(super) async fn dial(
    dialer: &Dialer,
    server: String,
) -> Result<(TcpStream, SocketAddr, String), Error> {
    let stream = dial_named(dialer, &server).await?;
    let addr = stream.peer_addr()?;
    if addr.port() != METASERVER_PORT {
        return Ok((stream, addr, server));
    }
    let stream = follow(dialer, stream).await?;
    let addr = stream.peer_addr()?;
    Ok((stream, addr, addr.to_string()))
}

async fn dial_named(dialer: &Dialer, server: &str) -> Result<TcpStream, Error> {
    let found = timeout(LOOKUP_WAIT, lookup_host(server)).await?;
    let mut last = Error::from(ErrorKind::AddrNotAvailable);
    for addr in found?.take(ADDRESSES_MAX) {
        match dial_one(dialer, addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_one(dialer: &Dialer, addr: SocketAddr) -> Result<TcpStream, Error> {
    dialer.connect(addr).await.map_err(|error| match error {
        ConnectError::Io { kind, .. } => kind.into(),
        _ => ErrorKind::TimedOut.into(),
    })
}

/// A redirector names a server without being asked, in one line; it need not close. It may name none that it cannot know.
async fn follow(dialer: &Dialer, redirector: TcpStream) -> Result<TcpStream, Error> {
    let from = redirector.peer_addr()?.ip();
    let mut said = Vec::new();
    let mut words = BufReader::new(redirector.take(NAME_MAX));
    timeout(NAME_WAIT, words.read_until(b'\n', &mut said)).await??;
    let named = read_server(&said).filter(|at| Scope::may_tell(from, IpAddr::V4(*at.ip())));
    dial_one(dialer, named.ok_or(ErrorKind::InvalidData)?.into()).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_redirector_leads_to_a_server() {
        let [redirector, server] = [0, 0].map(|port| {
            let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            TcpListener::from_std(listener).unwrap()
        });
        let at = server.local_addr().unwrap();
        let dialer = Dialer::default();
        let endless = "x".repeat(1000);
        for (said, leads) in [
            (format!("{at}\n"), true),
            (at.to_string(), true),
            ("busy\n".into(), false),
            (endless, false),
        ] {
            let at_first = redirector.local_addr().unwrap().to_string();
            let (stream, _, named) = dial(&dialer, at_first.clone()).await.unwrap();
            assert_eq!(named, at_first, "no redirector's port");
            let (mut far, _) = redirector.accept().await.unwrap();
            far.write_all(said.as_bytes()).await.unwrap();
            // Who has said a line, or too much, need not end.
            let _held = (said.ends_with('\n') || said.len() > 100).then_some(far);
            let led = follow(&dialer, stream).await.map(|stream| stream.peer_addr().unwrap());
            assert_eq!(led.ok(), leads.then_some(at), "{said}");
        }
    }
}
