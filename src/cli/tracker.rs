//! `gaggle tracker`: the bundled tracker on its own.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, exit_of, plain};
use super::here;
use crate::config::Every;
use gaggle_tracker::{BindError, Running, Tracker as Server, TrackerConfig};
use std::net::SocketAddr;
use std::time::Duration;

/// Run a tracker: HTTP and UDP on one port, in memory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle tracker
  gaggle tracker --listen 127.0.0.1:0 --print-url
  gaggle tracker --listen 10.1.0.5:6969 --http --interval 5m

It serves every torrent that is announced, and forgets all when it stops.")]
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
}

impl Tracker {
    /// Serves until a signal comes.
    pub(super) async fn run(self, env: &Env) -> anyhow::Result<Exit> {
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
