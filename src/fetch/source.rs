//! One host, and the connections to it that can be used again.

use super::fetches::Fetched;
use super::line::Line;
use super::{Dialect, Host, HttpFile, Kind, Reach, Stream, Worth, http, napster};
use crate::net::{Buffers, Clock, Dialer};
use bytes::{Bytes, BytesMut};
use gaggle_core::geometry::Geometry;
use gaggle_core::overlay::napster::Errand;
use gaggle_core::proto::http::Answer;
use gaggle_core::swarm::source::{Ask, Cutter, PARALLEL_MAX, SourceFault, Trail};
use reqwest::Url;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a host that was pushed may take to connect. Longer than its network needs, shorter than
/// [`gaggle_core::swarm::source::STALL_AFTER`].
pub const PUSH_WAIT: Duration = Duration::from_secs(20);
/// How long it may take from a request to the end of the answer's head. Silence in a body is the machine's to notice,
/// which knows when we do not read.
pub const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// A connection that was not used for so long is not used again. Who queues us says when to ask again, at most after two
/// minutes, and forgets us with the connection.
pub const IDLE_MAX: Duration = Duration::from_secs(125);
/// Bytes of a refusal that are read for the sake of the connection.
pub const REFUSAL_MAX: u64 = 16 << 10;
/// How long a name in a redirect may take to be looked up.
const LOOKUP_WAIT: Duration = Duration::from_secs(10);
/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 4;

/// What all sources of one download share.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) dialer: Dialer,
    pub(super) buffers: Buffers,
    pub(super) clock: Clock,
    /// See [`ANSWER_WAIT`].
    pub(super) patience: Duration,
}

/// One host.
pub(super) struct Source {
    host: Host,
    means: Means,
    idle: Mutex<Vec<Line>>,
}

/// Where the bytes of a range go.
struct Sink<'a> {
    ask: &'a Ask,
    kind: Kind,
    worth: &'a Worth,
    geometry: Geometry,
    out: &'a mpsc::Sender<Fetched>,
}

impl Source {
    pub(super) const fn new(host: Host, means: Means) -> Self {
        Self { host, means, idle: Mutex::new(Vec::new()) }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.host.kind
    }

    /// Gets one range, block by block. Dropping it ends the connection.
    pub(super) async fn fetch(
        &self,
        ask: &Ask,
        geometry: Geometry,
        out: &mpsc::Sender<Fetched>,
    ) -> Result<(), SourceFault> {
        let sink = Sink { ask, kind: self.kind(), worth: &self.host.worth, geometry, out };
        match &self.host.dialect {
            Dialect::Napster { me, path } => {
                let mut line = self.connect(ask.trail).await?;
                let (size, offset) = (ask.part.file_len, ask.part.first);
                let begun = if line.dialled {
                    let (me, path) = (me.clone(), path.clone());
                    let errand = Errand::Get { me, path, size, offset };
                    napster::begin(&mut line, self.means.clock, errand).await?
                } else if let Some(got) = line.size.filter(|&offered| offered != size) {
                    return Err(SourceFault::Total { got, want: size });
                } else {
                    napster::take(&mut line, offset).await?
                };
                sink.body(&mut line, begun, ask.part.len, Excess::Expected).await
            }
            Dialect::FastTrack(..) | Dialect::Http(_) => self.fetch_http(sink).await,
        }
    }

    async fn fetch_http(&self, sink: Sink<'_>) -> Result<(), SourceFault> {
        let part = sink.ask.part;
        let (mut line, answer) = self.ask(sink.ask).await?;
        let follows = match http::judge(&part, &answer) {
            Ok(follows) => follows,
            Err(fault) => {
                if http::pass_over(&mut line, &answer, self.means.patience).await {
                    self.keep(line);
                }
                return Err(fault);
            }
        };
        let begun = line.take();
        sink.body(&mut line, begun, follows, Excess::Wrong).await?;
        // Without a length the end of the connection is the end of a whole file.
        if answer.keeps && (answer.status == 206 || answer.len.is_some()) {
            self.keep(line);
        }
        Ok(())
    }

    /// Asks the host, and whoever it sends us to.
    async fn ask(&self, ask: &Ask) -> Result<(Line, Answer), SourceFault> {
        let dialect = &self.host.dialect;
        let request = |dialect: &Dialect, host: &str, line: &Line| {
            http::request(dialect, host, line.addr, ask.part).ok_or(SourceFault::Head)
        };
        let mut trail = ask.trail;
        let mut again = None;
        if let Some(mut line) = self.reuse() {
            let words = request(dialect, &line.addr.to_string(), &line)?;
            match http::ask(&mut line, &words, self.means.patience).await {
                // It was closed meanwhile, or the way to it is gone, or something was left over of the last answer.
                Err(SourceFault::Lost | SourceFault::Head | SourceFault::Stalled) => {}
                answer => again = Some((line, answer?)),
            }
        }
        let (mut line, mut answer) = match again {
            Some(answered) => {
                self.first_step(&mut trail)?;
                answered
            }
            None => {
                let mut line = self.begin(&mut trail).await?;
                let words = request(dialect, &line.addr.to_string(), &line)?;
                let answer = http::ask(&mut line, &words, self.means.patience).await?;
                (line, answer)
            }
        };
        let (Dialect::Http(file), Reach::Dial(addr)) = (dialect, &self.host.reach) else {
            return Ok((line, answer));
        };
        let (mut file, mut host) = (file.clone(), addr.to_string());
        while matches!(answer.status, 301 | 302 | 303 | 307 | 308)
            && let Some(location) = &answer.location
        {
            let status = SourceFault::Status(answer.status);
            let to = Url::parse(&format!("http://{host}{}", file.path))
                .and_then(|here| here.join(location))
                .ok()
                .filter(|to| to.scheme() == "http")
                .ok_or(status)?;
            line = self.follow(&to, &mut trail).await?;
            host = to.authority().rsplit('@').next().unwrap_or_default().to_owned();
            let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
            file = HttpFile { path: format!("{}{query}", to.path()), ..file };
            let words = request(&Dialect::Http(file.clone()), &host, &line)?;
            answer = http::ask(&mut line, &words, self.means.patience).await?;
            answer.keeps = false; // the next range begins where this one did
        }
        Ok((line, answer))
    }

    /// A connection to where a redirect leads, if it may lead there.
    pub(super) async fn follow(&self, to: &Url, trail: &mut Trail) -> Result<Line, SourceFault> {
        let name = to.host_str().ok_or(SourceFault::Head)?.trim_matches(['[', ']']);
        let port = to.port_or_known_default().unwrap_or(80);
        let found = timeout(LOOKUP_WAIT, tokio::net::lookup_host((name, port))).await;
        let found = found.map_err(|_| SourceFault::Lost)?.map_err(|_| SourceFault::Lost)?;
        let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
        let mut refused = SourceFault::Lost;
        for addr in found {
            let mut next = *trail;
            match next.step(addr.ip()) {
                Ok(()) => {
                    *trail = next;
                    return self.dial(addr).await;
                }
                Err(fault) => refused = fault,
            }
        }
        Err(refused)
    }

    async fn connect(&self, mut trail: Trail) -> Result<Line, SourceFault> {
        self.begin(&mut trail).await
    }

    /// To the host itself, on a connection of this range or of one before.
    fn first_step(&self, trail: &mut Trail) -> Result<(), SourceFault> {
        // One that came to us was led to nowhere.
        self.host.addr().map_or(Ok(()), |addr| trail.step(addr.ip()))
    }

    /// A connection to the host itself.
    async fn begin(&self, trail: &mut Trail) -> Result<Line, SourceFault> {
        self.first_step(trail)?;
        match &self.host.reach {
            Reach::Dial(addr) => self.dial(*addr).await,
            Reach::Push(push) => match timeout(PUSH_WAIT, push.push()).await {
                Ok(Ok(stream)) => {
                    let line = Line::new(stream, &self.means.buffers)?;
                    self.may_dial(line.addr.ip()).map(|()| line)
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the host does not connect");
                    Err(SourceFault::Lost)
                }
                Err(_) => Err(SourceFault::Stalled),
            },
        }
    }

    /// Whoever keeps to his network is not led out of it.
    fn may_dial(&self, ip: IpAddr) -> Result<(), SourceFault> {
        if self.means.dialer.may_dial(ip) { Ok(()) } else { Err(SourceFault::Address(ip)) }
    }

    async fn dial(&self, addr: SocketAddr) -> Result<Line, SourceFault> {
        self.may_dial(addr.ip())?;
        let dialled = self.means.dialer.connect(addr).await;
        let tcp = dialled.map_err(|error| {
            tracing::debug!(%addr, %error, "cannot connect to a source");
            SourceFault::Lost
        })?;
        let stream = Stream { tcp, read: BytesMut::new(), dialled: true, size: None, guard: None };
        Line::new(stream, &self.means.buffers)
    }

    fn reuse(&self) -> Option<Line> {
        let mut idle = held(&self.idle);
        let now = self.means.clock.now();
        idle.retain_mut(|line| now.since(line.idle_since) < IDLE_MAX && line.is_quiet());
        idle.pop()
    }

    fn keep(&self, mut line: Line) {
        let mut idle = held(&self.idle);
        line.idle_since = self.means.clock.now();
        if idle.len() < PARALLEL_MAX {
            idle.push(line);
        }
    }

    /// Closes what is not used now.
    pub(super) fn close_idle(&self) {
        held(&self.idle).clear();
    }

    /// Closes what is not going to be used again.
    pub(super) fn prune(&self) {
        let now = self.means.clock.now();
        held(&self.idle).retain(|line| now.since(line.idle_since) < IDLE_MAX);
    }
}

/// What bytes beyond the range mean.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Excess {
    /// The host cannot know where the range ends.
    Expected,
    /// It was told.
    Wrong,
}

impl Sink<'_> {
    /// What follows: `len` bytes, of which the first may have come. Who sent a head has promised it.
    async fn body(
        &self,
        line: &mut Line,
        begun: Bytes,
        len: u64,
        excess: Excess,
    ) -> Result<(), SourceFault> {
        let ended = self.cut(line, begun, len, excess).await;
        if matches!(ended, Ok(()) | Err(SourceFault::Lost | SourceFault::Short { .. })) {
            self.worth.set_broken_off(ended.is_err());
        }
        ended
    }

    /// Cuts it into blocks.
    async fn cut(
        &self,
        line: &mut Line,
        begun: Bytes,
        len: u64,
        excess: Excess,
    ) -> Result<(), SourceFault> {
        let mut cutter = Cutter::new(self.geometry, self.ask.at, len);
        let mut blocks = Vec::new();
        let mut bytes = begun;
        loop {
            let cut = cutter.cut(bytes, &mut blocks);
            if !blocks.is_empty() {
                let fetched = Fetched {
                    fetch: self.ask.fetch,
                    kind: self.kind,
                    blocks: std::mem::take(&mut blocks),
                    end: None,
                };
                // Waits while the machine is busy or the disk behind: the host is not read, and not blamed for it.
                self.out.send(fetched).await.map_err(|_| SourceFault::Removed)?;
            }
            match cut {
                Err(_) if excess == Excess::Expected => return Ok(()),
                Err(fault) => return Err(fault),
                Ok(()) if cutter.is_full() => return Ok(()),
                Ok(()) => {}
            }
            if !line.hear().await? {
                return cutter.end();
            }
            bytes = line.take();
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
