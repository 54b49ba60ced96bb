//! The one task that owns the machine: sockets, clock and state file for a `gaggle_core::overlay::gnutella::Servent`.
//!
//! Time comes first, then commands, then what strangers send, so that a flood keeps nothing from ending. Each link may
//! have one piece of what it read waiting here, and waits its turn with it.

mod start;

pub(super) use start::start;

use super::caches::{self, ASK_EVERY, HostCache};
use super::gate::{Gate, Permit, Seat};
use super::link::{self, Outgoing, WAITING_MAX};
use super::listen::{self, Arrival, Host, KNOCK};
use super::pack::Unpacker;
use super::pushes::{Gives, Pushes};
use super::saved::{self, Memory, Saved};
use super::searches::Searches;
use super::{COMMANDS_MAX, Command, Config, Error, Gnutella, PushError, Role, Status};
use crate::net::{Clock, Dialer, os_rng};
use crate::serve::upload::{self, Uploads};
use crate::share;
use bytes::{Bytes, BytesMut};
use gaggle_core::clock::Instant;
use gaggle_core::external::Sighting;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::overlay::gnutella::{self as overlay, Event, Found, LinkId, Servent, Side};
use gaggle_core::proto::gnutella::{Giv, Guid};
use gaggle_core::rng::Rng;
use gaggle_core::scope::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

/// News of links and strangers that may wait; whoever has more waits with them.
const NEWS_MAX: usize = 64;
/// A servent that the owner named is tried again after this, then after twice as long, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// What is known is written down for the first time after this...
const SAVE_FIRST: Duration = Duration::from_secs(20);
/// ...and then this often.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// Servents that were good neighbours, and come first in what is written down.
const GOOD_MAX: usize = 50;
/// Addresses of this machine that are remembered.
const LOCALS_MAX: usize = 16;
/// How long the last words to all neighbours may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// As others see the program.
const USER_AGENT: &str = concat!("gaggle/", env!("CARGO_PKG_VERSION"));

/// What others tell the owner of the machine.
#[derive(Debug)]
pub(super) enum News {
    Arrived(Arrival),
    Bytes(LinkId, Bytes),
    /// Somebody has connected, but not to be a neighbour.
    Called(SocketAddr),
    Dialled(SocketAddrV4, Option<TcpStream>),
    /// A connection that was made at somebody's wish, which came by this link, is over.
    Gave(LinkId, Ipv4Addr),
    Gone(LinkId),
    /// A servent has connected at our wish.
    Pushed(Guid, TcpStream),
    Sent(LinkId, usize),
    /// Of a name that the owner gave, or of a host cache.
    Told {
        given: bool,
        hosts: Vec<SocketAddrV4>,
    },
}

/// What the driver has of a link.
struct Line {
    addr: SocketAddr,
    /// We have dialled.
    ours: bool,
    /// What came and is the beginning of something.
    input: BytesMut,
    unpacker: Option<Unpacker>,
    packed: bool,
    to_send: mpsc::Sender<Outgoing>,
    /// Of a stranger, until it is known what it is.
    seat: Seat,
    _held: oneshot::Sender<()>,
}

/// A servent that the owner named.
struct Given {
    addr: SocketAddrV4,
    at: Instant,
    wait: Duration,
}

struct Task {
    clock: Clock,
    role: Role,
    promote_after: Duration,
    /// Connections go out from here.
    bind: Option<IpAddr>,
    /// The owner says that nobody can connect.
    walled: bool,
    /// Nobody out there is dialled.
    lan: bool,
    servent: Servent,
    rng: Rng,
    lines: BTreeMap<LinkId, Line>,
    links: JoinSet<()>,
    tasks: JoinSet<()>,
    news: mpsc::Sender<News>,
    given: Vec<Given>,
    caches: Vec<(HostCache, Option<Instant>)>,
    searches: Searches,
    pushes: Pushes,
    gives: Gives,
    uploads: Option<Uploads>,
    saved: Option<Arc<Saved>>,
    save_at: Instant,
    /// What is being written down.
    saving: Option<JoinHandle<()>>,
    good: Vec<SocketAddrV4>,
    /// Our side of connections that were made.
    locals: BTreeSet<IpAddr>,
    /// Somebody out there has connected to us, or can, as the owner says.
    called: bool,
    /// Since when a leaf could be an ultrapeer.
    fit_since: Option<Instant>,
    status: watch::Sender<Status>,
}

impl Task {
    /// Neighbours whom the owner has named.
    fn meet(&mut self, now: Instant, hosts: Vec<PeerHint>) {
        for host in hosts {
            match host.addr() {
                Some(SocketAddr::V4(addr)) => self.give(now, addr),
                _ => self.find(true, async move { caches::resolve(&host).await }),
            }
        }
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut news: mpsc::Receiver<News>,
        mut library: Option<watch::Receiver<share::View>>,
    ) {
        let stopped = loop {
            while self.tasks.try_join_next().is_some() || self.links.try_join_next().is_some() {}
            self.drain();
            let wake = self.servent.poll_timeout();
            tokio::select! {
                biased;
                () = self.clock.sleep_until(Some(wake)) => self.on_time(),
                command = commands.recv() => match command {
                    None => break None,
                    Some(Command::Stop(done)) => break Some(done),
                    Some(command) => self.on_command(command),
                },
                view = next_view(&mut library) => self.on_view(&view),
                Some(one) = news.recv() => self.on_news(one),
            }
        };
        self.servent.shut_down(self.clock.now());
        self.drain();
        self.lines.clear();
        let farewell = async {
            loop {
                tokio::select! {
                    ended = self.links.join_next() => if ended.is_none() { return },
                    Some(_) = news.recv() => {} // of no interest any more, but whoever tells it must not wait
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        // One after the other, or two would write one file at once.
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        if let Some(saving) = self.save() {
            let _ = saving.await;
        }
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Connect(addrs) => {
                for addr in addrs {
                    if let SocketAddr::V4(addr) = addr {
                        self.servent.add_host(addr);
                    }
                }
            }
            Command::Push(servent, index, answer) => {
                let asked = if self.pushes.has_room() {
                    self.servent.push(now, servent, index).map_err(PushError::NoPush)
                } else {
                    Err(PushError::TooMany)
                };
                match asked {
                    Ok(()) => self.pushes.wait(now, servent, answer),
                    Err(why) => drop(answer.send(Err(why))),
                }
            }
            Command::Search(query, answer) => {
                let _ = answer.send(self.searches.begin(now, query, &mut self.servent));
                self.show();
            }
            Command::Stop(_) => {} // is the end of the loop
        }
    }

    fn on_view(&mut self, view: &share::View) {
        self.servent.share(overlay::Library::new(Arc::clone(&view.catalogue)));
        self.show();
    }

    fn on_news(&mut self, news: News) {
        let now = self.clock.now();
        match news {
            News::Arrived(Arrival { stream, from, head, permit }) => {
                self.on_called(from);
                let id = self.servent.accept(now, from);
                self.add_line(id, stream, from, Some(permit));
                self.on_bytes(id, &head);
            }
            News::Bytes(id, bytes) => self.on_bytes(id, &bytes),
            News::Called(from) => self.on_called(from),
            News::Dialled(addr, Some(stream)) => {
                let id = self.servent.connect(now, addr.into());
                self.add_line(id, stream, addr.into(), None);
            }
            News::Dialled(addr, None) => self.servent.handle_unreachable(addr),
            News::Gave(by, to) => self.gives.end(by, to),
            News::Gone(id) => {
                if self.lines.remove(&id).is_some() {
                    self.servent.handle_closed(id);
                    self.show();
                }
            }
            News::Pushed(servent, stream) => {
                if let Ok(from) = stream.peer_addr() {
                    self.on_called(from);
                }
                self.pushes.on_giv(servent, stream);
            }
            News::Sent(id, bytes) => self.servent.handle_sent(id, bytes),
            News::Told { given: true, hosts } => {
                hosts.into_iter().for_each(|addr| self.give(now, addr));
            }
            News::Told { given: false, hosts } => {
                hosts.into_iter().for_each(|addr| self.servent.add_host(addr));
            }
        }
    }

    fn add_line(
        &mut self,
        id: LinkId,
        stream: TcpStream,
        addr: SocketAddr,
        permit: Option<Permit>,
    ) {
        let _ = stream.set_nodelay(true);
        if let Ok(local) = stream.local_addr() {
            let us = local.ip().to_canonical();
            self.servent.hear(self.clock.now(), Sighting { by: addr.ip(), us });
            if self.locals.len() < LOCALS_MAX {
                self.locals.insert(us);
            }
        }
        let (to_send, sending) = mpsc::channel(WAITING_MAX);
        let (held, holding) = oneshot::channel();
        let (ours, seat) = (permit.is_none(), Seat::new(permit));
        let moving = link::run(stream, id, sending, holding, seat.clone(), self.news.clone());
        self.links.spawn(moving);
        let line = Line {
            addr,
            ours,
            input: BytesMut::new(),
            unpacker: None,
            packed: false,
            to_send,
            seat,
            _held: held,
        };
        self.lines.insert(id, line);
    }

    /// Bytes of a link as they came; unpacked here from the point on where they are packed.
    fn on_bytes(&mut self, id: LinkId, bytes: &[u8]) {
        let now = self.clock.now();
        let Some(line) = self.lines.get_mut(&id) else { return };
        if line.unpacker.is_some() {
            return self.unpack(id, bytes);
        }
        line.input.extend_from_slice(bytes);
        self.servent.handle_bytes(now, id, &mut line.input);
        self.drain();
        if let Some(line) = self.lines.get_mut(&id).filter(|line| line.unpacker.is_some()) {
            let packed = std::mem::take(&mut line.input);
            self.unpack(id, &packed);
        }
    }

    fn unpack(&mut self, id: LinkId, mut packed: &[u8]) {
        let now = self.clock.now();
        while let Some(line) = self.lines.get_mut(&id)
            && let Some(unpacker) = &mut line.unpacker
        {
            match unpacker.step(&mut packed) {
                Ok(None) => return,
                Ok(Some(plain)) => {
                    line.input.extend_from_slice(&plain);
                    self.servent.handle_bytes(now, id, &mut line.input);
                    self.drain();
                }
                Err(error) => {
                    tracing::debug!(addr = %line.addr, %error, "a link is closed");
                    self.lines.remove(&id);
                    self.servent.handle_closed(id);
                    self.show();
                    return;
                }
            }
        }
    }

    fn on_called(&mut self, from: SocketAddr) {
        self.called |= Scope::of(from.ip()) == Some(Scope::Global);
    }

    /// Carries out what the machine asks for.
    fn drain(&mut self) {
        loop {
            while let Some(out) = self.servent.poll_transmit() {
                if let Some(line) = self.lines.get(&out.link) {
                    let outgoing = Outgoing { bytes: out.bytes, packed: out.packed };
                    // Without room the task of the link is gone, and will have said so.
                    let _ = line.to_send.try_send(outgoing);
                }
            }
            let Some(event) = self.servent.poll_event() else { return };
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Closed { link, why } => {
                if let Some(line) = self.lines.remove(&link) {
                    tracing::debug!(addr = %line.addr, ?why, "a link is closed");
                }
                self.show();
            }
            Event::ConnectBack(addr) => self.knock(addr),
            Event::Dial(addr) => self.dial(addr),
            Event::Hit { search, hops, from, hit } => {
                let found = Found::of(from, hops, &hit);
                self.searches.on_found(now, search, found, &mut self.servent);
            }
            Event::Joined { link, side, packed_in, packed_out } => {
                if let Some(line) = self.lines.get_mut(&link) {
                    line.seat.give_back();
                    line.packed = packed_in || packed_out;
                    line.unpacker = packed_in.then(Unpacker::new);
                    if let (true, SocketAddr::V4(addr)) = (line.ours, line.addr) {
                        self.good.retain(|known| *known != addr);
                        self.good.insert(0, addr);
                        self.good.truncate(GOOD_MAX);
                    }
                    tracing::debug!(addr = %line.addr, ?side, "a link is made");
                }
                self.searches.go_out(now, &mut self.servent);
                self.show();
            }
            Event::Push { link, addr, index } => self.give_to(now, link, addr, index),
            Event::Searched(search) => self.searches.on_searched(now, search),
        }
    }

    fn dial(&mut self, addr: SocketAddrV4) {
        if !self.is_open(addr) {
            self.servent.handle_unreachable(addr);
            return;
        }
        let news = self.news.clone();
        let dialer = Dialer { bind: self.bind, ..Dialer::default() };
        self.tasks.spawn(async move {
            let connected = dialer.connect(addr.into()).await.ok();
            let _ = news.send(News::Dialled(addr, connected)).await;
        });
    }

    /// Shows somebody that others can connect to him.
    fn knock(&mut self, addr: SocketAddrV4) {
        if !self.is_open(addr) {
            return;
        }
        let dialer = Dialer { bind: self.bind, ..Dialer::default() };
        self.tasks.spawn(async move {
            if let Ok(mut stream) = dialer.connect(addr.into()).await {
                let _ = stream.write_all(KNOCK).await; // or he has seen enough
            }
        });
    }

    /// Whether we have anything to do with whoever is there.
    fn is_open(&self, addr: SocketAddrV4) -> bool {
        !self.lan || Scope::is_near(IpAddr::V4(*addr.ip()))
    }

    /// Somebody wants us to connect to him, says a neighbour.
    fn give_to(&mut self, now: Instant, by: LinkId, to: SocketAddrV4, index: u32) {
        let Some(uploads) = self.uploads.clone() else { return };
        if !self.is_open(to) || !self.gives.begin(now, by, *to.ip()) {
            return;
        }
        let line = Giv { index, servent: self.servent.guid(), name: "file".into() }.encode();
        let news = self.news.clone();
        self.tasks.spawn(async move {
            if let Err(error) = uploads.give(to.into(), &line).await {
                tracing::debug!(%to, %error, "cannot connect to who asked for it");
            }
            let _ = news.send(News::Gave(by, *to.ip())).await;
        });
    }

    /// Waits for addresses.
    fn find(
        &mut self,
        given: bool,
        look: impl Future<Output = Vec<SocketAddrV4>> + Send + 'static,
    ) {
        let news = self.news.clone();
        self.tasks.spawn(async move {
            let hosts = look.await;
            let _ = news.send(News::Told { given, hosts }).await;
        });
    }

    fn give(&mut self, now: Instant, addr: SocketAddrV4) {
        if self.given.iter().all(|known| known.addr != addr) {
            self.given.push(Given { addr, at: now, wait: RETRY_FIRST });
        }
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        for given in &mut self.given {
            if self.lines.values().any(|line| line.addr == given.addr.into()) {
                given.wait = RETRY_FIRST;
            } else if now >= given.at {
                self.servent.add_host(given.addr);
                given.at = now + given.wait;
                given.wait = (given.wait * 2).min(RETRY_MAX);
            }
        }
        self.ask_caches(now);
        self.servent.handle_timeout(now);
        self.pushes.expire(now);
        self.searches.expire(now, &mut self.servent);
        let walled = self.walled || is_walled(&self.servent, &self.locals, self.called);
        self.servent.set_firewalled(now, walled);
        if walled && !self.walled {
            self.servent.ask_back(now);
        }
        self.grow(now);
        if now >= self.save_at {
            self.save_at = now + SAVE_EVERY;
            if self.saving.as_ref().is_none_or(JoinHandle::is_finished) {
                self.saving = self.save();
            }
        }
        self.show();
    }

    /// A leaf that others could connect to for long enough becomes an ultrapeer.
    fn grow(&mut self, now: Instant) {
        let leaf = self.servent.role() == overlay::Role::Leaf && self.role == Role::Auto;
        let fit = leaf && !self.servent.is_firewalled();
        self.fit_since = self.fit_since.filter(|_| fit).or(fit.then_some(now));
        if self.fit_since.is_some_and(|since| now.since(since) >= self.promote_after) {
            self.fit_since = None;
            self.servent.become_ultrapeer(now);
        }
    }

    fn ask_caches(&mut self, now: Instant) {
        if !self.lines.is_empty() || self.servent.hosts().next().is_some() {
            return;
        }
        let due = |asked: &Option<Instant>| asked.is_none_or(|at| now.since(at) >= ASK_EVERY);
        let Some((cache, asked)) = self.caches.iter_mut().find(|(_, asked)| due(asked)) else {
            return;
        };
        *asked = Some(now);
        let (cache, guid) = (cache.clone(), Guid::random(&mut self.rng));
        self.find(false, caches::ask(cache, guid));
    }

    fn save(&self) -> Option<JoinHandle<()>> {
        let saved = Arc::clone(self.saved.as_ref()?);
        let mut hosts = self.good.clone();
        hosts.extend(self.servent.hosts().filter(|addr| !self.good.contains(addr)));
        hosts.truncate(saved::HOSTS_MAX);
        let memory = Memory { guid: Some(self.servent.guid()), hosts };
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = saved.write(&memory) {
                tracing::warn!(%error, "the servents that are known could not be saved");
            }
        }))
    }

    fn show(&self) {
        let (searches, uploads) = (self.searches.len(), self.uploads.as_ref());
        let status = status_of(&self.servent, &self.lines, searches, uploads);
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
    }
}

fn status_of(
    servent: &Servent,
    lines: &BTreeMap<LinkId, Line>,
    searches: usize,
    uploads: Option<&Uploads>,
) -> Status {
    let count = |leaf: bool| {
        let sides = servent.links().filter_map(|(_, link)| link.side());
        sides.filter(|side| (*side == Side::Leaf) == leaf).count()
    };
    Status {
        role: servent.role(),
        addr: servent.addr(),
        firewalled: servent.is_firewalled(),
        ultrapeers: count(false),
        leaves: count(true),
        packed: lines.values().filter(|line| line.packed).count(),
        hosts: servent.hosts().count(),
        files: servent.library().len(),
        searches,
        counters: servent.counters(),
        uploads: uploads.map_or_else(upload::Status::default, Uploads::status),
    }
}

/// Whether others cannot connect, as far as can be known: neighbours are out there, and what they see of us, or what we
/// listen at, is no address of this machine that everybody can reach. Once somebody out there has connected, others can.
fn is_walled(servent: &Servent, locals: &BTreeSet<IpAddr>, called: bool) -> bool {
    let far = |ip: IpAddr| Scope::of(ip) == Some(Scope::Global);
    let us = IpAddr::V4(*servent.addr().ip());
    let neighbours = servent.links().filter(|(_, link)| link.side().is_some());
    let abroad = neighbours.into_iter().any(|(_, link)| far(link.addr().ip()));
    abroad && !called && !(far(us) && locals.contains(&us))
}

/// What is shared, when that has changed; never, if nothing is.
async fn next_view(library: &mut Option<watch::Receiver<share::View>>) -> share::View {
    if let Some(views) = library
        && views.changed().await.is_ok()
    {
        return views.borrow_and_update().clone();
    }
    *library = None;
    std::future::pending().await
}
