//! `gaggle get`: downloads, verifies, prints where it is, and ends.

mod hit;

use super::cache;
use super::create::write_whole;
use super::download::{Patience, Sources, Watched};
use super::env::Env;
use super::exit::{Exit, Failure, of_engine, text};
use super::network::{Network, Peers};
use super::select::parse as parse_selection;
use super::show;
use super::target::Target;
use crate::config::{Every, Finish, Preallocation, Trust};
use crate::engine::{AddTorrent, Engine, Selection, What};
use gaggle_core::metainfo::{Magnet, Metainfo, PeerHint};
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

/// Without a terminal nobody can press Ctrl-C: a magnet gets this long for its metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(60);

/// Download torrents and results of a search, verify them, print where they are
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle get 'magnet:?xt=urn:btih:3f9c...&x.pe=10.1.0.5:41873' -o /data
  gaggle get https://example.org/llama-70b.torrent --select '*.json,3-5' --seed never
  gaggle get disk.torrent --stall-timeout 10m --json --on-complete ./install.sh

What is there already is verified and kept; the same command resumes. `gaggle TARGET` does the same. After `gaggle search
WORDS`, `gaggle get 3` takes the third result.")]
pub(super) struct Get {
    /// A .torrent (path, - for stdin, or URL), a magnet link, a hash, or the number of a result of the last search
    #[arg(required = true)]
    target: Vec<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    network: Network,
}

#[derive(Clone, Debug, clap::Args)]
struct How {
    /// Folder to download to [default: .]
    #[arg(short, long, value_name = "DIR", env = "GAGGLE_OUTPUT")]
    output: Option<PathBuf>,
    /// Take only these files: indices, ranges and globs, such as 1,4-6,*.json (repeat)
    #[arg(short, long, value_name = "SPEC", env = "GAGGLE_SELECT")]
    select: Vec<String>,
    /// List the files with their indices and download nothing
    #[arg(short, long)]
    list: bool,
    /// After the download: never, linger, ratio=R, time=D or forever [default: linger]
    #[arg(long, value_name = "HOW", env = "GAGGLE_SEEDING")]
    seed: Option<Finish>,
    /// Give up when a download has taken so long
    #[arg(long, value_name = "TIME", env = "GAGGLE_TIMEOUT")]
    timeout: Option<Every>,
    /// Give up when nothing has arrived for so long
    #[arg(long, value_name = "TIME", env = "GAGGLE_STALL_TIMEOUT")]
    stall_timeout: Option<Every>,
    /// Give up when no metadata has come for so long [default: 1m; on a terminal never]
    #[arg(long, value_name = "TIME", env = "GAGGLE_METADATA_TIMEOUT")]
    metadata_timeout: Option<Every>,
    /// What to hash of data that is there: auto, always or trust [default: auto]
    #[arg(long, value_name = "WHAT", env = "GAGGLE_VERIFY")]
    verify: Option<Trust>,
    /// How to make room for files: none, sparse or full [default: full]
    #[arg(long, value_name = "HOW", env = "GAGGLE_PREALLOCATE")]
    preallocate: Option<Preallocation>,
    /// Write into files that hold something else
    #[arg(long, env = "GAGGLE_OVERWRITE")]
    overwrite: bool,
    /// Write the .torrent here, too
    #[arg(long, value_name = "FILE", env = "GAGGLE_SAVE_TORRENT")]
    save_torrent: Option<PathBuf>,
    /// Run a command after each download, without a shell; GAGGLE_PATH and others say what it got
    #[arg(long, value_name = "COMMAND", env = "GAGGLE_ON_COMPLETE")]
    on_complete: Option<String>,
    /// Take a result of a search from its hosts alone, even if it belongs to a torrent
    #[arg(long, env = "GAGGLE_NO_TORRENT")]
    no_torrent: bool,
    /// How many downloads run at a time [default: 3]
    #[arg(short, long, value_name = "COUNT", env = "GAGGLE_JOBS")]
    jobs: Option<NonZeroUsize>,
}

impl Get {
    /// Runs until all downloads have ended, each in its own way.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let how = &self.how;
        if how.output.as_deref() == Some(Path::new("-")) {
            return Err(Failure::usage("-o takes a folder; it cannot stream to stdout").into());
        }
        if how.save_torrent.is_some() && self.target.len() > 1 {
            return Err(Failure::usage("--save-torrent works with one target only").into());
        }
        let targets =
            self.target.iter().map(|t| Target::parse(t)).collect::<Result<Vec<_>, _>>()?;
        if how.no_torrent && targets.iter().any(|target| !matches!(target, Target::Hit(_))) {
            return Err(Failure::usage("--no-torrent goes with results of a search").into());
        }
        let engine = Arc::new(OnceCell::new());
        let jobs = how.jobs.unwrap_or(env.settings.get.jobs).get();
        let slots = Arc::new(Semaphore::new(jobs));
        let mut running = JoinSet::new();
        let several = targets.len() > 1;
        if several && !how.list {
            // Once for all, so that a port in use is one error and not one for each.
            engine.get_or_try_init(|| self.network.engine(env)).await?;
        }
        for target in targets {
            let one = One {
                env: env.clone(),
                engine: engine.clone(),
                get: self.clone(),
                slots: slots.clone(),
            };
            running.spawn(one.run(target));
        }
        let mut failed = None;
        let mut exits = Vec::new();
        while let Some(ended) = running.join_next().await {
            match ended? {
                Ok(exit) => exits.push(exit),
                Err(failure) if several => {
                    env.stderr(text(&failure, env.style));
                    env.emit(&super::exit::event(&failure))?;
                    exits.push(failure.exit);
                }
                Err(failure) => failed = Some(failure),
            }
        }
        if let Some(engine) = engine.get() {
            engine.stop().await;
        }
        if let Some(failure) = failed {
            return Err(failure.into());
        }
        Ok(together(&exits, env.signals.heard()))
    }
}

/// How several downloads ended, in one code.
fn together(exits: &[Exit], signal: Option<Exit>) -> Exit {
    let done = exits.iter().all(|&exit| exit == Exit::Done);
    match (exits, signal) {
        _ if done => Exit::Done,
        (_, Some(signal)) => signal,
        (&[exit], None) => exit,
        _ => Exit::Unfinished,
    }
}

/// One download of a command, with all it needs to run on its own.
struct One {
    env: Arc<Env>,
    /// Started by the first that needs it: what cannot be read, or is only listed, opens no port.
    engine: Arc<OnceCell<Engine>>,
    get: Get,
    slots: Arc<Semaphore>,
}

impl One {
    async fn run(self, target: Target) -> Result<Exit, Failure> {
        let signals = self.env.signals.clone();
        if let Target::Hit(number) = target {
            let _slot = self.slots.acquire().await;
            return self.hit(number).await;
        }
        let prepare = async {
            let slot = self.slots.acquire().await;
            let what = target.read(&self.env).await?;
            // Hints for where to begin are in the link only.
            let peers = self.get.network.peers(&what).await?;
            Ok::<_, Failure>((slot, what, peers))
        };
        // Until the engine has it there is nothing to save.
        let (_slot, what, peers) = tokio::select! {
            prepared = prepare => prepared?,
            exit = signals.first() => return Ok(exit),
        };
        let select = match (&what, parse_selection(&self.get.how.select)?) {
            (What::Magnet(magnet), Selection::All) => selection_of(magnet),
            (_, select) => select,
        };
        let what = cache::recall(&self.env, what);
        if self.get.how.list
            && let What::Metainfo(metainfo) = &what
        {
            return list(&self.env, metainfo).map(|()| Exit::Done);
        }
        self.download(what, select, peers, self.patience(), None).await
    }

    async fn download(
        &self,
        what: What,
        select: Selection,
        peers: Peers,
        patience: Patience,
        sources: Option<Sources>,
    ) -> Result<Exit, Failure> {
        let (how, env) = (&self.get.how, &*self.env);
        let engine = self.engine.get_or_try_init(|| self.get.network.engine(&self.env)).await?;
        let settings = &env.settings.get;
        let output = how.output.clone().unwrap_or_else(|| settings.output.clone());
        let wishes = self.wishes(&what, &output);
        if let What::Metainfo(metainfo) = &what {
            wishes.save(metainfo)?;
        }
        let mut watched = Watched::new(env, name_of(&what), patience, wishes);
        watched.sources = sources;
        if matches!(what, What::Metainfo(_)) {
            watched.knows_metadata();
        }
        watched.given = peers.named.clone();
        watched.given.extend(peers.of_link.iter().filter_map(PeerHint::addr));
        let download = engine.add(AddTorrent {
            what,
            out_dir: output,
            select,
            peers: peers.named,
            link_peers: peers.of_link,
            trackers: self.get.network.trackers(env),
            verify: how.verify.unwrap_or(settings.verify).0,
            preallocate: how.preallocate.unwrap_or(settings.preallocate).0,
            overwrite: how.overwrite,
            // A listing needs the metadata only, and must create nothing.
            seed_only: how.list,
        });
        let (ended, wishes) = watched.run(download.await.map_err(|e| of_engine(&e))?).await;
        let exit = ended?;
        wishes.hook_ended().await?;
        Ok(exit)
    }

    fn patience(&self) -> Patience {
        let (how, settings) = (&self.get.how, &self.env.settings.get);
        let unattended = (!std::io::stderr().is_terminal()).then_some(METADATA_TIMEOUT);
        Patience {
            timeout: how.timeout.or(settings.timeout).map(|every| every.0),
            stall: how.stall_timeout.or(settings.stall_timeout).map(|every| every.0),
            metadata: how
                .metadata_timeout
                .or(settings.metadata_timeout)
                .map(|every| every.0)
                .or(unattended),
            finish: how.seed.unwrap_or(settings.seed),
        }
    }

    fn on_complete(&self) -> Option<String> {
        self.get.how.on_complete.clone().or_else(|| self.env.settings.get.on_complete.clone())
    }

    fn wishes(&self, what: &What, output: &Path) -> Wishes {
        let how = &self.get.how;
        let trackers = match what {
            What::Magnet(magnet) => magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            What::Metainfo(_) => Vec::new(),
        };
        Wishes {
            list: how.list,
            save_torrent: how.save_torrent.clone(),
            trackers,
            output: output.to_owned(),
            on_complete: self.on_complete(),
            hook: None,
        }
    }
}

/// What is to happen on the way of one download.
pub(super) struct Wishes {
    list: bool,
    save_torrent: Option<PathBuf>,
    trackers: Vec<Vec<String>>,
    output: PathBuf,
    on_complete: Option<String>,
    hook: Option<JoinHandle<Result<(), Failure>>>,
}

impl Wishes {
    /// The metadata of a magnet has come. An answer ends the download at once.
    pub(super) fn metadata_known(
        &mut self,
        env: &Env,
        metainfo: &Metainfo,
    ) -> Result<Option<Exit>, Failure> {
        let mut metainfo = metainfo.clone();
        metainfo.trackers.clone_from(&self.trackers);
        cache::keep(env, &metainfo);
        self.save(&metainfo)?;
        if self.list {
            list(env, &metainfo)?;
            return Ok(Some(Exit::Done));
        }
        Ok(None)
    }

    /// Every wanted byte is there.
    pub(super) fn complete(
        &mut self,
        env: &Env,
        metainfo: &Metainfo,
        path: &Path,
    ) -> Result<(), Failure> {
        let asked = self.output.join(&metainfo.info.name);
        env.result(asked.display()).map_err(|error| Failure::of(&error))?;
        if let Some(command) = self.on_complete.clone() {
            let finished = Finished {
                info_hash: Some(metainfo.info_hash().to_string()),
                name: metainfo.info.name.clone(),
                bytes: metainfo.info.geometry.total(),
                path: path.to_owned(),
            };
            self.hook = Some(tokio::spawn(hook(env.json, command, finished)));
        }
        Ok(())
    }

    fn save(&self, metainfo: &Metainfo) -> Result<(), Failure> {
        self.save_torrent.as_ref().map_or(Ok(()), |file| write_whole(file, &metainfo.to_bytes()))
    }

    async fn hook_ended(self) -> Result<(), Failure> {
        match self.hook {
            None => Ok(()),
            Some(hook) => hook.await.unwrap_or(Ok(())),
        }
    }
}

/// What a command after a download is told.
struct Finished {
    /// Of the torrent, if it was one.
    info_hash: Option<String>,
    name: String,
    bytes: u64,
    path: PathBuf,
}

/// Runs the command with what was downloaded in its environment. Its stdout must not mix with ours
/// when that is JSON.
async fn hook(json: bool, command: String, finished: Finished) -> Result<(), Failure> {
    let Finished { info_hash, name: what, bytes, path } = finished;
    let mut words = command.split_whitespace();
    let program = if Path::new(&command).exists() { Some(&*command) } else { words.next() };
    let Some(program) = program else { return Ok(()) };
    let mut child = tokio::process::Command::new(program);
    if program != command {
        child.args(words);
    }
    let size = bytes.to_string();
    let folder = path.parent().unwrap_or(Path::new("."));
    child.stdin(Stdio::null()).env("GAGGLE_EVENT", "complete");
    for name in ["GAGGLE_HASH", "TR_TORRENT_HASH"] {
        match &info_hash {
            Some(hash) => child.env(name, hash),
            None => child.env_remove(name),
        };
    }
    for name in ["GAGGLE_NAME", "TR_TORRENT_NAME"] {
        child.env(name, &what);
    }
    for name in ["GAGGLE_SIZE", "TR_TORRENT_BYTES_DOWNLOADED"] {
        child.env(name, &size);
    }
    child.env("GAGGLE_PATH", &path).env("TR_TORRENT_DIR", folder);
    if json {
        child.stdout(std::io::stderr());
    }
    let status = child
        .status()
        .await
        .map_err(|e| Failure::io(format_args!("cannot run --on-complete {command}"), &e))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(Exit::Other, format!("--on-complete {command} failed: {status}")))
}

fn list(env: &Env, metainfo: &Metainfo) -> Result<(), Failure> {
    show::files(env, metainfo).map_err(|error| Failure::of(&error))
}

fn name_of(what: &What) -> String {
    match what {
        What::Metainfo(metainfo) => metainfo.info.name.clone(),
        What::Magnet(magnet) => {
            magnet.name.clone().unwrap_or_else(|| magnet.info_hash().to_string())
        }
    }
}

/// What a link asks for; its indices count from 0.
fn selection_of(magnet: &Magnet) -> Selection {
    let Some(ranges) = &magnet.select else { return Selection::All };
    let from_one = |n: u32| n as usize + 1;
    let ranges = ranges.iter().map(|range| from_one(*range.start())..=from_one(*range.end()));
    Selection::Some { ranges: ranges.collect(), globs: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_ends_make_one_code() {
        use Exit::{Done, Interrupted, Mismatch, Stalled, Unfinished};
        assert_eq!(together(&[Done, Done], None), Done);
        assert_eq!(together(&[Stalled], None), Stalled);
        assert_eq!(together(&[Done, Stalled], None), Unfinished);
        assert_eq!(together(&[Mismatch, Stalled], None), Unfinished);
        assert_eq!(together(&[Done, Interrupted], Some(Interrupted)), Interrupted);
        assert_eq!(together(&[Done], Some(Interrupted)), Done);
    }

    #[test]
    fn a_link_counts_files_from_zero() {
        let magnet = Magnet::parse("magnet:?xt=urn:btih:YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK&so=0,2-3");
        let Selection::Some { ranges, .. } = selection_of(&magnet.unwrap()) else { panic!() };
        assert_eq!(ranges, [1..=1, 3..=4]);
    }
}
