//! The configuration checked: units in types, bad values unrepresentable.

use super::raw::{RawConfig, RawCreate, RawGet, RawNetwork, RawSearch, Text};
use super::values::{Every, Finish, PieceLength, Preallocation, Rate, Trust, Uploads, parse_nodes};
use super::{ConfigError, Layers, Origin};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::search::Network;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

/// Everything that file and environment decide.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it talks.
    pub output: OutputSettings,
    /// Where it keeps its state, when not in the usual place.
    pub paths_state_dir: Option<PathBuf>,
    /// How peers are met.
    pub network: NetworkSettings,
    /// Defaults of `gaggle get`.
    pub get: GetSettings,
    /// Defaults of `gaggle search`.
    pub search: SearchSettings,
    /// Defaults of `gaggle create`.
    pub create: CreateSettings,
    /// Defaults of `gaggle tracker`.
    pub tracker: TrackerSettings,
}

/// How it talks.
#[derive(Clone, Copy, Debug)]
pub struct OutputSettings {
    /// Colours.
    pub color: Color,
    /// Progress.
    pub progress: Progress,
}

/// How peers are met.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// For peers; port 0 is any free one.
    pub listen: SocketAddr,
    /// Beside those that a torrent names.
    pub trackers: Vec<String>,
    /// Of one torrent at a time.
    pub max_peers: NonZeroUsize,
    /// Peers of one torrent that are sent to at a time.
    pub max_uploads: Uploads,
    /// Most to fetch.
    pub down: Option<Rate>,
    /// Most to send.
    pub up: Option<Rate>,
    /// TCP congestion control of connections to peers.
    pub congestion: Option<String>,
    /// Whether peers are not told of each other.
    pub no_pex: bool,
    /// Whether no peers are looked for among the neighbours.
    pub no_lsd: bool,
    /// Whether no peers are looked for in the DHT.
    pub no_dht: bool,
    /// Whether the router is asked for no port.
    pub no_upnp: bool,
    /// Nodes of the DHT to begin with.
    pub dht_bootstrap: Vec<PeerHint>,
    /// Whether those are the public ones that the program brings along, and nobody's choice.
    pub dht_bootstrap_default: bool,
    /// Whether those that nobody chose are not asked, and neither is the router.
    pub lan: bool,
}

/// Defaults of `gaggle get`.
#[derive(Clone, Debug)]
pub struct GetSettings {
    /// Folder that downloads go to.
    pub output: PathBuf,
    /// Downloads at a time.
    pub jobs: NonZeroUsize,
    /// What happens after a download.
    pub seed: Finish,
    /// For a whole download.
    pub timeout: Option<Every>,
    /// Without a byte.
    pub stall_timeout: Option<Every>,
    /// For the metadata of a magnet.
    pub metadata_timeout: Option<Every>,
    /// What to hash of data that is there.
    pub verify: Trust,
    /// How to make room.
    pub preallocate: Preallocation,
    /// To run after each download.
    pub on_complete: Option<String>,
}

/// Defaults of `gaggle search`.
#[derive(Clone, Debug)]
pub struct SearchSettings {
    /// Where each network begins; those of one network are tried in their order.
    pub servers: Vec<(Network, PeerHint)>,
    /// Results after which it is over.
    pub limit: NonZeroUsize,
    /// How long it goes on at most.
    pub wait: Every,
}

/// Defaults of `gaggle create`.
#[derive(Clone, Debug)]
pub struct CreateSettings {
    /// One tier each; commas join trackers into one tier.
    pub trackers: Vec<String>,
    /// How to cut.
    pub piece_length: PieceLength,
    /// Source tag.
    pub source: Option<String>,
    /// Whether names that start with a dot are taken.
    pub include_hidden: bool,
    /// Whether the creation date is left out.
    pub no_date: bool,
}

/// Defaults of `gaggle tracker`.
#[derive(Clone, Debug)]
pub struct TrackerSettings {
    /// HTTP over TCP and BEP 15 over UDP.
    pub listen: SocketAddr,
    /// Told to peers.
    pub interval: Every,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to show progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, else a line every 5 s; JSON with --json.
    Auto,
    /// A bar, on a terminal only.
    Bar,
    /// A line every 5 s.
    Plain,
    /// A JSON object about every 300 ms.
    Json,
    /// Nothing.
    None,
}

impl Settings {
    pub(super) fn check(raw: RawConfig, layers: &Layers) -> Result<Self, ConfigError> {
        let at = |key| Check { key, layers };
        Ok(Self {
            output: OutputSettings {
                color: at("output.color").choice(raw.output.color)?,
                progress: at("output.progress").choice(raw.output.progress)?,
            },
            paths_state_dir: raw.paths.state_dir.map(|dir| PathBuf::from(dir.0)),
            network: network(raw.network, layers)?,
            get: get(raw.get, layers)?,
            search: search(raw.search, layers)?,
            create: create(raw.create, layers)?,
            tracker: TrackerSettings {
                listen: at("tracker.listen").parse(raw.tracker.listen)?,
                interval: at("tracker.interval").parse(raw.tracker.interval)?,
            },
        })
    }
}

fn network(raw: RawNetwork, layers: &Layers) -> Result<NetworkSettings, ConfigError> {
    let at = |key| Check { key, layers };
    Ok(NetworkSettings {
        listen: at("network.listen").parse(raw.listen)?,
        trackers: texts(raw.trackers),
        max_peers: at("network.max_peers").parse(raw.max_peers)?,
        max_uploads: at("network.max_uploads").parse(raw.max_uploads)?,
        down: at("network.down").optional(raw.down)?,
        up: at("network.up").optional(raw.up)?,
        congestion: at("network.congestion").optional(raw.congestion)?,
        no_pex: at("network.no_pex").flag(raw.no_pex)?,
        no_lsd: at("network.no_lsd").flag(raw.no_lsd)?,
        no_dht: at("network.no_dht").flag(raw.no_dht)?,
        no_upnp: at("network.no_upnp").flag(raw.no_upnp)?,
        dht_bootstrap: at("network.dht_bootstrap").nodes(&texts(raw.dht_bootstrap))?,
        dht_bootstrap_default: layers.origin("network.dht_bootstrap") == Origin::Default,
        lan: at("network.lan").flag(raw.lan)?,
    })
}

fn get(raw: RawGet, layers: &Layers) -> Result<GetSettings, ConfigError> {
    let at = |key| Check { key, layers };
    Ok(GetSettings {
        output: at("get.output").parse(raw.output)?,
        jobs: at("get.jobs").parse(raw.jobs)?,
        seed: at("get.seed").parse(raw.seed)?,
        timeout: at("get.timeout").optional(raw.timeout)?,
        stall_timeout: at("get.stall_timeout").optional(raw.stall_timeout)?,
        metadata_timeout: at("get.metadata_timeout").optional(raw.metadata_timeout)?,
        verify: at("get.verify").parse(raw.verify)?,
        preallocate: at("get.preallocate").parse(raw.preallocate)?,
        on_complete: raw.on_complete.map(|command| command.0),
    })
}

fn search(raw: RawSearch, layers: &Layers) -> Result<SearchSettings, ConfigError> {
    let at = |key| Check { key, layers };
    let mut servers = Vec::new();
    for (network, key, raw) in [
        (Network::Napster, "search.napster", raw.napster),
        (Network::Gnutella, "search.gnutella", raw.gnutella),
        (Network::FastTrack, "search.fasttrack", raw.fasttrack),
    ] {
        let nodes = at(key).nodes(&texts(raw))?;
        servers.extend(nodes.into_iter().map(|node| (network, node)));
    }
    Ok(SearchSettings {
        servers,
        limit: at("search.limit").parse(raw.limit)?,
        wait: at("search.wait").parse(raw.wait)?,
    })
}

fn create(raw: RawCreate, layers: &Layers) -> Result<CreateSettings, ConfigError> {
    let at = |key| Check { key, layers };
    Ok(CreateSettings {
        trackers: texts(raw.trackers),
        piece_length: at("create.piece_length").parse(raw.piece_length)?,
        source: raw.source.map(|source| source.0),
        include_hidden: at("create.include_hidden").flag(raw.include_hidden)?,
        no_date: at("create.no_date").flag(raw.no_date)?,
    })
}

fn texts(raw: Option<Vec<Text>>) -> Vec<String> {
    raw.unwrap_or_default().into_iter().map(|text| text.0).collect()
}

/// Reads one value, and knows how to complain about it.
struct Check<'a> {
    key: &'static str,
    layers: &'a Layers,
}

impl Check<'_> {
    fn parse<T: FromStr<Err: ToString>>(&self, raw: Option<Text>) -> Result<T, ConfigError> {
        let Text(value) = raw.unwrap_or(Text(String::new()));
        value.parse().map_err(|why: T::Err| self.wrong(value, why.to_string()))
    }

    /// For a key without default.
    fn optional<T: FromStr<Err: ToString>>(
        &self,
        raw: Option<Text>,
    ) -> Result<Option<T>, ConfigError> {
        raw.map(|raw| self.parse(Some(raw))).transpose()
    }

    fn choice<T: clap::ValueEnum>(&self, raw: Option<Text>) -> Result<T, ConfigError> {
        let names: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let nth = self.one_of(raw, &names)?;
        Ok(T::value_variants()[nth].clone())
    }

    /// The words that clap takes for a switch in the environment.
    fn flag(&self, raw: Option<Text>) -> Result<bool, ConfigError> {
        let names = ["false", "true", "no", "yes", "off", "on", "0", "1"];
        Ok(self.one_of(raw, &names)? % 2 == 1)
    }

    fn one_of(&self, raw: Option<Text>, names: &[&str]) -> Result<usize, ConfigError> {
        let Text(value) = raw.unwrap_or(Text(String::new()));
        match names.iter().position(|name| *name == value) {
            Some(nth) => Ok(nth),
            None => Err(self.wrong(value, format!("one of {}", names.join(", ")))),
        }
    }

    fn nodes(&self, texts: &[String]) -> Result<Vec<PeerHint>, ConfigError> {
        let value = texts.join(" ");
        parse_nodes(texts).map_err(|why| self.wrong(value, why))
    }

    fn wrong(&self, value: String, why: String) -> ConfigError {
        let origin = self.layers.origin(self.key).to_string();
        ConfigError::BadValue { key: self.key, value, origin, why }
    }
}
