//! What a directory says to a client.

use super::fields::{Fields, Line};
use super::{File, FileHash, Frame, NapsterError, Nick, Text};
use crate::id::InfoHash;
use std::net::Ipv4Addr;

/// 201: a file and who has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// What he has.
    pub file: File,
    /// Who it is.
    pub nick: Nick,
    /// Where he is; his port is told to who asks for the file.
    pub ip: Ipv4Addr,
    /// Of his link.
    pub speed: u8,
    /// How good a source he is, as the directory sees it; larger is better, nothing is 0.
    pub weight: i32,
}

/// 21337: a torrent's file and who has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SwarmRow {
    /// Its path.
    pub path: Text,
    /// Its true size.
    pub size: u64,
    /// Its torrent.
    pub btih: InfoHash,
    /// How many have all of it.
    pub seeds: u32,
    /// How many have a part.
    pub leeches: u32,
    /// Who has it.
    pub nick: Nick,
    /// Where he is.
    pub ip: Ipv4Addr,
    /// Where he takes connections, of both protocols; 0 if he cannot.
    pub port: u16,
    /// Of his link.
    pub speed: u8,
    /// As in [`Row::weight`].
    pub weight: i32,
}

/// 604: who a user is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whois {
    /// His name.
    pub nick: Nick,
    /// `User`, or more.
    pub level: Text,
    /// How long he has been here.
    pub online_s: u64,
    /// Where he chats.
    pub channels: Text,
    /// `Active`, or how he cannot be reached.
    pub status: Text,
    /// Files that he shares.
    pub shared: u32,
    /// Files that he is fetching.
    pub downloads: u32,
    /// Files that are fetched from him.
    pub uploads: u32,
    /// Of his link.
    pub speed: u8,
    /// His program.
    pub client: Text,
}

/// A message from a directory to a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToClient {
    /// 325: you ignore him already.
    AlreadyIgnored(Nick),
    /// 209: he is here, with such a link.
    Arrived(Nick, u8),
    /// 641: he lets you see his files; he cannot be reached if the port is 0.
    BrowseAccepted(Nick, Ipv4Addr, u16),
    /// 640: he wants to see your files. The address is there if it is you who must connect.
    BrowseAsked(Nick, Option<(Ipv4Addr, u16)>),
    /// 213: these were all files of his.
    BrowseEnd(Nick, Option<Ipv4Addr>),
    /// 642: he does not.
    BrowseRefused(Nick, Text),
    /// 212: one of his files.
    BrowseRow(Nick, File),
    /// 822: ask this redirector.
    Cycle(Text),
    /// 316: you are about to be disconnected.
    Disconnecting,
    /// 204: there it is. With port 0, he must be asked to connect to you; the hash says `firewallerror` if that is in
    /// vain.
    DownloadReady {
        /// Who has it.
        nick: Nick,
        /// Where.
        ip: Ipv4Addr,
        /// Where he takes connections.
        port: u16,
        /// The file.
        path: Text,
        /// Its hash.
        hash: FileHash,
        /// Of his link.
        speed: u8,
    },
    /// 404: what is wrong, in words.
    Error(Text),
    /// 748: somebody else has logged in with your name.
    Ghost,
    /// 322: you ignore him now.
    Ignored(Nick),
    /// 320: these were all whom you ignore, so many.
    IgnoredEnd(u32),
    /// 321: you ignore him.
    IgnoredRow(Nick),
    /// 10112: a server and one that it is linked to; without data, these were all.
    Link(Text),
    /// 3: you are in.
    LoggedIn(Text),
    /// 0: you are not, in words.
    LoginFailed(Text),
    /// 205: words of another user.
    Message(Nick, Text),
    /// 621: a line of the greeting.
    Motd(Text),
    /// 8: nobody has that name.
    NickFree,
    /// 10: nobody may have it.
    NickIllegal(Text),
    /// 9: somebody has it.
    NickTaken,
    /// 324: you do not ignore him.
    NotIgnored(Nick),
    /// 302: you are not told of him.
    NotWatched(Nick),
    /// 210: he is not here, or no longer.
    Offline(Nick),
    /// 12: name and password are right.
    PasswordOk,
    /// 751: somebody wants to know whether you are there.
    Ping(Nick),
    /// 752: he is there.
    Pong(Nick),
    /// 501: he cannot reach you, connect to him.
    PushTo {
        /// Who wants it.
        nick: Nick,
        /// Where he is.
        ip: Ipv4Addr,
        /// Where he takes connections.
        port: u16,
        /// The file.
        path: Text,
        /// Its hash.
        hash: FileHash,
        /// Of his link.
        speed: u8,
    },
    /// 620: his queue is full; he gives so many at once.
    QueueFull {
        /// Who.
        nick: Nick,
        /// The file.
        path: Text,
        /// Its size.
        size: u32,
        /// Places.
        limit: u32,
    },
    /// 821: use that server.
    Redirect(Text, u16),
    /// 217: these were all who have it.
    ResumeEnd,
    /// 216: he has it.
    ResumeRow {
        /// Who.
        nick: Nick,
        /// Where.
        ip: Ipv4Addr,
        /// Where he takes connections.
        port: u16,
        /// Under which path.
        path: Text,
        /// Its hash.
        hash: FileHash,
        /// Its size.
        size: u32,
        /// Of his link.
        speed: u8,
    },
    /// 201
    Row(Row),
    /// 202: these were all rows.
    SearchEnd,
    /// 750
    ServerPong(Text),
    /// 601: of his link.
    SpeedIs(Nick, u8),
    /// 214: users, files, gigabytes.
    Stats(u64, u64, u64),
    /// 21337
    SwarmRow(SwarmRow),
    /// 206: he cannot give you that: he is not here, or does not share it.
    Unavailable(Nick, Text),
    /// 323: you no longer ignore him.
    Unignored(Nick),
    /// 326: you ignore nobody any more; so many they were.
    UnignoredAll(u32),
    /// 626: he cannot reach your port.
    Unreachable(Nick),
    /// 110: so many files are no longer shared.
    Unshared(u32),
    /// 607: he wants a file of yours.
    UploadAsked(Nick, Text, Option<u8>),
    /// 5: replace yourself with what is there. Never to be obeyed.
    Upgrade,
    /// 4: what you asked about versions.
    Version,
    /// 301: you are told whenever he comes and goes.
    Watched(Nick),
    /// 605: who he was; in seconds since 1970, when he was last here.
    Whowas(Nick, Text, u64),
    /// 604
    Whois(Whois),
}

impl ToClient {
    /// Reads a frame that came from a directory.
    ///
    /// # Errors
    /// [`NapsterError::Kind`] for a number that is not among these, and what is wrong with the data of one that is.
    pub fn parse(frame: &Frame) -> Result<Self, NapsterError> {
        let mut fields = Fields::new(frame.kind, &frame.data);
        let f = &mut fields;
        Ok(match frame.kind {
            0 => Self::LoginFailed(Text::new(fields.rest())),
            3 => Self::LoggedIn(f.next().map(Text::new).unwrap_or_default()),
            4 => Self::Version,
            5 => Self::Upgrade,
            8 => Self::NickFree,
            9 => Self::NickTaken,
            10 => Self::NickIllegal(Text::new(fields.rest())),
            12 => Self::PasswordOk,
            110 => Self::Unshared(if f.is_empty() { 0 } else { f.number("count")? }),
            202 => Self::SearchEnd,
            205 => Self::Message(f.nick("nick")?, Text::new(fields.rest())),
            206 => Self::Unavailable(f.nick("nick")?, f.text("path")?),
            209 => Self::Arrived(f.nick("nick")?, f.number("speed")?),
            210 => Self::Offline(f.nick("nick")?),
            212 => Self::BrowseRow(f.nick("nick")?, File::read(f)?),
            213 => {
                let nick = f.nick("nick")?;
                Self::BrowseEnd(nick, if f.is_empty() { None } else { Some(f.ip("ip")?) })
            }
            214 => Self::Stats(f.number("users")?, f.number("files")?, f.number("gigabytes")?),
            217 => Self::ResumeEnd,
            301 => Self::Watched(f.nick("nick")?),
            302 => Self::NotWatched(f.nick("nick")?),
            316 => Self::Disconnecting,
            320 => Self::IgnoredEnd(f.number("count")?),
            321 => Self::IgnoredRow(f.nick("nick")?),
            322 => Self::Ignored(f.nick("nick")?),
            323 => Self::Unignored(f.nick("nick")?),
            324 => Self::NotIgnored(f.nick("nick")?),
            325 => Self::AlreadyIgnored(f.nick("nick")?),
            326 => Self::UnignoredAll(f.number("count")?),
            404 => Self::Error(Text::new(fields.rest())),
            601 => Self::SpeedIs(f.nick("nick")?, f.number("speed")?),
            605 => Self::Whowas(f.nick("nick")?, f.text("level")?, f.number("time")?),
            607 => {
                let (nick, path) = (f.nick("nick")?, f.text("path")?);
                let speed = if f.is_empty() { None } else { Some(f.number("speed")?) };
                Self::UploadAsked(nick, path, speed)
            }
            620 => Self::QueueFull {
                nick: f.nick("nick")?,
                path: f.text("path")?,
                size: f.number("size")?,
                limit: f.number("limit")?,
            },
            621 => Self::Motd(Text::new(fields.rest())),
            626 => Self::Unreachable(f.nick("nick")?),
            640 => {
                let nick = f.nick("nick")?;
                let addr = if f.is_empty() { None } else { Some((f.ip("ip")?, f.number("port")?)) };
                Self::BrowseAsked(nick, addr)
            }
            641 => Self::BrowseAccepted(f.nick("nick")?, f.ip("ip")?, f.number("port")?),
            642 => {
                Self::BrowseRefused(f.nick("nick")?, f.next().map(Text::new).unwrap_or_default())
            }
            748 => Self::Ghost,
            750 => Self::ServerPong(Text::new(fields.rest())),
            751 => Self::Ping(f.nick("nick")?),
            752 => Self::Pong(f.nick("nick")?),
            821 => Self::Redirect(f.text("server")?, f.number("port")?),
            822 => Self::Cycle(f.text("metaserver")?),
            10_112 => Self::Link(Text::new(fields.rest())),
            _ => return Self::parse_long(frame.kind, fields),
        })
    }

    /// Those of many fields.
    fn parse_long(kind: u16, mut fields: Fields<'_>) -> Result<Self, NapsterError> {
        let f = &mut fields;
        Ok(match kind {
            201 => Self::Row(Row {
                file: File::read(f)?,
                nick: f.nick("nick")?,
                ip: f.ip("ip")?,
                speed: f.number("speed")?,
                weight: if f.is_empty() { 0 } else { f.number("weight")? },
            }),
            204 => Self::DownloadReady {
                nick: f.nick("nick")?,
                ip: f.ip("ip")?,
                port: f.number("port")?,
                path: f.text("path")?,
                hash: FileHash::new(f.raw("hash")?),
                speed: f.number("speed")?,
            },
            216 => Self::ResumeRow {
                nick: f.nick("nick")?,
                ip: f.ip("ip")?,
                port: f.number("port")?,
                path: f.text("path")?,
                hash: FileHash::new(f.raw("hash")?),
                size: f.number("size")?,
                speed: f.number("speed")?,
            },
            501 => Self::PushTo {
                nick: f.nick("nick")?,
                ip: f.ip("ip")?,
                port: f.number("port")?,
                path: f.text("path")?,
                hash: FileHash::new(f.raw("hash")?),
                speed: f.number("speed")?,
            },
            604 => Self::Whois(Whois {
                nick: f.nick("nick")?,
                level: f.text("level")?,
                online_s: f.number("online")?,
                channels: f.text("channels")?,
                status: f.text("status")?,
                shared: f.number("shared")?,
                downloads: f.number("downloads")?,
                uploads: f.number("uploads")?,
                speed: f.number("speed")?,
                client: f.text("client")?,
            }),
            21_337 => {
                let (path, size) = (f.text("path")?, f.number("size")?);
                let hex = std::str::from_utf8(f.raw("btih")?).ok();
                let btih = hex.and_then(InfoHash::from_hex).map_or_else(|| f.wrong("btih"), Ok)?;
                Self::SwarmRow(SwarmRow {
                    path,
                    size,
                    btih,
                    seeds: f.number("seeds")?,
                    leeches: f.number("leeches")?,
                    nick: f.nick("nick")?,
                    ip: f.ip("ip")?,
                    port: f.number("port")?,
                    speed: f.number("speed")?,
                    weight: f.number("weight")?,
                })
            }
            kind => return Err(NapsterError::Kind(kind)),
        })
    }

    /// The frame that says it.
    pub fn frame(&self) -> Frame {
        let line = Line::default();
        let about = |nick: &Nick| Line::default().word(nick);
        let (kind, line) = match self {
            Self::LoginFailed(why) => (0, line.bytes(why.as_bytes())),
            Self::LoggedIn(email) if email.as_bytes().is_empty() => (3, line),
            Self::LoggedIn(email) => (3, line.field(email)),
            Self::Version => (4, line),
            Self::Upgrade => (5, line),
            Self::NickFree => (8, line),
            Self::NickTaken => (9, line),
            Self::NickIllegal(why) => (10, line.bytes(why.as_bytes())),
            Self::PasswordOk => (12, line),
            Self::Unshared(count) => (110, line.word(count)),
            Self::SearchEnd => (202, line),
            Self::Message(nick, text) => (205, about(nick).bytes(text.as_bytes())),
            Self::Unavailable(nick, path) => (206, about(nick).quoted(path)),
            Self::Arrived(nick, speed) => (209, about(nick).word(speed)),
            Self::Offline(nick) => (210, about(nick)),
            Self::BrowseRow(nick, file) => (212, file.write(about(nick))),
            Self::BrowseEnd(nick, None) => (213, about(nick)),
            Self::BrowseEnd(nick, Some(ip)) => (213, about(nick).ip(*ip)),
            Self::Stats(users, files, gigabytes) => {
                (214, line.word(users).word(files).word(gigabytes))
            }
            Self::ResumeEnd => (217, line),
            Self::Watched(nick) => (301, about(nick)),
            Self::NotWatched(nick) => (302, about(nick)),
            Self::Disconnecting => (316, line.word(0)),
            Self::IgnoredEnd(count) => (320, line.word(count)),
            Self::IgnoredRow(nick) => (321, about(nick)),
            Self::Ignored(nick) => (322, about(nick)),
            Self::Unignored(nick) => (323, about(nick)),
            Self::NotIgnored(nick) => (324, about(nick)),
            Self::AlreadyIgnored(nick) => (325, about(nick)),
            Self::UnignoredAll(count) => (326, line.word(count)),
            Self::Error(why) => (404, line.bytes(why.as_bytes())),
            Self::SpeedIs(nick, speed) => (601, about(nick).word(speed)),
            Self::Whowas(nick, level, seen) => (605, about(nick).quoted(level).word(seen)),
            Self::UploadAsked(nick, path, None) => (607, about(nick).quoted(path)),
            Self::UploadAsked(nick, path, Some(speed)) => {
                (607, about(nick).quoted(path).word(speed))
            }
            Self::Motd(text) => (621, line.bytes(text.as_bytes())),
            Self::Unreachable(nick) => (626, about(nick)),
            Self::BrowseAsked(nick, None) => (640, about(nick)),
            Self::BrowseAsked(nick, Some((ip, port))) => (640, about(nick).ip(*ip).word(port)),
            Self::BrowseAccepted(nick, ip, port) => (641, about(nick).ip(*ip).word(port)),
            Self::BrowseRefused(nick, why) => (642, about(nick).quoted(why)),
            Self::Ghost => (748, line),
            // OpenNap leaves a blank behind the name.
            Self::ServerPong(server) => (750, line.bytes(server.as_bytes()).bytes(b"")),
            Self::Ping(nick) => (751, about(nick)),
            Self::Pong(nick) => (752, about(nick)),
            Self::Redirect(server, port) => (821, line.field(server).word(port)),
            Self::Cycle(metaserver) => (822, line.field(metaserver)),
            Self::Link(link) => (10_112, line.bytes(link.as_bytes())),
            Self::Row(_)
            | Self::SwarmRow(_)
            | Self::ResumeRow { .. }
            | Self::DownloadReady { .. }
            | Self::PushTo { .. }
            | Self::QueueFull { .. }
            | Self::Whois(_) => return self.long_frame(),
        };
        Frame::new(kind, line.0)
    }

    /// Those of many fields.
    fn long_frame(&self) -> Frame {
        let line = Line::default();
        let about = |nick: &Nick| Line::default().word(nick);
        let (kind, line) = match self {
            Self::Row(row) => {
                let line = row.file.write(line).word(&row.nick).ip(row.ip).word(row.speed);
                (201, if row.weight == 0 { line } else { line.word(row.weight) })
            }
            Self::DownloadReady { nick, ip, port, path, hash, speed } => {
                let line = about(nick).ip(*ip).word(port).quoted(path);
                (204, line.bytes(hash.as_bytes()).word(speed))
            }
            Self::ResumeRow { nick, ip, port, path, hash, size, speed } => {
                let line = about(nick).ip(*ip).word(port).quoted(path);
                (216, line.bytes(hash.as_bytes()).word(size).word(speed))
            }
            Self::PushTo { nick, ip, port, path, hash, speed } => {
                let line = about(nick).ip(*ip).word(port).quoted(path);
                (501, line.bytes(hash.as_bytes()).word(speed))
            }
            Self::Whois(is) => {
                let line = about(&is.nick).quoted(&is.level).word(is.online_s);
                let line = line.quoted(&is.channels).quoted(&is.status).word(is.shared);
                let line = line.word(is.downloads).word(is.uploads).word(is.speed);
                (604, line.quoted(&is.client))
            }
            Self::QueueFull { nick, path, size, limit } => {
                (620, about(nick).quoted(path).word(size).word(limit))
            }
            Self::SwarmRow(row) => {
                let line = line.quoted(&row.path).word(row.size).word(row.btih);
                let line = line.word(row.seeds).word(row.leeches).word(&row.nick).ip(row.ip);
                (21_337, line.word(row.port).word(row.speed).word(row.weight))
            }
            short => return short.frame(),
        };
        Frame::new(kind, line.0)
    }
}
