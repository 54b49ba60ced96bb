//! What others ask of a running torrent, and how they reach it.

use super::api::EngineError;
use crate::fetch::Host;
use crate::net::Connected;
use gaggle_core::swarm::roster::Source;
use gaggle_core::units::BytesPerSec;
use std::net::SocketAddr;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait, new connections among them. At the bound [`Reach::tell`] is not heard.
const COMMANDS_MAX: usize = 128;

/// One thing to do.
pub(super) enum Command {
    /// Peers somebody knows of.
    AddPeers(Source, Vec<SocketAddr>),
    /// A host that has one of the files; answered at once.
    AddSource {
        /// Where and how.
        host: Box<Host>,
        /// Which file, counted from 0.
        file: usize,
        /// Whether it will be asked.
        done: oneshot::Sender<Result<(), EngineError>>,
    },
    /// A peer has dialled us for this torrent.
    Incoming(Box<Connected>),
    /// New limits, down and up.
    SetLimits(Option<BytesPerSec>, Option<BytesPerSec>),
    /// Save everything and end; answered when that is done.
    Stop(oneshot::Sender<()>),
}

/// Whoever holds it keeps the torrent running. Boxed, because the queue makes room for 32 at a time.
pub(super) type Owner = mpsc::Sender<Box<Command>>;
/// Where the torrent takes its commands.
pub(super) type Commands = mpsc::Receiver<Box<Command>>;

/// Reaches a torrent without keeping it: one whose handle is dropped ends.
#[derive(Clone)]
pub(super) struct Reach(mpsc::WeakSender<Box<Command>>);

/// The ends of the queue of a new torrent.
pub(super) fn queue() -> (Owner, Reach, Commands) {
    let (owner, commands) = mpsc::channel(COMMANDS_MAX);
    let reach = Reach(owner.downgrade());
    (owner, reach, commands)
}

impl Reach {
    /// A torrent that does not listen has ended, or is busy enough as it is: then the command is lost.
    pub(super) fn tell(&self, command: Command) {
        if let Some(owner) = self.0.upgrade() {
            let _ = owner.try_send(Box::new(command));
        }
    }

    /// The same, for what nobody will say again: waits while the torrent is busy.
    pub(super) async fn insist(&self, command: Command) {
        if let Some(owner) = self.0.upgrade() {
            let _ = owner.send(Box::new(command)).await;
        }
    }
}
