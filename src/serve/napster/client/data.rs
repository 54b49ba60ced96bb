//! Connections of other clients, and ours to them: files and lists that are given, lists that are taken, and files that
//! somebody brings because nobody can connect to him.
//!
//! Whether anything may be given or taken is asked of the task that owns the machine. Words are bounded in time as a
//! whole, so that nobody holds a connection by saying one byte now and then.

use super::talk::{next_step, say, write};
use super::{Listed, OpenError, Opened, Way};
use crate::net::{Clock, Dialer, Door, Limit};
use crate::share::Library;
use bytes::Bytes;
use gaggle_core::overlay::napster::{BrowseEnd, Errand, Inbound, Outbound, Step, TransferError};
use gaggle_core::proto::napster::{Nick, PeerRequest, Text};
use gaggle_core::share::Item;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a whole list of somebody else may take.
const LIST_MAX: Duration = Duration::from_secs(300);
/// How long somebody to whom we bring our list may take for his first byte: as long as for each other word.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(30);
/// Bytes that are read from a file at once, and are in memory for each upload; fewer if a limit is low.
const CHUNK_BYTES: u64 = 256 << 10;

/// Who waits for a file, and what ends when he lets go of it.
pub(super) type Waiter = (oneshot::Sender<Result<Opened, OpenError>>, oneshot::Sender<()>);

/// To whom which of our files went.
pub(super) type Upload = (Nick, Text);

/// The list of our files, and what ends when it was given.
pub(super) type Lines = (Bytes, oneshot::Sender<()>);

/// What a connection asks the task that owns the machine.
pub(super) enum Ask {
    /// May somebody at this address have the list of our files? It counts until it was given.
    List(IpAddr, oneshot::Sender<Option<Lines>>),
    /// May he have it? If so, it counts as an upload until the connection has ended.
    MayGet(Nick, Text, oneshot::Sender<Option<Arc<Item>>>),
    /// Did we ask him for it?
    MaySend(Nick, Text, oneshot::Sender<Option<Waiter>>),
    /// Did we ask him for his list?
    MaySendList(Nick, oneshot::Sender<Option<mpsc::Sender<Listed>>>),
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) clock: Clock,
    pub(super) dialer: Dialer,
    pub(super) library: Option<Library>,
    pub(super) me: Nick,
    /// See [`super::Config::peers`].
    pub(super) peers: Option<Door>,
    /// See [`super::Config::limit`].
    pub(super) limit: Option<Limit>,
    pub(super) uploaded: Arc<AtomicU64>,
    /// See [`super::Config::words`].
    pub(super) words: Duration,
}

impl Tools {
    /// Connects to another client; `None` if he does not answer.
    pub(super) async fn connect(&self, addr: SocketAddrV4) -> Option<TcpStream> {
        self.dialer.connect(addr.into()).await.ok()
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Somebody has connected to our port. What was uploaded, if it came to that.
    pub(super) async fn accepted(&self, mut stream: TcpStream, from: IpAddr) -> Option<Upload> {
        _ = stream.set_nodelay(true); // its words would be late
        let mut talk = Inbound::new(self.clock.now());
        let words = next_step(&mut stream, &mut talk, self.clock);
        let wanted = match timeout(self.words, words).await {
            Ok(Ok(Step::Wanted(wanted))) => wanted,
            Ok(Ok(Step::BitTorrent(head))) => {
                if let (Some(door), Ok(from)) = (&self.peers, stream.peer_addr()) {
                    door.admit(stream, from, &head).await;
                }
                return None;
            }
            _ => return None,
        };
        match wanted {
            PeerRequest::Get { nick, path, offset } => {
                let upload = (nick.clone(), path.clone());
                let item = self.ask(|answer| Ask::MayGet(nick, path, answer)).await.flatten();
                let counted = item.is_some().then_some(upload);
                let refused = match item {
                    Some(item) => self.give(&mut stream, &item, offset, &mut talk).await.is_err(),
                    None => true,
                };
                if refused {
                    talk.refuse();
                    _ = say(&mut stream, &mut talk).await;
                }
                _ = stream.shutdown().await;
                counted
            }
            PeerRequest::GetList => {
                // Who is refused is closed: words would be lines of a list to him.
                let list = self.ask(|answer| Ask::List(from, answer)).await.flatten();
                if let Some((lines, _counts)) = list {
                    talk.give_list(lines);
                    _ = say(&mut stream, &mut talk).await;
                    _ = stream.shutdown().await;
                }
                None
            }
            PeerRequest::Send { nick, path, size } => {
                match self.ask(|answer| Ask::MaySend(nick, path, answer)).await.flatten() {
                    Some((waiter, ended)) => {
                        let (way, me) = (Way::Pushed { size }, self.me.clone());
                        // Who waits no longer closes it.
                        _ = waiter.send(Ok(Opened { stream, way, me, counted: ended }));
                    }
                    None => {
                        talk.refuse();
                        _ = say(&mut stream, &mut talk).await;
                    }
                }
                None
            }
            PeerRequest::SendList { nick } => {
                let listed = self.ask(|answer| Ask::MaySendList(nick, answer)).await.flatten();
                if let Some(listed) = listed {
                    self.take_list(&mut stream, &mut talk, listed).await;
                }
                None
            }
        }
    }

    /// Gives a file to somebody who connected. An error before its first byte was said is a refusal.
    async fn give(
        &self,
        stream: &mut TcpStream,
        item: &Arc<Item>,
        offset: u64,
        talk: &mut Inbound,
    ) -> Result<(), ()> {
        if offset > item.size() {
            return Err(());
        }
        let file = self.open(item).await.ok_or(())?;
        talk.give(item.size());
        if say(stream, talk).await.is_ok() {
            self.send_file(stream, file, offset, item.size()).await;
        }
        Ok(())
    }

    /// Gives a file to somebody who cannot be reached by others, or whom we cannot be reached by. What was uploaded, if it came to that.
    pub(super) async fn give_to(
        &self,
        addr: SocketAddrV4,
        nick: Nick,
        path: Text,
    ) -> Option<Upload> {
        let mut stream = self.connect(addr).await?;
        let upload = (nick.clone(), path.clone());
        let ask = |answer| Ask::MayGet(nick, path.clone(), answer);
        // It counts from here on, so that nobody else takes its place meanwhile.
        let item = self.ask(ask).await.flatten()?;
        let Some(file) = self.open(&item).await else { return Some(upload) };
        let errand = Errand::Give { me: self.me.clone(), path, size: item.size() };
        let mut talk = Outbound::new(self.clock.now(), errand);
        let words = next_step(&mut stream, &mut talk, self.clock);
        if let Ok(Ok(Step::WantedFrom(offset))) = timeout(self.words, words).await {
            self.send_file(&mut stream, file, offset, item.size()).await;
            _ = stream.shutdown().await;
        }
        Some(upload)
    }

    async fn open(&self, item: &Arc<Item>) -> Option<Arc<File>> {
        let (library, item) = (self.library.clone()?, Arc::clone(item));
        let opened = tokio::task::spawn_blocking(move || library.open(&item)).await.ok()?;
        opened.ok().map(Arc::new)
    }

    /// Sends what lies between two bytes of a file, or as much of it as there still is.
    async fn send_file(&self, stream: &mut TcpStream, file: Arc<File>, from: u64, to: u64) {
        let mut at = from;
        let limit = self.limit.as_ref();
        let most = limit.map_or(CHUNK_BYTES, |limit| limit.piece(CHUNK_BYTES));
        while at < to {
            let (file, len) = (Arc::clone(&file), most.min(to - at) as usize);
            let read = tokio::task::spawn_blocking(move || read_at(&file, at, len)).await;
            let Ok(Ok(chunk)) = read else { return };
            if let Some(limit) = limit {
                limit.pass(chunk.len() as u64).await;
            }
            if chunk.is_empty() || write(stream, &chunk).await.is_err() {
                return;
            }
            at += chunk.len() as u64;
            self.uploaded.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }

    /// Gives the list of our files to somebody who cannot be reached by us being asked.
    pub(super) async fn list_to(&self, addr: SocketAddrV4, (lines, _counts): Lines) {
        let Some(mut stream) = self.connect(addr).await else { return };
        let errand = Errand::GiveList { me: self.me.clone(), lines };
        let mut talk = Outbound::new(self.clock.now(), errand);
        // There is no step: the list is all that is said, once he has spoken.
        let mut first = [0];
        let read = timeout(FIRST_BYTE_WAIT, stream.read(&mut first)).await;
        let Ok(Ok(read)) = read else { return };
        talk.handle_bytes(self.clock.now(), &first[..read]);
        if say(&mut stream, &mut talk).await.is_ok() {
            _ = stream.shutdown().await; // or he has closed it
        }
    }

    /// Takes the list of somebody's files from him.
    pub(super) async fn list_from(&self, addr: SocketAddrV4, listed: mpsc::Sender<Listed>) {
        match self.connect(addr).await {
            Some(mut stream) => {
                let mut talk = Outbound::new(self.clock.now(), Errand::GetList);
                self.take_list(&mut stream, &mut talk, listed).await;
            }
            None => {
                let end = BrowseEnd::Refused("his port does not answer".into());
                _ = listed.send(Listed::Ended(end)).await;
            }
        }
    }

    async fn take_list(
        &self,
        stream: &mut TcpStream,
        talk: &mut impl super::talk::Talk,
        listed: mpsc::Sender<Listed>,
    ) {
        let lines = async {
            loop {
                match next_step(stream, talk, self.clock).await? {
                    Step::Listed(file) => {
                        if listed.send(Listed::File(file)).await.is_err() {
                            return Err(TransferError::Closed);
                        }
                    }
                    Step::ListEnd => return Ok(()),
                    _ => return Err(TransferError::Protocol),
                }
            }
        };
        let end = match timeout(LIST_MAX, lines).await {
            Ok(Ok(())) => BrowseEnd::Done,
            Ok(Err(error)) => BrowseEnd::Refused(Text::new(error.to_string())),
            Err(_) => BrowseEnd::Refused(Text::new(TransferError::Silent.to_string())),
        };
        _ = listed.send(Listed::Ended(end)).await; // or nobody wants to know
    }
}

fn read_at(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut chunk[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(filled);
    Ok(chunk)
}
