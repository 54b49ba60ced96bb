//! Where search networks begin: at servers of the flags or of the configuration, and with whom earlier runs have met. What
//! `search` and `--publish` have in common.

use super::env::Env;
use super::exit::Failure;
use crate::search::{self, Ways};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::search::Network;

/// The customary ports.
const PORTS: [(u16, Network); 4] = [
    (gaggle_core::proto::napster::SERVER_PORT, Network::Napster),
    (gaggle_core::proto::napster::METASERVER_PORT, Network::Napster),
    (6346, Network::Gnutella),
    (gaggle_core::proto::fasttrack::PORT, Network::FastTrack),
];

/// Where each of these networks begins, or each of which a beginning is known if `only` is empty. `given` are those of
/// `--server`.
pub(super) fn ways(
    env: &Env,
    given: &[String],
    only: &[Network],
    lan: bool,
) -> Result<Ways, Failure> {
    let given = given.iter().map(|text| server_of(text, only));
    let given = given.collect::<Result<Vec<_>, _>>()?;
    if let Some((_, far)) = given.iter().find(|(_, server)| lan && !search::is_near(server)) {
        let what = format!("--server {far} is in another network, and --lan keeps to this one");
        return Err(Failure::usage(what));
    }
    // Whom earlier runs have met is a way in as well, wherever he is.
    let remembers = given.is_empty() && !lan;
    let all = if given.is_empty() { env.settings.search.servers.clone() } else { given };
    let mut ways = Ways::new();
    for (network, server) in all {
        if !lan || search::is_near(&server) {
            ways.entry(network).or_default().push(server);
        }
    }
    for network in Network::ALL {
        if remembers && search::is_known(&env.dirs.state, network) {
            ways.entry(network).or_default();
        }
    }
    if !only.is_empty() {
        ways.retain(|network, _| only.contains(network));
        if let Some(missing) = only.iter().find(|network| !ways.contains_key(network)) {
            return Err(nowhere(&format!("no way into {missing} is known"), *missing));
        }
    }
    if ways.is_empty() {
        return Err(nowhere("no network to search is known", Network::Gnutella));
    }
    Ok(ways)
}

fn server_of(text: &str, only: &[Network]) -> Result<(Network, PeerHint), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--server {text}: {why}"));
    let (network, addr) = match text.split_once('=') {
        Some((network, addr)) => (Some(network.parse().map_err(|why: String| wrong(&why))?), addr),
        None => (None, text),
    };
    let server = PeerHint::parse(addr).ok_or_else(|| wrong("not HOST:PORT"))?;
    let customary =
        || PORTS.iter().find(|(port, _)| *port == server.port).map(|(_, network)| *network);
    let only = || if let [only] = only { Some(*only) } else { None };
    let network = network.or_else(only).or_else(customary).ok_or_else(|| {
        wrong("of which network?").hint(format!("--server gnutella={addr}, or another one"))
    })?;
    Ok((network, server))
}

fn nowhere(what: &str, network: Network) -> Failure {
    let hint = format!(
        "--server {network}=HOST:PORT names one, search.{network} in the configuration for all times"
    );
    Failure::usage(what.to_owned()).hint(hint)
}
