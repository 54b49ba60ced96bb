//! `gaggle tracker`: the bundled tracker on its own, and questions to any tracker.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, exit_of, plain};
use super::here;
use super::target::Target;
use crate::config::Every;
use crate::engine::What;
use crate::locate::{Ask, AskId, Found, LocateError, Locator, Trackers, TrackersConfig};
use crate::net::{Clock, os_rng};
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::announce::{self, Announce, Counts, Terms};
use gaggle_tracker::{BindError, Running, Tracker as Server, TrackerConfig};
use std::net::SocketAddr;
use std::time::Duration;

/// Run a tracker: HTTP and UDP on one port, in memory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle tracker
  gaggle tracker --listen 127.0.0.1:0 --print-url
  gaggle tracker check udp://tracker.example.org:6969

It serves every torrent that is announced, and forgets all when it stops.")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Tracker {
    /// Where to listen; port 0 takes any free one [default: port 6969 everywhere]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_TRACKER_LISTEN")]
    listen: Option<SocketAddr>,
    /// How often peers shall announce [default: 10m]
    #[arg(long, value_name = "TIME", env = "GAGGLE_TRACKER_INTERVAL")]
    interval: Option<Every>,
    /// Serve HTTP only, unless --udp is given, too
    #[arg(long, env = "GAGGLE_TRACKER_HTTP")]
    http: bool,
    /// Serve UDP only, unless --http is given, too
    #[arg(long, env = "GAGGLE_TRACKER_UDP")]
    udp: bool,
    /// Print the announce URLs to stdout
    #[arg(long, env = "GAGGLE_PRINT_URL")]
    print_url: bool,
    #[command(subcommand)]
    question: Option<Question>,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Ask a tracker whether it answers, under a hash that nobody has
    Check {
        /// http://, https:// or udp://
        url: String,
    },
    /// Ask a tracker how large a swarm is
    Scrape {
        /// http://, https:// or udp://
        url: String,
        /// A hash, a magnet link or a .torrent
        hash: String,
    },
}

impl Tracker {
    /// Serves until a signal comes, or asks.
    pub(super) async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        let asked = match self.question {
            None => return self.serve(env).await,
            Some(Question::Check { url }) => env.unless_stopped(check(env, url)).await?,
            Some(Question::Scrape { url, hash }) => {
                env.unless_stopped(scrape(env, url, hash)).await?
            }
        };
        Ok(asked.unwrap_or_else(|signal| signal))
    }

    async fn serve(self, env: &Env) -> anyhow::Result<Exit> {
        let settings = &env.settings.tracker;
        let neither = !self.http && !self.udp;
        let (http, udp) = (self.http || neither, self.udp || neither);
        let mut config = TrackerConfig::new(self.listen.unwrap_or(settings.listen));
        (config.http, config.udp) = (http, udp);
        config.policy.interval = self.interval.unwrap_or(settings.interval).0;
        if config.policy.interval < INTERVAL_MIN {
            return Err(Failure::usage("--interval is at least one second").into());
        }
        config.policy.min_interval = config.policy.min_interval.min(config.policy.interval);
        let running = start(&config)?;
        let listen = running.local_addr();
        let urls = urls(listen, http, udp);
        env.emit(&Event::Tracker { listen: listen.to_string(), urls: &urls })?;
        if self.print_url {
            urls.iter().try_for_each(|url| env.result(url))?;
        }
        let what = if http && udp {
            "HTTP and UDP"
        } else if http {
            "HTTP"
        } else {
            "UDP"
        };
        env.note(format_args!("tracker on {listen} ({what}), {}", who(listen)));
        env.signals.first().await;
        running.stop().await;
        Ok(Exit::Done)
    }
}

async fn scrape(env: &Env, url: String, hash: String) -> anyhow::Result<Exit> {
    let info_hash = match Target::parse(&hash)?.read(env).await? {
        What::Magnet(magnet) => magnet.info_hash(),
        What::Metainfo(metainfo) => metainfo.info_hash(),
    };
    let counts = trackers(&url)?.scrape(&url, &[info_hash]).await.map_err(|e| refused(&url, &e))?;
    let Some(Counts { seeds, leeches, completed }) = counts.first().copied().flatten() else {
        let what = format!("{url} does not know {info_hash}");
        return Err(Failure::new(Exit::Other, what).into());
    };
    let info_hash = info_hash.to_string();
    env.emit(&Event::Scrape { url: &url, info_hash, seeds, leeches, completed })?;
    env.result(format_args!("seeds {seeds}  leeches {leeches}  completed {completed}"))?;
    Ok(Exit::Done)
}

/// Announces a random hash, and takes it back.
async fn check(env: &Env, url: String) -> anyhow::Result<Exit> {
    let trackers = trackers(&url)?;
    let locator = trackers.locator(&url).map_err(|e| refused(&url, &e))?;
    let mut rng = os_rng().map_err(|e| Failure::new(Exit::Other, format!("no dice: {e}")))?;
    let mut hash = InfoHash([0; 20]);
    rng.fill(&mut hash.0);
    let announce = Announce {
        info_hash: hash,
        peer_id: PeerId::generate(&mut rng),
        port: DISCARD_PORT,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: announce::Event::Started,
        key: rng.next_u32(),
        want: Some(0),
        tracker_id: Vec::new(),
    };
    let clock = Clock::start();
    let terms = ask(&*locator, announce.clone()).await.map_err(|e| refused(&url, &e))?;
    let took = clock.now().as_secs_f64();
    let goodbye = Announce { event: announce::Event::Stopped, ..announce };
    _ = ask(&*locator, goodbye).await; // it forgets by itself, too
    let interval = terms.interval.map(|interval| interval.as_secs());
    let external_ip = terms.external_ip.map(|ip| ip.to_string());
    let warning = terms.warning.as_deref();
    let mut line = format!("{url} answers in {:.0} ms", took * 1000.0);
    if let Some(interval) = interval {
        line.push_str(&format!(", wants an announce every {}", super::progress::clock(interval)));
    }
    if let Some(ip) = &external_ip {
        line.push_str(&format!(", sees us as {ip}"));
    }
    if let Some(warning) = warning {
        line.push_str(&format!(", warns: {warning}"));
    }
    env.result(line)?;
    env.emit(&Event::TrackerAnswers { url: &url, seconds: took, interval, external_ip, warning })?;
    Ok(Exit::Done)
}

async fn ask(locator: &dyn Locator, announce: Announce) -> Result<Terms, LocateError> {
    let (found, mut answers) = tokio::sync::mpsc::channel(2);
    locator.submit(AskId(0), Ask::Peers(announce), found);
    while let Some(answer) = answers.recv().await {
        if let Found::Done { outcome, .. } = answer {
            return outcome;
        }
    }
    Err(LocateError::Connection("the exchange broke off".to_owned()))
}

/// The user typed the URL: it may lead anywhere.
fn trackers(url: &str) -> Result<Trackers, Failure> {
    let rng = os_rng().map_err(|e| Failure::new(Exit::Other, format!("no dice: {e}")))?;
    let config = TrackersConfig { trusted: [url.to_owned()].into(), ..TrackersConfig::default() };
    Ok(Trackers::new(config, Clock::start(), rng))
}

fn refused(url: &str, error: &LocateError) -> Failure {
    let exit = match error {
        LocateError::Url(_) | LocateError::UnsupportedScheme(_) => Exit::Usage,
        LocateError::Unscrapable => Exit::Other,
        _ => Exit::Network,
    };
    Failure::new(exit, format!("{url}: {}", super::exit::as_words(&error.to_string())))
}

/// Nobody listens on it: a peer that got to know us would find nothing.
const DISCARD_PORT: u16 = 9;

/// Shorter ones cannot be told: the protocols count whole seconds.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Starts a tracker; the error says what to do about a port that is taken.
pub(super) fn start(config: &TrackerConfig) -> Result<Running, Failure> {
    Server::bind(config).map_err(|error| match error {
        BindError::AddrInUse(addr) => {
            Failure::new(Exit::Network, format!("cannot listen on {addr}: the port is in use"))
                .hint("--listen IP:0 takes any free port")
        }
        BindError::Io { addr, source } => {
            let exit = exit_of(source.kind());
            Failure::new(exit, format!("cannot listen on {addr}: {}", plain(&source)))
        }
        other => Failure::new(Exit::Other, format!("cannot start the tracker: {other}")),
    })
}

/// The announce URLs of a tracker that listens there.
pub(super) fn urls(listen: SocketAddr, http: bool, udp: bool) -> Vec<String> {
    let addr = here::reachable(listen);
    let all = [(http, format!("http://{addr}/announce")), (udp, format!("udp://{addr}/announce"))];
    all.into_iter().filter_map(|(served, url)| served.then_some(url)).collect()
}

/// Who can reach a port that is open there.
pub(super) fn who(listen: SocketAddr) -> &'static str {
    if here::is_public(listen) { "open to other machines" } else { "for this machine only" }
}
