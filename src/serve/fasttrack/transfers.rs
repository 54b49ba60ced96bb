//! Files that go out, and hosts that are asked to connect to us.

use super::task::Task;
use super::{Config, Host, PushError};
use crate::net::Clock;
use crate::serve::upload::{self, Dialect, Me, Uploads};
use crate::share::Library;
use bytes::BytesMut;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::Identity;
use gaggle_core::proto::fasttrack::{PushOrder, Status as Refusal, give};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a host that was asked to connect may take.
const PUSH_MAX: Duration = Duration::from_secs(60);
/// How long the head of a refusal may take to leave.
const REFUSAL_MAX: Duration = Duration::from_secs(5);
/// Connections of the kind that belong here; more are closed. [`Uploads`] has a bound of its own below it.
const TASKS_MAX: usize = 512;

/// What is awaited of a host.
type Given = oneshot::Sender<Result<TcpStream, PushError>>;

pub(super) struct Transfers {
    /// Without anything to share there is none.
    uploads: Option<Uploads>,
    tasks: JoinSet<()>,
    /// Who waits for a host, by push id, since when.
    pushes: BTreeMap<u32, (Instant, Given)>,
}

impl Transfers {
    pub(super) fn new(
        config: &Config,
        library: Option<Library>,
        addr: SocketAddrV4,
        user: &str,
        clock: Clock,
    ) -> Self {
        let uploads = library.map(|library| {
            let me = Me { addr, user: user.to_owned(), supernode: None };
            let bind = Some(IpAddr::V4(*addr.ip())).filter(|ip| !ip.is_unspecified());
            let host = upload::Config::new(Dialect::FastTrack(me));
            let limit = config.limit.clone();
            let host = upload::Config { slots: config.slots, limit, bind, ..host };
            Uploads::new(host, library, clock)
        });
        Self { uploads, tasks: JoinSet::new(), pushes: BTreeMap::new() }
    }

    pub(super) fn subscribe(&self) -> Option<broadcast::Receiver<upload::Event>> {
        self.uploads.as_ref().map(Uploads::subscribe)
    }

    /// The next thing that the host says.
    pub(super) async fn heard(
        events: &mut Option<broadcast::Receiver<upload::Event>>,
    ) -> upload::Event {
        use broadcast::error::RecvError;
        while let Some(heard) = events {
            match heard.recv().await {
                Ok(event) => return event,
                Err(RecvError::Lagged(_)) => {} // who was missed asks again
                Err(RecvError::Closed) => *events = None,
            }
        }
        std::future::pending().await
    }

    /// Answers a request for a file; `false` if there is no room.
    pub(super) fn serve(&mut self, stream: TcpStream, from: SocketAddrV4, head: BytesMut) -> bool {
        if self.tasks.len() >= TASKS_MAX {
            return false;
        }
        match self.uploads.clone() {
            Some(uploads) => {
                self.tasks.spawn(async move { uploads.serve(stream, from.into(), head).await });
            }
            None => {
                self.tasks.spawn(refuse(stream));
            }
        }
        true
    }

    /// Connects to somebody who wants a file of us and cannot connect.
    pub(super) fn give(&mut self, PushOrder { id, to }: PushOrder) {
        let Some(uploads) = self.uploads.clone().filter(|_| self.tasks.len() < TASKS_MAX) else {
            return;
        };
        self.tasks.spawn(async move {
            if let Err(error) = uploads.give(to.into(), give(id).as_bytes()).await {
                tracing::debug!(%to, %error, "not given");
            }
        });
    }

    /// A host has connected that somebody waits for.
    pub(super) fn given(&mut self, push: u32, stream: TcpStream) -> bool {
        let waiting = self.pushes.remove(&push);
        waiting.is_some_and(|(_, given)| given.send(Ok(stream)).is_ok())
    }

    /// When to call [`Transfers::forget`].
    pub(super) fn due(&self) -> Instant {
        let first = self.pushes.values().map(|(since, _)| *since).min();
        first.map_or(Instant::FAR_FUTURE, |since| since + PUSH_MAX)
    }

    /// Gives up on hosts that do not come.
    pub(super) fn forget(&mut self, now: Instant) {
        let late = |since: &Instant| now.since(*since) >= PUSH_MAX;
        let late = self.pushes.iter().filter(|(_, (since, _))| late(since)).map(|(push, _)| *push);
        for push in late.collect::<Vec<u32>>() {
            if let Some((_, given)) = self.pushes.remove(&push) {
                let _ = given.send(Err(PushError::NoAnswer));
            }
        }
    }

    pub(super) fn status(&self) -> upload::Status {
        self.uploads.as_ref().map(Uploads::status).unwrap_or_default()
    }

    pub(super) fn set_score(&self, who: &Identity, score: u16) {
        if let Some(uploads) = &self.uploads {
            uploads.set_score(who, score);
        }
    }

    pub(super) fn introduce(
        &self,
        addr: SocketAddrV4,
        user: &str,
        supernode: Option<SocketAddrV4>,
    ) {
        if let Some(uploads) = &self.uploads {
            uploads.set_me(Me { addr, user: user.to_owned(), supernode });
        }
    }

    /// Waits until one is over.
    pub(super) async fn reap(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Task {
    pub(super) fn push(&mut self, now: Instant, host: &Host, answer: Given) {
        let refused = if self.config.firewalled {
            Some(PushError::BothFirewalled)
        } else if self.node.supernode().is_none() {
            Some(PushError::Alone)
        } else {
            None
        };
        if let Some(error) = refused {
            let _ = answer.send(Err(error));
            return;
        }
        let id = self.node.push(now, &host.as_hit(), host.supernode);
        self.transfers.pushes.insert(id, (now, answer));
    }

    /// Somebody wants a file: his supernode says what he is worth.
    pub(super) fn on_upload(&mut self, event: upload::Event) {
        if let upload::Event::Asked { who, supernode } = event {
            self.node.ask_score(who.user, who.ip, supernode);
        }
    }
}

/// We share nothing.
async fn refuse(mut stream: TcpStream) {
    let refusal = Refusal::NotFound.refusal();
    let _ = timeout(REFUSAL_MAX, stream.write_all(refusal.as_bytes())).await;
}
