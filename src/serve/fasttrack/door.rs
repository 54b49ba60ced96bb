//! What a connection is for, by its first bytes. Nothing further of it is read here.

use crate::net::{Door, PEER_BEGINS};
use bytes::BytesMut;
use gaggle_core::proto::fasttrack::{Opening, parse_give};
use gaggle_core::scope::canonical;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the first bytes may take; who is slower is closed.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Bytes read for them; more wait in the socket.
const READ: usize = 4096;

/// A connection that says what it is for.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) from: SocketAddrV4,
    pub(super) stream: TcpStream,
    /// What was read of it.
    pub(super) head: BytesMut,
    pub(super) purpose: Purpose,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// A host that we asked to connect, with the number that it was given. Nothing of the head is left.
    Give(u32),
    Http,
    Mesh,
    Session,
}

/// Reads the first bytes; `None` if they are late or nothing we know, or those of a peer, who goes where `peers` come in.
pub(super) async fn greet(
    mut stream: TcpStream,
    from: SocketAddr,
    peers: Option<Door>,
) -> Option<Arrival> {
    let SocketAddr::V4(from) = canonical(from) else { return None };
    let mut head = BytesMut::with_capacity(READ);
    let purpose = timeout(GREETING_MAX, purpose(&mut stream, &mut head)).await;
    match purpose {
        // A key exchange that begins with these letters comes once in four thousand million times.
        Ok(Some(Purpose::Session)) if head.starts_with(PEER_BEGINS) => {
            if let Some(peers) = peers {
                peers.admit(stream, from.into(), &head).await;
            }
            None
        }
        Ok(Some(purpose)) => Some(Arrival { from, stream, head, purpose }),
        Ok(None) => None,
        Err(_) => {
            tracing::debug!(%from, "no first bytes in time");
            None
        }
    }
}

async fn purpose(stream: &mut TcpStream, head: &mut BytesMut) -> Option<Purpose> {
    loop {
        if let Some(first) = head.first_chunk() {
            match Opening::of(*first) {
                Opening::Http => return Some(Purpose::Http),
                Opening::Mesh => return Some(Purpose::Mesh),
                Opening::Session => return Some(Purpose::Session),
                Opening::Push => {
                    if let Some((push, len)) = parse_give(head).ok()? {
                        // It is our turn: who goes on talking is not who we asked.
                        return (head.len() == len).then_some(Purpose::Give(push));
                    }
                }
            }
        }
        if stream.read_buf(head).await.ok()? == 0 {
            return None;
        }
    }
}
