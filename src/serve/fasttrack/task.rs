//! The task that owns the machines: what comes is given to them, and what they ask for is carried out.

use super::connection::Told;
use super::door::{self, Arrival, Purpose};
use super::links::{Connected, Home, Kind};
use super::office::Office;
use super::saved::{Kept, Own, Saved};
use super::shares::Shares;
use super::speech::Words;
use super::transfers::Transfers;
use super::{COMMANDS_MAX, Command, Config, Error, FastTrack, HITS_MAX, Hit, Role, Status};
use crate::net::{Clock, Dialer, Listener, os_rng};
use crate::share::{Library, View};
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{
    Cache, Event, Identity, LinkKey, Node, NodeConfig, NodeOutput, Supernode,
};
use gaggle_core::proto::fasttrack::{Datagram, Query, Score, clean_name};
use gaggle_core::rng::Rng;
use gaggle_core::scope::canonical;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How long a connection may take to stand; what is said on it first has its own time.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// Connections that may wait to be admitted; the door accepts no more before that.
const ARRIVALS_MAX: usize = 64;
/// What connections tell and nobody has heard yet; beyond it they read nothing.
const TOLD_MAX: usize = 256;
/// Of it, what is heard before anything else has its turn.
const TOLD_AT_ONCE: usize = 64;
/// A longer datagram is none of this network.
const DATAGRAM_MAX: usize = 256;
/// How often what is known is written down.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// Connections have so long for their last words.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Ports that are tried for one that is free for connections and for datagrams.
const PORTS_TRIED: usize = 16;
/// Of who sets no limit to what he sends.
const BANDWIDTH: u8 = 0xd1;
/// Pause after no datagram could be read.
const READ_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Task {
    pub(super) clock: Clock,
    pub(super) config: Config,
    /// Where we are bound.
    addr: SocketAddrV4,
    /// Where our supernode sees us.
    seen_at: Option<Ipv4Addr>,
    pub(super) rng: Rng,
    pub(super) dialer: Dialer,
    pub(super) node: Node,
    pub(super) home: Option<Home>,
    pub(super) office: Option<Office>,
    pub(super) links: BTreeMap<LinkKey, Connected>,
    pub(super) next_key: u64,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) connections: JoinSet<()>,
    udp: Arc<UdpSocket>,
    searches: BTreeMap<u16, mpsc::Sender<Hit>>,
    pub(super) transfers: Transfers,
    shares: Shares,
    pub(super) own: Own,
    /// What others are worth, from the last time that we were a supernode.
    pub(super) scores: Vec<(Identity, u16)>,
    saved: Option<Saved>,
    saving: Option<JoinHandle<()>>,
    save_at: Instant,
    pub(super) refused: u64,
    status: watch::Sender<Status>,
}

/// Where what comes is taken from.
struct Inlets {
    commands: mpsc::Receiver<Command>,
    told: mpsc::Receiver<Told>,
    arrivals: mpsc::Receiver<Arrival>,
    view: Option<watch::Receiver<View>>,
}

pub(super) fn start(
    config: Config,
    library: Option<Library>,
    clock: Clock,
) -> Result<FastTrack, Error> {
    if config.role == Role::Supernode && config.firewalled {
        return Err(Error::Unreachable);
    }
    let (listener, udp, addr) = bind(config.listen)?;
    let listener = listener.keeping_near(config.lan);
    let mut rng = os_rng().map_err(|error| Error::NoDice(error.kind()))?;
    let epoch = clock.unix().saturating_sub(clock.now().since(Instant::ZERO)).as_secs();
    let (saved, kept) = match &config.state_dir {
        Some(dir) => Saved::open(dir, epoch),
        None => (None, Kept { cache: Cache::new(epoch), ..Kept::default() }),
    };
    let Kept { mut cache, mut own, scores } = kept;
    config.connect.iter().for_each(|addr| cache.add(*addr));
    if let Some(user) = &config.user {
        own.user = clean_name(user.as_bytes());
    }
    if own.user.is_empty() {
        own.user = format!("gaggle{:08x}", rng.next_u32());
    }
    let said = SocketAddrV4::new(
        config.external.unwrap_or(*addr.ip()),
        if config.firewalled { 0 } else { addr.port() },
    );
    let machine = NodeConfig { user: own.user.clone(), addr: said, bandwidth: BANDWIDTH };
    let (told, told_out) = mpsc::channel(TOLD_MAX);
    let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
    let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS_MAX);
    let view = library.as_ref().map(|library| {
        let mut view = library.watch();
        view.mark_changed();
        view
    });
    let (status_in, status) = watch::channel(Status::default());
    let (user, peers) = (own.user.as_str().into(), config.peers.clone());
    let mut task = Task {
        clock,
        addr,
        seen_at: None,
        dialer: dialer(&config, *addr.ip()),
        node: Node::new(clock.now(), machine, cache, rng.fork()),
        rng,
        home: None,
        office: None,
        links: BTreeMap::new(),
        next_key: 0,
        told,
        connections: JoinSet::new(),
        udp: Arc::new(udp),
        searches: BTreeMap::new(),
        transfers: Transfers::new(&config, library, addr, &own.user, clock),
        shares: Shares::default(),
        own,
        scores,
        saved,
        saving: None,
        save_at: clock.now() + SAVE_EVERY,
        refused: 0,
        status: status_in,
        config,
    };
    if task.config.role == Role::Supernode && !task.take_office(clock.now()) {
        return Err(Error::NoAddress);
    }
    task.drain(clock.now());
    task.publish();
    let mut background = JoinSet::new();
    let greet = move |stream, from| door::greet(stream, from, peers.clone());
    background.spawn(listener.greet(greet, arrivals_in));
    background.spawn(task.run(Inlets { commands: commands_out, told: told_out, arrivals, view }));
    Ok(FastTrack { addr, user, commands, status, _background: Arc::new(background) })
}

/// How it connects to others, from where it is bound.
fn dialer(config: &Config, bound: Ipv4Addr) -> Dialer {
    let bind = Some(bound).filter(|ip| !ip.is_unspecified()).map(Into::into);
    Dialer { connect_timeout: CONNECT_MAX, bind, lan: config.lan, ..Dialer::default() }
}

/// Binds both kinds of sockets to one port.
fn bind(listen: SocketAddrV4) -> Result<(Listener, UdpSocket, SocketAddrV4), Error> {
    let failed = |error: std::io::Error| Error::Listen(listen, error.kind());
    let datagrams = |port| {
        let socket = std::net::UdpSocket::bind((*listen.ip(), port))?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    };
    let mut tries = if listen.port() == 0 { PORTS_TRIED } else { 1 };
    loop {
        tries -= 1;
        let listener = Listener::bind(listen.into()).map_err(failed)?;
        let port = listener.addr().port();
        match datagrams(port) {
            Ok(udp) => return Ok((listener, udp, SocketAddrV4::new(*listen.ip(), port))),
            Err(error) if tries == 0 => return Err(failed(error)),
            Err(_) => {}
        }
    }
}

impl Task {
    async fn run(mut self, mut inlets: Inlets) {
        let mut asked = self.transfers.subscribe();
        let udp = Arc::clone(&self.udp);
        let mut datagram = [0; DATAGRAM_MAX + 1];
        loop {
            self.drain(self.clock.now());
            self.publish();
            let due = self.due();
            tokio::select! {
                command = inlets.commands.recv() => match command {
                    None => return,
                    Some(Command::Stop(done)) => {
                        self.leave().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(self.clock.now(), command),
                },
                Some(told) = inlets.told.recv() => {
                    let now = self.clock.now();
                    self.on_told(now, told);
                    for _ in 1..TOLD_AT_ONCE {
                        let Ok(told) = inlets.told.try_recv() else { break };
                        self.on_told(now, told);
                    }
                }
                Some(arrival) = inlets.arrivals.recv() => self.admit(arrival),
                (len, from) = receive(&udp, &mut datagram) => {
                    self.on_datagram(self.clock.now(), from, &datagram[..len]);
                }
                () = changed(&mut inlets.view) => if let Some(view) = &mut inlets.view {
                    let catalogue = Arc::clone(&view.borrow_and_update().catalogue);
                    self.shares.update(&mut self.node, &catalogue);
                },
                event = Transfers::heard(&mut asked) => self.on_upload(event),
                Some(_) = self.connections.join_next() => {}
                () = self.transfers.reap() => {}
                () = self.clock.sleep_until(Some(due)) => self.on_time(self.clock.now()),
            }
        }
    }

    /// Where others reach us, as far as we know.
    pub(super) fn reachable(&self) -> SocketAddrV4 {
        let bound = Some(*self.addr.ip()).filter(|ip| !ip.is_unspecified());
        let ip = self.config.external.or(bound).or(self.seen_at);
        SocketAddrV4::new(ip.unwrap_or(*self.addr.ip()), self.addr.port())
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Confirm(receipt) => self.node.confirm(receipt),
            Command::Push(host, answer) => self.push(now, &host, answer),
            Command::Search(query, answer) => {
                let _ = answer.send(self.search(now, query));
            }
            Command::Stop(_) => {} // ends the loop, which has seen it before
        }
    }

    fn search(&mut self, now: Instant, query: Query) -> Result<mpsc::Receiver<Hit>, Error> {
        self.searches.retain(|id, hits| {
            if hits.is_closed() {
                self.node.cancel(*id);
            }
            !hits.is_closed()
        });
        let id = self.node.search(now, query).map_err(|_| Error::TooManySearches)?;
        let (hits, found) = mpsc::channel(HITS_MAX);
        self.searches.insert(id, hits);
        Ok(found)
    }

    fn on_datagram(&mut self, now: Instant, from: SocketAddrV4, raw: &[u8]) {
        if !self.dialer.may_dial((*from.ip()).into()) {
            return;
        }
        let Ok(datagram) = Datagram::parse(raw) else { return };
        self.node.handle_datagram(now, from, &datagram);
        self.with_office(|office| office.supernode.handle_datagram(from, &datagram));
    }

    fn on_time(&mut self, now: Instant) {
        self.node.handle_timeout(now);
        self.look_after_office(now);
        self.transfers.forget(now);
        if now >= self.save_at {
            self.save_at = now + SAVE_EVERY;
            self.save(now);
        }
    }

    fn due(&self) -> Instant {
        let office = self.office.as_ref().map_or(Instant::FAR_FUTURE, Office::due);
        let transfers = self.transfers.due();
        self.node.poll_timeout().min(office).min(transfers).min(self.save_at)
    }

    /// Carries out all that the machines ask for.
    pub(super) fn drain(&mut self, now: Instant) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.node.poll_output() {
                quiet = false;
                self.on_node(now, output);
            }
            while let Some(event) = self.node.poll_event() {
                quiet = false;
                self.on_event(now, event);
            }
            while let Some(output) = self.office.as_mut().and_then(Office::poll) {
                quiet = false;
                self.on_supernode(now, output);
            }
            if quiet {
                return;
            }
        }
    }

    fn on_node(&mut self, now: Instant, output: NodeOutput) {
        match output {
            NodeOutput::Close => self.go_out(now),
            NodeOutput::Connect(to) => {
                self.go_out(now);
                if self.office.as_ref().is_some_and(|office| office.supernode.addr() == to) {
                    let key = self.fresh_key();
                    self.home = Some(Home::Own(key));
                    self.with_office(|office| office.supernode.handle_child(now, key, to));
                    self.node.handle_open(now);
                } else {
                    let key = self.dial(Kind::Home, to);
                    self.home = Some(Home::Other(key));
                }
            }
            NodeOutput::Datagram(to, datagram) => self.send(to, &datagram),
            NodeOutput::Say(message) => match self.home {
                Some(Home::Own(key)) => {
                    self.with_office(|office| office.supernode.handle_message(now, key, message));
                }
                Some(Home::Other(key)) => self.say(now, key, Words::Packet(message.encode())),
                None => {}
            },
        }
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Attached(to) => {
                tracing::info!(supernode = %to, "attached");
                self.introduce(Some(to));
            }
            Event::Detached(from) => {
                tracing::info!(supernode = %from, "detached");
                self.introduce(None);
            }
            Event::External(ip) => {
                self.seen_at = Some(ip);
                self.introduce(self.node.supernode());
            }
            Event::Found { search, supernode, hits } => {
                let Some(found) = self.searches.get(&search) else { return };
                for hit in hits {
                    if found.try_send(Hit::new(supernode, hit)).is_err() {
                        break;
                    }
                }
            }
            Event::Promoted => self.on_promoted(now),
            Event::Push(order) if !self.dialer.may_dial((*order.to.ip()).into()) => {}
            Event::Push(order) => self.transfers.give(order),
            Event::Score(score) => self.on_score(score),
            Event::SearchEnded(search) => {
                self.searches.remove(&search);
            }
        }
    }

    fn on_score(&mut self, Score { user, ip, score, .. }: Score) {
        let Some(score) = score else { return };
        let ours = Some(ip) == self.seen_at || ip == *self.reachable().ip();
        if user == self.own.user && ours {
            self.own.score = score;
        } else {
            self.transfers.set_score(&Identity { user, ip }, score);
        }
    }

    /// What those who ask for files are told of us.
    fn introduce(&mut self, supernode: Option<SocketAddrV4>) {
        self.transfers.introduce(self.reachable(), &self.own.user, supernode);
    }

    fn admit(&mut self, Arrival { from, stream, head, purpose }: Arrival) {
        let taken = match purpose {
            Purpose::Http => self.transfers.serve(stream, from, head),
            Purpose::Give(push) => {
                let asked = self.node.handle_give(self.clock.now(), push);
                asked.is_some() && self.transfers.given(push, stream)
            }
            Purpose::Session => self.accept(Kind::Child, from, stream, head),
            Purpose::Mesh => self.accept(Kind::Mate { dialled: false }, from, stream, head),
        };
        if !taken {
            self.refused += 1;
            tracing::debug!(%from, ?purpose, "refused");
        }
    }

    pub(super) fn send(&self, to: SocketAddrV4, datagram: &Datagram) {
        if !self.dialer.may_dial((*to.ip()).into()) {
            return;
        }
        // What finds no room is lost, as in the network.
        if let Err(error) = self.udp.try_send_to(&datagram.encode(), to.into()) {
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }

    fn publish(&self) {
        let machine = self.office.as_ref().map(|office| &office.supernode);
        let status = Status {
            attached: self.node.supernode(),
            supernode: machine.is_some(),
            score: self.own.score,
            known: self.node.cache().len(),
            shared: self.shares.len(),
            searches: self.searches.len(),
            nodes: machine.map_or(0, Supernode::children),
            supernodes: machine.map_or(0, Supernode::mates),
            files: machine.map_or(0, Supernode::files),
            connections: self.links.len(),
            uploads: self.transfers.status(),
            refused: self.refused,
        };
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    fn kept(&mut self, now: Instant) -> Kept {
        if let Some(office) = &mut self.office {
            self.scores = office.scores(now);
        }
        let (cache, own, scores) =
            (self.node.cache().clone(), self.own.clone(), self.scores.clone());
        Kept { cache, own, scores }
    }

    /// Writes down what is known, unless that is being done.
    fn save(&mut self, now: Instant) {
        let Some(saved) = self.saved.clone() else { return };
        if self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            return;
        }
        let kept = self.kept(now);
        self.saving = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = saved.write(&kept) {
                tracing::warn!(%error, "what is known of FastTrack is not kept");
            }
        }));
    }

    /// Takes leave of everybody and writes down what is known.
    async fn leave(&mut self) {
        let now = self.clock.now();
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        self.save(now);
        self.with_office(|office| office.supernode.leave());
        self.drain(now);
        self.links.clear();
        let said = async { while self.connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL_MAX, said).await;
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        self.saved = None; // the next one may have the folder
    }
}

async fn receive(udp: &UdpSocket, into: &mut [u8]) -> (usize, SocketAddrV4) {
    loop {
        match udp.recv_from(into).await {
            Ok((len @ 1..=DATAGRAM_MAX, from)) => {
                if let SocketAddr::V4(from) = canonical(from) {
                    return (len, from);
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "no datagram could be read");
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
    }
}

/// Waits until something else is shared.
async fn changed(view: &mut Option<watch::Receiver<View>>) {
    if let Some(watched) = view
        && watched.changed().await.is_ok()
    {
        return;
    }
    *view = None;
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_fifteen_seconds_and_leads_to_no_other_network_if_none_is_wanted() {
        let config = Config::new("127.0.0.1:0".parse().unwrap());
        let open = dialer(&config, Ipv4Addr::UNSPECIFIED);
        assert_eq!((open.connect_timeout, open.bind), (Duration::from_secs(15), None));
        let near = dialer(&Config { lan: true, ..config }, Ipv4Addr::LOCALHOST);
        assert_eq!(near.bind, Some(Ipv4Addr::LOCALHOST.into()));
        let far = [9, 9, 9, 9].into();
        assert!(open.may_dial(far) && !near.may_dial(far) && near.may_dial([10, 0, 0, 1].into()));
    }
}
