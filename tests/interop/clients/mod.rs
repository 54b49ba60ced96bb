//! One file for each client, all with the same face: started for a torrent, asked whether everything is there.

mod aria2;
mod gaggle;
mod libtorrent;
mod qbittorrent;
mod rtorrent;
mod transmission;

use crate::case::Other;
use harness::Process;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// What a client is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Seed,
    Leech,
}

/// Everything that a client needs to know.
pub(crate) struct Part {
    pub(crate) role: Role,
    /// A file, or a link.
    pub(crate) torrent: PathBuf,
    /// Where the content lies, or is to be put.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    /// Its own folder for settings, state and logs.
    pub(crate) work: PathBuf,
    pub(crate) ways: Ways,
}

/// How a client meets others beside the tracker, for those clients that are asked to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways {
    /// Whom to dial.
    pub(crate) peers: Vec<SocketAddr>,
    /// Exchanges peers with peers. libtorrent always does.
    pub(crate) pex: bool,
    /// Speaks to its neighbours on the wire.
    pub(crate) lsd: bool,
    /// Nodes of the DHT to begin with; without any it takes no part.
    pub(crate) dht: Vec<SocketAddr>,
    /// Most bytes per second to fetch; 0 is no limit.
    pub(crate) down: u64,
}

impl Part {
    /// A foreign program with a home of its own.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.work).env("TERM", "dumb").env("QT_QPA_PLATFORM", "offscreen");
        for home in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
            command.env(home, &self.work);
        }
        command
    }
}

/// A running client.
pub(crate) trait Client {
    /// Whether it has, and has verified, the whole torrent. An error if it ended or gave up.
    fn has_all(&mut self) -> anyhow::Result<bool>;
    /// How many peers it is connected to.
    fn peers(&mut self) -> anyhow::Result<usize> {
        anyhow::bail!("this client is not asked for its peers")
    }
    /// The process behind it.
    fn process(&self) -> &Process;
}

/// Whom to start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Make {
    Gaggle,
    Other(Other),
}

impl Make {
    /// The program that must be installed.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Gaggle => env!("CARGO_BIN_EXE_gaggle"),
            Self::Other(Other::Transmission) => "transmission-daemon",
            Self::Other(Other::Aria2) => "aria2c",
            Self::Other(Other::Rtorrent) => "rtorrent",
            Self::Other(Other::Qbittorrent) => "qbittorrent-nox",
            Self::Other(Other::Libtorrent) => "/usr/bin/python3",
        }
    }

    /// Starts it.
    pub(crate) fn start(self, part: &Part) -> anyhow::Result<Box<dyn Client>> {
        std::fs::create_dir_all(&part.dir)?;
        std::fs::create_dir_all(&part.work)?;
        match self {
            Self::Gaggle => gaggle::start(part),
            Self::Other(Other::Transmission) => transmission::start(part),
            Self::Other(Other::Aria2) => aria2::start(part),
            Self::Other(Other::Rtorrent) => rtorrent::start(part),
            Self::Other(Other::Qbittorrent) => qbittorrent::start(part),
            Self::Other(Other::Libtorrent) => libtorrent::start(part),
        }
    }
}
