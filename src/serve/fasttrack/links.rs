//! Connections of all kinds: how they are begun, what comes over them, and how they end.

use super::connection::{Connection, Line, Told, What};
use super::speech::{Heard, Speech, Words};
use super::task::Task;
use bytes::BytesMut;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{Link, LinkKey};
use gaggle_core::proto::fasttrack::Message;
use std::net::SocketAddrV4;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Connections beside those of the nodes that a supernode takes: other supernodes, and strangers in their handshake.
const OTHERS_MAX: usize = 96;
/// Strangers of one address that may be in their handshake.
const STRANGERS_EACH: usize = 8;
/// Bytes that may wait for a node of ours, as many as some searches find. More ends the connection.
const CHILD_HELD_MAX: usize = 1 << 20;
/// The same for our supernode, which is told all we share, and for other supernodes.
const HELD_MAX: usize = 4 << 20;

/// With whom a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A node of ours.
    Child,
    /// Our supernode.
    Home,
    /// Another supernode, which we have dialled or which has called.
    Mate { dialled: bool },
}

/// A connection that is there, or under way.
#[derive(Debug)]
pub(super) struct Connected {
    line: Line,
    addr: SocketAddrV4,
    kind: Kind,
    /// Both sides have said what they are.
    opened: bool,
    task: Option<AbortHandle>,
}

/// The session of our node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Home {
    /// With our own supernode, under this key; nothing is between them.
    Own(LinkKey),
    /// With another one.
    Other(LinkKey),
}

impl Task {
    /// A connection tells something. Those that were left are not heard any more.
    pub(super) fn on_told(&mut self, now: Instant, Told { key, what }: Told) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (kind, addr) = (link.kind, link.addr);
        match what {
            What::Closed => {
                self.links.remove(&key);
                self.gone(now, key, kind);
            }
            What::Opened => {
                link.opened = true;
                match kind {
                    Kind::Home => self.node.handle_open(now),
                    Kind::Child => {
                        self.with_office(|office| office.supernode.handle_child(now, key, addr));
                    }
                    Kind::Mate { dialled } => self.with_office(|office| {
                        office.supernode.handle_mate(now, key, *addr.ip(), dialled);
                    }),
                }
            }
            What::Heard(Heard::Session(message)) => match kind {
                Kind::Home => self.node.handle_message(now, message),
                Kind::Child | Kind::Mate { .. } => {
                    self.with_office(|office| office.supernode.handle_message(now, key, message));
                }
            },
            What::Heard(Heard::Mesh(message)) => {
                self.with_office(|office| office.supernode.handle_mesh(now, key, message));
            }
        }
    }

    /// A connection is no more.
    fn gone(&mut self, now: Instant, key: LinkKey, kind: Kind) {
        match kind {
            Kind::Home if self.home == Some(Home::Other(key)) => {
                self.home = None;
                self.node.handle_closed(now);
            }
            Kind::Home => {}
            Kind::Child | Kind::Mate { .. } => {
                self.with_office(|office| office.supernode.handle_closed(now, key));
            }
        }
    }

    /// Leaves our supernode without a word.
    pub(super) fn go_out(&mut self, now: Instant) {
        match self.home.take() {
            Some(Home::Own(key)) => {
                self.with_office(|office| office.supernode.handle_closed(now, key));
            }
            Some(Home::Other(key)) => {
                self.links.remove(&key);
            }
            None => {}
        }
    }

    /// Takes a connection in, if we are a supernode and there is room; it is closed otherwise.
    pub(super) fn accept(
        &mut self,
        kind: Kind,
        from: SocketAddrV4,
        stream: TcpStream,
        head: BytesMut,
    ) -> bool {
        let limits = &self.config.limits;
        let exempt = from.ip().is_loopback() && !limits.loopback_too;
        let strangers = self
            .links
            .values()
            .filter(|link| !link.opened && link.addr.ip() == from.ip() && link.kind != Kind::Home);
        let room = self.links.len() < limits.children + OTHERS_MAX
            && (exempt || strangers.count() < STRANGERS_EACH);
        let Some(office) = self.office.as_mut().filter(|_| room) else { return false };
        office.call();
        let (key, connection) = self.connection(kind, from);
        let (clock, mut rng) = (self.clock, self.rng.fork());
        self.spawn(key, async move {
            let speech = match kind {
                Kind::Mate { .. } => Speech::mesh(clock.now()),
                Kind::Child | Kind::Home => Speech::session(Link::supernode(clock.now(), &mut rng)),
            };
            connection.run(speech, stream, head).await;
        });
        true
    }

    /// Connects to a supernode.
    pub(super) fn dial(&mut self, kind: Kind, to: SocketAddrV4) -> LinkKey {
        let (key, connection) = self.connection(kind, to);
        let (clock, mut rng, dialer) = (self.clock, self.rng.fork(), self.dialer.clone());
        self.spawn(key, async move {
            let stream = match dialer.connect(to.into()).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%to, %error, "no connection");
                    return connection.fail().await;
                }
            };
            let speech = match kind {
                Kind::Mate { .. } => Speech::mesh(clock.now()),
                Kind::Child | Kind::Home => Speech::session(Link::node(clock.now(), &mut rng)),
            };
            connection.run(speech, stream, BytesMut::new()).await;
        });
        key
    }

    fn connection(&mut self, kind: Kind, addr: SocketAddrV4) -> (LinkKey, Connection) {
        let key = self.fresh_key();
        let held_max = if kind == Kind::Child { CHILD_HELD_MAX } else { HELD_MAX };
        let (connection, line) = Connection::new(key, held_max, self.told.clone(), self.clock);
        let link = Connected { line, addr, kind, opened: false, task: None };
        self.links.insert(key, link);
        (key, connection)
    }

    fn spawn(&mut self, key: LinkKey, run: impl Future<Output = ()> + Send + 'static) {
        let task = self.connections.spawn(run);
        if let Some(link) = self.links.get_mut(&key) {
            link.task = Some(task);
        }
    }

    pub(super) fn fresh_key(&mut self) -> LinkKey {
        self.next_key += 1;
        LinkKey(self.next_key)
    }

    /// Says something on a connection. One that does not take it is left.
    pub(super) fn say(&mut self, now: Instant, key: LinkKey, words: Words) {
        let Some(link) = self.links.get(&key) else { return };
        let kind = link.kind;
        if !link.line.say(words) {
            tracing::debug!(link = key.0, addr = %link.addr, "does not read, and is left");
            self.refused += 1;
            // Its last words are what it does not read.
            if let Some(task) = self.links.remove(&key).and_then(|link| link.task) {
                task.abort();
            }
            self.gone(now, key, kind);
        }
    }

    /// Closes a connection after what was said on it; our own node has none.
    pub(super) fn close(&mut self, now: Instant, key: LinkKey) {
        if self.home == Some(Home::Own(key)) {
            self.home = None;
            self.node.handle_closed(now);
        }
        self.links.remove(&key);
    }

    /// Leaves all nodes and all other supernodes.
    pub(super) fn close_all(&mut self) {
        self.links.retain(|_, link| link.kind == Kind::Home);
    }

    /// To a node of ours, which may be ourselves.
    pub(super) fn say_to_node(&mut self, now: Instant, key: LinkKey, message: Message) {
        if self.home == Some(Home::Own(key)) {
            self.node.handle_message(now, message);
        } else {
            self.say(now, key, Words::Packet(message.encode()));
        }
    }
}
