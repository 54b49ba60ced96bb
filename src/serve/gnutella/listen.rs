//! The one port: who connects is told apart by his first bytes.

use super::gate::{Gate, Permit};
use super::task::News;
use crate::serve::upload::Uploads;
use bytes::BytesMut;
use gaggle_core::proto::gnutella::Giv;
use gaggle_core::scope::{Scope, canonical};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Connections that the system holds for us until they are accepted; beyond, it drops them.
const BACKLOG: u32 = 512;
/// Pause after the system could not accept, most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that are read before it is known what a connection is.
const HEAD_MAX: usize = 4 << 10;

/// All that is said by who connects only to show that others can.
pub(super) const KNOCK: &[u8] = b"\n\n";

/// Somebody whose first bytes are those of a servent.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    /// What he has said so far.
    pub(super) head: BytesMut,
    pub(super) permit: Permit,
}

/// What is done with those who come.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) uploads: Option<Uploads>,
    /// How long they may take to say what they want.
    pub(super) head_timeout: Duration,
    /// Nobody out there is let in.
    pub(super) lan: bool,
}

/// What a connection is.
enum Kind {
    Knock,
    Link,
    Pushed(Giv),
    Request,
}

pub(super) fn bind(addr: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Else a restart fails for a minute while connections of the last run are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr.into())?;
    socket.listen(BACKLOG)
}

/// Accepts until nobody is left to be told. Dropping it closes every connection that was not passed on.
pub(super) async fn run(
    listener: TcpListener,
    host: Host,
    gate: Arc<Gate>,
    news: mpsc::Sender<News>,
) {
    let mut strangers = JoinSet::new();
    loop {
        while strangers.try_join_next().is_some() {}
        let room = tokio::select! {
            room = gate.room() => room,
            () = news.closed() => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = news.closed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let from = canonical(from);
                if host.lan && !Scope::is_near(from.ip()) {
                    continue; // closes it
                }
                let Some(permit) = gate.enter(from.ip(), room) else {
                    tracing::debug!(%from, "too many connections at once");
                    continue; // closes it
                };
                strangers.spawn(meet(stream, from, permit, host.clone(), news.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn meet(
    mut stream: TcpStream,
    from: SocketAddr,
    permit: Permit,
    host: Host,
    news: mpsc::Sender<News>,
) {
    let mut head = BytesMut::new();
    let kind = tokio::time::timeout(host.head_timeout, recognise(&mut stream, &mut head)).await;
    match kind.ok().flatten() {
        Some(Kind::Knock) => {
            let _ = news.send(News::Called(from)).await;
        }
        Some(Kind::Link) => {
            let _ = news.send(News::Arrived(Arrival { stream, from, head, permit })).await;
        }
        Some(Kind::Pushed(giv)) => {
            let _ = news.send(News::Pushed(giv.servent, stream)).await;
        }
        Some(Kind::Request) => {
            drop(permit); // uploads have bounds of their own
            let _ = news.send(News::Called(from)).await;
            if let Some(uploads) = host.uploads {
                uploads.serve(stream, from, head).await;
            }
        }
        None => tracing::debug!(%from, "nothing that is known here"),
    }
}

/// Reads until it is clear what a connection is; `None` if it is nothing for us.
async fn recognise(stream: &mut TcpStream, head: &mut BytesMut) -> Option<Kind> {
    loop {
        let begins = |word: &[u8]| head.starts_with(word);
        if begins(KNOCK) {
            return Some(Kind::Knock);
        } else if begins(b"GNUT") {
            return Some(Kind::Link);
        } else if begins(b"GET ") || begins(b"HEAD") {
            return Some(Kind::Request);
        } else if begins(b"GIV ") {
            match Giv::decode(head) {
                Ok(Some(giv)) => return Some(Kind::Pushed(giv)),
                Ok(None) => {}
                Err(_) => return None,
            }
        } else if head.len() >= 4 {
            return None;
        }
        if head.len() >= HEAD_MAX {
            return None;
        }
        head.reserve(HEAD_MAX);
        if stream.read_buf(head).await.ok()? == 0 {
            return None;
        }
    }
}
