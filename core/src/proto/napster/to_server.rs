//! What a client says to its directory.

use super::fields::{Fields, Line};
use super::{File, FileHash, Frame, Media, NapsterError, Nick, Query, Text};
use crate::id::InfoHash;

/// Who wants in. The nick is not judged yet: a bad one deserves an answer of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The name.
    pub nick: Text,
    /// Proves that it is his.
    pub password: Text,
    /// Where he takes connections; 0 if he cannot.
    pub port: u16,
    /// His program.
    pub client: Text,
    /// Of his link; not judged either.
    pub speed: u32,
    /// Only who registers must give one.
    pub email: Option<Text>,
}

/// A message from a client to its directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToServer {
    /// 608: come and get it.
    Accept(Nick, Text),
    /// 500: let the other one, who cannot be reached, connect to us.
    AskPush(Nick, Text),
    /// 640: may I see your files, without the server between us?
    AskBrowse(Nick),
    /// 641: yes.
    AcceptBrowse(Nick),
    /// 211: what does he share? At most so many rows; 0 for all.
    Browse(Nick, u32),
    /// 7: may I have this name?
    CheckNick(Text),
    /// 11: are these right?
    CheckPassword(Text, Text),
    /// 703: we take connections here from now on.
    DataPort(u16),
    /// 14: who somebody is in life. Nobody needs it.
    Details,
    /// 203: may I have this file?
    Download(Nick, Text),
    /// 702: another e-mail.
    Email(Text),
    /// 322: let no words of his reach us.
    Ignore(Nick),
    /// 320: whom do we ignore?
    Ignored,
    /// 10112: which other servers are there?
    Links,
    /// 2
    Login(Login),
    /// 205: words for another user.
    Message(Nick, Text),
    /// 701: another password.
    Password(Text),
    /// 751: are you there?
    Ping(Nick),
    /// 750: is the server there?
    PingServer,
    /// 752: yes.
    Pong(Nick),
    /// 619: there is a queue, and it is full. The number is how many at once he may have.
    QueueFull(Nick, Text, u32),
    /// 6: a login that makes the name his.
    Register(Login),
    /// 609: no.
    Reject(Nick, Text),
    /// 215: who has the file with this hash and size?
    Resume(FileHash, u32),
    /// 200
    Search(Query),
    /// 21336: a search whose rows say how to join the swarm.
    SearchSwarm(Query),
    /// 100
    Share(File),
    /// 870: many files of one folder, whose paths are names in it.
    ShareMany(Text, Vec<File>),
    /// 21335: a torrent's file, with its true size. The hash at the end is the classic one.
    ShareSwarm(Text, u64, InfoHash, FileHash),
    /// 10300: a file that is no mp3.
    ShareTyped(Text, u32, FileHash, Media),
    /// 700: another link.
    Speed(u32),
    /// 600: how fast is his link?
    SpeedOf(Nick),
    /// 214: how many are there?
    Stats,
    /// 218 to 221: a transfer begins or ends.
    Transfer {
        /// We give. Otherwise we take.
        upload: bool,
        /// It begins.
        begins: bool,
    },
    /// 323: no longer ignore him.
    Unignore(Nick),
    /// 326: ignore nobody any more.
    UnignoreAll,
    /// 626: his port does not answer.
    Unreachable(Nick),
    /// 102
    Unshare(Text),
    /// 110
    UnshareAll,
    /// 303: no longer tell us of him.
    Unwatch(Nick),
    /// 4: is there a newer client?
    Version(Text),
    /// 207: tell us whenever he comes and goes. Some say 208 at their login.
    Watch(Nick),
    /// 603: who is he?
    Whois(Nick),
    /// 920: said by some before they log in. Means nothing.
    Hello,
}

impl Login {
    fn read(mut fields: Fields<'_>) -> Result<Self, NapsterError> {
        Ok(Self {
            nick: fields.text("nick")?,
            password: fields.text("password")?,
            port: fields.number("port")?,
            client: fields.text("client")?,
            speed: fields.number("speed")?,
            email: fields.next().map(Text::new),
        })
    }

    fn write(&self) -> Line {
        let line = Line::default()
            .field(&self.nick)
            .field(&self.password)
            .word(self.port)
            .quoted(&self.client)
            .word(self.speed);
        match &self.email {
            Some(email) => line.field(email),
            None => line,
        }
    }
}

impl ToServer {
    /// Reads a frame that came from a client.
    ///
    /// # Errors
    /// [`NapsterError::Kind`] for a number that is not among these, and what is wrong with the data of one that is.
    pub fn parse(frame: &Frame) -> Result<Self, NapsterError> {
        let mut fields = Fields::new(frame.kind, &frame.data);
        let f = &mut fields;
        Ok(match frame.kind {
            2 => Self::Login(Login::read(fields)?),
            4 => Self::Version(Text::new(fields.rest())),
            6 => Self::Register(Login::read(fields)?),
            7 => Self::CheckNick(f.text("nick")?),
            11 => Self::CheckPassword(f.text("nick")?, f.text("password")?),
            14 => Self::Details,
            100 => Self::Share(File::read(f)?),
            102 => Self::Unshare(unquoted(fields.rest())),
            110 => Self::UnshareAll,
            200 => Self::Search(Query::read(fields)?),
            203 => Self::Download(f.nick("nick")?, f.text("path")?),
            205 => Self::Message(f.nick("nick")?, Text::new(fields.rest())),
            207 | 208 => Self::Watch(f.nick("nick")?),
            211 => Self::Browse(f.nick("nick")?, if f.is_empty() { 0 } else { f.number("rows")? }),
            214 => Self::Stats,
            215 => Self::Resume(FileHash::new(f.raw("hash")?), f.number("size")?),
            218..=221 => {
                Self::Transfer { upload: frame.kind >= 220, begins: frame.kind.is_multiple_of(2) }
            }
            303 => Self::Unwatch(f.nick("nick")?),
            320 => Self::Ignored,
            322 => Self::Ignore(f.nick("nick")?),
            323 => Self::Unignore(f.nick("nick")?),
            326 => Self::UnignoreAll,
            500 => Self::AskPush(f.nick("nick")?, f.text("path")?),
            600 => Self::SpeedOf(f.nick("nick")?),
            603 => Self::Whois(f.nick("nick")?),
            608 => Self::Accept(f.nick("nick")?, f.text("path")?),
            609 => Self::Reject(f.nick("nick")?, f.text("path")?),
            619 => Self::QueueFull(f.nick("nick")?, f.text("path")?, f.number("limit")?),
            626 => Self::Unreachable(f.nick("nick")?),
            640 => Self::AskBrowse(f.nick("nick")?),
            641 => Self::AcceptBrowse(f.nick("nick")?),
            700 => Self::Speed(f.number("speed")?),
            701 => Self::Password(f.text("password")?),
            702 => Self::Email(f.text("email")?),
            703 => Self::DataPort(f.number("port")?),
            750 => Self::PingServer,
            751 => Self::Ping(f.nick("nick")?),
            752 => Self::Pong(f.nick("nick")?),
            870 => {
                let folder = f.text("folder")?;
                let mut files = vec![File::read(f)?];
                while !f.is_empty() {
                    files.push(File::read(f)?);
                }
                Self::ShareMany(folder, files)
            }
            920 => Self::Hello,
            10_112 => Self::Links,
            10_300 => {
                let (path, size) = (f.text("path")?, f.number("size")?);
                let hash = FileHash::new(f.raw("hash")?);
                let media = Media::parse(f.raw("type")?);
                Self::ShareTyped(path, size, hash, media.map_or_else(|| f.wrong("type"), Ok)?)
            }
            21_335 => {
                let (path, size) = (f.text("path")?, f.number("size")?);
                let hex = std::str::from_utf8(f.raw("btih")?).ok();
                let btih = hex.and_then(InfoHash::from_hex).map_or_else(|| f.wrong("btih"), Ok)?;
                Self::ShareSwarm(path, size, btih, FileHash::new(f.raw("hash")?))
            }
            21_336 => Self::SearchSwarm(Query::read(fields)?),
            kind => return Err(NapsterError::Kind(kind)),
        })
    }

    /// The frame that says it.
    pub fn frame(&self) -> Frame {
        let line = Line::default();
        let about = |nick: &Nick| Line::default().word(nick);
        let (kind, line) = match self {
            Self::Login(login) => (2, login.write()),
            Self::Version(version) => (4, line.bytes(version.as_bytes())),
            Self::Register(login) => (6, login.write()),
            Self::CheckNick(nick) => (7, line.field(nick)),
            Self::CheckPassword(nick, password) => (11, line.field(nick).field(password)),
            Self::Details => (14, line),
            Self::Share(file) => (100, file.write(line)),
            // Servers take the whole data for the path, quotes and all.
            Self::Unshare(path) => (102, line.bytes(path.as_bytes())),
            Self::UnshareAll => (110, line),
            Self::Search(query) => (200, Line(query.write())),
            Self::Download(nick, path) => (203, about(nick).quoted(path)),
            Self::Message(nick, text) => (205, about(nick).bytes(text.as_bytes())),
            Self::Watch(nick) => (207, about(nick)),
            Self::Browse(nick, 0) => (211, about(nick)),
            Self::Browse(nick, rows) => (211, about(nick).word(rows)),
            Self::Stats => (214, line),
            Self::Resume(hash, size) => (215, line.bytes(hash.as_bytes()).word(size)),
            Self::Transfer { upload, begins } => {
                (218 + 2 * u16::from(*upload) + u16::from(!begins), line)
            }
            Self::Unwatch(nick) => (303, about(nick)),
            Self::Ignored => (320, line),
            Self::Ignore(nick) => (322, about(nick)),
            Self::Unignore(nick) => (323, about(nick)),
            Self::UnignoreAll => (326, line),
            Self::AskPush(nick, path) => (500, about(nick).quoted(path)),
            Self::SpeedOf(nick) => (600, about(nick)),
            Self::Whois(nick) => (603, about(nick)),
            Self::Accept(nick, path) => (608, about(nick).quoted(path)),
            Self::Reject(nick, path) => (609, about(nick).quoted(path)),
            Self::QueueFull(nick, path, limit) => (619, about(nick).quoted(path).word(limit)),
            Self::Unreachable(nick) => (626, about(nick)),
            Self::AskBrowse(nick) => (640, about(nick)),
            Self::AcceptBrowse(nick) => (641, about(nick)),
            Self::Speed(speed) => (700, line.word(speed)),
            Self::Password(password) => (701, line.field(password)),
            Self::Email(email) => (702, line.field(email)),
            Self::DataPort(port) => (703, line.word(port)),
            Self::PingServer => (750, line),
            Self::Ping(nick) => (751, about(nick)),
            Self::Pong(nick) => (752, about(nick)),
            Self::ShareMany(folder, files) => {
                (870, files.iter().fold(line.quoted(folder), |line, file| file.write(line)))
            }
            Self::Hello => (920, line.word(1)),
            Self::Links => (10_112, line),
            Self::ShareTyped(path, size, hash, media) => {
                (10_300, line.quoted(path).word(size).bytes(hash.as_bytes()).word(media.name()))
            }
            Self::ShareSwarm(path, size, btih, hash) => {
                (21_335, line.quoted(path).word(size).word(btih).bytes(hash.as_bytes()))
            }
            Self::SearchSwarm(query) => (21_336, Line(query.write())),
        };
        Frame::new(kind, line.0)
    }
}

/// A path that some send in quotes.
fn unquoted(raw: &[u8]) -> Text {
    let inner = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\""));
    Text::new(inner.unwrap_or(raw).trim_ascii())
}
