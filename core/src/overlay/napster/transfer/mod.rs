//! What two clients say before the bytes of a file flow: one machine for who accepted the connection, one for who dialled.
//!
//! The one who accepted speaks first, with one byte. Nothing tells where a request ends, so a pause must: see
//! [`SETTLE`]. Whether somebody may have what he asks for is the owner's to say ([`super::Client::may_get`]); paths are
//! compared with shares byte by byte, and never joined to a folder here.

use crate::blame::Blame;
use crate::clock::Instant;
use crate::proto::napster::{
    File, Nick, PeerRequest, Request, SizeAnswer, Text, parse_list_line, read_size,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// How long we wait for a first byte before we speak: a BitTorrent peer on the same port begins at once, a client of this
/// network waits for us.
pub(super) const GREETING_DELAY: Duration = Duration::from_millis(500);
/// Digits that may have more behind them count when nothing came for so long.
pub(super) const SETTLE: Duration = Duration::from_millis(250);
/// How long the other side may take for each of its words.
pub(super) const WORD_WAIT: Duration = Duration::from_secs(30);
/// Bytes of an error that are read; the rest is cut off.
pub(super) const REFUSAL_MAX: usize = 256;
/// Bytes of one line of a list; a longer one ends it.
pub(super) const LINE_MAX: usize = 1024;
/// The first byte of a BitTorrent handshake.
const BITTORRENT: u8 = 0x13;

/// Why nothing will flow.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// It has ended too early.
    #[error("the connection has ended")]
    Closed,
    /// It is not what this network speaks.
    #[error("not a word of this network")]
    Protocol,
    /// It does not want to.
    #[error("the other client says: {0}")]
    Refused(Text),
    /// It says nothing.
    #[error("no word within {} s", WORD_WAIT.as_secs())]
    Silent,
}

impl TransferError {
    /// Only who speaks otherwise has broken a rule.
    pub fn blame(&self) -> Blame {
        if *self == Self::Protocol { Blame::Remote } else { Blame::Network }
    }
}

/// How far a conversation has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Inbound: it is a BitTorrent peer. These were its first bytes.
    BitTorrent(Vec<u8>),
    /// Outbound: the file flows from the wanted byte on. These are its first bytes.
    Data(Vec<u8>),
    /// It will not come to anything: close.
    Failed(TransferError),
    /// One file of a list.
    Listed(File),
    /// The list is whole.
    ListEnd,
    /// Inbound: this is wanted. Answer with [`Inbound::give`], [`Inbound::take`], [`Inbound::give_list`] or
    /// [`Inbound::refuse`]; a list that is given to us simply comes.
    Wanted(PeerRequest),
    /// Outbound: he wants the file from this byte on.
    WantedFrom(u64),
}

/// What one dials for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Errand {
    /// To get a file from a byte on.
    Get {
        /// Our name.
        me: Nick,
        /// His path.
        path: Text,
        /// All its bytes, as a search said.
        size: u64,
        /// First byte wanted.
        offset: u64,
    },
    /// To get his list of files.
    GetList,
    /// To give a file to somebody who cannot reach us.
    Give {
        /// Our name.
        me: Nick,
        /// Our path.
        path: Text,
        /// All its bytes.
        size: u64,
    },
    /// To give the list of our files.
    GiveList {
        /// Our name.
        me: Nick,
        /// As [`super::Client::list`] gives it.
        lines: Bytes,
    },
}

/// A list of files as it comes in.
#[derive(Debug, Default)]
struct List {
    /// Whether the line with the owner's name was read.
    named: bool,
    files: u32,
}

impl List {
    /// Takes whole lines off the buffer; `None` as long as it is not over.
    fn read(&mut self, buffer: &mut Vec<u8>, steps: &mut VecDeque<Step>) -> Option<Step> {
        let mut start = 0;
        let end = loop {
            let rest = &buffer[start..];
            let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
                break (rest.len() > LINE_MAX).then_some(Step::Failed(TransferError::Protocol));
            };
            let line = rest[..len].trim_ascii();
            start += len + 1;
            if !std::mem::replace(&mut self.named, true) {
                continue;
            }
            if line.is_empty() || self.files >= super::client::BROWSE_MAX {
                break Some(Step::ListEnd);
            }
            self.files += 1;
            // A line that cannot be read is a file that cannot be had.
            steps.extend(parse_list_line(line).ok().map(Step::Listed));
        };
        buffer.drain(..start);
        end
    }
}

/// Somebody has connected to our data port.
#[derive(Debug)]
pub struct Inbound {
    state: Accepted,
    /// When the present state, or the last byte in it, began.
    since: Instant,
    bytes: Vec<u8>,
    out: Vec<u8>,
    /// Goes out after it. It is long, and not copied.
    list: Bytes,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
enum Accepted {
    /// We have not spoken.
    Quiet,
    /// He is to say what he wants; it may be this.
    Asking(Option<PeerRequest>),
    /// His list comes.
    Listing(List),
    /// The owner goes on.
    Over,
}

impl Inbound {
    /// A connection that was just accepted.
    pub fn new(now: Instant) -> Self {
        let (bytes, out, list) = (Vec::new(), Vec::new(), Bytes::new());
        Self { state: Accepted::Quiet, since: now, bytes, out, list, steps: VecDeque::new() }
    }

    /// Bytes have come. Those after the last step are the owner's, who reads them himself.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if let Accepted::Over = self.state {
            return;
        }
        let first = self.bytes.is_empty() && matches!(self.state, Accepted::Quiet);
        self.bytes.extend_from_slice(bytes);
        self.since = now;
        if first && bytes.first() == Some(&BITTORRENT) {
            let bytes = std::mem::take(&mut self.bytes);
            return self.end(Step::BitTorrent(bytes));
        }
        if let Accepted::Quiet = self.state {
            self.greet();
        }
        match &mut self.state {
            Accepted::Asking(maybe) => match PeerRequest::parse(&self.bytes) {
                Ok(Request::More) => *maybe = None,
                Ok(Request::Maybe(request)) => *maybe = Some(request),
                Ok(Request::Whole(request, len)) => {
                    self.bytes.drain(..len);
                    self.wanted(request);
                }
                Err(_) => self.end(Step::Failed(TransferError::Protocol)),
            },
            Accepted::Listing(_) => self.read_list(),
            Accepted::Quiet | Accepted::Over => {}
        }
    }

    /// The connection has ended.
    pub fn handle_closed(&mut self) {
        if !matches!(self.state, Accepted::Over) {
            self.end(Step::Failed(TransferError::Closed));
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(match self.state {
            Accepted::Quiet => self.since + GREETING_DELAY,
            Accepted::Asking(Some(_)) => self.since + SETTLE,
            Accepted::Asking(None) | Accepted::Listing(_) => self.since + WORD_WAIT,
            Accepted::Over => return None,
        })
    }

    /// Speaks first, takes a pause for the end of a request, gives up who is silent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match &mut self.state {
            Accepted::Quiet => {
                self.greet();
                self.since = now;
            }
            Accepted::Asking(maybe) => match maybe.take() {
                Some(request) => {
                    self.bytes.clear();
                    self.wanted(request);
                }
                None => self.end(Step::Failed(TransferError::Silent)),
            },
            Accepted::Listing(_) => self.end(Step::Failed(TransferError::Silent)),
            Accepted::Over => {}
        }
    }

    /// The next bytes to write.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if !self.out.is_empty() {
            return Some(std::mem::take(&mut self.out).into());
        }
        (!self.list.is_empty()).then(|| std::mem::take(&mut self.list))
    }

    /// How far it has come.
    #[must_use]
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Gives the file that is wanted: its size, and then the owner writes its bytes.
    pub fn give(&mut self, size: u64) {
        self.out.extend_from_slice(size.to_string().as_bytes());
    }

    /// Takes the file that is offered, from this byte on: then they come, and the first may be here already.
    pub fn take(&mut self, offset: u64) -> Vec<u8> {
        self.out.extend_from_slice(offset.to_string().as_bytes());
        std::mem::take(&mut self.bytes)
    }

    /// Gives the list that is wanted, as [`super::Client::list`] has it.
    pub fn give_list(&mut self, lines: Bytes) {
        self.list = lines;
    }

    /// Does not.
    pub fn refuse(&mut self) {
        self.out.extend_from_slice(b"FILE NOT SHARED");
    }

    fn greet(&mut self) {
        self.out.push(b'1');
        self.state = Accepted::Asking(None);
    }

    fn wanted(&mut self, request: PeerRequest) {
        let list = matches!(request, PeerRequest::SendList { .. });
        self.end(Step::Wanted(request));
        if list {
            // His name was in the request.
            self.state = Accepted::Listing(List { named: true, files: 0 });
            self.read_list();
        }
    }

    fn read_list(&mut self) {
        if let Accepted::Listing(list) = &mut self.state
            && let Some(end) = list.read(&mut self.bytes, &mut self.steps)
        {
            self.end(end);
        }
    }

    fn end(&mut self, step: Step) {
        self.state = Accepted::Over;
        self.steps.push_back(step);
    }
}

/// We have connected to somebody's data port.
#[derive(Debug)]
pub struct Outbound {
    errand: Errand,
    state: Dialled,
    since: Instant,
    bytes: Vec<u8>,
    out: VecDeque<Bytes>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
enum Dialled {
    /// He is to speak first.
    Waiting,
    /// He is to answer.
    Asked,
    /// His list comes.
    Listing(List),
    /// The owner goes on.
    Over,
}

impl Outbound {
    /// A connection that was just made.
    pub fn new(now: Instant, errand: Errand) -> Self {
        let (bytes, out, steps) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { errand, state: Dialled::Waiting, since: now, bytes, out, steps }
    }

    /// Bytes have come. Those after the last step are the owner's, who reads them himself.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if let Dialled::Over = self.state {
            return;
        }
        self.since = now;
        self.bytes.extend_from_slice(bytes);
        if let Dialled::Waiting = self.state {
            match self.bytes.first() {
                None => return,
                Some(b'1') => {
                    self.bytes.remove(0);
                    self.ask();
                }
                Some(_) => return self.end(Step::Failed(TransferError::Protocol)),
            }
        }
        self.read(false);
    }

    /// The connection has ended.
    pub fn handle_closed(&mut self) {
        self.read(true);
        if !matches!(self.state, Dialled::Over) {
            self.end(Step::Failed(TransferError::Closed));
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        Some(match self.state {
            Dialled::Asked if !self.bytes.is_empty() => self.since + SETTLE,
            Dialled::Over => return None,
            _ => self.since + WORD_WAIT,
        })
    }

    /// Takes a pause for the end of an answer, gives up who is silent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        let answered = matches!(self.state, Dialled::Asked) && !self.bytes.is_empty();
        self.read(true);
        if !answered && !matches!(self.state, Dialled::Over) {
            self.end(Step::Failed(TransferError::Silent));
        }
    }

    /// The next bytes to write, as one write.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// How far it has come.
    #[must_use]
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn ask(&mut self) {
        let (request, lines, next) = match &self.errand {
            Errand::Get { me, path, offset, .. } => {
                let (nick, path, offset) = (me.clone(), path.clone(), *offset);
                (PeerRequest::Get { nick, path, offset }, None, Dialled::Asked)
            }
            Errand::GetList => (PeerRequest::GetList, None, Dialled::Listing(List::default())),
            Errand::Give { me, path, size } => {
                let (nick, path, size) = (me.clone(), path.clone(), *size);
                (PeerRequest::Send { nick, path, size }, None, Dialled::Asked)
            }
            Errand::GiveList { me, lines } => {
                // The first line is the name, which this request has already.
                let name = lines.iter().position(|&byte| byte == b'\n');
                let rest = lines.slice(name.map_or(lines.len(), |at| at + 1)..);
                let request = PeerRequest::SendList { nick: me.clone() };
                (request, Some(rest), Dialled::Over)
            }
        };
        let words = request.encode().into_iter().map(Bytes::from).chain(lines);
        self.out.extend(words.filter(|word| !word.is_empty()));
        self.state = next;
    }

    /// Reads an answer; `ended` says that no more of it will come.
    fn read(&mut self, ended: bool) {
        match (&self.errand, &mut self.state) {
            (_, Dialled::Listing(list)) => {
                let end = list.read(&mut self.bytes, &mut self.steps);
                end.into_iter().for_each(|end| self.end(end));
            }
            (Errand::Get { size, offset, .. }, Dialled::Asked) => {
                match read_size(&self.bytes, *size, *offset, ended) {
                    SizeAnswer::Data(digits) => {
                        let data = self.bytes.split_off(digits);
                        self.end(Step::Data(data));
                    }
                    SizeAnswer::More => {}
                    SizeAnswer::Refused => self.refused(ended),
                }
            }
            (Errand::Give { size, .. }, Dialled::Asked) => {
                let digits = self.bytes.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
                match text.parse().ok().filter(|offset| offset <= size) {
                    Some(offset) if digits && ended => self.end(Step::WantedFrom(offset)),
                    // As many digits as the size has, and no more can follow.
                    Some(offset) if digits && text.len() == size.to_string().len() => {
                        self.end(Step::WantedFrom(offset));
                    }
                    Some(_) if digits => {}
                    _ => self.refused(ended),
                }
            }
            _ => {}
        }
    }

    /// It is an error in words: all of it, when no more comes.
    fn refused(&mut self, ended: bool) {
        let enough = self.bytes.len() >= REFUSAL_MAX;
        if !self.bytes.is_empty() && (ended || enough) {
            let why = Text::new(&self.bytes[..self.bytes.len().min(REFUSAL_MAX)]);
            self.end(Step::Failed(TransferError::Refused(why)));
        }
    }

    fn end(&mut self, step: Step) {
        self.state = Dialled::Over;
        self.steps.push_back(step);
    }
}

#[cfg(test)]
mod tests;
