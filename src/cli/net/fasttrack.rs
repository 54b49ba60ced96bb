//! `gaggle net fasttrack`: a node that shares folders, and a supernode for others.

use crate::cli::env::Env;
use crate::cli::event::{Event, FastTrackCounts};
use crate::cli::exit::{Exit, Failure, exit_of, plain};
use crate::cli::here;
use crate::cli::tracker::who;
use crate::net::Clock;
use crate::serve::fasttrack::{Config, Error, FastTrack as Driver, Role, Status};
use crate::share;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::proto::fasttrack::PORT;
use gaggle_core::scope::Scope;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// It says how it stands this often, if that has changed.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Run a node of FastTrack, the network of KaZaA: share folders, answer searches, be a supernode for others
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle net fasttrack --role supernode --listen 10.1.0.5:1214
  gaggle net fasttrack --connect 10.1.0.5:1214 --share ~/Music
  gaggle net fasttrack --connect 10.1.0.5:1214 --listen 10.1.0.6:0 --role node --share /data

Supernodes are those of --connect, those of the last run, and those that they name; five are pinged and the nearest is taken.")]
pub(super) struct FastTrack {
    /// Where to listen, IPv4; port 0 takes any free one [default: port 1214 everywhere]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_FASTTRACK_LISTEN")]
    listen: Option<SocketAddrV4>,
    /// Begin with this supernode (repeat)
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_FASTTRACK_CONNECT", value_delimiter = ' ')]
    connect: Vec<String>,
    /// Share everything in this folder (repeat)
    #[arg(long, value_name = "DIR", env = "GAGGLE_FASTTRACK_SHARE", value_delimiter = ' ')]
    share: Vec<PathBuf>,
    /// What to be; auto is a node that becomes a supernode when one is needed and it is worth it
    #[arg(long, value_name = "ROLE", env = "GAGGLE_FASTTRACK_ROLE", value_enum)]
    #[arg(default_value_t = RoleArg::Auto)]
    role: RoleArg,
    /// Tell others that they cannot connect to us, so that they have us connect to them
    #[arg(long, env = "GAGGLE_FASTTRACK_FIREWALLED")]
    firewalled: bool,
    /// How others see us [default: the name of the last run, or a new one]
    #[arg(long, value_name = "NAME", env = "GAGGLE_FASTTRACK_USER")]
    user: Option<String>,
}

/// What to be.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArg {
    Auto,
    Node,
    Supernode,
}

impl FastTrack {
    /// A signal is a good end.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let clock = Clock::start();
        let config = self.config(env).await?;
        let library = self.library(env, clock)?;
        let driver =
            Driver::start(config, library.clone(), clock).map_err(|error| failure(&error))?;
        let addr = driver.addr();
        env.emit(&Event::Listening { network: "fasttrack", addr: Some(addr.to_string()) })?;
        env.note(format_args!("FastTrack on {addr}, {}", who(addr.into())));
        tokio::select! {
            ended = say(env, &driver) => ended?,
            _ = env.signals.first() => {}
        }
        driver.stop().await;
        if let Some(library) = library {
            library.stop();
        }
        Ok(Exit::Done)
    }

    async fn config(&self, env: &Env) -> Result<Config, Failure> {
        let listen = self.listen.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT));
        let mut connect = Vec::new();
        for name in &self.connect {
            let addr = look_up(name).await?;
            if env.settings.network.lan && !Scope::is_near(IpAddr::V4(*addr.ip())) {
                let what = format!(
                    "--connect {addr} is in another network, and network.lan keeps to this one"
                );
                return Err(Failure::usage(what));
            }
            connect.push(addr);
        }
        Ok(Config {
            external: here::external(listen),
            connect,
            firewalled: self.firewalled,
            lan: env.settings.network.lan,
            role: match self.role {
                RoleArg::Auto => Role::Auto,
                RoleArg::Node => Role::Node,
                RoleArg::Supernode => Role::Supernode,
            },
            user: self.user.clone(),
            state_dir: Some(env.dirs.state.clone()),
            ..Config::new(listen)
        })
    }

    /// The files of the folders, each a torrent of its own, too, so that whoever finds one can verify every piece of it.
    fn library(&self, env: &Env, clock: Clock) -> Result<Option<share::Library>, Failure> {
        for folder in &self.share {
            std::fs::read_dir(folder)
                .map_err(|e| Failure::io(format_args!("cannot read {}", folder.display()), &e))?;
        }
        if self.share.is_empty() {
            return Ok(None);
        }
        let config = share::Config::new(self.share.clone(), env.dirs.state.clone());
        let library = share::Library::start(share::Config { torrents: true, ..config }, clock);
        library.map(Some).map_err(|e| Failure::io("cannot share", &e))
    }
}

/// An address, or the first of IPv4 that a name has.
async fn look_up(name: &str) -> Result<SocketAddrV4, Failure> {
    let bad = || Failure::usage(format!("--connect {name} is not HOST:PORT"));
    let PeerHint { host, port } = PeerHint::parse(name).ok_or_else(bad)?;
    let unknown = |error: std::io::Error| {
        Failure::new(Exit::Network, format!("--connect {name}: {}", plain(&error)))
    };
    let found = tokio::net::lookup_host((host, port)).await.map_err(unknown)?;
    let v4 = |addr| match addr {
        SocketAddr::V4(addr) => Some(addr),
        SocketAddr::V6(_) => None,
    };
    let none = || Failure::usage(format!("--connect {name}: FastTrack knows IPv4 alone"));
    found.into_iter().find_map(v4).ok_or_else(none)
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Listen(_, kind) => {
            let failure = Failure::new(exit_of(*kind), format!("{error}: {kind}"));
            match kind {
                std::io::ErrorKind::AddrInUse => failure.hint("--listen IP:0 takes any free port"),
                _ => failure,
            }
        }
        Error::NoAddress => Failure::usage(error.to_string()).hint("--listen IP:PORT names it"),
        Error::Unreachable => {
            Failure::usage(error.to_string()).hint("leave out --firewalled, or take --role node")
        }
        _ => Failure::new(Exit::Other, error.to_string()),
    }
}

/// Says how it stands, whenever that changes.
async fn say(env: &Env, driver: &Driver) -> anyhow::Result<()> {
    let mut changes = driver.watch_status();
    let mut said: Option<FastTrackCounts> = None;
    let mut line = String::new();
    loop {
        let counts = counts(&changes.borrow_and_update());
        if said.as_ref() != Some(&counts) {
            env.emit(&Event::FasttrackStatus(counts.clone()))?;
            let now = in_words(&counts);
            if now != line {
                env.note(&now);
                line = now;
            }
            said = Some(counts);
        }
        tokio::time::sleep(SAY_EVERY).await;
        if changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn in_words(counts: &FastTrackCounts) -> String {
    let some = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let sharing = format!("sharing {}", some(counts.shared, "file"));
    match (&counts.supernode, counts.role) {
        (_, "supernode") => format!(
            "supernode of {} with {}, linked to {}; {sharing}",
            some(counts.nodes, "node"),
            some(counts.files, "file"),
            some(counts.supernodes, "supernode"),
        ),
        (Some(supernode), _) => format!("node of {supernode}; {sharing}"),
        (None, _) if counts.known == 0 => {
            "no supernode is known: --connect names one, or --role supernode is one".to_owned()
        }
        (None, _) => format!("no supernode yet, {} known; {sharing}", counts.known),
    }
}

fn counts(status: &Status) -> FastTrackCounts {
    FastTrackCounts {
        role: if status.supernode { "supernode" } else { "node" },
        supernode: status.attached.map(|addr| addr.to_string()),
        score: status.score,
        known: status.known,
        shared: status.shared,
        nodes: status.nodes,
        supernodes: status.supernodes,
        files: status.files,
        uploads: status.uploads.uploads,
        uploaded: status.uploads.bytes,
        refused: status.refused,
    }
}
