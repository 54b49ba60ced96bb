//! `gaggle search`: asks every network at once, merges what they answer, and keeps it for `gaggle get N`.

use super::env::Env;
use super::event::{self, Event, Searched};
use super::exit::{Exit, Failure};
use super::ways::ways;
use crate::config::Every;
use crate::net::Clock;
use crate::search::{self, Config, Limits, Networks, Over, Report, Ways, gather};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::search::{Filter, Found, Hit, Kind, Network, Question, Results, Saved};
use gaggle_core::units::{Size, parse_size};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Search Napster, Gnutella and FastTrack networks at once
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle search blue moon --server napster=dir.example:8888 --server gnutella=10.0.0.7:6346
  gaggle search 'debian 13 -source' --type software --min-size 100M
  gaggle search llama --network fasttrack --limit 20 --json

`gaggle get 3` downloads the third result. Networks to search, once for all: search.napster and others in `gaggle config`.")]
pub(super) struct Search {
    /// Words that a name must have; `-WORD` within quotes is one that it must not have
    #[arg(required = true)]
    words: Vec<String>,
    /// Search only this network: napster, gnutella or fasttrack (repeat)
    #[arg(long, value_name = "NETWORK")]
    network: Vec<Network>,
    /// End when there are so many results [default: 100]
    #[arg(long, value_name = "COUNT", env = "GAGGLE_SEARCH_LIMIT")]
    limit: Option<NonZeroUsize>,
    /// End after so long [default: 15s]
    #[arg(long, value_name = "TIME", env = "GAGGLE_SEARCH_WAIT")]
    wait: Option<Every>,
    /// Only files of this size or more, such as 700M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    min_size: Option<u64>,
    /// Only files of this size or less
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Only files of this kind: audio, video, image, document or software
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Begin here instead of at the servers of the configuration (repeat); the port tells the network, if it is the
    /// customary one
    #[arg(
        long,
        value_name = "[NETWORK=]HOST:PORT",
        env = "GAGGLE_SEARCH_SERVER",
        value_delimiter = ' '
    )]
    server: Vec<String>,
    /// Keep to this network: servers at private addresses, and nobody elsewhere of whom they tell
    #[arg(long, env = "GAGGLE_LAN")]
    lan: bool,
}

impl Search {
    /// Searches, prints what was found, and keeps it.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let filter = Filter {
            size_min: self.min_size,
            size_max: self.max_size,
            kind: self.kind,
            without: Vec::new(),
        };
        let question = Question::new(&self.words, filter)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let ways = ways(env, &self.server, &self.network, self.lan(env))?;
        let ended = env.unless_stopped(self.ask(env, question, ways)).await?;
        Ok(ended.unwrap_or_else(|signal| signal))
    }

    async fn ask(&self, env: &Env, question: Question, ways: Ways) -> anyhow::Result<Exit> {
        let config = Config {
            listen: search::listen_for(&ways, env.settings.network.listen.ip()),
            ways: ways.clone(),
            lan: self.lan(env),
            state_dir: env.dirs.state.clone(),
            shares: None,
        };
        let networks = join(&config, Clock::start()).await?;
        if !config.listen.is_loopback() {
            env.note(
                "listening on all addresses for hosts that nobody can connect to, while it lasts",
            );
        }
        let settings = &env.settings.search;
        let limits = Limits {
            enough: self.limit.unwrap_or(settings.limit).get(),
            wait: self.wait.unwrap_or(settings.wait).0,
        };
        let text = question.text.clone();
        let answers = networks.ask(&question);
        let dialer = config.dialer();
        let (results, reports, over) = gather(answers, question, limits, &dialer, |hit| {
            _ = env.emit(&heard(hit)); // a reader that left early is no reason to stop
        })
        .await;
        for (network, servers) in &ways {
            let report = reports.get(network).cloned().unwrap_or_default();
            say(env, *network, servers, networks.standing(*network).links, &report)?;
        }
        networks.stop().await;
        let found = best(&results, limits.enough);
        let saved = Saved {
            text,
            servers: ways
                .iter()
                .flat_map(|(network, all)| all.iter().map(|one| (*network, one.to_string())))
                .collect(),
            found,
        };
        show(env, &saved.found, over)?;
        search::save(&env.dirs.state, &saved)
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        Ok(if saved.found.is_empty() { Exit::Other } else { Exit::Done })
    }

    fn lan(&self, env: &Env) -> bool {
        self.lan || env.settings.network.lan
    }
}

/// Begins to take part; the error says in which network it failed.
pub(super) async fn join(config: &Config, clock: Clock) -> Result<Networks, Failure> {
    let joined = Networks::join(config, clock).await;
    joined.map_err(|error| Failure::new(Exit::Network, format!("cannot search {error}")))
}

/// So many of the best, and junk only where there is room.
fn best(results: &Results, most: usize) -> Vec<Found> {
    let mut found = results.ranked();
    found.truncate(most);
    found
}

fn heard(hit: &Hit) -> Event<'_> {
    Event::Found { network: hit.network().name(), name: &hit.name, bytes: hit.size }
}

/// What a network was asked and has answered.
fn say(
    env: &Env,
    network: Network,
    servers: &[PeerHint],
    links: usize,
    report: &Report,
) -> anyhow::Result<()> {
    let shown: Vec<String> = servers.iter().map(PeerHint::to_string).collect();
    env.emit(&Event::Searched(Searched {
        network: network.name(),
        servers: &shown,
        links,
        hits: report.hits,
        kept: report.kept,
        filtered: report.filtered,
        ignored: report.ignored,
        ended: report.ended,
        error: report.trouble.as_deref(),
    }))?;
    let mut line = format!("{network:<9} ");
    line += &match links {
        0 if report.hits == 0 && shown.is_empty() => "nobody whom we know is there".to_owned(),
        0 if report.hits == 0 => format!("nobody answers at {}", shown.join(", ")),
        0 | 1 => "asked".to_owned(),
        links => format!("asked through {links} links"),
    };
    line += &format!(", {} hit{}", report.hits, if report.hits == 1 { "" } else { "s" });
    for (count, what) in [(report.filtered, "not wanted"), (report.ignored, "too many")] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    if let Some(trouble) = &report.trouble {
        line += &format!(": {trouble}");
    }
    env.note(line);
    Ok(())
}

/// One line for each, with the number by which it can be fetched.
fn show(env: &Env, found: &[Found], over: Over) -> anyhow::Result<()> {
    if found.is_empty() {
        env.note(match over {
            Over::All => "nothing found",
            Over::Enough | Over::Wait => "nothing found in this time; --wait makes it longer",
        });
        return Ok(());
    }
    for (number, one) in (1..).zip(found) {
        env.emit(&event(number, one))?;
        let size = one.size.map_or_else(|| "?".to_owned(), |size| Size(size).to_string());
        let networks: Vec<String> =
            one.networks().iter().map(|(network, count)| format!("{network} {count}")).collect();
        let mark = match (one.spam, one.hashes.torrent) {
            (Some(spam), _) => format!("  (junk: {})", spam.name()),
            (None, Some(_)) => "  (torrent)".to_owned(),
            (None, None) => String::new(),
        };
        let networks = networks.join(", ");
        env.result(format_args!("{number:>4}  {size:>10}  {networks:<22}  {}{mark}", one.name))?;
    }
    Ok(())
}

fn event(number: usize, found: &Found) -> Event<'_> {
    let networks = found.networks();
    let most =
        networks.iter().max_by_key(|(_, count)| **count).map_or("", |(network, _)| network.name());
    let hex = |hash: &[u8]| data_encoding::HEXLOWER.encode(hash);
    let ping = found.sources.iter().filter_map(|hit| hit.ping).min();
    Event::Hit(event::Result {
        id: number,
        network: most,
        name: &found.name,
        bytes: found.size,
        info_hash: found.hashes.torrent.map(|hash| hash.to_string()),
        sources: found.sources.len(),
        magnet: found.magnet().map(|magnet| magnet.to_string()),
        networks: networks.into_iter().map(|(network, count)| (network.name(), count)).collect(),
        sha1: found.hashes.sha1.map(|hash| hex(&hash)),
        uuhash: found.hashes.uu.map(|hash| hash.to_string()),
        busy: found.sources.iter().filter(|hit| hit.busy).count(),
        speed: found.sources.iter().filter_map(|hit| hit.speed).max(),
        ping_ms: ping.map(|ping| ping.as_secs_f64() * 1e3),
        junk: found.spam.map(gaggle_core::search::Spam::name),
    })
}
