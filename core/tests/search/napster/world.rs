//! A directory and many clients, the same machines as in production, with a wire between them that takes time.

use crate::agenda::Agenda;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::napster::{
    Client, ClientConfig, ClientEvent, Directory, DirectoryConfig, Password, UserId,
};
use gaggle_core::proto::napster::{File, FileHash, Nick};
use gaggle_core::rng::Rng;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

enum Happening {
    ToServer(usize, Vec<u8>),
    ToClient(usize, Vec<u8>),
    WakeClient(usize),
    WakeServer,
}

pub(crate) struct Host {
    pub(crate) client: Client,
    /// Whether others can connect to it.
    pub(crate) reachable: bool,
    id: Option<UserId>,
    delay: Duration,
    wake_at: Instant,
    /// Writes to the server, and of the server to it.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    pub(crate) events: Vec<(Instant, ClientEvent)>,
}

/// One seed is one trace.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) server: Directory,
    pub(crate) hosts: Vec<Host>,
    by_id: BTreeMap<UserId, usize>,
    agenda: Agenda<Happening>,
    server_wake: Instant,
}

fn nick(host: usize) -> Nick {
    Nick::new(format!("user{host}").as_bytes()).unwrap()
}

pub(crate) fn file(path: &str) -> File {
    let (size, bitrate, frequency, seconds) = (4_000_000, 128, 44_100, 200);
    File { path: path.into(), hash: FileHash::NONE, size, bitrate, frequency, seconds }
}

impl World {
    pub(crate) fn new(seed: u64, config: DirectoryConfig) -> Self {
        let mut rng = Rng::seeded(seed);
        Self {
            now: Instant::ZERO,
            server: Directory::new(Instant::ZERO, config, [], rng.fork()),
            rng,
            hosts: Vec::new(),
            by_id: BTreeMap::new(),
            agenda: Agenda::new(),
            server_wake: Instant::FAR_FUTURE,
        }
    }

    /// Adds somebody who connects now, from a /24 of his own, 10 to 150 ms away.
    pub(crate) fn join(&mut self, port: u16) -> usize {
        let host = self.hosts.len();
        let config = ClientConfig {
            server: "server".into(),
            nick: nick(host),
            password: Password::None,
            register: false,
            port,
            speed: 7,
            places: 5,
            browsable: true,
            searches_per_min: 10,
            pings: 0,
        };
        let mut client = Client::new(config);
        client.handle_connected(self.now, IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)));
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 1)) + ((host as u32) << 8));
        let id = self.server.handle_connect(self.now, ip.into()).unwrap();
        self.by_id.insert(id, host);
        self.hosts.push(Host {
            client,
            reachable: port != 0,
            id: Some(id),
            delay: Duration::from_micros(10_000 + self.rng.below(140_000)),
            wake_at: Instant::FAR_FUTURE,
            sent: 0,
            received: 0,
            received_bytes: 0,
            events: Vec::new(),
        });
        self.settle_client(host);
        host
    }

    /// Cuts somebody's connection without a word.
    pub(crate) fn leave(&mut self, host: usize) {
        if let Some(id) = self.hosts[host].id.take() {
            self.by_id.remove(&id);
            self.server.handle_closed(self.now, id);
            self.hosts[host].client.handle_closed();
            self.settle_server();
        }
    }

    pub(crate) fn act<T>(&mut self, host: usize, act: impl FnOnce(&mut Client, Instant) -> T) -> T {
        let done = act(&mut self.hosts[host].client, self.now);
        self.settle_client(host);
        done
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, what)) = self.agenda.next(end) {
            self.now = at;
            match what {
                Happening::ToServer(host, bytes) => {
                    if let Some(id) = self.hosts[host].id {
                        self.server.handle_bytes(at, id, &bytes);
                        self.settle_server();
                    }
                }
                Happening::ToClient(host, bytes) => {
                    if let Some(id) = self.hosts[host].id {
                        self.server.handle_sent(at, id, bytes.len());
                        self.settle_server();
                    }
                    self.hosts[host].client.handle_bytes(at, &bytes);
                    self.settle_client(host);
                }
                Happening::WakeClient(host) if self.hosts[host].wake_at == at => {
                    self.hosts[host].wake_at = Instant::FAR_FUTURE;
                    self.hosts[host].client.handle_timeout(at);
                    self.settle_client(host);
                }
                Happening::WakeServer if self.server_wake == at => {
                    self.server_wake = Instant::FAR_FUTURE;
                    self.server.handle_timeout(at);
                    self.settle_server();
                }
                Happening::WakeClient(_) | Happening::WakeServer => {}
            }
        }
        self.now = end;
    }

    fn settle_client(&mut self, host: usize) {
        let at = self.now + self.hosts[host].delay;
        while let Some(bytes) = self.hosts[host].client.poll_transmit() {
            self.hosts[host].sent += 1;
            self.agenda.put(at, Happening::ToServer(host, bytes));
        }
        let now = self.now;
        let this = &mut self.hosts[host];
        while let Some(event) = this.client.poll_event() {
            if !matches!(event, ClientEvent::Stats(..) | ClientEvent::Motd(_)) {
                this.events.push((now, event));
            }
        }
        let wake = this.client.poll_timeout().unwrap_or(Instant::FAR_FUTURE).max(now);
        if wake != this.wake_at {
            this.wake_at = wake;
            self.agenda.put(wake, Happening::WakeClient(host));
        }
    }

    fn settle_server(&mut self) {
        while let Some((id, bytes)) = self.server.poll_transmit() {
            let Some(&host) = self.by_id.get(&id) else { continue };
            let this = &mut self.hosts[host];
            this.received += 1;
            this.received_bytes += bytes.len() as u64;
            let at = self.now + this.delay;
            self.agenda.put(at, Happening::ToClient(host, bytes));
        }
        while self.server.poll_event().is_some() {}
        let wake = self.server.poll_timeout().unwrap_or(Instant::FAR_FUTURE).max(self.now);
        if wake != self.server_wake {
            self.server_wake = wake;
            self.agenda.put(wake, Happening::WakeServer);
        }
    }
}
