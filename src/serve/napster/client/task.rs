//! The one task that owns the machine: what comes from the directory, from other clients and from our own handle goes
//! through it, one after another.

use super::data::{Ask, Lines, Tools, Upload};
use super::link::{self, Link, Moved, READ_BYTES};
use super::wanted::Wanted;
use super::{Command, Config, Link as State, OpenError, Opened, PINGS, Status, Way};
use crate::net::{Clock, Listener};
use crate::share::{Library, View};
use gaggle_core::clock::Instant;
use gaggle_core::overlay::napster::{
    Client as Machine, ClientConfig, ClientEvent as Event, Refused,
};
use gaggle_core::proto::napster::{Nick, Text};
use gaggle_core::rng::Rng;
use gaggle_core::scope::network_of;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Connections at our port at a time; further ones are closed at once.
const ACCEPTED_MAX: usize = 256;
/// Connections that the directory has us make at a time, to give something; further ones are not made: who still wants it
/// asks again.
const GIVING_MAX: usize = 64;
/// Lists of our files that are given at a time, each of them in memory as a whole; further ones are refused: anybody may
/// ask for one, without being known to a directory.
const LISTS_MAX: usize = 4;
/// Bytes that wait for a directory that asks much and takes no answers; at more it is left.
const BACKLOG_MAX: usize = 1 << 20;
/// Questions of connections that wait; the connections wait with them.
const ASKS_MAX: usize = 64;
/// The first pause after a link was lost, and the longest; each is twice the one before.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A link that held for so long was a good one: the pauses begin anew.
const GOOD_LINK: Duration = Duration::from_secs(30);
/// How often bytes that were given are told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What a task of ours has come to.
enum Done {
    Accepted(IpAddr, Option<Upload>),
    Connected(io::Result<(TcpStream, SocketAddr, String)>),
    Dialled(Box<Dialled>),
    /// Somebody has let go of a file that he fetched.
    Fetched,
    /// Something was given to somebody to whom we connected.
    Given(Option<Upload>),
    Listed,
    /// The list of our files was given to somebody of this network.
    ListGiven(IpAddr),
    Measured(Nick, Option<Duration>),
}

/// A connection to who has a file.
struct Dialled {
    nick: Nick,
    addr: SocketAddrV4,
    answer: oneshot::Sender<Result<Opened, OpenError>>,
    stream: Option<TcpStream>,
    took: Duration,
}

enum Happening {
    Accepted(TcpStream, SocketAddr),
    Ask(Ask),
    Command(Option<Command>),
    Done(Done),
    Looked,
    Moved(Moved),
    Woken,
}

pub(super) struct Task {
    config: Config,
    machine: Machine,
    clock: Clock,
    rng: Rng,
    listener: Option<Listener>,
    view: Option<watch::Receiver<View>>,
    tools: Tools,
    asked: mpsc::Receiver<Ask>,
    link: Option<Link>,
    /// Of the server: its place in the list, and where it is once we are connected.
    server: (usize, Option<SocketAddr>),
    /// The one that we were connected to last, by its name or as a redirector has named it.
    reached: String,
    state: State,
    pause: Duration,
    again_at: Option<Instant>,
    since: Instant,
    wanted: Wanted,
    tasks: JoinSet<Done>,
    /// Connections at our port, of each network.
    accepted: BTreeMap<IpAddr, usize>,
    giving: usize,
    /// The networks to which lists of our files are given now.
    lists: Vec<IpAddr>,
    uploads: usize,
    network: (u64, u64, u64),
    tell: watch::Sender<Status>,
    told_at: Instant,
}

impl Task {
    pub(super) fn new(
        config: Config,
        listener: Option<Listener>,
        library: Option<Library>,
        clock: Clock,
        rng: Rng,
        tell: watch::Sender<Status>,
    ) -> Self {
        let machine = Machine::new(ClientConfig {
            server: String::new(),
            nick: config.nick.clone(),
            password: config.password.clone(),
            register: config.register,
            port: listener.as_ref().map_or(0, |listener| listener.addr().port()),
            speed: config.speed,
            places: config.places,
            browsable: config.browsable,
            searches_per_min: config.searches_per_min,
            pings: config.pings.min(PINGS),
        });
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let view = library.as_ref().map(|library| {
            let mut view = library.watch();
            view.mark_changed();
            view
        });
        let (uploaded, me) = (Arc::new(AtomicU64::new(0)), config.nick.clone());
        let (words, dialer, peers) = (config.words, config.dialer.clone(), config.peers.clone());
        let limit = config.limit.clone();
        Self {
            config,
            machine,
            clock,
            rng,
            listener,
            view,
            tools: Tools { asks, clock, dialer, library, me, peers, limit, uploaded, words },
            asked,
            link: None,
            server: (0, None),
            reached: String::new(),
            state: State::Connecting,
            pause: PAUSE,
            again_at: None,
            since: Instant::ZERO,
            wanted: Wanted::default(),
            tasks: JoinSet::new(),
            accepted: BTreeMap::new(),
            giving: 0,
            lists: Vec::new(),
            uploads: 0,
            network: (0, 0, 0),
            tell,
            told_at: Instant::ZERO,
        }
    }

    /// Runs until it is told to stop, or nobody holds a handle any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.dial();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let happening = self.happening(&mut commands, &mut buffer).await;
            match happening {
                Happening::Command(None) => return,
                Happening::Command(Some(Command::Stop(done))) => {
                    drop(self);
                    _ = done.send(()); // or nobody waits for it
                    return;
                }
                Happening::Command(Some(command)) => self.on_command(command),
                Happening::Ask(ask) => self.on_ask(ask),
                Happening::Accepted(stream, from) => self.on_accepted(stream, from.ip()),
                Happening::Done(done) => self.on_done(done),
                Happening::Looked => self.publish(),
                Happening::Moved(Moved::Read(read)) => {
                    self.machine.handle_bytes(self.clock.now(), &buffer[..read]);
                }
                Happening::Moved(Moved::Written) => {}
                Happening::Moved(Moved::Lost) => self.machine.handle_closed(),
                Happening::Woken => self.on_time(),
            }
            self.drain();
            self.tell();
        }
    }

    async fn happening(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        buffer: &mut [u8],
    ) -> Happening {
        let wake = self.wake();
        let accepted = async {
            match &self.listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let looked = async {
            let changed = match &mut self.view {
                Some(view) => view.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                // There is no library, or it has ended before us.
                std::future::pending::<()>().await;
            }
        };
        let moved = async {
            match &mut self.link {
                Some(link) => link.moved(buffer).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => Happening::Command(command),
            Some(ask) = self.asked.recv() => Happening::Ask(ask),
            Some(done) = self.tasks.join_next() => match done {
                Ok(done) => Happening::Done(done),
                Err(_) => Happening::Woken, // it has panicked, which was logged
            },
            () = looked => Happening::Looked,
            moved = moved => Happening::Moved(moved),
            (stream, from) = accepted => Happening::Accepted(stream, from),
            () = self.clock.sleep_until(wake) => Happening::Woken,
        }
    }

    fn wake(&self) -> Option<Instant> {
        let tell = (self.uploads > 0).then(|| self.told_at + TELL_EVERY);
        let times = [self.machine.poll_timeout(), self.again_at, self.wanted.timeout(), tell];
        times.into_iter().flatten().min()
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        self.machine.handle_timeout(now);
        self.wanted.handle_timeout(now);
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.dial();
        }
    }

    /// Begins to connect to the server whose turn it is.
    fn dial(&mut self) {
        let Some(server) = self.config.servers.get(self.server.0).cloned() else { return };
        self.state = State::Connecting;
        let dialer = self.config.dialer.clone();
        self.tasks.spawn(async move { Done::Connected(link::dial(&dialer, server).await) });
    }

    fn on_connected(&mut self, connected: io::Result<(TcpStream, SocketAddr, String)>) {
        match connected {
            Ok((stream, addr, reached)) => {
                self.server.1 = Some(addr);
                // Not a redirector, or what one directory hears of our password would serve at all that it may name.
                self.machine.set_server(reached.clone());
                self.reached = reached;
                self.link = Some(Link::new(stream));
                self.machine.handle_connected(self.clock.now(), addr.ip().to_canonical());
            }
            Err(error) => {
                tracing::debug!(%error, "no directory");
                self.machine.handle_closed();
            }
        }
    }

    /// The link is over, or none came about.
    fn on_closed(&mut self, why: Refused) {
        let now = self.clock.now();
        self.link = None;
        self.wanted.lost();
        if matches!(self.state, State::In(_)) && now.since(self.since) >= GOOD_LINK {
            self.pause = PAUSE;
        }
        if is_final(&why) {
            self.state = State::Ended(why);
            return;
        }
        self.server = ((self.server.0 + 1) % self.config.servers.len().max(1), None);
        if self.server.0 != 0 {
            // There are others to try.
            self.state = State::Connecting;
            self.again_at = Some(now);
            return;
        }
        self.state = State::Waiting(why);
        // Those who lost one server at the same time do not come back at the same time.
        let spread = Duration::from_micros(self.rng.below(self.pause.as_micros() as u64 / 4));
        self.again_at = Some(now + self.pause + spread);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn on_command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Browse(nick, listed, directly) => {
                self.wanted.browse(now, &mut self.machine, nick, listed, directly);
            }
            Command::Open(nick, path, answer) => {
                self.wanted.open(now, &mut self.machine, nick, path, answer);
            }
            Command::Search(query, found) => {
                let id = self.machine.search(now, query);
                self.wanted.search(id, found);
            }
            Command::Whois(nick, answer) => {
                self.wanted.whois(&nick, answer);
                self.machine.whois(nick);
            }
            Command::Stop(_) => {}
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        let now = self.clock.now();
        // Who has asked may be gone when the answer comes; then it is of no use, and its connection has ended.
        match ask {
            Ask::List(to, answer) => _ = answer.send(self.list_for(to)),
            Ask::MayGet(nick, path, answer) => {
                let may = self.machine.may_get(now, &nick, &path).is_some();
                let item = self.machine.published(&path).filter(|_| may).cloned();
                if item.is_some() {
                    self.machine.upload_began(&nick, &path);
                    self.uploads += 1;
                }
                _ = answer.send(item);
            }
            Ask::MaySend(nick, path, answer) => {
                let may = self.machine.may_send(now, &nick, &path);
                let waiter = may.then(|| self.wanted.came(now, &mut self.machine, &nick, &path));
                let waiter = waiter.flatten().map(|waiter| (waiter, self.count_fetch()));
                _ = answer.send(waiter);
            }
            Ask::MaySendList(nick, answer) => {
                let may = self.machine.may_send_list(now, &nick);
                let listed = may.then(|| self.wanted.list_comes(&nick)).flatten();
                if listed.is_some() {
                    self.machine.came_with_list(&nick);
                }
                _ = answer.send(listed);
            }
        }
    }

    /// The list of our files for somebody at this address, which is only made if it may be given: a few at a time, and one
    /// to each network.
    fn list_for(&mut self, to: IpAddr) -> Option<Lines> {
        let network = network_of(to);
        let again = self.is_counted(to) && self.lists.contains(&network);
        if again || self.lists.len() >= LISTS_MAX {
            return None;
        }
        self.lists.push(network);
        let (guard, ended) = oneshot::channel();
        self.tasks.spawn(async move {
            _ = ended.await; // nobody sends: it ends by being dropped
            Done::ListGiven(network)
        });
        Some((self.machine.list(), guard))
    }

    /// Whether there are limits for this address.
    fn is_counted(&self, ip: IpAddr) -> bool {
        self.config.loopback_too || !ip.to_canonical().is_loopback()
    }

    fn on_accepted(&mut self, stream: TcpStream, ip: IpAddr) {
        let counted = self.is_counted(ip);
        let from = network_of(ip);
        let open = self.accepted.entry(from).or_default();
        if counted && *open >= self.config.per_address {
            return;
        }
        *open += 1;
        let all: usize = self.accepted.values().sum();
        if all > ACCEPTED_MAX {
            return self.release(from);
        }
        let tools = self.tools.clone();
        self.tasks.spawn(async move { Done::Accepted(from, tools.accepted(stream, ip).await) });
    }

    fn release(&mut self, from: IpAddr) {
        if let Some(open) = self.accepted.get_mut(&from) {
            *open -= 1;
            if *open == 0 {
                self.accepted.remove(&from);
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        let now = self.clock.now();
        match done {
            Done::Accepted(from, gave) => {
                self.release(from);
                self.upload_ended(gave);
            }
            Done::Connected(connected) => self.on_connected(connected),
            Done::Dialled(dialled) => {
                let Dialled { nick, addr, answer, stream, took } = *dialled;
                let opened = match stream {
                    Some(stream) => {
                        // As good as a ping, and free.
                        self.machine.handle_measured(now, nick, Some(took));
                        let (way, me) = (Way::Dialled(addr), self.config.nick.clone());
                        Ok(Opened { stream, way, me, counted: self.count_fetch() })
                    }
                    None => {
                        self.machine.unreachable(nick);
                        Err(OpenError::Unreachable(addr))
                    }
                };
                _ = answer.send(opened); // who waits no longer closes it
            }
            Done::Fetched => self.machine.downloading(false),
            Done::Given(gave) => {
                self.giving -= 1;
                self.upload_ended(gave);
            }
            Done::Listed => {}
            Done::ListGiven(network) => {
                if let Some(at) = self.lists.iter().position(|to| *to == network) {
                    self.lists.swap_remove(at);
                }
            }
            Done::Measured(nick, took) => self.machine.handle_measured(now, nick, took),
        }
    }

    fn upload_ended(&mut self, gave: Option<Upload>) {
        if let Some((nick, path)) = gave {
            self.uploads -= 1;
            self.machine.upload_ended(self.clock.now(), &nick, &path);
        }
    }

    /// A download that counts until what is returned was dropped.
    fn count_fetch(&mut self) -> oneshot::Sender<()> {
        let (guard, ended) = oneshot::channel();
        self.machine.downloading(true);
        self.tasks.spawn(async move {
            _ = ended.await; // nobody sends: it ends by being dropped
            Done::Fetched
        });
        guard
    }

    fn publish(&mut self) {
        if let Some(view) = &mut self.view {
            let catalogue = Arc::clone(&view.borrow_and_update().catalogue);
            self.machine.publish(&catalogue);
        }
    }

    /// Carries out what the machine wants, until it wants nothing more.
    fn drain(&mut self) {
        loop {
            while let Some(event) = self.machine.poll_event() {
                self.on_event(event);
            }
            let Some(link) = &mut self.link else { return };
            if self.machine.backlog() > BACKLOG_MAX {
                self.machine.handle_closed();
                continue;
            }
            // Shares are said as fast as they are taken, and no faster.
            if link.is_idle()
                && let Some(words) = self.machine.poll_transmit()
            {
                link.write(&words);
            }
            return;
        }
    }

    fn on_event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::LoggedIn => {
                self.since = now;
                self.state = self.server.1.map_or(State::Connecting, State::In);
            }
            Event::Closed(why) => self.on_closed(why),
            Event::Stats(users, files, gigabytes) => self.network = (users, files, gigabytes),
            Event::FetchFrom { nick, addr, path } => self.fetch_from(&nick, addr, &path),
            Event::GiveTo { nick, addr, path } => {
                self.give(|tools| async move { tools.give_to(addr, nick, path).await });
            }
            Event::ListTo(_, addr) => {
                if self.giving < GIVING_MAX
                    && let Some(lines) = self.list_for(IpAddr::V4(*addr.ip()))
                {
                    self.give(|tools| async move {
                        tools.list_to(addr, lines).await;
                        None
                    });
                }
            }
            Event::BrowseAt(nick, addr) => {
                self.machine.came_with_list(&nick);
                if let Some(listed) = self.wanted.list_comes(&nick) {
                    let tools = self.tools.clone();
                    self.tasks.spawn(async move {
                        tools.list_from(addr, listed).await;
                        Done::Listed
                    });
                }
            }
            Event::Measure(nick, addr) => {
                let (clock, tools) = (self.clock, self.tools.clone());
                self.tasks.spawn(async move {
                    let begun = clock.now();
                    let took = tools.connect(addr).await.map(|_| clock.now().since(begun));
                    Done::Measured(nick, took)
                });
            }
            Event::Unreachable(nick) => {
                tracing::info!(nick = nick.as_str(), "somebody could not reach our port");
            }
            Event::Warning(text) => {
                tracing::debug!(%text, "the directory says");
                self.wanted.on_warning(&text);
            }
            event => self.wanted.on_event(now, &mut self.machine, event),
        }
    }

    fn give<F>(&mut self, work: impl FnOnce(Tools) -> F)
    where
        F: Future<Output = Option<Upload>> + Send + 'static,
    {
        if self.giving < GIVING_MAX {
            self.giving += 1;
            let work = work(self.tools.clone());
            self.tasks.spawn(async move { Done::Given(work.await) });
        }
    }

    /// Connects to who has a file, once for each who waits for it.
    fn fetch_from(&mut self, nick: &Nick, addr: SocketAddrV4, path: &Text) {
        for answer in self.wanted.all_waiting(nick, path) {
            let (clock, nick, tools) = (self.clock, nick.clone(), self.tools.clone());
            self.tasks.spawn(async move {
                let begun = clock.now();
                let stream = tools.connect(addr).await;
                let took = clock.now().since(begun);
                Done::Dialled(Box::new(Dialled { nick, addr, answer, stream, took }))
            });
        }
    }

    fn tell(&mut self) {
        let now = self.clock.now();
        let status = Status {
            link: self.state.clone(),
            server: self.reached.clone(),
            shared: self.machine.shared(),
            users: self.network.0,
            files: self.network.1,
            gigabytes: self.network.2,
            uploads: self.uploads,
            uploaded: self.tools.uploaded.load(Ordering::Relaxed),
        };
        self.told_at = now;
        self.tell.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }
}

/// Whether the same words would lead to the same end.
fn is_final(why: &Refused) -> bool {
    match why {
        Refused::Ghost | Refused::Nick(_) => true,
        Refused::Login(text) => text.as_bytes().eq_ignore_ascii_case(b"invalid password"),
        _ => false,
    }
}
