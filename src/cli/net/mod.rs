//! `gaggle net`: a node of a search network, until it is stopped.

mod napster;

use super::env::Env;
use super::exit::Exit;
use std::sync::Arc;

/// Take part in a search network: Napster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle net napster
  gaggle net napster --connect 10.1.0.5:8888 --share ./music
  gaggle net napster --help")]
pub(super) struct Net {
    #[command(subcommand)]
    network: Network,
}

#[derive(Debug, clap::Subcommand)]
enum Network {
    Napster(napster::Napster),
}

impl Net {
    /// Runs until a signal comes.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        match self.network {
            Network::Napster(verb) => verb.run(env).await,
        }
    }
}
