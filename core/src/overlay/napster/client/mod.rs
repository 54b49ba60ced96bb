//! One client's link to its directory.
//!
//! Call one `handle_*` or a command, then drain [`Client::poll_transmit`] and [`Client::poll_event`], and call
//! [`Client::handle_timeout`] at [`Client::poll_timeout`]. It answers what needs no decision by itself: whether we are
//! there, and who may have a file. It never obeys a server that wants to replace the program or send it elsewhere, never
//! gives out a path that is not shared, and hears of no address that the server cannot know ([`Scope::may_tell`]).

mod give;
mod near;
mod search;
mod take;
#[cfg(test)]
mod tests;

pub use give::Shareable;
pub use near::Nearness;
pub use search::{HITS_MAX, Hit, SearchEnd, SearchId};
pub use take::{BrowseEnd, Failure};

use super::bucket::Bucket;
use crate::clock::Instant;
use crate::hash::sha256;
use crate::proto::napster::{
    FRAME_IN_MAX, File, FrameDecoder, Login, NapsterError, Nick, SWARM_EXTENSION, Text, ToClient,
    ToServer, Whois,
};
use crate::scope::Scope;
use give::Gives;
use near::Near;
use search::{Asked, Waiting};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use take::Takes;

/// How long a server may take to let us in.
pub(super) const LOGIN_WAIT: Duration = Duration::from_secs(60);
/// A server that has said nothing for so long is asked whether it is there.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(300);
/// And after that it has so long to answer.
pub(super) const PONG_WAIT: Duration = Duration::from_secs(30);
/// Files of one list; it is not read beyond this.
pub const BROWSE_MAX: u32 = 20_000;

/// What proves that a name is ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Password {
    /// Nothing does: the name is free, or ours for an hour.
    None,
    /// What is sent is a hash over the server, the name and this secret: it serves nowhere else, and nobody reads the
    /// secret on the way.
    Secret(String),
    /// It is sent as it is, for names registered with other programs. Everybody on the way can read it.
    Legacy(String),
}

/// Who we are to a directory.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server as the user named it, or as a redirector did.
    pub server: String,
    /// Our name there.
    pub nick: Nick,
    /// What proves it.
    pub password: Password,
    /// Whether the name is to be ours from now on.
    pub register: bool,
    /// Where we take connections; 0 if nobody can reach us.
    pub port: u16,
    /// Of our link, 0 to 10.
    pub speed: u8,
    /// Files that we give at once.
    pub places: u32,
    /// Whether others may see the list of all our files.
    pub browsable: bool,
    /// Searches that we send a minute, so many of them at once; further ones wait.
    pub searches_per_min: u32,
    /// Users whose files a search finds, the first of them, that are asked how near they are.
    pub pings: u32,
}

/// Why a link is over, or never was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Somebody else has logged in with our name and our password.
    #[error("somebody else has logged in with this name")]
    Ghost,
    /// The server does not let us in, or no longer.
    #[error("the server says: {0}")]
    Login(Text),
    /// Nobody may have that name, or somebody else has it.
    #[error("the server does not take this name: {0}")]
    Nick(Text),
    /// What came is no OpenNap.
    #[error(transparent)]
    Protocol(#[from] NapsterError),
    /// It does not answer.
    #[error("the server does not answer")]
    Silent,
}

/// What the owner of a client should know or do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A file of somebody else's list.
    BrowseRow(Nick, File),
    /// A list ends here, or cannot be had.
    BrowseEnded(Nick, BrowseEnd),
    /// Connect there, say [`crate::proto::napster::PeerRequest::GetList`], and read a list of files.
    BrowseAt(Nick, SocketAddrV4),
    /// The link is over; close it.
    Closed(Refused),
    /// A download will not come, for now.
    Failed(Nick, Text, Failure),
    /// Connect there and get the file. The server has put it down to us for a minute.
    FetchFrom {
        /// Who has it.
        nick: Nick,
        /// Where.
        addr: SocketAddrV4,
        /// His path.
        path: Text,
    },
    /// Wait: he will connect to us, and [`Client::may_send`] says that he may.
    FetchComes(Nick, Text),
    /// A search has found something.
    Hit(SearchId, Box<Hit>),
    /// We are in.
    LoggedIn,
    /// Find out how long it takes to connect there, close, and say so with [`Client::handle_measured`].
    Measure(Nick, SocketAddrV4),
    /// Words of another user.
    Message(Nick, Text),
    /// A line of the server's greeting.
    Motd(Text),
    /// So near is somebody whose file was found.
    Near(Nick, Duration),
    /// Somebody is there.
    Pong(Nick),
    /// Connect there and give the file.
    GiveTo {
        /// Who wants it.
        nick: Nick,
        /// Where he is.
        addr: SocketAddrV4,
        /// Our path.
        path: Text,
    },
    /// Connect there and give the list of our files ([`Client::list`]).
    ListTo(Nick, SocketAddrV4),
    /// A search is over.
    SearchEnded(SearchId, SearchEnd),
    /// Users, files and gigabytes of the network.
    Stats(u64, u64, u64),
    /// Somebody could not reach our port.
    Unreachable(Nick),
    /// What the server says that is no answer to anything.
    Warning(Text),
    /// Who somebody is.
    Whois(Whois),
    /// He is not here, but his name has a password: when he was here last, in seconds since 1970.
    Whowas(Nick, u64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Not connected.
    Out,
    /// Not let in yet.
    Knocking(Instant),
    /// In, and since when the server has been silent.
    In {
        heard: Instant,
        asked: Option<Instant>,
    },
    Closed,
}

/// A link to one directory.
pub struct Client {
    config: Config,
    state: State,
    server: IpAddr,
    swarm_extension: bool,
    decoder: FrameDecoder,
    out: Vec<u8>,
    events: VecDeque<Event>,
    gives: Gives,
    takes: Takes,
    near: Near,
    waiting: VecDeque<Waiting>,
    asked: Option<Asked>,
    searches: u64,
    pace: Bucket,
}

impl Client {
    /// A client that is not connected yet.
    pub fn new(config: Config) -> Self {
        Self {
            gives: Gives::default(),
            takes: Takes::default(),
            near: Near::default(),
            config,
            state: State::Out,
            server: Ipv4Addr::UNSPECIFIED.into(),
            swarm_extension: false,
            decoder: FrameDecoder::new(FRAME_IN_MAX),
            out: Vec::new(),
            events: VecDeque::new(),
            waiting: VecDeque::new(),
            asked: None,
            searches: 0,
            pace: Bucket::default(),
        }
    }

    /// Whether the server has let us in.
    pub fn is_in(&self) -> bool {
        matches!(self.state, State::In { .. })
    }

    /// Our name.
    pub fn nick(&self) -> &Nick {
        &self.config.nick
    }

    /// The server as the user or a redirector named it, for the next [`Self::handle_connected`].
    pub fn set_server(&mut self, server: String) {
        self.config.server = server;
    }

    /// There is a connection to the server, which is at this address. After a link was lost, another one begins.
    pub fn handle_connected(&mut self, now: Instant, server: IpAddr) {
        self.server = server;
        self.state = State::Knocking(now);
        self.decoder = FrameDecoder::new(FRAME_IN_MAX);
        self.swarm_extension = false;
        self.out.clear();
        self.gives.begin_anew();
        let nick = Text::new(self.config.nick.as_str());
        let login = Login {
            password: self.password(),
            port: self.config.port,
            client: concat!("gaggle ", env!("CARGO_PKG_VERSION")).into(),
            speed: self.config.speed.into(),
            // Servers want one of who registers. It is nobody's business.
            email: self.config.register.then(|| "anon@localhost".into()),
            nick,
        };
        let register = self.config.register;
        self.say(&if register { ToServer::Register(login) } else { ToServer::Login(login) });
    }

    fn password(&self) -> Text {
        let Config { server, nick, password, .. } = &self.config;
        match password {
            Password::None => "-".into(),
            Password::Legacy(clear) => Text::new(clear),
            Password::Secret(secret) => {
                let key = nick.key();
                let parts = ["gaggle", server.as_str(), key.as_str(), secret.as_str()];
                let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
                let mixed: Vec<&[u8]> = lengths
                    .iter()
                    .zip(parts)
                    .flat_map(|(len, part)| [&len[..], part.as_bytes()])
                    .collect();
                let hash = sha256([mixed.concat().as_slice()]);
                Text::new(data_encoding::HEXLOWER.encode(&hash[..16]))
            }
        }
    }

    /// Bytes have come from the server.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.decoder.push(bytes);
        while !matches!(self.state, State::Closed | State::Out) {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => match ToClient::parse(&frame) {
                    Ok(said) => self.on_word(now, said),
                    // What we do not know, or cannot read, is no reason to leave.
                    Err(_) => self.heard(now),
                },
                Ok(None) => break,
                Err(error) => self.close(error.into()),
            }
        }
    }

    /// The connection has ended, or none came about; both are told, as often as they happen.
    pub fn handle_closed(&mut self) {
        if self.state == State::Closed {
            // One more attempt that led to nobody.
            self.events.push_back(Event::Closed(Refused::Silent));
        }
        self.close(Refused::Silent);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.state {
            State::Out | State::Closed => return None,
            State::Knocking(since) => return Some(since + LOGIN_WAIT),
            State::In { asked: Some(asked), .. } => asked + PONG_WAIT,
            State::In { heard, .. } => heard + SILENCE_MAX,
        };
        let others = [self.search_timeout(), self.takes.timeout(), self.near_timeout()];
        others.into_iter().flatten().chain([own]).min()
    }

    /// Gives up what has taken too long, and sends what may be sent now.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Knocking(since) if now >= since + LOGIN_WAIT => self.close(Refused::Silent),
            State::In { asked: Some(asked), .. } if now >= asked + PONG_WAIT => {
                self.close(Refused::Silent);
            }
            State::In { heard, asked: None } if now >= heard + SILENCE_MAX => {
                self.state = State::In { heard, asked: Some(now) };
                self.say(&ToServer::PingServer);
            }
            _ => {}
        }
        if self.is_in() {
            self.expire_searches(now);
            self.expire_takes(now);
            self.expire_near(now);
            self.next_search(now);
        }
    }

    /// The next bytes for the server.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if self.out.is_empty() {
            self.share_some();
        }
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    /// Bytes that wait for [`Self::poll_transmit`]. A server that asks much and takes no answers makes them many.
    pub fn backlog(&self) -> usize {
        self.out.len()
    }

    /// The next thing to know or do.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Asks who somebody is; an [`Event::Whois`] tells, or a warning.
    pub fn whois(&mut self, nick: Nick) {
        self.say_inside(&ToServer::Whois(nick));
    }

    /// Asks whether somebody is there.
    pub fn ping(&mut self, nick: Nick) {
        self.say_inside(&ToServer::Ping(nick));
    }

    /// Says something to somebody.
    pub fn message(&mut self, nick: Nick, text: &str) {
        self.say_inside(&ToServer::Message(nick, text.into()));
    }

    fn say(&mut self, word: &ToServer) {
        word.frame().encode_into(&mut self.out);
    }

    fn say_inside(&mut self, word: &ToServer) {
        if self.is_in() {
            self.say(word);
        }
    }

    fn close(&mut self, why: Refused) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        self.out.clear();
        self.near.stop();
        let ids = self.asked.take().map(|asked| asked.id).into_iter();
        for id in ids.chain(self.waiting.drain(..).map(|waiting| waiting.id)) {
            self.events.push_back(Event::SearchEnded(id, SearchEnd::LinkLost));
        }
        self.takes = Takes::default();
        self.events.push_back(Event::Closed(why));
    }

    fn heard(&mut self, now: Instant) {
        if let State::In { .. } = self.state {
            self.state = State::In { heard: now, asked: None };
        }
    }

    /// The address, if the server may know it and something may answer there.
    fn believable(&self, ip: Ipv4Addr, port: u16) -> Option<SocketAddrV4> {
        (port != 0 && Scope::may_tell(self.server, ip.into())).then(|| SocketAddrV4::new(ip, port))
    }

    fn on_word(&mut self, now: Instant, said: ToClient) {
        self.heard(now);
        if let State::Knocking(_) = self.state {
            return self.on_welcome(now, said);
        }
        match said {
            ToClient::Ping(nick) => self.say(&ToServer::Pong(nick)),
            ToClient::Pong(nick) => self.on_pong(now, nick),
            ToClient::Message(nick, text) => self.events.push_back(Event::Message(nick, text)),
            ToClient::Motd(line) => {
                self.swarm_extension |= line.as_bytes() == SWARM_EXTENSION.as_bytes();
                self.events.push_back(Event::Motd(line));
            }
            ToClient::Stats(users, files, gigabytes) => {
                self.events.push_back(Event::Stats(users, files, gigabytes));
            }
            ToClient::Whois(is) => self.events.push_back(Event::Whois(is)),
            ToClient::Whowas(nick, _, seen) => self.events.push_back(Event::Whowas(nick, seen)),
            ToClient::Ghost => self.close(Refused::Ghost),
            ToClient::Disconnecting => self.close(Refused::Login("disconnected".into())),
            ToClient::LoginFailed(why) => self.close(Refused::Login(why)),
            ToClient::Unreachable(nick) => self.events.push_back(Event::Unreachable(nick)),
            ToClient::Error(text) => self.on_error(text),
            ToClient::Row(row) => self.on_row(now, row),
            ToClient::SwarmRow(row) => self.on_swarm_row(now, row),
            ToClient::SearchEnd => self.on_search_end(now),
            ToClient::UploadAsked(nick, path, _) => self.on_upload_asked(now, nick, path),
            ToClient::PushTo { nick, ip, port, path, .. } => {
                self.on_push_to(now, nick, self.believable(ip, port), path);
            }
            ToClient::BrowseAsked(nick, addr) => self.on_browse_asked(nick, addr),
            said => self.on_taken(now, said),
        }
    }

    /// What a server says before it lets us in.
    fn on_welcome(&mut self, now: Instant, said: ToClient) {
        match said {
            ToClient::LoggedIn(_) => {
                self.state = State::In { heard: now, asked: None };
                self.events.push_back(Event::LoggedIn);
                self.next_search(now);
            }
            ToClient::LoginFailed(why) | ToClient::Error(why) => self.close(Refused::Login(why)),
            ToClient::NickIllegal(why) => self.close(Refused::Nick(why)),
            ToClient::NickTaken => self.close(Refused::Nick("taken".into())),
            // Neither another server nor another program: the user chose both.
            ToClient::Redirect(..) | ToClient::Cycle(_) | ToClient::Upgrade => {}
            _ => {}
        }
    }
}

/// Somebody and a path: what both sides of a transfer agree on.
type Deal = (String, Text);

fn deal(nick: &Nick, path: &Text) -> Deal {
    (nick.key(), path.clone())
}

/// A bounded table of deals that hold for some time.
type Deals<T> = BTreeMap<Deal, (Instant, T)>;
