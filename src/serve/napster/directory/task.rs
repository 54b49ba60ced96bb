//! The one task that owns the machine.

use super::accounts::Accounts;
use super::connection::{Ends, Input, LINGERING_MAX, QUEUE, carry, send_away};
use super::{Config, Status};
use crate::net::{Clock, Listener};
use crate::serve::napster::Error;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::napster::{
    Directory as Machine, DirectoryConfig, DirectoryEvent as Event, UserId,
};
use gaggle_core::rng::Rng;
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;

/// What connections have to tell; they wait while it is full. Each of them has one read in it at most.
const INBOX: usize = 1024;
/// Of that, what is taken in before the answers go out.
const BATCH: usize = 256;
/// Ports that are tried at a time; others wait, one for each user.
const PROBES_MAX: usize = 64;
/// How long a port may take to answer.
const PROBE_WAIT: Duration = Duration::from_secs(5);
/// How long a connection that is to end may take for what it was promised.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How long after a name has changed all of them are written down.
const SAVE_AFTER: Duration = Duration::from_secs(2);
/// How often it is told how things stand.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A connection as its owner holds it.
struct Line {
    queue: mpsc::Sender<Vec<u8>>,
    /// What found no room in the queue. The machine bounds it: it lets go of who does not read.
    pending: Vec<u8>,
    go: Arc<Notify>,
    /// Whether it waits to be told that it may read on.
    waits: bool,
    task: AbortHandle,
}

enum Happening {
    Accepted(TcpStream, SocketAddr),
    Inputs,
    Probed(UserId, bool),
    Stop(Option<oneshot::Sender<()>>),
    Woken,
}

pub(super) struct Task {
    machine: Machine,
    clock: Clock,
    listener: Listener,
    lines: BTreeMap<UserId, Line>,
    inbox: mpsc::Receiver<Input>,
    to_inbox: mpsc::Sender<Input>,
    connections: JoinSet<()>,
    lingering: Arc<Semaphore>,
    probes: JoinSet<(UserId, bool)>,
    to_probe: BTreeMap<UserId, SocketAddrV4>,
    accounts: Option<Accounts>,
    save_at: Option<Instant>,
    /// What writes them down now. Two at once would share a file.
    saving: Option<JoinHandle<()>>,
    refused: u64,
    tell: watch::Sender<Status>,
    tell_at: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        config: Config,
        listener: Listener,
        clock: Clock,
        rng: Rng,
        tell: watch::Sender<Status>,
    ) -> Result<Self, Error> {
        let accounts = config.state_dir.as_deref().map(Accounts::open).transpose()?;
        let now = clock.now();
        let origin_unix_s = clock.unix().as_secs().saturating_sub(now.as_micros() / 1_000_000);
        let directory = DirectoryConfig { origin_unix_s, ..config.directory };
        let known = accounts.iter().flat_map(Accounts::iter);
        let (to_inbox, inbox) = mpsc::channel(INBOX);
        Ok(Self {
            machine: Machine::new(now, directory, known, rng),
            clock,
            listener,
            lines: BTreeMap::new(),
            inbox,
            to_inbox,
            connections: JoinSet::new(),
            lingering: Arc::new(Semaphore::new(LINGERING_MAX)),
            probes: JoinSet::new(),
            to_probe: BTreeMap::new(),
            accounts,
            save_at: None,
            saving: None,
            refused: 0,
            tell,
            tell_at: None,
        })
    }

    /// Runs until it is told to stop, or nobody holds a handle any more.
    pub(super) async fn run(mut self, mut stopped: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut inputs = Vec::new();
        loop {
            let wake = [self.machine.poll_timeout(), self.save_at, self.tell_at];
            let wake = wake.into_iter().flatten().min();
            let happening = tokio::select! {
                stop = stopped.recv() => Happening::Stop(stop),
                Some((id, answers)) = next(&mut self.probes) => Happening::Probed(id, answers),
                () = ended(&mut self.connections) => continue,
                _ = self.inbox.recv_many(&mut inputs, BATCH) => Happening::Inputs,
                (stream, from) = self.listener.accept() => Happening::Accepted(stream, from),
                () = self.clock.sleep_until(wake) => Happening::Woken,
            };
            match happening {
                Happening::Stop(done) => {
                    self.stop().await;
                    drop(self); // and its lock with it
                    if let Some(done) = done {
                        _ = done.send(()); // or nobody waits for it
                    }
                    return;
                }
                Happening::Accepted(stream, from) => self.on_accepted(stream, from),
                Happening::Inputs => inputs.drain(..).for_each(|input| self.on_input(input)),
                Happening::Probed(id, answers) => {
                    self.machine.handle_probed(self.clock.now(), id, answers);
                }
                Happening::Woken => self.on_time(),
            }
            self.drain();
            self.probe();
        }
    }

    fn on_accepted(&mut self, stream: TcpStream, from: SocketAddr) {
        _ = stream.set_nodelay(true); // its answers would be late
        let lingering = Arc::clone(&self.lingering);
        match self.machine.handle_connect(self.clock.now(), from.ip()) {
            Ok(id) => {
                let (queue, queued) = mpsc::channel(QUEUE);
                let go = Arc::new(Notify::new());
                let (inbox, go_too) = (self.to_inbox.clone(), Arc::clone(&go));
                let ends = Ends { inbox, queue: queued, go: go_too, lingering };
                let task = self.connections.spawn(carry(stream, id, ends));
                let line = Line { queue, pending: Vec::new(), go, waits: false, task };
                self.lines.insert(id, line);
            }
            Err(why) => {
                tracing::debug!(%why, "a connection is not taken");
                self.refused += 1;
                // Who comes in crowds is not told.
                if lingering.available_permits() > 0 {
                    let words = why.word().frame().encode();
                    self.connections.spawn(send_away(stream, words, lingering));
                }
            }
        }
        self.tell_soon();
    }

    fn on_input(&mut self, input: Input) {
        let now = self.clock.now();
        self.tell_soon();
        let id = match input {
            Input::Closed(id) => {
                self.lines.remove(&id);
                return self.machine.handle_closed(now, id);
            }
            Input::Read(id, bytes) => {
                self.machine.handle_bytes(now, id, &bytes);
                if let Some(line) = self.lines.get_mut(&id) {
                    line.waits = true;
                }
                id
            }
            Input::Sent(id, bytes) => {
                self.machine.handle_sent(now, id, bytes);
                if let Some(line) = self.lines.get_mut(&id) {
                    line.flush();
                }
                id
            }
        };
        if let Some(line) = self.lines.get_mut(&id)
            && line.waits
            && !self.machine.is_busy(id)
        {
            line.waits = false;
            line.go.notify_one();
        }
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        self.machine.handle_timeout(now);
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            let status = Status {
                counters: self.machine.counters(),
                connections: self.lines.len(),
                refused: self.refused,
            };
            self.tell.send_if_modified(|old| std::mem::replace(old, status) != status);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save(now);
        }
    }

    /// Begins to write down the names, or a little later if the disk is still at it.
    fn save(&mut self, now: Instant) {
        if self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            self.save_at = Some(now + SAVE_AFTER);
            return;
        }
        self.save_at = None;
        let save = self.accounts.as_ref().and_then(Accounts::saver);
        self.saving = save.map(tokio::task::spawn_blocking);
    }

    /// Carries out what the machine wants.
    fn drain(&mut self) {
        while let Some((id, bytes)) = self.machine.poll_transmit() {
            if let Some(line) = self.lines.get_mut(&id) {
                line.write(bytes);
            }
        }
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Account(nick, account) => {
                    if let Some(accounts) = &mut self.accounts {
                        accounts.set(nick, account);
                        self.save_at.get_or_insert(self.clock.now() + SAVE_AFTER);
                    }
                }
                Event::Close(id) => self.close(id),
                Event::Probe(id, addr) => _ = self.to_probe.insert(id, addr),
            }
        }
    }

    fn tell_soon(&mut self) {
        self.tell_at.get_or_insert(self.clock.now() + TELL_EVERY);
    }

    fn close(&mut self, id: UserId) {
        let Some(line) = self.lines.remove(&id) else { return };
        self.tell_soon();
        if !line.pending.is_empty() {
            // He does not read: there are no last words for him.
            return line.task.abort();
        }
        // Its connection writes what it has, and then finds its queue closed.
        let task = line.task;
        self.connections.spawn(async move {
            tokio::time::sleep(CLOSE_PATIENCE).await;
            task.abort();
        });
    }

    fn probe(&mut self) {
        while self.probes.len() < PROBES_MAX
            && let Some((id, addr)) = self.to_probe.pop_first()
        {
            self.probes.spawn(async move {
                let answers = timeout(PROBE_WAIT, TcpStream::connect(addr)).await;
                (id, matches!(answers, Ok(Ok(_))))
            });
        }
    }

    /// Everybody leaves; when they were here is kept.
    async fn stop(&mut self) {
        let now = self.clock.now();
        for id in std::mem::take(&mut self.lines).into_keys() {
            self.machine.handle_closed(now, id);
        }
        self.connections.abort_all();
        self.drain();
        if let Some(saving) = self.saving.take() {
            _ = saving.await; // the last words are to be the newest
        }
        if let Some(save) = self.accounts.as_ref().and_then(Accounts::saver) {
            _ = tokio::task::spawn_blocking(save).await; // it has said what it could not do
        }
    }
}

impl Line {
    fn write(&mut self, bytes: Vec<u8>) {
        if self.pending.is_empty() {
            self.pending = bytes;
        } else {
            self.pending.extend_from_slice(&bytes);
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.pending.is_empty()
            && let Ok(room) = self.queue.try_reserve()
        {
            room.send(std::mem::take(&mut self.pending));
        }
    }
}

async fn next(probes: &mut JoinSet<(UserId, bool)>) -> Option<(UserId, bool)> {
    probes.join_next().await?.ok()
}

/// Waits until one of the tasks has ended; for ever if there is none.
async fn ended(tasks: &mut JoinSet<()>) {
    if tasks.join_next().await.is_none() {
        std::future::pending::<()>().await;
    }
}
