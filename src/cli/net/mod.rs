//! `gaggle net`: a node of a search network, one file for each of them.

mod gnutella;

use super::env::Env;
use super::exit::Exit;
use std::sync::Arc;

/// Run a node of a search network
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle net gnutella --share ~/Music
  gaggle net gnutella --role ultra --listen 0.0.0.0:6346
  gaggle net gnutella --connect 10.1.0.5:6346 --share /data

`gaggle net NETWORK --help` has more of each.")]
pub(super) struct Net {
    #[command(subcommand)]
    network: Network,
}

#[derive(Debug, clap::Subcommand)]
enum Network {
    Gnutella(gnutella::Gnutella),
}

impl Net {
    /// Runs until a signal comes.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        match self.network {
            Network::Gnutella(verb) => verb.run(env).await,
        }
    }
}
