//! `--publish`: what is given can be found by words, too, in networks to search in. What `seed` and `share` have in common.
//!
//! Publishes the files of the torrents and nothing beside them. A network that is lost is tried again, and never ends
//! what is given.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use super::giving::{Enough, Giving, give_all};
use super::here;
use super::network::Network as Flags;
use super::tracker::who;
use super::ways::ways;
use crate::engine::Engine;
use crate::net::{Clock, Limit};
use crate::search::{self, Config, Networks, Shares, Standing, StartError};
use crate::share::{self, Library};
use gaggle_core::metainfo::Metainfo;
use gaggle_core::search::Network;
use gaggle_core::share::LeftOut;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

/// It is looked how it stands in each network so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So long nobody is told that a network does not answer yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// Stands for `--server`.
const SERVER_VARIABLE: &str = "GAGGLE_PUBLISH_SERVER";

/// Flags of `seed` and `share`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Search networks")]
pub(super) struct Publish {
    /// Let others find the files by words, in these networks: napster, gnutella, fasttrack
    #[arg(long, value_name = "NETWORK,..", env = "GAGGLE_PUBLISH", value_delimiter = ',')]
    publish: Vec<Network>,
    /// Publish by way of this server instead of those of the configuration (repeat); the port tells the network, if it is
    /// the customary one
    #[arg(
        long,
        value_name = "[NETWORK=]HOST:PORT",
        env = SERVER_VARIABLE,
        value_delimiter = ' '
    )]
    server: Vec<String>,
}

/// What is published while it is given.
struct Published {
    env: Arc<Env>,
    library: Library,
    networks: Networks,
    /// What was said last of each network.
    said: BTreeMap<Network, Option<Standing>>,
    /// Whether it was said what cannot be published.
    said_left_out: bool,
}

impl Publish {
    /// How to take part in the networks, before anything is started; `None` if there is nothing to publish. `Err` is the
    /// signal that came first.
    pub(super) async fn plan(
        &self,
        env: &Env,
        flags: &Flags,
    ) -> anyhow::Result<Result<Option<Config>, Exit>> {
        env.unless_stopped(async { Ok(self.planned(env, flags).await?) }).await
    }

    async fn planned(&self, env: &Env, flags: &Flags) -> Result<Option<Config>, Failure> {
        if self.publish.is_empty() {
            // A variable may be there for other times; a flag is meant for this one.
            let variable = std::env::var_os(SERVER_VARIABLE).is_some_and(|it| !it.is_empty());
            let named = !self.server.is_empty() && !variable;
            let without = || Failure::usage("--server is of no use without --publish".to_owned());
            return if named { Err(without()) } else { Ok(None) };
        }
        let lan = flags.lan(env);
        let mut ways = ways(env, &self.server, &self.publish, lan)?;
        let listen = search::listen_for(&ways, flags.listen(env).ip());
        search::look_up(&mut ways).await.map_err(|error| cannot(&error))?;
        Ok(Some(Config { ways, listen, lan, state_dir: env.dirs.state.clone(), shares: None }))
    }
}

/// Whether others may hear of a torrent from anybody but its trackers.
//= BEP 27
pub(super) fn allow(metainfo: &Metainfo) -> Result<(), Failure> {
    if metainfo.info.private { Err(refused(&metainfo.info.name)) } else { Ok(()) }
}

/// Why nothing is published of a private torrent.
pub(super) fn refused(name: &str) -> Failure {
    let what = format!("{name}: peers of a private torrent come from its trackers only");
    Failure::new(Exit::Denied, what).hint("leave out --publish")
}

/// Gives several torrents at a time, and publishes them meanwhile if there is a plan.
pub(super) async fn beside(
    plan: Option<Config>,
    env: &Arc<Env>,
    engine: &Engine,
    all: Vec<Giving>,
    enough: Enough,
) -> anyhow::Result<Exit> {
    let Some(plan) = plan else { return give_all(all, enough).await };
    let begin = async { Ok(Published::begin(plan, env, engine, &all).await?) };
    let begun = env.unless_stopped(begin).await;
    if let Ok(Ok(published)) = begun {
        return published.during(give_all(all, enough)).await;
    }
    for giving in all {
        giving.stop().await;
    }
    Ok(begun?.map_or_else(|exit| exit, |_| Exit::Done))
}

fn cannot(error: &StartError) -> Failure {
    Failure::new(Exit::Network, format!("cannot publish in {error}"))
}

impl Published {
    async fn begin(
        mut plan: Config,
        env: &Arc<Env>,
        engine: &Engine,
        all: &[Giving],
    ) -> Result<Self, Failure> {
        let clock = Clock::start();
        let config = share::Config::new(Vec::new(), env.dirs.state.clone());
        let mut torrents = Vec::new();
        for giving in all {
            if let Some(metainfo) = giving.metainfo() {
                allow(metainfo)?;
                torrents.push((metainfo.info_hash(), &metainfo.info, giving.dir.as_path()));
            }
        }
        let library = Library::start_with(config, clock, torrents)
            .map_err(|e| Failure::io("cannot publish", &e))?;
        let peers = engine.listen_addr();
        let reachable = peers.is_ipv4() || peers.ip().is_unspecified();
        plan.shares = Some(Shares {
            library: library.clone(),
            external: here::external(SocketAddrV4::new(plan.listen, 0)),
            peer_port: if reachable { peers.port() } else { 0 },
            peers: engine.door(),
            up: engine.up().map(|rate| Limit::new(rate, clock)),
        });
        let networks = Networks::join(&plan, clock).await;
        let networks = networks.map_err(|error| cannot(&error))?;
        for (network, addr) in networks.addrs() {
            let listening = Some(addr.to_string());
            _ = env.emit(&Event::Listening { network: network.name(), addr: listening });
            env.note(format_args!("publishing in {network} on {addr}, {}", who(addr)));
        }
        let said = plan.ways.into_keys().map(|network| (network, None)).collect();
        Ok(Self { env: Arc::clone(env), library, networks, said, said_left_out: false })
    }

    /// Says how it stands until the giving has ended, and takes leave then.
    async fn during<T>(mut self, giving: impl Future<Output = T>) -> T {
        tokio::pin!(giving);
        let clock = Clock::start();
        let late = clock.now() + PATIENCE;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let ended = loop {
            tokio::select! {
                ended = &mut giving => break ended,
                _ = ticks.tick() => self.say(clock.now() >= late),
            }
        };
        self.networks.stop().await;
        self.library.stop();
        ended
    }

    /// Says what has changed; of a network that we are on the way into only if it is `late`.
    fn say(&mut self, late: bool) {
        for (&network, said) in &mut self.said {
            let now = self.networks.standing(network);
            if !is_news(said.as_ref(), &now, late) {
                continue;
            }
            _ = self.env.emit(&Event::Published {
                network: network.name(),
                links: now.links,
                files: now.shared,
                error: now.trouble.as_deref(),
            }); // a reader that left early is no reason to stop
            let line = in_words(&now);
            if said.as_ref().map(in_words).as_ref() != Some(&line) {
                self.env.note(format_args!("{network}: {line}"));
            }
            *said = Some(now);
        }
        let view = self.library.watch().borrow().clone();
        let LeftOut { hidden, unfinished, unreadable, too_many, .. } = view.left_out;
        let left_out = hidden + unfinished + unreadable + too_many;
        if !self.said_left_out && view.looks > 0 && view.to_hash == 0 && left_out > 0 {
            self.said_left_out = true;
            self.env.stderr(format_args!(
                "warning: not published: {left_out} that are hidden, that links lead to, that cannot be read, or that have changed"
            ));
        }
    }
}

/// Whether it is worth a word.
fn is_news(said: Option<&Standing>, now: &Standing, late: bool) -> bool {
    match said {
        None => now.links > 0 || late,
        // While it is tried again there is nothing to say but why it failed.
        Some(said) if said.links == 0 && now.links == 0 => {
            now.trouble.is_some() && now.trouble != said.trouble
        }
        Some(said) => said != now,
    }
}

fn in_words(now: &Standing) -> String {
    match (now.links, now.shared) {
        (0, _) => now.trouble.clone().unwrap_or_else(|| "nobody answers, trying again".to_owned()),
        (_, 1) => "1 file can be found".to_owned(),
        (_, files) => format!("{files} files can be found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(links: usize, shared: usize) -> Standing {
        Standing { links, shared, trouble: None }
    }

    fn refused(why: &str) -> Standing {
        Standing { trouble: Some(why.to_owned()), ..Standing::default() }
    }

    #[test]
    fn the_way_in_is_worth_no_word_and_its_loss_is() {
        let check = |said: Option<Standing>, now: Standing, late: bool, want: bool| {
            assert_eq!(is_news(said.as_ref(), &now, late), want, "{said:?}, then {now:?}");
        };
        check(None, linked(0, 3), false, false);
        check(None, linked(0, 3), true, true);
        check(None, linked(1, 0), false, true);
        check(Some(linked(1, 0)), linked(1, 3), false, true);
        check(Some(linked(1, 3)), linked(1, 3), true, false);
        check(Some(linked(1, 3)), linked(0, 3), false, true);
        check(Some(linked(0, 3)), linked(0, 2), true, false);
        check(Some(linked(0, 3)), refused("full"), true, true);
        check(Some(refused("full")), linked(0, 3), true, false);
        check(Some(refused("full")), refused("full"), true, false);
        check(Some(refused("full")), linked(2, 3), true, true);
    }

    #[test]
    fn a_network_says_what_can_be_found_there_or_why_nothing_can() {
        assert_eq!(in_words(&linked(1, 1)), "1 file can be found");
        assert_eq!(in_words(&linked(3, 0)), "0 files can be found");
        assert_eq!(in_words(&linked(0, 2)), "nobody answers, trying again");
        assert_eq!(in_words(&refused("full")), "full");
    }
}
