//! `gaggle net napster`: the directory of a network, or a client of one.

use crate::cli::env::Env;
use crate::cli::event::{Event, NapsterState};
use crate::cli::exit::{Exit, Failure, exit_of, plain};
use crate::cli::tracker::who;
use crate::net::{Clock, os_rng};
use crate::serve::napster::Error;
use crate::serve::napster::client::{Client, Config as ClientConfig, Link, Listed, Status};
use crate::serve::napster::directory::{Config as DirectoryConfig, Directory};
use crate::share::{Config as ShareConfig, Library};
use gaggle_core::overlay::napster::{
    BrowseEnd, DirectoryConfig as Terms, Limits, Password, Refused,
};
use gaggle_core::proto::napster::{NICK_MAX, Nick, SERVER_PORT};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A running node says how it stands this often at most, when that has changed.
const SAY_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a file with a password.
const PASSWORD_MAX: u64 = 1024;

/// Run a Napster directory, or with --connect a client that shares files
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle net napster --listen [::]:8888
  gaggle net napster --connect 10.1.0.5:8888 --share ./music
  gaggle net napster --connect 10.1.0.5 --browse bob

The directory knows who has what; files go from client to client.")]
pub(super) struct Napster {
    /// Where to listen [default: a directory on port 8888 everywhere, a client on any free port]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_NAPSTER_LISTEN")]
    listen: Option<SocketAddr>,
    /// Be a client of this directory (repeat: others are tried when one is lost)
    #[arg(long, value_name = "HOST[:PORT]", env = "GAGGLE_NAPSTER_CONNECT", value_delimiter = ' ')]
    connect: Vec<String>,
    /// Share the files in this folder (repeat)
    #[arg(
        long,
        value_name = "DIR",
        env = "GAGGLE_NAPSTER_SHARE",
        value_delimiter = ' ',
        requires = "connect"
    )]
    share: Vec<PathBuf>,
    /// Name at the directory [default: one made up]
    #[arg(long, value_name = "NAME", env = "GAGGLE_NAPSTER_NICK", requires = "connect")]
    nick: Option<String>,
    /// The first line of this file proves that the name is ours
    #[arg(long, value_name = "FILE", env = "GAGGLE_NAPSTER_PASSWORD_FILE", requires = "connect")]
    password_file: Option<PathBuf>,
    /// Have the name reserved for who has the password
    #[arg(long, requires = "password_file")]
    register: bool,
    /// Nobody can connect to this machine: it connects to others
    #[arg(
        long,
        env = "GAGGLE_NAPSTER_FIREWALLED",
        requires = "connect",
        conflicts_with = "listen"
    )]
    firewalled: bool,
    /// Speed of the link, 0 (unknown) to 10 (T3 or more)
    #[arg(
        long,
        value_name = "CODE",
        env = "GAGGLE_NAPSTER_SPEED",
        requires = "connect",
        default_value_t = 0
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=10))]
    speed: u8,
    /// List the files of this user, and exit
    #[arg(long, value_name = "NAME", requires = "connect", conflicts_with = "share")]
    browse: Option<String>,
    /// Say who this user is, and exit
    #[arg(long, value_name = "NAME", requires = "connect", conflicts_with_all = ["share", "browse"])]
    whois: Option<String>,
    /// Send the password as it is, or take such ones: everybody on the way can read it
    #[arg(long, env = "GAGGLE_NAPSTER_LEGACY")]
    legacy: bool,
    /// What the directory calls itself [default: gaggle]
    #[arg(long, value_name = "NAME", env = "GAGGLE_NAPSTER_NAME", conflicts_with = "connect")]
    name: Option<String>,
    /// Most connections of one address, this machine apart, or none [default: 10]
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAGGLE_NAPSTER_PER_ADDRESS",
        conflicts_with = "connect"
    )]
    per_address: Option<Bound>,
    /// Most searches a minute of one user, or none [default: 10]
    #[arg(
        long,
        value_name = "COUNT",
        env = "GAGGLE_NAPSTER_SEARCHES_PER_MINUTE",
        conflicts_with = "connect"
    )]
    searches_per_minute: Option<Bound>,
}

/// A number, or `none`.
#[derive(Clone, Copy, Debug)]
struct Bound(Option<u32>);

impl FromStr for Bound {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("none", _) => Ok(Self(None)),
            (_, Ok(0)) => Err("a bound of 0 would let nothing through".to_owned()),
            (_, Ok(number)) => Ok(Self(Some(number))),
            _ => Err("a number, or none".to_owned()),
        }
    }
}

impl Napster {
    /// Runs until a signal comes, or until the question is answered.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        if self.connect.is_empty() { self.directory(env).await } else { self.client(env).await }
    }

    async fn directory(self, env: &Env) -> anyhow::Result<Exit> {
        let mut limits = Limits::default();
        if let Some(Bound(most)) = self.per_address {
            limits.per_address = most.map(|most| most as usize);
        }
        if let Some(Bound(most)) = self.searches_per_minute {
            limits.searches_per_min = most;
        }
        let mut terms = Terms { legacy: self.legacy, limits, ..Terms::default() };
        if let Some(name) = &self.name {
            // It asks users under that name whether they are there.
            terms.name = parse_nick(name, "--name")?.to_string();
        }
        let listen = self.listen.unwrap_or((Ipv6Addr::UNSPECIFIED, SERVER_PORT).into());
        let (lan, state_dir) = (env.settings.network.lan, Some(env.dirs.state.clone()));
        let config = DirectoryConfig { listen, lan, directory: terms, state_dir };
        let directory = Directory::start(config, Clock::start()).map_err(failure)?;
        let addr = directory.addr();
        env.emit(&Event::Listening { network: "napster", addr: Some(addr.to_string()) })?;
        env.note(format_args!("Napster directory on {addr}, {}", who(addr)));
        tokio::select! {
            said = whenever(directory.watch(), |status| {
                let counters = status.counters;
                env.emit(&Event::NapsterDirectory {
                    users: counters.users,
                    files: counters.files,
                    bytes: counters.bytes,
                    searches: counters.searches,
                    connections: status.connections,
                    refused: status.refused + counters.refused,
                })
            }) => said?,
            _ = env.signals.first() => {}
        }
        directory.stop().await;
        Ok(Exit::Done)
    }

    async fn client(self, env: &Env) -> anyhow::Result<Exit> {
        let question = self.browse.is_some() || self.whois.is_some();
        let config = self.client_config(env, question)?;
        let clock = Clock::start();
        let library = match self.share.as_slice() {
            [] => None,
            folders => Some(library(env, folders, clock)?),
        };
        let client = Client::start(config, library, clock).map_err(failure)?;
        let listening = client.addr().map(|addr| addr.to_string());
        env.emit(&Event::Listening { network: "napster", addr: listening })?;
        if !question && let Some(addr) = client.addr() {
            env.note(format_args!("Napster client on {addr}, {}", who(addr)));
        }
        let ended = tokio::select! {
            ended = self.work(env, &client) => ended,
            _ = env.signals.first() => Ok(Exit::Done),
        };
        client.stop().await;
        ended
    }

    async fn work(&self, env: &Env, client: &Client) -> anyhow::Result<Exit> {
        if let Some(nick) = &self.browse {
            let nick = parse_nick(nick, "--browse")?;
            connected(client).await?;
            return browse(env, client, nick).await;
        }
        if let Some(nick) = &self.whois {
            let nick = parse_nick(nick, "--whois")?;
            connected(client).await?;
            return whois(env, client, nick).await;
        }
        let mut line = String::new();
        whenever(client.watch(), |status| say(env, status, &mut line)).await?;
        Ok(Exit::Done)
    }

    fn client_config(&self, env: &Env, question: bool) -> Result<ClientConfig, Failure> {
        let with_port = |server: &String| match server.parse() {
            Ok(ip) => SocketAddr::new(ip, SERVER_PORT).to_string(),
            Err(_) if server.contains(':') => server.clone(),
            Err(_) => format!("{server}:{SERVER_PORT}"),
        };
        let servers = self.connect.iter().map(with_port).collect();
        let nick = match &self.nick {
            Some(nick) => parse_nick(nick, "--nick")?,
            None => made_up_nick()?,
        };
        let listen = self.listen.unwrap_or((Ipv6Addr::UNSPECIFIED, 0).into());
        let listen = (!self.firewalled && !question).then_some(listen);
        let password = match &self.password_file {
            None => Password::None,
            Some(file) if self.legacy => Password::Legacy(read_password(file)?),
            Some(file) => Password::Secret(read_password(file)?),
        };
        let mut config = ClientConfig::new(servers, nick, listen);
        config.dialer.lan = env.settings.network.lan;
        Ok(ClientConfig { password, register: self.register, speed: self.speed, ..config })
    }
}

fn library(env: &Env, folders: &[PathBuf], clock: Clock) -> Result<Library, Failure> {
    if let Some(folder) = folders.iter().find(|folder| !folder.is_dir()) {
        let what = format!("--share {}: there is no such folder", folder.display());
        return Err(Failure::usage(what));
    }
    let mut config = ShareConfig::new(folders.to_vec(), env.dirs.state.clone());
    // By its torrent a file is found in all networks, and checked whoever it comes from.
    config.torrents = true;
    Library::start(config, clock).map_err(|error| Failure::io("cannot share", &error))
}

fn parse_nick(text: &str, flag: &str) -> Result<Nick, Failure> {
    let nick = Nick::new(text.as_bytes()).filter(|_| text.len() <= NICK_MAX);
    nick.ok_or_else(|| {
        let what = format!("{flag} {text}: no directory admits such a name");
        Failure::usage(what).hint(format!(
            "at most {NICK_MAX} letters, digits and signs such as - or _, and no blanks"
        ))
    })
}

fn made_up_nick() -> Result<Nick, Failure> {
    let mut rng = os_rng().map_err(|error| Failure::io("no randomness", &error))?;
    let name = format!("gaggle{:08}", rng.below(100_000_000));
    Nick::new(name.as_bytes()).ok_or_else(|| Failure::new(Exit::Other, "no name"))
}

fn read_password(path: &Path) -> Result<String, Failure> {
    let read = || {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, PASSWORD_MAX), &mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error| Failure::io(path.display(), &error))?;
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() || first.contains(char::is_whitespace) {
        let what = format!("{}: the first line is no password", path.display());
        return Err(Failure::usage(what).hint("one word without blanks"));
    }
    Ok(first.to_owned())
}

/// Says how it stands whenever that has changed, until it can change no more.
async fn whenever<T: Clone>(
    mut status: watch::Receiver<T>,
    mut say: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let now = status.borrow_and_update().clone();
        say(&now)?;
        tokio::time::sleep(SAY_EVERY).await;
        if status.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn say(env: &Env, status: &Status, line: &mut String) -> anyhow::Result<()> {
    let (state, server, why) = match &status.link {
        Link::Connecting => (NapsterState::Connecting, None, None),
        Link::In(addr) => (NapsterState::In, Some(addr.to_string()), None),
        Link::Waiting(why) => (NapsterState::Waiting, None, Some(why.to_string())),
        Link::Ended(why) => return Err(refused(why).into()),
    };
    let now = match (&server, &why) {
        (Some(server), _) => format!("in at {server}, sharing {} files", status.shared),
        (None, Some(why)) => format!("not connected: {why}; trying again"),
        (None, None) => line.clone(),
    };
    if now != *line {
        env.note(&now);
        *line = now;
    }
    env.emit(&Event::NapsterClient {
        state,
        server,
        why,
        shared: status.shared,
        users: status.users,
        files: status.files,
        uploads: status.uploads,
        uploaded: status.uploaded,
    })
}

/// Waits until a directory has let us in, or the first of them did not.
async fn connected(client: &Client) -> Result<(), Failure> {
    let mut status = client.watch();
    let settled = status.wait_for(|status| status.link != Link::Connecting).await;
    match settled.map(|status| status.link.clone()) {
        Ok(Link::In(_)) => Ok(()),
        Ok(Link::Waiting(why) | Link::Ended(why)) => Err(refused(&why)),
        _ => Err(Failure::new(Exit::Other, "the client has stopped")),
    }
}

async fn browse(env: &Env, client: &Client, nick: Nick) -> anyhow::Result<Exit> {
    let mut files = client.browse(nick.clone(), false).await;
    while let Some(listed) = files.recv().await {
        match listed {
            Listed::File(file) => {
                env.result(format_args!("{:>12}  {}", file.size, file.path))?;
                env.emit(&Event::NapsterFile { path: file.path.decode(), bytes: file.size })?;
            }
            Listed::Ended(BrowseEnd::Done) => return Ok(Exit::Done),
            Listed::Ended(BrowseEnd::Offline) => {
                return Err(Failure::new(Exit::Other, format!("{nick} is not here")).into());
            }
            Listed::Ended(BrowseEnd::Refused(why)) => {
                return Err(Failure::new(Exit::Other, format!("no list of {nick}: {why}")).into());
            }
        }
    }
    Err(Failure::new(Exit::Network, "the directory is gone").into())
}

async fn whois(env: &Env, client: &Client, nick: Nick) -> anyhow::Result<Exit> {
    let Some(is) = client.whois(nick.clone()).await else {
        return Err(Failure::new(Exit::Other, format!("{nick} is not here")).into());
    };
    env.result(format_args!(
        "{}  {}  here for {} s, shares {} files, gives {}, fetches {}, speed {}",
        is.nick, is.client, is.online_s, is.shared, is.uploads, is.downloads, is.speed
    ))?;
    env.emit(&Event::NapsterUser {
        nick: is.nick.as_str(),
        client: is.client.decode(),
        online: is.online_s,
        shared: is.shared,
        uploads: is.uploads,
        downloads: is.downloads,
        speed: is.speed,
    })?;
    Ok(Exit::Done)
}

fn refused(why: &Refused) -> Failure {
    let exit = match why {
        Refused::Nick(_) => Exit::Usage,
        Refused::Login(_) => Exit::Denied,
        Refused::Silent | Refused::Protocol(_) => Exit::Network,
        _ => Exit::Other,
    };
    let failure = Failure::new(exit, why.to_string());
    match why {
        Refused::Nick(_) => failure.hint("--nick NAME takes another name"),
        Refused::Login(_) => failure.hint("--password-file FILE says who you are"),
        _ => failure,
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Listen(addr, kind) => {
            let what = plain(&kind.into());
            Failure::new(exit_of(kind), format!("cannot listen on {addr}: {what}"))
                .hint("--listen IP:0 takes any free port")
        }
        Error::Accounts(path, kind) => {
            Failure::new(exit_of(kind), format!("{path}: {}", plain(&kind.into())))
        }
        other => Failure::new(Exit::Other, other.to_string()),
    }
}
