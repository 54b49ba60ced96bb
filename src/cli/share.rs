//! `gaggle share`: from a path to one line that others paste: torrent, tracker and seed in one process.

use super::create::{Made, Making, summary, write_whole};
use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use super::giving::{Enough, Giving};
use super::here;
use super::network::{Network, link_here};
use super::publish::{self, Publish};
use super::tracker;
use crate::config::{Every, PieceLength};
use crate::engine::{AddTorrent, Engine, Selection, What};
use gaggle_core::storage::Verify;
use gaggle_tracker::{Running, TrackerConfig};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Share files with other machines: one line to paste there, nothing else to set up
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle share ./llama-70b
  gaggle share ./build --print-host build.example.org --until-copies 40 --ttl 2h
  gaggle share disk.iso --publish napster,gnutella --server napster=10.1.0.9:8888 --server 10.1.0.7:6346

It makes a torrent, runs a tracker and seeds until stopped. Nothing is copied.")]
pub(super) struct Share {
    /// Files and folders; each becomes a torrent of its own
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// Name or address to print for the other machines, when they do not see this one's own
    #[arg(long, value_name = "HOST", env = "GAGGLE_PRINT_HOST")]
    print_host: Option<String>,
    /// Stop when so many peers have everything
    #[arg(long, value_name = "COUNT", env = "GAGGLE_UNTIL_COPIES")]
    until_copies: Option<usize>,
    /// Stop after so long
    #[arg(long, value_name = "TIME", env = "GAGGLE_TTL")]
    ttl: Option<Every>,
    /// Let peers come from the tracker only
    #[arg(long, env = "GAGGLE_PRIVATE")]
    private: bool,
    /// Run no tracker; the line leads straight here
    #[arg(long, env = "GAGGLE_NO_TRACKER")]
    no_tracker: bool,
    /// Bytes of a piece: auto, or a power of two from 16KiB
    #[arg(long, value_name = "SIZE", env = "GAGGLE_PIECE_LENGTH")]
    piece_length: Option<PieceLength>,
    /// Leave out files and folders that match (repeat)
    #[arg(long, value_name = "GLOB", env = "GAGGLE_EXCLUDE")]
    exclude: Vec<String>,
    /// Take files whose name starts with a dot, too
    #[arg(long, env = "GAGGLE_INCLUDE_HIDDEN")]
    include_hidden: bool,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    publish: Publish,
}

/// The tracker of this process, and what it is called.
struct OwnTracker {
    running: Running,
    /// For this process.
    local: String,
    /// For everybody else.
    public: String,
}

impl Share {
    /// A signal, or enough copies or time, is a good end.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        for path in &self.path {
            // A wrong path shall open no port.
            std::fs::metadata(path)
                .map_err(|e| Failure::io(format_args!("cannot read {}", path.display()), &e))?;
        }
        let plan = match self.publish.plan(env, &self.network).await? {
            Ok(plan) => plan,
            Err(exit) => return Ok(exit),
        };
        if plan.is_some() && self.private {
            return Err(publish::refused("--private").into());
        }
        let engine = self.network.engine(env).await?;
        if self.print_host.is_none() && here::is_stuck(engine.listen_addr()) {
            let what = "warning: no way leads from here to other machines, so the line works on this one only";
            env.stderr(format_args!("{what}; name this machine with --print-host"));
        }
        let tracker = if self.no_tracker { None } else { Some(self.tracker(env, &engine)?) };
        let mut all = Vec::new();
        for path in &self.path {
            match self.begin(env, &engine, tracker.as_ref(), path).await? {
                Ok(giving) => all.push(giving),
                Err(exit) => return Ok(exit),
            }
        }
        let time = self.ttl.map(|every| every.0);
        let enough = Enough { ratio: None, time, copies: self.until_copies };
        let end = publish::beside(plan, env, &engine, all, enough).await;
        engine.stop().await;
        if let Some(tracker) = tracker {
            tracker.running.stop().await;
        }
        end
    }

    async fn begin(
        &self,
        env: &Arc<Env>,
        engine: &Engine,
        tracker: Option<&OwnTracker>,
        path: &Path,
    ) -> anyhow::Result<Result<Giving, Exit>> {
        let public = tracker.map(|tracker| tracker.public.clone());
        let making = Making {
            tracker: public.into_iter().chain(self.network.trackers(env)).collect(),
            piece_length: self.piece_length,
            private: self.private,
            exclude: self.exclude.clone(),
            include_hidden: self.include_hidden,
            ..Making::default()
        };
        let made = match making.make(env, path, None).await? {
            Ok(made) => made,
            Err(exit) => return Ok(Err(exit)),
        };
        if made.renamed > 0 {
            let what = format!("{} holds names that others cannot have", path.display());
            return Err(Failure::usage(what)
                .hint("rename them, or leave them out with --exclude")
                .into());
        }
        env.note(summary(&made));
        let torrent = keep(env, &made)?;
        let giving = match Giving::begin(env, engine, self.add(&made, tracker)).await? {
            Ok(giving) => giving,
            Err(exit) => return Ok(Err(exit)),
        };
        let magnet =
            link_here(made.metainfo.magnet(), engine.listen_addr(), self.print_host.as_deref());
        let (magnet, torrent) = (magnet.to_string(), torrent.display().to_string());
        let info_hash = made.metainfo.info_hash().to_string();
        env.emit(&Event::Shared { magnet: &magnet, info_hash, torrent: &torrent })?;
        env.note("on other machines run:");
        env.result(format_args!("  gaggle get '{magnet}'"))?;
        Ok(Ok(giving))
    }

    fn add(&self, made: &Made, tracker: Option<&OwnTracker>) -> AddTorrent {
        let mut metainfo = made.metainfo.clone();
        // Our own tracker is asked under its local name: the public one may lead through a router.
        let own = tracker.map(|tracker| tracker.local.clone());
        metainfo.trackers.retain(|tier| tracker.is_none_or(|own| !tier.contains(&own.public)));
        AddTorrent {
            what: What::Metainfo(Arc::new(metainfo)),
            out_dir: made.parent.clone(),
            select: Selection::All,
            peers: Vec::new(),
            link_peers: Vec::new(),
            trackers: own.into_iter().collect(),
            verify: Verify::Trust, // hashed a moment ago
            preallocate: crate::disk::Preallocate::None,
            overwrite: false,
            seed_only: true,
        }
    }

    /// On the customary port, or on any that is free, beside the engine.
    fn tracker(&self, env: &Env, engine: &Engine) -> Result<OwnTracker, Failure> {
        let ip = engine.listen_addr().ip();
        let on = |port| tracker::start(&TrackerConfig::new(SocketAddr::new(ip, port)));
        let running = on(TrackerConfig::DEFAULT_PORT).or_else(|_| on(0))?;
        let listen = running.local_addr();
        env.note(format_args!("tracker on {listen}, {}", tracker::who(listen)));
        let reachable = here::reachable(listen);
        let host = self.print_host.clone().unwrap_or_else(|| reachable.ip().to_string());
        let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
        let local = format!("http://{reachable}/announce");
        let public = format!("http://{host}:{}/announce", listen.port());
        Ok(OwnTracker { running, local, public })
    }
}

/// Keeps the .torrent in the state folder, for those who prefer a file to a link.
fn keep(env: &Env, made: &Made) -> Result<PathBuf, Failure> {
    let folder = env.dirs.state.join("torrents");
    std::fs::create_dir_all(&folder)
        .map_err(|e| Failure::io(format_args!("cannot create {}", folder.display()), &e))?;
    let path = folder.join(format!("{}.torrent", made.metainfo.info_hash()));
    write_whole(&path, &made.bytes)?;
    Ok(path)
}
