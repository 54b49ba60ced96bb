//! The one task that owns the node: sockets, clock and state file for a `gaggle_core::overlay::kademlia::Node`.
//!
//! Time comes first, then commands, then what strangers send, so that a flood keeps nothing from ending.

use super::saved::Saved;
use super::{ItemOutcome, Pong, Scrape, Way, announces, explain};
use crate::locate::{AskId, Found, LocateError};
use crate::net::{Clock, Datagram, DhtDatagrams};
use gaggle_core::clock::Instant;
use gaggle_core::external::Sighting;
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::overlay::kademlia::{Event, LookupId, Node, PingId, Status};
use gaggle_core::proto::announce::{Announce, Terms};
use gaggle_core::proto::krpc::{Filter, Item, Put, Salt};
use gaggle_core::swarm::seeker::ANNOUNCE_EVERY;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How often the status is shown at most.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// What is known is written down for the first time after this...
const SAVE_FIRST: Duration = Duration::from_secs(20);
/// ...and then this often.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// Asks under way or waiting; a further one fails at once. Each torrent has one at a time.
const ASKS_MAX: usize = 4096;
/// The same of those who look around, and of pings.
const WAITING_MAX: usize = 256;

/// What others want of the node.
#[derive(Debug)]
pub(super) enum Command {
    Ask {
        id: AskId,
        announce: Box<Announce>,
        found: mpsc::Sender<Found>,
    },
    /// A name to begin with has these addresses, or none.
    Bootstrap(Vec<SocketAddr>),
    Item(ItemAsk, oneshot::Sender<Result<ItemOutcome, LocateError>>),
    LookAround(oneshot::Sender<()>),
    Ping(SocketAddr, oneshot::Sender<Option<Pong>>),
    Scrape(InfoHash, oneshot::Sender<Option<Scrape>>),
    Seen(Sighting),
    Stop(oneshot::Sender<()>),
    Suggest(SocketAddr),
}

/// A count under way.
#[derive(Debug)]
struct Scraping {
    /// Lookups that are not over.
    open: Vec<LookupId>,
    seeds: Filter,
    leeches: Filter,
    told: u32,
    done: oneshot::Sender<Option<Scrape>>,
}

impl Scraping {
    fn result(&self) -> Option<Scrape> {
        let rounded = |filter: &Filter| filter.estimate().round() as u64;
        let (seeds, leeches) = (rounded(&self.seeds), rounded(&self.leeches));
        (self.told > 0).then_some(Scrape { seeds, leeches, told: self.told })
    }
}

/// What is asked about items.
#[derive(Debug)]
pub(super) enum ItemAsk {
    Get(NodeId, Salt),
    Put(Box<Put>),
}

/// Who waits for what an ask brings.
#[derive(Debug)]
enum Waiting {
    Item(oneshot::Sender<Result<ItemOutcome, LocateError>>),
    Peers(AskId, mpsc::Sender<Found>),
}

/// An ask under way.
#[derive(Debug)]
struct Asked {
    waiting: Waiting,
    /// It goes on after its lookup.
    stores: bool,
    /// Lookups that are not over, and what is stored after them.
    open: Vec<LookupId>,
    /// What it has brought so far, but for peers.
    brought: ItemOutcome,
    /// The lookups that have found the newest item: only their copies count.
    newest_of: Vec<LookupId>,
}

impl Asked {
    fn new(waiting: Waiting, stores: bool, open: Vec<LookupId>) -> Self {
        Self { waiting, stores, open, brought: ItemOutcome::default(), newest_of: Vec::new() }
    }

    fn is_given_up(&self) -> bool {
        match &self.waiting {
            Waiting::Item(answer) => answer.is_closed(),
            Waiting::Peers(_, found) => found.is_closed(),
        }
    }
}

pub(super) struct Task {
    clock: Clock,
    way: Way,
    node: Node,
    saved: Option<Arc<Saved>>,
    save_at: Instant,
    shown: Shown,
    asks: Vec<Asked>,
    /// Looking around, and who waits for the end of it.
    looks: Vec<(Vec<LookupId>, oneshot::Sender<()>)>,
    scrapes: Vec<Scraping>,
    pings: BTreeMap<PingId, oneshot::Sender<Option<Pong>>>,
    /// What is to be sent, and from which of our addresses.
    outgoing: Vec<(Option<IpAddr>, SocketAddr, Vec<u8>)>,
    /// Names to begin with that have not been looked up yet.
    names: usize,
    /// Asks that wait for the first of them: alone it could ask nobody.
    early: Vec<Command>,
}

/// What can be seen of the node from outside.
pub(super) struct Shown {
    pub(super) status: watch::Sender<Status>,
    /// Whether there is a node in any table.
    pub(super) has_nodes: watch::Sender<bool>,
}

impl Shown {
    fn show(&self, status: Status) {
        let has = status.why_nobody.is_none();
        self.has_nodes.send_if_modified(|shown| std::mem::replace(shown, has) != has);
        self.status.send_if_modified(|shown| std::mem::replace(shown, status) != status);
    }
}

impl Task {
    pub(super) fn new(
        clock: Clock,
        way: Way,
        node: Node,
        saved: Option<Saved>,
        names: usize,
        shown: Shown,
    ) -> Self {
        Self {
            clock,
            way,
            node,
            saved: saved.map(Arc::new),
            save_at: clock.now() + SAVE_FIRST,
            shown,
            asks: Vec::new(),
            looks: Vec::new(),
            scrapes: Vec::new(),
            pings: BTreeMap::new(),
            outgoing: Vec::new(),
            names,
            early: Vec::new(),
        }
    }

    /// Runs until it is told to stop, or nobody is left to tell it.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut datagrams: DhtDatagrams,
    ) {
        let mut ticks = tokio::time::interval(SHOW_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Nobody is shown twice that nothing has happened.
        let mut news = true;
        let stopped = loop {
            self.give_up_what_nobody_waits_for();
            self.drain(None);
            self.send().await;
            self.tell();
            let wake = self.wake_at();
            let mut shown = false;
            tokio::select! {
                biased;
                () = self.clock.sleep_until(wake) => {
                    self.give_up_what_nobody_waits_for();
                    self.node.handle_timeout(self.clock.now());
                    self.save_now_and_then();
                }
                _ = ticks.tick(), if news => {
                    self.shown.show(self.node.status(self.clock.now()));
                    shown = true;
                }
                command = commands.recv() => match command {
                    Some(Command::Stop(done)) => break Some(done),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                Some(batch) = datagrams.recv() => {
                    self.give_up_what_nobody_waits_for();
                    self.on_datagrams(&batch);
                }
            }
            news = !shown;
        };
        self.save().await;
        if let Some(done) = stopped {
            let _ = done.send(()); // whoever asked may have stopped waiting
        }
    }

    /// Ends the asks whose receiver is gone, before anything more is sent for them: the torrent may have turned out to
    /// be private.
    //= BEP 27
    fn give_up_what_nobody_waits_for(&mut self) {
        let now = self.clock.now();
        for ask in self.asks.extract_if(.., |ask| ask.is_given_up()) {
            ask.open.iter().for_each(|&lookup| self.node.cancel(now, lookup));
        }
        for scrape in self.scrapes.extract_if(.., |scrape| scrape.done.is_closed()) {
            scrape.open.iter().for_each(|&lookup| self.node.cancel(now, lookup));
        }
    }

    /// Never at once again: a machine that is early loses a millisecond and does not take a core.
    fn wake_at(&self) -> Option<Instant> {
        let soonest = self.clock.now() + Duration::from_millis(1);
        let save = self.saved.is_some().then_some(self.save_at);
        self.node.poll_timeout().into_iter().chain(save).min().map(|at| at.max(soonest))
    }

    fn on_datagrams(&mut self, batch: &[Datagram]) {
        let now = self.clock.now();
        for datagram in batch {
            if !self.way.is_open(datagram.from) {
                continue;
            }
            self.node.handle_datagram(now, datagram.from, &datagram.data);
            self.drain(Some(datagram));
        }
    }

    /// Takes over what is to be sent. An answer leaves from the address that the question came to.
    fn drain(&mut self, answered: Option<&Datagram>) {
        while let Some((to, raw)) = self.node.poll_transmit() {
            let from = answered.filter(|datagram| datagram.from == to).and_then(|d| d.to);
            self.outgoing.push((from, to, raw));
        }
    }

    async fn send(&mut self) {
        // Whoever cannot be reached may lead to further questions.
        while !self.outgoing.is_empty() {
            for (from, to, raw) in std::mem::take(&mut self.outgoing) {
                if let Err(error) = self.way.send(from, to, &raw).await {
                    tracing::trace!(%to, %error, "a datagram was not sent");
                    self.node.handle_unreachable(self.clock.now(), to);
                }
            }
            self.drain(None);
        }
    }

    fn save_now_and_then(&mut self) {
        let now = self.clock.now();
        if self.save_at <= now {
            self.save_at = now + SAVE_EVERY;
            if let Some(saved) = self.saved.clone() {
                let snapshot = self.node.snapshot();
                tokio::task::spawn_blocking(move || keep(&saved, &snapshot));
            }
        }
    }

    async fn save(&self) {
        if let Some(saved) = self.saved.clone() {
            let snapshot = self.node.snapshot();
            let _ = tokio::task::spawn_blocking(move || keep(&saved, &snapshot)).await;
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Ask { id, found, .. } if self.asks.len() + self.early.len() >= ASKS_MAX => {
                super::refuse(id, &found);
            }
            // Whoever waits for it hears that the other end is gone, and does without.
            Command::LookAround(_)
                if self.looks.len() >= WAITING_MAX || self.early.len() >= ASKS_MAX => {}
            Command::Ping(..) if self.pings.len() >= WAITING_MAX => {}
            Command::Scrape(..)
                if self.scrapes.len() >= WAITING_MAX || self.early.len() >= ASKS_MAX => {}
            // The asker of an item hears that the other end is gone.
            Command::Item(..) if self.asks.len() + self.early.len() >= ASKS_MAX => {}
            Command::Ask { .. }
            | Command::Item(..)
            | Command::LookAround(_)
            | Command::Scrape(..)
                if self.is_early() =>
            {
                self.early.push(command);
            }
            Command::Ask { id, announce, found } => self.ask(now, id, &announce, found),
            Command::Item(ask, answer) => {
                let stores = matches!(ask, ItemAsk::Put(_));
                let open = match ask {
                    ItemAsk::Get(target, salt) => self.node.get_item(now, target, &salt),
                    ItemAsk::Put(put) => self.node.put_item(now, *put),
                };
                self.asks.push(Asked::new(Waiting::Item(answer), stores, open));
            }
            Command::LookAround(done) => {
                let target = self.node.id(false);
                self.looks.push((self.node.find_nodes(now, target), done));
            }
            Command::Bootstrap(addrs) => self.on_bootstrap(now, &addrs),
            Command::Ping(addr, answer) => {
                let ping = self.node.ping(now, addr);
                self.pings.insert(ping, answer);
            }
            Command::Scrape(swarm, done) => {
                let (seeds, leeches) = (Filter::new(), Filter::new());
                let open = self.node.scrape(now, swarm);
                self.scrapes.push(Scraping { open, seeds, leeches, told: 0, done });
            }
            Command::Seen(sighting) => self.node.handle_sighting(now, sighting),
            Command::Suggest(addr) => {
                if self.way.leads_to(addr) {
                    self.node.suggest(now, addr);
                }
            }
            Command::Stop(_) => {} // ends the loop before it comes here
        }
    }

    /// Whether nobody is known, but the names of nodes to ask are being looked up.
    fn is_early(&self) -> bool {
        self.names > 0 && self.node.is_alone()
    }

    fn on_bootstrap(&mut self, now: Instant, addrs: &[SocketAddr]) {
        let addrs: Vec<_> = addrs.iter().copied().filter(|&addr| self.way.leads_to(addr)).collect();
        self.names = self.names.saturating_sub(1);
        if !addrs.is_empty() {
            self.names = 0; // one is enough to begin
            self.node.add_bootstrap(&addrs);
            if self.node.status(now).why_nobody.is_some() {
                self.node.bootstrap(now); // it may have given up for minutes
            }
        }
        if self.names == 0 {
            for command in std::mem::take(&mut self.early) {
                self.on_command(command);
            }
        }
    }

    fn ask(&mut self, now: Instant, id: AskId, announce: &Announce, found: mpsc::Sender<Found>) {
        let (swarm, announces) = (announce.info_hash, announces(announce));
        let open = if announces {
            self.node.announce(now, swarm, Some(announce.port), announce.left == 0)
        } else {
            self.node.lookup_peers(now, swarm)
        };
        self.asks.push(Asked::new(Waiting::Peers(id, found), announces, open));
    }

    /// Passes on what the node has to say.
    fn tell(&mut self) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Peers { lookup, peers, .. } => {
                    let ask = self.asks.iter().find(|ask| ask.open.contains(&lookup));
                    if let Some(Asked { waiting: Waiting::Peers(id, found), .. }) = ask {
                        // Whoever does not take them has enough, or hears of them next time.
                        let _ = found.try_send(Found::Peers { id: *id, peers });
                    }
                }
                Event::Item { lookup, item, .. } => self.on_item(lookup, *item),
                Event::Done { lookup, found } => self.on_done(lookup, &found),
                Event::Scraped { lookup, seeds, leeches } => {
                    let scrape = self.scrapes.iter_mut().find(|one| one.open.contains(&lookup));
                    if let Some(scrape) = scrape {
                        scrape.seeds.merge(&seeds);
                        scrape.leeches.merge(&leeches);
                        scrape.told += 1;
                    }
                }
                Event::External(ip) => tracing::debug!(%ip, "others see us at"),
                Event::Pong { ping, answer, .. } => {
                    if let Some(waiting) = self.pings.remove(&ping) {
                        let _ = waiting.send(answer.map(|(id, rtt)| Pong { id, rtt }));
                    }
                }
                Event::Stored { lookup, stored, refused } => {
                    let count = |ask: &mut Asked| {
                        ask.brought.stored += stored;
                        ask.brought.refused = ask.brought.refused.max(refused);
                    };
                    self.settle(lookup, count, |_| true);
                }
            }
        }
    }

    /// Keeps the newest. Of an immutable one there is nothing newer, so the other network need not look any further.
    fn on_item(&mut self, lookup: LookupId, item: Item) {
        let Some(ask) = self.asks.iter_mut().find(|ask| ask.open.contains(&lookup)) else { return };
        let known = ask.brought.item.as_ref().map(Item::seq);
        if known > Some(item.seq()) {
            return;
        }
        if known < Some(item.seq()) {
            ask.brought.copies = 0;
            ask.newest_of.clear();
        }
        if item.signed.is_none() {
            let now = self.clock.now();
            let others = ask.open.extract_if(.., |open| *open != lookup);
            others.for_each(|other| self.node.cancel(now, other));
        }
        ask.newest_of.push(lookup);
        ask.brought.item = Some(item);
    }

    fn on_done(&mut self, lookup: LookupId, found: &gaggle_core::overlay::kademlia::Found) {
        let count = |ask: &mut Asked| {
            ask.brought.asked += found.asked;
            ask.brought.answered += found.answered;
            if ask.newest_of.contains(&lookup) {
                ask.brought.copies += found.copies;
            }
        };
        self.settle(lookup, count, |ask| !ask.stores);
        let over = |looks: &mut Vec<LookupId>| {
            looks.retain(|id| *id != lookup);
            looks.is_empty()
        };
        for scrape in self.scrapes.extract_if(.., |scrape| over(&mut scrape.open)) {
            let result = scrape.result();
            let _ = scrape.done.send(result);
        }
        let status = self.node.status(self.clock.now());
        for (_, done) in self.looks.extract_if(.., |(looks, _)| over(looks)) {
            self.shown.show(status);
            let _ = done.send(());
        }
    }

    /// Counts what a lookup brought, and ends the ask if it was the last one.
    fn settle(
        &mut self,
        lookup: LookupId,
        count: impl FnOnce(&mut Asked),
        over: impl FnOnce(&Asked) -> bool,
    ) {
        let Some(at) = self.asks.iter().position(|ask| ask.open.contains(&lookup)) else { return };
        let ask = &mut self.asks[at];
        count(ask);
        if over(ask) {
            ask.open.retain(|open| *open != lookup);
        }
        if !ask.open.is_empty() {
            return;
        }
        let Asked { waiting, brought, .. } = self.asks.swap_remove(at);
        let error = match self.node.status(self.clock.now()).why_nobody {
            Some(why) if brought.answered == 0 => Some(LocateError::NoNodes(explain(why))),
            _ => None,
        };
        match waiting {
            Waiting::Item(answer) => {
                // What is stored here needs nobody's answer.
                let error = error.filter(|_| brought.item.is_none());
                let _ = answer.send(error.map_or(Ok(brought), Err));
            }
            Waiting::Peers(id, found) => {
                let ItemOutcome { asked, answered, stored, .. } = brought;
                let terms = Terms { interval: Some(ANNOUNCE_EVERY), ..Terms::default() };
                let outcome = error.map_or(Ok(terms), Err);
                let _ = found.try_send(Found::Searched { id, asked, answered, stored });
                // One whose queue is full hears that the sender is gone, which means the same.
                let _ = found.try_send(Found::Done { id, outcome });
            }
        }
    }
}

fn keep(saved: &Saved, snapshot: &gaggle_core::overlay::kademlia::Snapshot) {
    if let Err(error) = saved.write(snapshot) {
        tracing::warn!(%error, "the nodes of the DHT could not be saved");
    }
}
