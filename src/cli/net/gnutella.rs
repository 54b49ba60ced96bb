//! `gaggle net gnutella`: a servent that shares folders and relays for others.

use crate::cli::env::Env;
use crate::cli::event::{Event, GnutellaCounts};
use crate::cli::exit::{Exit, Failure, exit_of};
use crate::cli::tracker::who;
use crate::net::Clock;
use crate::serve::gnutella::{Config, Error, Gnutella as Servent, HostCache, Now, Role, Status};
use crate::share;
use gaggle_core::metainfo::PeerHint;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The customary port.
const PORT: u16 = 6346;
/// It says how it stands this often, if that has changed.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Run a servent of Gnutella: share folders, answer searches, relay for others
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle net gnutella --share ~/Music
  gaggle net gnutella --role ultra --listen 0.0.0.0:6346
  gaggle net gnutella --connect 10.1.0.5:6346 --listen 10.1.0.6:0 --share /data

Neighbours are the servents of --connect, those of the last run, and those that they name. Nobody else is asked: no host cache
unless --host-cache names one.")]
pub(super) struct Gnutella {
    /// Where to listen, IPv4; port 0 takes any free one [default: port 6346 everywhere]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_GNUTELLA_LISTEN")]
    listen: Option<SocketAddrV4>,
    /// Begin with this servent (repeat)
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_GNUTELLA_CONNECT", value_delimiter = ' ')]
    connect: Vec<String>,
    /// Share everything in this folder (repeat)
    #[arg(long, value_name = "DIR", env = "GAGGLE_GNUTELLA_SHARE", value_delimiter = ' ')]
    share: Vec<PathBuf>,
    /// Relay for others or not; auto is a leaf that becomes an ultrapeer when others could connect for an hour
    #[arg(long, value_name = "ROLE", env = "GAGGLE_GNUTELLA_ROLE", value_enum)]
    #[arg(default_value_t = RoleArg::Auto)]
    role: RoleArg,
    /// Tell others that they cannot connect to us, so that they ask us to connect to them
    #[arg(long, env = "GAGGLE_GNUTELLA_FIREWALLED")]
    firewalled: bool,
    /// Tell others that they can connect to us: a router sends them to our port, which neighbours find out otherwise
    #[arg(long, env = "GAGGLE_GNUTELLA_REACHABLE", conflicts_with = "firewalled")]
    reachable: bool,
    /// While no servent is known, ask this cache, http://.. or udp://HOST:PORT, once an hour (repeat)
    #[arg(long, value_name = "URL", env = "GAGGLE_GNUTELLA_HOST_CACHE", value_delimiter = ' ')]
    host_cache: Vec<HostCache>,
}

/// What to be.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArg {
    Auto,
    Leaf,
    Ultra,
}

impl Gnutella {
    /// A signal is a good end.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let listen = self.listen.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT));
        let clock = Clock::start();
        let config = self.config(env, listen)?;
        let library = shared(env, &self.share, clock)?;
        let servent =
            Servent::start(config, library.clone(), clock).map_err(|error| failure(&error))?;
        let addr = servent.addr();
        env.emit(&Event::Listening { network: "gnutella", addr: Some(addr.to_string()) })?;
        env.note(format_args!("Gnutella servent on {addr}, {}", who(addr.into())));
        tokio::select! {
            ended = say(env, &servent) => ended?,
            _ = env.signals.first() => {}
        }
        servent.stop().await;
        if let Some(library) = library {
            library.stop();
        }
        Ok(Exit::Done)
    }

    fn config(&self, env: &Env, listen: SocketAddrV4) -> Result<Config, Failure> {
        let host = |text: &String| {
            let bad = || Failure::usage(format!("--connect {text} is not HOST:PORT"));
            PeerHint::parse(text).ok_or_else(bad)
        };
        Ok(Config {
            connect: self.connect.iter().map(host).collect::<Result<_, _>>()?,
            caches: self.host_cache.clone(),
            role: match self.role {
                RoleArg::Auto => Role::Auto,
                RoleArg::Leaf => Role::Leaf,
                RoleArg::Ultra => Role::Ultrapeer,
            },
            firewalled: self.firewalled,
            reachable: self.reachable,
            lan: env.settings.network.lan,
            state_dir: Some(env.dirs.state.clone()),
            ..Config::new(listen)
        })
    }
}

/// The files of these folders, each a torrent of its own, too, so that whoever finds one can verify every piece of it.
fn shared(env: &Env, folders: &[PathBuf], clock: Clock) -> Result<Option<share::Library>, Failure> {
    for folder in folders {
        std::fs::read_dir(folder)
            .map_err(|e| Failure::io(format_args!("cannot read {}", folder.display()), &e))?;
    }
    if folders.is_empty() {
        return Ok(None);
    }
    let config = share::Config::new(folders.to_vec(), env.dirs.state.clone());
    let library = share::Library::start(share::Config { torrents: true, ..config }, clock);
    library.map(Some).map_err(|e| Failure::io("cannot share", &e))
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
        _ => Failure::new(Exit::Other, error.to_string()),
    }
}

/// Says how it stands, whenever that changes.
async fn say(env: &Env, servent: &Servent) -> anyhow::Result<()> {
    let mut changes = servent.watch_status();
    let mut said: Option<GnutellaCounts> = None;
    let mut line = String::new();
    loop {
        let counts = counts(&changes.borrow_and_update());
        if said.as_ref() != Some(&counts) {
            env.emit(&Event::GnutellaStatus(counts.clone()))?;
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

fn in_words(counts: &GnutellaCounts) -> String {
    let some = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}{}: {}, {}; sharing {}",
        counts.role,
        if counts.firewalled { " behind a firewall" } else { "" },
        some(counts.ultrapeers, "ultrapeer"),
        if counts.leaves == 1 { "1 leaf".to_owned() } else { format!("{} leaves", counts.leaves) },
        some(counts.files, "file"),
    )
}

fn counts(status: &Status) -> GnutellaCounts {
    GnutellaCounts {
        role: match status.role {
            Now::Leaf => "leaf",
            Now::Ultrapeer => "ultrapeer",
        },
        addr: status.addr.to_string(),
        firewalled: status.firewalled,
        ultrapeers: status.ultrapeers,
        leaves: status.leaves,
        hosts: status.hosts,
        files: status.files,
        uploads: status.uploads.uploads,
        uploaded: status.uploads.bytes,
    }
}
