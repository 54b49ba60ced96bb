//! One connection: requests, one after the other, and what answers them.

use super::body::Sender;
use super::request::{Request, What, file_head, refusal};
use super::turns::{Asked, Place};
use super::{Event, Shared, held};
use bytes::{Buf as _, BytesMut};
use gaggle_core::clock::Instant;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::gnutella::{Refusal, torrent_head};
use gaggle_core::share::Item;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Bytes that are read at once while a head is read; a head has a bound of its own.
const READ_LEN: usize = 4 << 10;
/// Seconds after which one who finds no place comes again.
pub(super) const RETRY_S: u64 = 60;
/// Requests in a row that got nothing; one more ends the connection.
const REFUSALS_MAX: usize = 50;
/// How long, and for how many bytes, somebody may go on talking who was told why we close.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_MAX: usize = 64 << 10;

pub(super) struct Talk<'a> {
    shared: &'a Shared,
    stream: TcpStream,
    from: SocketAddr,
    read: BytesMut,
    place: Option<Place>,
    /// Since when it is a slot, and how many bytes went out by it.
    slot: Option<(Instant, u64)>,
    /// When one who waits in line may ask, and until when he must.
    poll: Option<(Instant, Instant)>,
    refusals: usize,
}

/// Whether more may be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Close,
    Next,
}

impl Then {
    const fn of(keep_alive: bool) -> Self {
        if keep_alive { Self::Next } else { Self::Close }
    }
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        stream: TcpStream,
        from: SocketAddr,
        read: BytesMut,
    ) -> Self {
        Self { shared, stream, from, read, place: None, slot: None, poll: None, refusals: 0 }
    }

    /// Until the other side goes, breaks a rule, or is too slow.
    pub(super) async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut patience = self.shared.config.patience.head;
        loop {
            let request = match self.next(patience).await? {
                Some(Ok(request)) => request,
                Some(Err(error)) => {
                    tracing::debug!(from = %self.from, %error, "no request");
                    self.refuse(Refusal::Bad, false).await?;
                    return self.linger().await;
                }
                None => return Ok(()),
            };
            if self.answer(request).await? == Then::Close {
                return self.linger().await;
            }
            patience = self.shared.config.patience.idle;
        }
    }

    /// The next request. `None` if there is none any more, or too early: who asks before he may loses his place.
    async fn next(&mut self, patience: Duration) -> io::Result<Option<Result<Request, String>>> {
        let Shared { clock, library, dialect, config, .. } = self.shared;
        let began = clock.now();
        let poll = self.poll.take();
        let mut until = poll.map_or(began + patience, |(_, until)| until);
        let mut begun = false;
        loop {
            while self.read.first().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                self.read.advance(1);
            }
            let parsed = {
                let (dialect, catalogue) = (held(dialect).clone(), library.catalogue());
                Request::parse(&dialect, &catalogue, self.from, &self.read)
            };
            match parsed {
                Ok(Some((request, len))) => {
                    self.read.advance(len);
                    let early = poll.is_some_and(|(from, _)| clock.now() < from);
                    return Ok((!early).then_some(Ok(request)));
                }
                Ok(None) => {}
                Err(error) => return Ok(Some(Err(error))),
            }
            if !begun && !self.read.is_empty() {
                begun = true;
                until = clock.now() + config.patience.head;
            }
            let frees = poll.is_none() && self.place.is_some();
            let wait = if frees { until.min(began + config.patience.slot) } else { until };
            self.read.reserve(READ_LEN);
            let left = wait.since(clock.now());
            match timeout(left, self.stream.read_buf(&mut self.read)).await {
                Ok(got) => {
                    if got? == 0 {
                        return Ok(None);
                    }
                }
                Err(_) if wait < until => self.place = None,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    async fn answer(&mut self, request: Request) -> io::Result<Then> {
        let keep_alive = request.keep_alive;
        if request.head_only || matches!(request.what, What::Torrent(_)) {
            // Who only looks, or reads a torrent, uses no slot, and must not keep one from others by that.
            (self.place, self.slot) = (None, None);
        }
        let (number, item) = match &request.what {
            What::File(number, item) => (*number, Arc::clone(item)),
            What::Torrent(info) => return self.torrent(*info, &request).await,
            What::List => return self.refuse(Refusal::Forbidden, keep_alive).await,
            What::Nothing => return self.refuse(Refusal::NotFound, keep_alive).await,
        };
        let range = request.range.map(|range| range.of(item.size()).ok_or(item.size()));
        let range = match range.transpose() {
            Ok(range) => range,
            Err(total) => return self.refuse(Refusal::Range(total), keep_alive).await,
        };
        let sha1 = item.hashes.map(|hashes| hashes.sha1);
        let alternates = sha1.map(|sha1| {
            let mut alternates = held(&self.shared.alternates);
            alternates.heard(sha1, self.from.ip(), &request.alive, &request.dead);
            alternates.tell(&sha1, self.from)
        });
        let alternates = alternates.unwrap_or_default();
        let dialect = held(&self.shared.dialect).clone();
        let head = file_head(&dialect, &item, range.as_ref(), &alternates, keep_alive);
        if request.head_only {
            self.refusals = 0;
            timeout(self.shared.config.patience.stall, self.stream.write_all(head.as_bytes()))
                .await??;
            return Ok(Then::of(keep_alive));
        }
        if let Err(why) = self.turn(&request, number).await? {
            return self.refuse(why, keep_alive).await;
        }
        let opened = {
            let (library, item) = (self.shared.library.clone(), Arc::clone(&item));
            spawn_blocking(move || library.open(&item)).await?
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::debug!(from = %self.from, %error, "asked for a file");
                return self.refuse(Refusal::NotFound, keep_alive).await;
            }
        };
        self.refusals = 0;
        let range = range.unwrap_or(0..item.size());
        let wanted = range.end - range.start;
        timeout(self.shared.config.patience.stall, self.stream.write_all(head.as_bytes()))
            .await??;
        let sender =
            Sender { shared: self.shared, stream: &mut self.stream, sent: 0, took: Duration::ZERO };
        let user = request.who.user;
        let mut upload = Upload { number, item, to: self.from, user, wanted, sender };
        upload.sender.file(file, range).await?;
        drop(upload);
        if let Some((_, bytes)) = &mut self.slot {
            *bytes += wanted;
        }
        Ok(Then::of(keep_alive))
    }

    /// Waits for a slot, or says why there is none.
    async fn turn(&mut self, request: &Request, number: u32) -> io::Result<Result<(), Refusal>> {
        let Shared { clock, turns, config, events, .. } = self.shared;
        let now = clock.now();
        self.slot = self.slot.filter(|_| self.place.is_some());
        if self.slot.is_some_and(|(since, bytes)| now.since(since) > config.patience.most(bytes)) {
            // Who keeps a slot and hardly uses it waits with the others.
            (self.place, self.slot) = (None, None);
        }
        if let Some(supernode) = request.supernode
            && !turns.knows(now, &request.who)
        {
            // Nobody listening is no error: all are worth the same then.
            let _ = events.send(Event::Asked { who: request.who.clone(), supernode });
        }
        let asked = turns.ask(now, &mut self.place, &request.who, number, !request.queue);
        let (before, told) = match asked {
            Asked::Now => {
                self.slot.get_or_insert((now, 0));
                return Ok(Ok(()));
            }
            Asked::Full => return Ok(Err(Refusal::Busy(RETRY_S))),
            Asked::Wait(before, told) => (before, told),
        };
        if request.queue {
            let (min, max) = config.patience.poll;
            self.poll = Some((now + min, now + max));
            return Ok(Err(Refusal::Queued {
                position: before + 1,
                length: turns.load().1,
                limit: turns.limit(),
                poll: (min.as_secs(), max.as_secs()),
            }));
        }
        tokio::select! {
            biased;
            told = told => if told.is_ok() {
                self.slot = Some((clock.now(), 0));
                return Ok(Ok(()));
            },
            () = tokio::time::sleep(self.shared.hold()) => {}
            error = gone(&self.stream) => return Err(error),
        }
        if turns.leave(&mut self.place, number) {
            return Ok(Err(Refusal::Busy(RETRY_S)));
        }
        self.slot = Some((clock.now(), 0));
        Ok(Ok(()))
    }

    async fn torrent(&mut self, info: InfoHash, request: &Request) -> io::Result<Then> {
        let library = self.shared.library.clone();
        let Some(bytes) = spawn_blocking(move || library.torrent(info)).await? else {
            return self.refuse(Refusal::NotFound, request.keep_alive).await;
        };
        self.refusals = 0;
        let head = torrent_head(bytes.len() as u64, request.keep_alive);
        let stall = self.shared.config.patience.stall;
        timeout(stall, self.stream.write_all(head.as_bytes())).await??;
        if !request.head_only {
            let (shared, stream) = (self.shared, &mut self.stream);
            Sender { shared, stream, sent: 0, took: Duration::ZERO }.bytes(&bytes).await?;
        }
        Ok(Then::of(request.keep_alive))
    }

    async fn refuse(&mut self, why: Refusal, keep_alive: bool) -> io::Result<Then> {
        held(&self.shared.totals).refused += 1;
        // Who waits in line comes as often as he must.
        self.refusals += usize::from(!matches!(why, Refusal::Queued { .. }));
        let keep_alive = keep_alive && self.refusals < REFUSALS_MAX;
        let head = refusal(&held(&self.shared.dialect), why, keep_alive);
        timeout(self.shared.config.patience.stall, self.stream.write_all(head.as_bytes()))
            .await??;
        Ok(Then::of(keep_alive))
    }

    /// Closes so that what was sent last arrives although there may be something that we have not read.
    async fn linger(&mut self) -> io::Result<()> {
        self.place = None;
        self.stream.shutdown().await?;
        let mut rest = vec![0; READ_LEN];
        let drain = async {
            let mut got = 0;
            while got < LINGER_MAX {
                match self.stream.read(&mut rest).await {
                    Ok(len) if len > 0 => got += len,
                    _ => return,
                }
            }
        };
        let _ = timeout(LINGER, drain).await;
        Ok(())
    }
}

/// A transfer; when it is over, however it ends, whoever listens is told.
struct Upload<'a> {
    number: u32,
    item: Arc<Item>,
    to: SocketAddr,
    user: String,
    wanted: u64,
    sender: Sender<'a>,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let (bytes, whole) = (self.sender.sent, self.sender.sent == self.wanted);
        held(&self.sender.shared.totals).uploads += u64::from(whole);
        // Nobody listening is no error.
        let _ = self.sender.shared.events.send(Event::Sent {
            number: self.number,
            item: Arc::clone(&self.item),
            to: self.to,
            user: std::mem::take(&mut self.user),
            bytes,
            whole,
        });
    }
}

/// Waits until the other side closes; for ever if it has said something that nobody has read yet.
async fn gone(stream: &TcpStream) -> io::Error {
    match stream.peek(&mut [0]).await {
        Ok(0) => io::ErrorKind::UnexpectedEof.into(),
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}
