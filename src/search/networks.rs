//! Our part in all networks of a search.

use super::{fasttrack, gnutella, napster};
use crate::fetch::Host;
use crate::net::Clock;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::proto::napster::Nick;
use gaggle_core::search::{Found, Hit, Network, Question, Reach, Saved};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What networks say that may wait to be heard; a network that has more waits.
const HEARD_MAX: usize = 256;
/// Directories of Napster that are asked; further ones are not.
const DIRECTORIES_MAX: usize = 8;

/// In which networks to take part, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The way into each network. For one of Gnutella or FastTrack that is empty, whom earlier runs have met will do.
    pub ways: Ways,
    /// Where others connect to us who cannot be connected to. Ports are any free ones.
    pub listen: Ipv4Addr,
    /// Where those who were met are kept for the next time.
    pub state_dir: PathBuf,
}

/// Networks, and whom to begin with in each.
pub type Ways = BTreeMap<Network, Vec<PeerHint>>;

/// Why there is no taking part in a network.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{network}: {why}")]
pub struct StartError {
    /// Which.
    pub network: Network,
    /// In words.
    pub why: String,
}

/// Our part in each network. It ends when this is dropped.
pub struct Networks {
    clock: Clock,
    napster: Vec<napster::Part>,
    gnutella: Option<gnutella::Part>,
    fasttrack: Option<fasttrack::Part>,
    /// Whose account is to be told what they were worth.
    givers: Vec<fasttrack::Giver>,
}

/// What is said to a question.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A network says no more, and why if that is no ordinary end.
    Ended(Network, Option<String>),
    /// A file that somebody has.
    Hit(Box<Hit>),
    /// How far somebody is whose files have been heard of.
    Near(Nick, Duration),
}

/// What is said to one question. Nobody is asked any more when it is dropped.
pub struct Answers {
    heard: mpsc::Receiver<Heard>,
    _asking: JoinSet<()>,
}

impl Answers {
    /// Words of nobody.
    #[cfg(test)]
    pub(super) fn of(heard: mpsc::Receiver<Heard>) -> Self {
        Self { heard, _asking: JoinSet::new() }
    }

    /// The next word; `None` when every network has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

impl Networks {
    /// Begins to take part. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port cannot be had, a name is not known, or the system has no randomness.
    pub async fn join(config: &Config, clock: Clock) -> Result<Self, StartError> {
        let Config { ways, listen, state_dir } = config;
        let mut networks = Self {
            clock,
            napster: Vec::new(),
            gnutella: None,
            fasttrack: None,
            givers: Vec::new(),
        };
        for (&network, servers) in ways {
            let failed = |why: String| StartError { network, why };
            match network {
                Network::Napster => {
                    for server in servers.iter().take(DIRECTORIES_MAX) {
                        let part = napster::Part::join(server.to_string(), *listen, clock);
                        networks.napster.push(part.map_err(failed)?);
                    }
                }
                Network::Gnutella => {
                    let part = gnutella::Part::join(servers, *listen, state_dir, clock);
                    networks.gnutella = Some(part.map_err(failed)?);
                }
                Network::FastTrack => {
                    let part = fasttrack::Part::join(servers, *listen, state_dir, clock).await;
                    networks.fasttrack = Some(part.map_err(failed)?);
                }
            }
        }
        Ok(networks)
    }

    /// Asks all at once.
    pub fn ask(&self, question: &Question) -> Answers {
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let mut asking = JoinSet::new();
        for part in self.napster.clone() {
            asking.spawn(part.ask(question.clone(), self.clock, tell.clone()));
        }
        if let Some(part) = self.gnutella.clone() {
            asking.spawn(part.ask(question.clone(), self.clock, tell.clone()));
        }
        if let Some(part) = self.fasttrack.clone() {
            asking.spawn(part.ask(question.clone(), self.clock, tell.clone()));
        }
        Answers { heard, _asking: asking }
    }

    /// Servers and neighbours of a network that we are connected to.
    pub fn links(&self, network: Network) -> usize {
        match network {
            Network::Napster => self.napster.iter().filter(|part| part.is_linked()).count(),
            Network::Gnutella => self.gnutella.as_ref().map_or(0, gnutella::Part::links),
            Network::FastTrack => self.fasttrack.iter().filter(|part| part.is_linked()).count(),
        }
    }

    /// The hosts of a result. Those that have to be asked to connect to us are left out where we take no part.
    pub fn hosts(&mut self, found: &Found) -> Vec<Host> {
        let mut givers = Vec::new();
        let mut host = |hit: &Hit| match &hit.reach {
            Reach::Napster { server, .. } => {
                self.napster.iter().find(|part| part.server == *server)?.host(hit)
            }
            Reach::Gnutella { .. } => gnutella::host(hit, self.gnutella.as_ref()),
            Reach::FastTrack { .. } => {
                let (host, giver) = fasttrack::host(hit, self.fasttrack.as_ref())?;
                givers.push(giver);
                Some(host)
            }
        };
        let hosts = found.sources.iter().filter_map(&mut host).collect();
        self.givers.append(&mut givers);
        hosts
    }

    /// Takes leave everywhere, and says before what hosts were worth. That takes a second more at most.
    pub async fn stop(self) {
        let mut leaving = JoinSet::new();
        self.napster.into_iter().for_each(|part| _ = leaving.spawn(part.stop()));
        self.gnutella.into_iter().for_each(|part| _ = leaving.spawn(part.stop()));
        if let Some(part) = self.fasttrack {
            leaving.spawn(part.stop(self.givers));
        }
        while leaving.join_next().await.is_some() {}
    }
}

/// The ways that lead to those hosts of a result that cannot be dialled, and to those who keep account of what hosts
/// were worth.
pub fn ways_to(found: &Found, search: &Saved) -> Ways {
    let mut ways = Ways::new();
    let mut add = |network, server: Option<&str>| {
        let known = ways.entry(network).or_default();
        let server = server.and_then(PeerHint::parse);
        known.extend(server.filter(|server| !known.contains(server)));
    };
    let counts = |hit: &Hit| matches!(hit.reach, Reach::FastTrack { .. });
    for hit in found.sources.iter().filter(|hit| counts(hit) || hit.reach.direct().is_none()) {
        match &hit.reach {
            Reach::Napster { server, .. } => add(Network::Napster, Some(server)),
            Reach::FastTrack { supernode, .. } => {
                add(Network::FastTrack, Some(&supernode.to_string()));
            }
            Reach::Gnutella { .. } => {
                add(Network::Gnutella, None); // by whom earlier runs have met, too
                let asked = search.servers.iter();
                let asked = asked.filter(|(network, _)| *network == Network::Gnutella);
                asked.for_each(|(network, server)| add(*network, Some(server)));
            }
        }
    }
    ways
}

/// Whether earlier runs have met somebody in a network.
pub fn is_known(state_dir: &Path, network: Network) -> bool {
    match network {
        Network::FastTrack => state_dir.join("fasttrack.nodes").exists(),
        Network::Gnutella => state_dir.join("gnutella.hosts").exists(),
        Network::Napster => false,
    }
}

/// Where to listen for those who cannot be connected to: on this machine alone, if the ways into the networks lead
/// nowhere else.
pub fn listen_for(ways: &Ways) -> Ipv4Addr {
    let here = |server: &PeerHint| server.addr().is_some_and(|addr| addr.ip().is_loopback());
    let mut servers = ways.values().flatten().peekable();
    let loopback = servers.peek().is_some() && servers.all(here);
    if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_no_further_than_it_asks() {
        let ways = |servers: &[&str]| {
            let servers = servers.iter().map(|text| PeerHint::parse(text).unwrap()).collect();
            Ways::from([(Network::Gnutella, servers)])
        };
        assert_eq!(listen_for(&ways(&["127.0.0.1:1", "127.0.0.2:1"])), Ipv4Addr::LOCALHOST);
        assert_eq!(listen_for(&ways(&["127.0.0.1:1", "10.0.0.1:1"])), Ipv4Addr::UNSPECIFIED);
        assert_eq!(listen_for(&ways(&["localhost:1"])), Ipv4Addr::UNSPECIFIED);
        assert_eq!(listen_for(&ways(&[])), Ipv4Addr::UNSPECIFIED);
    }
}
