//! Hosts for tests that do as they are told, over real sockets on loopback.

use super::{Dialect, Host, Kind, Reach};
use gaggle_core::proto::http::Head;
use gaggle_core::proto::napster::{Nick, PeerRequest, Request};
use gaggle_core::scope::Scope;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// What a host does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// Says 503 with these fields so many times, then serves.
    Busy(usize, &'static str),
    /// Serves in some other form than that of the file.
    Chunked,
    /// Is gone for good after so many bytes of bodies.
    Die(u64),
    /// A byte of a head now and then.
    DripHead,
    /// Goes on after the range for ever.
    Endless,
    /// A head without an end.
    EndlessHead,
    /// Closes after each answer, and does not say so.
    Hangup,
    /// Announces so many bytes more than the range has, and sends as many as the range has.
    Length(i64),
    /// Serves one request, then does that.
    Later(Box<Self>),
    /// All bytes are wrong.
    Lie,
    /// Sends elsewhere.
    Redirect(String),
    Serve,
    /// Serves another range.
    Shift,
    /// Takes requests and says nothing.
    Silent,
    /// Has a file of another size.
    Total(u64),
    /// Knows no ranges.
    Whole,
}

/// A host that runs until it is dropped.
pub(crate) struct Scripted {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    content: Vec<u8>,
    act: Act,
    /// Bytes per second of each connection.
    rate: u64,
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    sent: AtomicU64,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// An HTTP host, as fast as can be.
    pub(crate) async fn http(content: &[u8], act: Act) -> Self {
        Self::slow(content, act, u64::MAX).await
    }

    pub(crate) async fn slow(content: &[u8], act: Act, rate: u64) -> Self {
        Self::start(content, act, rate, false).await
    }

    /// A user of Napster.
    pub(crate) async fn napster(content: &[u8], act: Act, rate: u64) -> Self {
        Self::start(content, act, rate, true).await
    }

    async fn start(content: &[u8], act: Act, rate: u64, napster: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            content: content.to_vec(),
            act,
            rate,
            heads: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        });
        let ours = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut served = JoinSet::new();
            while !ours.is_dead() {
                let died = async {
                    while !ours.is_dead() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((tcp, _)) = accepted else { continue };
                        ours.connections.fetch_add(1, Ordering::Relaxed);
                        ours.open.fetch_add(1, Ordering::Relaxed);
                        let ours = Arc::clone(&ours);
                        served.spawn(async move {
                            let _ = match napster {
                                true => ours.give(tcp).await,
                                false => ours.serve(tcp).await,
                            };
                            ours.open.fetch_sub(1, Ordering::Relaxed);
                        });
                    }
                    () = died => {}
                }
            }
        });
        Self { addr, shared, task: task.abort_handle() }
    }

    /// It, as a hit of a network names it.
    pub(crate) fn host(&self, kind: Kind) -> Host {
        let dialect = match kind {
            Kind::Gnutella => Dialect::gnutella_index(7, "a b.bin"),
            Kind::FastTrack => {
                Dialect::fasttrack(gaggle_core::proto::fasttrack::UuHash([7; 20]), "me", None)
            }
            Kind::Napster => {
                Dialect::Napster { me: Nick::new(b"me").unwrap(), path: r"c:\a b.bin".into() }
            }
        };
        Host {
            kind,
            reach: Reach::Dial(self.addr),
            dialect,
            teller: Scope::Loopback,
            worth: Arc::default(),
        }
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until all connections to it are closed.
    pub(crate) async fn is_left(&self) {
        while self.shared.open.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Bytes of bodies that were written.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn is_dead(&self) -> bool {
        matches!(self.act, Act::Die(after) if self.sent.load(Ordering::Relaxed) >= after)
    }

    /// The next request: the how-manieth it is, and for which bytes.
    async fn hear(
        &self,
        tcp: &mut TcpStream,
        read: &mut Vec<u8>,
    ) -> std::io::Result<Option<(usize, Range<u64>)>> {
        let (len, range) = loop {
            if let Ok(Some((head, len))) = Head::split(read) {
                break (len, head.range().unwrap());
            }
            if tcp.read_buf(read).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8(read.drain(..len).collect()).unwrap();
        let mut heads = self.heads.lock().unwrap();
        heads.push(head);
        let size = self.content.len() as u64;
        Ok(Some((heads.len(), range.and_then(|range| range.of(size)).unwrap_or(0..size))))
    }

    async fn serve(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        let (mut read, size) = (Vec::new(), self.content.len() as u64);
        while let Some((nth, range)) = self.hear(&mut tcp, &mut read).await? {
            let (mut first, mut last) = (range.start, range.end - 1);
            if self.act == Act::Shift {
                (first, last) = (first + 1, last.min(size - 2) + 1);
            }
            let len = last - first + 1;
            let total = if let Act::Total(total) = self.act { total } else { size };
            let plain = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}\r\n"
            );
            let with_len = |len: u64| format!("{plain}Content-Length: {len}\r\n\r\n");
            let act = match &self.act {
                Act::Later(_) if nth == 1 => &Act::Serve,
                Act::Later(act) => act,
                act => act,
            };
            match act {
                Act::Silent => std::future::pending().await,
                Act::DripHead => loop {
                    tcp.write_all(b"X").await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                },
                Act::EndlessHead => loop {
                    tcp.write_all(b"X-Spam: spam\r\n").await?;
                },
                Act::Busy(times, fields) if nth <= *times => {
                    let busy =
                        format!("HTTP/1.1 503 Busy\r\n{fields}Content-Length: 4\r\n\r\nbusy");
                    tcp.write_all(busy.as_bytes()).await?;
                    continue;
                }
                Act::Redirect(to) => {
                    let moved = format!(
                        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
                    );
                    tcp.write_all(moved.as_bytes()).await?;
                    continue;
                }
                Act::Chunked => {
                    let chunked = "HTTP/1.1 206 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                    tcp.write_all(chunked.as_bytes()).await?;
                }
                Act::Whole => {
                    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
                    tcp.write_all(whole.as_bytes()).await?;
                    (first, last) = (0, size - 1);
                }
                Act::Endless => tcp.write_all(format!("{plain}\r\n").as_bytes()).await?,
                Act::Length(more) => {
                    tcp.write_all(with_len(len.saturating_add_signed(*more)).as_bytes()).await?;
                }
                _ => tcp.write_all(with_len(len).as_bytes()).await?,
            }
            self.body(&mut tcp, first, last).await?;
            if self.act == Act::Endless {
                loop {
                    tcp.write_all(&[0; 16 << 10]).await?;
                    self.sent.fetch_add(16 << 10, Ordering::Relaxed);
                }
            }
            if matches!(self.act, Act::Hangup | Act::Length(_)) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn body(&self, tcp: &mut TcpStream, first: u64, last: u64) -> std::io::Result<()> {
        for chunk in self.content[first as usize..=last as usize].chunks(16 << 10) {
            if self.is_dead() {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            match self.act {
                Act::Lie => tcp.write_all(&vec![0xee; chunk.len()]).await?,
                _ => tcp.write_all(chunk).await?,
            }
            self.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if self.rate < u64::MAX {
                let pause = chunk.len() as u64 * 1_000_000 / self.rate;
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
        }
        Ok(())
    }

    async fn give(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        tcp.write_all(b"1").await?;
        let mut read = Vec::new();
        let offset = loop {
            if tcp.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
            if let Ok(Request::Maybe(PeerRequest::Get { offset, .. })) = PeerRequest::parse(&read) {
                self.heads.lock().unwrap().push(String::from_utf8_lossy(&read).into_owned());
                break offset;
            }
        };
        let size = self.content.len() as u64;
        match self.act {
            Act::Silent => std::future::pending().await,
            Act::Busy(..) => return tcp.write_all(b"FILE NOT SHARED").await,
            Act::Total(size) => tcp.write_all(size.to_string().as_bytes()).await?,
            _ => tcp.write_all(size.to_string().as_bytes()).await?,
        }
        self.body(&mut tcp, offset, size - 1).await
    }
}
