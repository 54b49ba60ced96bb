//! The way in for peers that come to the port of another protocol.
//!
//! Decides nothing: whoever reads their first bytes and hands them over bounds how many there may be, for as long as
//! their handshake takes, and the owner of the torrents says which of them are served.

use super::closed::ConnectError;
use super::congestion::Congestion;
use super::handshake::{Connected, answer};
use gaggle_core::id::InfoHash;
use gaggle_core::proto::peer::Handshake;
use gaggle_core::scope::canonical;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What of a handshake tells a peer from all that may come to one port: its length and its first letters.
pub const PEER_BEGINS: &[u8; 4] = b"\x13Bit";

/// Where peers are let in. Clones are the same.
#[derive(Clone)]
pub struct Door {
    within: Duration,
    lookup: Arc<dyn Fn(InfoHash) -> Option<Handshake> + Send + Sync>,
    out: mpsc::Sender<Connected>,
    congestion: Option<Congestion>,
}

impl Door {
    /// Answers handshakes with what `lookup` gives, `within` a time, and passes on the connections that are complete.
    pub fn new(
        within: Duration,
        lookup: impl Fn(InfoHash) -> Option<Handshake> + Send + Sync + 'static,
        out: mpsc::Sender<Connected>,
    ) -> Self {
        Self { within, lookup: Arc::new(lookup), out, congestion: None }
    }

    /// With a congestion control for those who come to other ports; a listener of our own has it from its socket.
    #[must_use]
    pub fn with_congestion(self, congestion: Option<Congestion>) -> Self {
        Self { congestion, ..self }
    }

    /// Lets somebody in who has begun as a peer, with the bytes that were read of him: ends when he was passed on, or
    /// closed.
    pub async fn admit(&self, stream: TcpStream, from: SocketAddr, head: &[u8]) {
        if let Some(congestion) = &self.congestion
            && let Err(error) = congestion.set(&stream)
        {
            tracing::debug!(%from, %error, "no congestion control");
        }
        if let Some(connected) = self.greet(stream, from, head).await {
            // Failing means that nobody receives: all torrents have ended.
            let _ = self.out.send(connected).await;
        }
    }

    pub(super) async fn greet(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        head: &[u8],
    ) -> Option<Connected> {
        let answered = answer(stream, from, head, self.within, &*self.lookup).await;
        let refused = |error: &ConnectError| {
            let from = canonical(from);
            tracing::debug!(%from, %error, "no handshake");
        };
        answered.inspect_err(refused).ok()
    }

    pub(super) fn out(&self) -> mpsc::Sender<Connected> {
        self.out.clone()
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}
