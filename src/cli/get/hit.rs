//! A result of the last search: from its swarm and its hosts at once, or from its hosts alone.

use super::{Finished, One, hook};
use crate::cli::create::{Making, write_whole};
use crate::cli::download::{Patience, Sources};
use crate::cli::event::{BySource, Event};
use crate::cli::exit::{Exit, Failure};
use crate::cli::progress::{Meter, TICK, stopwatch};
use crate::cli::search::join;
use crate::cli::{cache, target};
use crate::engine::{Selection, What};
use crate::fetch::{self, GetError, Got, Host, Known, Order, Progress, Proof};
use crate::net::{Clock, Dialer};
use crate::search::{self, Networks};
use gaggle_core::bencode::Limits;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::Metainfo;
use gaggle_core::search::{Filter, Found, Network, Question, Reach, Saved};
use gaggle_core::units::Size;
use std::net::{IpAddr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Servents that are asked for the torrent itself.
const ASKED_FOR_TORRENT: usize = 4;
/// How long they may take, and directories of Napster that are asked who else has it.
const TORRENT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the metadata of a link may take while there are hosts that have the file anyway.
const METADATA_PATIENCE: Duration = Duration::from_secs(20);

impl One {
    /// Downloads a result, and leaves the networks that it takes part in for that.
    pub(super) async fn hit(&self, number: usize) -> Result<Exit, Failure> {
        let (search, found) = target::hit(&self.env, number)?;
        let network = &self.get.network;
        let mut ways = search::ways_to(&found, &search);
        let lan = network.lan(&self.env);
        if lan {
            search::keep_near(&mut ways);
        }
        let listen = search::listen_for(&ways, network.listen(&self.env).ip());
        let reaches_out = ways.contains_key(&Network::Gnutella);
        let state_dir = self.env.dirs.state.clone();
        let config = search::Config { ways, listen, lan, state_dir, shares: None };
        let mut networks = join(&config, Clock::start()).await?;
        // The way back to who cannot be connected to is that of an answer.
        let _asking = reaches_out.then(|| ask_again(&networks, &search));
        let hosts = networks.hosts(&found);
        if lan && hosts.len() < found.sources.len() {
            let (left_out, name) = (found.sources.len() - hosts.len(), &found.name);
            self.env
                .note(format_args!("{name}: {left_out} hosts are elsewhere, --lan leaves them"));
        }
        let ended = self.fetch(&found, &networks, hosts, &config.dialer()).await;
        networks.stop().await;
        ended
    }

    async fn fetch(
        &self,
        found: &Found,
        networks: &Networks,
        hosts: Vec<Host>,
        dialer: &Dialer,
    ) -> Result<Exit, Failure> {
        let magnet = found.magnet().filter(|_| !self.get.how.no_torrent);
        let Some(mut magnet) = magnet else { return self.whole(found, hosts, dialer).await };
        let peers = tokio::select! {
            peers = networks.peers(magnet.info_hash(), TORRENT_PATIENCE) => peers,
            signal = self.env.signals.first() => return Ok(signal),
        };
        let peers = peers.into_iter().filter(|peer| dialer.may_dial(peer.ip()));
        peers.for_each(|peer| magnet.add_peer(peer.into()));
        let what = What::Magnet(Box::new(magnet));
        if let What::Magnet(magnet) = cache::recall(&self.env, what.clone()) {
            let metainfo = tokio::select! {
                metainfo = torrent_of(found, magnet.info_hash(), dialer) => metainfo,
                signal = self.env.signals.first() => return Ok(signal),
            };
            metainfo.iter().for_each(|metainfo| cache::keep(&self.env, metainfo));
        }
        let peers = self.get.network.peers(&what).await?;
        let select = match (&what, super::parse_selection(&self.get.how.select)?) {
            (What::Magnet(magnet), Selection::All) => super::selection_of(magnet),
            (_, select) => select,
        };
        let what = cache::recall(&self.env, what);
        if self.get.how.list
            && let What::Metainfo(metainfo) = &what
        {
            return super::list(&self.env, metainfo).map(|()| Exit::Done);
        }
        let sources = Sources { hosts: hosts.clone(), found: found.clone() };
        let mut patience = self.patience();
        if !hosts.is_empty() {
            let given = self.get.how.metadata_timeout.is_some();
            patience.metadata = patience.metadata.filter(|_| given).or(Some(METADATA_PATIENCE));
        }
        match self.download(what, select, peers, patience, Some(sources)).await {
            Err(failure) if failure.exit == Exit::NotFound && !hosts.is_empty() => {
                self.env
                    .note(format_args!("{}: nobody has the torrent, asking its hosts", found.name));
                self.whole(found, hosts, dialer).await
            }
            ended => ended,
        }
    }

    /// From hosts alone, checked by what the search told of it.
    async fn whole(
        &self,
        found: &Found,
        hosts: Vec<Host>,
        dialer: &Dialer,
    ) -> Result<Exit, Failure> {
        let (how, env) = (&self.get.how, &*self.env);
        let name = &found.name;
        let Some(len) = found.size else {
            let what =
                format!("nobody says how large {name} is, so no part of it can be asked for");
            return Err(Failure::new(Exit::NotFound, what));
        };
        if how.list {
            let listed = env.result(format_args!("{:>4}  {:>10}  {name}", 1, Size(len)));
            return listed.map(|()| Exit::Done).map_err(|error| Failure::of(&error));
        }
        let hashes = found.proofs();
        let known = Known { sha1: hashes.sha1, uu: hashes.uu, md5: hashes.md5 };
        if !known.is_proof() {
            env.note(format_args!(
                "{name}: no hash is known that could tell a wrong file from the right one"
            ));
        }
        let settings = &env.settings;
        let down = self.get.network.down.or(settings.network.down).map(|rate| rate.0);
        let dir = how.output.clone().unwrap_or_else(|| settings.get.output.clone());
        let order = Order {
            name: name.clone(),
            len,
            known,
            hosts,
            dir: dir.clone(),
            overwrite: how.overwrite,
            down,
        };
        let mut meter = Meter::new(env, len);
        let (tell, progress) = watch::channel(Progress::default());
        let fetching = fetch::get(order, dialer.clone(), Clock::start(), tell);
        let ended = self.watch(found, fetching, &progress, &mut meter).await;
        let took = meter.elapsed();
        meter.finish();
        let got = match ended? {
            Ok(got) => got,
            Err(signal) => {
                if known.is_proof() {
                    env.note(format_args!("{name} stopped; the same command resumes it"));
                }
                return Ok(signal);
            }
        };
        self.complete(found, len, &dir, &got, took).await?;
        Ok(Exit::Done)
    }

    /// Shows how far it is, until it is there, a signal comes, or it takes too long.
    async fn watch(
        &self,
        found: &Found,
        fetching: impl Future<Output = Result<Got, GetError>>,
        progress: &watch::Receiver<Progress>,
        meter: &mut Meter<'_>,
    ) -> Result<Result<Got, Exit>, Failure> {
        let Patience { timeout, stall, .. } = self.patience();
        let (name, len) = (&found.name, found.size.unwrap_or(0));
        tokio::pin!(fetching);
        let mut ticks = tokio::time::interval(TICK);
        let (mut came, mut moved) = (0, Duration::ZERO);
        loop {
            tokio::select! {
                biased;
                signal = self.env.signals.first() => return Ok(Err(signal)),
                ended = &mut fetching => return ended.map(Ok).map_err(|error| failed(name, &error)),
                _ = ticks.tick() => {}
            }
            let now = meter.elapsed();
            let Progress { done, from, down, asked, checking } = progress.borrow().clone();
            meter.fetching(name, (done, len), down, asked);
            // What is there falls when it is found to be wrong, and stands still while it is hashed.
            let received: u64 = from.values().sum();
            if received > came || checking {
                (came, moved) = (received, now);
            }
            let late = timeout.filter(|&timeout| now >= timeout).map(|_| "is not done");
            let still = stall.filter(|&stall| now >= moved + stall).map(|_| "does not move");
            if let Some(why) = late.or(still) {
                let what = format!("{name} {why} after {}", stopwatch(now));
                return Err(Failure::new(Exit::Stalled, what));
            }
        }
    }

    /// It is there: says so, and what it is worth.
    async fn complete(
        &self,
        found: &Found,
        len: u64,
        dir: &Path,
        got: &Got,
        took: Duration,
    ) -> Result<(), Failure> {
        let (how, env) = (&self.get.how, &*self.env);
        let downloaded: u64 = got.from.values().sum();
        let from = BySource::of(0, &got.from);
        // As that of a torrent: good in every folder.
        let path = std::fs::canonicalize(&got.path).unwrap_or_else(|_| got.path.clone());
        let event = Event::Complete {
            info_hash: None,
            name: &found.name,
            bytes: len,
            seconds: took.as_secs_f64(),
            path: &path.display().to_string(),
            downloaded,
            uploaded: 0,
            wasted: downloaded.saturating_sub(len),
            from: Some(from),
        };
        let said = env.emit(&event);
        said.map_err(|error| Failure::of(&error))?;
        let worth = match got.proof {
            Proof::Whole => "verified by its SHA-1",
            Proof::Part => "its beginning and some parts are verified, nothing proves the rest",
            Proof::None => "not verified: nothing proves that it is what it is called",
        };
        env.note(format_args!("{}  {} in {}, {worth}", found.name, Size(len), stopwatch(took)));
        for liar in &got.liars {
            env.note(format_args!("{}: {liar} sent something else", found.name));
        }
        let shown = got.path.file_name().map_or_else(|| got.path.clone(), |name| dir.join(name));
        let said = env.result(shown.display());
        said.map_err(|error| Failure::of(&error))?;
        let wants = how.save_torrent.as_ref();
        if let Some(file) = wants {
            let made = Making::default().make(env, &got.path, None).await;
            if let Ok(made) = made.map_err(|error| Failure::of(&error))? {
                write_whole(file, &made.bytes)?;
                env.note(format_args!("{} is now a torrent: {}", found.name, file.display()));
            }
        }
        if let Some(command) = self.on_complete() {
            let finished = Finished { info_hash: None, name: found.name.clone(), bytes: len, path };
            hook(env.json, command, finished).await?;
        }
        Ok(())
    }
}

fn failed(name: &str, error: &GetError) -> Failure {
    let exit = match error {
        GetError::Storage(error) => return crate::cli::exit::of_storage(error),
        GetError::NobodyLeft(_) => Exit::NotFound,
        _ => Exit::Other,
    };
    Failure::new(exit, format!("{name}: {error}"))
        .hint("`gaggle search` again finds who has it now")
}

/// Asks the question again, for as long as what it returns is held.
fn ask_again(networks: &Networks, search: &Saved) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    if let Ok(question) = Question::new(&[&search.text], Filter::default()) {
        let mut answers = networks.ask(&question);
        asking.spawn(async move { while answers.next().await.is_some() {} });
    }
    asking
}

/// The torrent itself, from a servent that has it. Whatever comes is believed if it has the hash.
async fn torrent_of(found: &Found, hash: InfoHash, dialer: &Dialer) -> Option<Metainfo> {
    let mut asked = JoinSet::new();
    let servents = found.sources.iter().filter(|hit| matches!(hit.reach, Reach::Gnutella { .. }));
    let open = |addr: &SocketAddrV4| dialer.may_dial(IpAddr::V4(*addr.ip()));
    let addrs = servents.filter_map(|hit| hit.reach.direct()).filter(open);
    for addr in addrs.take(ASKED_FOR_TORRENT) {
        let asking = torrent_at(addr, hash, dialer.bind);
        asked.spawn(timeout(TORRENT_PATIENCE, asking));
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(Some(metainfo))) = answer {
            return Some(metainfo);
        }
    }
    None
}

async fn torrent_at(addr: SocketAddrV4, hash: InfoHash, from: Option<IpAddr>) -> Option<Metainfo> {
    let urn = gaggle_core::proto::gnutella::Urn::Btih(hash);
    // Wherever a stranger would send us is none of our business.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.local_address(from.filter(|from| !from.is_loopback()));
    let url = format!("http://{addr}/uri-res/N2R?{urn}");
    let mut reply = client.no_proxy().build().ok()?.get(url).send().await.ok()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reply.chunk().await.ok()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > Limits::TORRENT.bytes {
            return None;
        }
    }
    Metainfo::parse(&bytes).ok().filter(|metainfo| metainfo.info_hash() == hash)
}
