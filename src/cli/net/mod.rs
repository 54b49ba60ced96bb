//! `gaggle net`: a node of a search network, one file for each of them.

mod fasttrack;
mod gnutella;
mod napster;

use super::env::Env;
use super::exit::Exit;
use std::sync::Arc;

/// Run a node of a search network
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle net napster
  gaggle net gnutella --connect 10.1.0.5:6346 --share /data
  gaggle net fasttrack --role supernode --listen 10.1.0.5:1214

`gaggle net NETWORK --help` has more of each.")]
pub(super) struct Net {
    #[command(subcommand)]
    network: Network,
}

#[derive(Debug, clap::Subcommand)]
enum Network {
    Fasttrack(fasttrack::FastTrack),
    Gnutella(gnutella::Gnutella),
    Napster(napster::Napster),
}

impl Net {
    /// Runs until a signal comes.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        match self.network {
            Network::Fasttrack(verb) => verb.run(env).await,
            Network::Gnutella(verb) => verb.run(env).await,
            Network::Napster(verb) => verb.run(env).await,
        }
    }
}
