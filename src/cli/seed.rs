//! `gaggle seed`: verifies what is there and uploads it until stopped.

use super::cache;
use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use super::giving::{Enough, Giving};
use super::network::{Network, Peers, link_here};
use super::publish::{self, Publish};
use super::target::Target;
use crate::config::{Every, parse_ratio};
use crate::engine::{AddTorrent, Selection, What};
use gaggle_core::storage::Verify;
use std::path::PathBuf;
use std::sync::Arc;

/// Upload what you have: verify it, then serve it until stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle seed llama-70b.torrent --data /data
  gaggle seed disk.torrent --up 10M --ratio 3
  gaggle seed a.torrent b.torrent --listen [::]:6881 --time 12h")]
pub(super) struct Seed {
    /// A .torrent (path, - for stdin, or URL), a magnet link or a hash
    #[arg(required = true)]
    target: Vec<String>,
    /// The folder that holds the content
    #[arg(long, value_name = "DIR", env = "GAGGLE_DATA", default_value = ".")]
    data: PathBuf,
    /// Stop when so many times its size has been sent
    #[arg(long, value_name = "RATIO", env = "GAGGLE_RATIO", value_parser = parse_ratio)]
    ratio: Option<f64>,
    /// Stop after so long
    #[arg(long, value_name = "TIME", env = "GAGGLE_TIME")]
    time: Option<Every>,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    publish: Publish,
}

impl Seed {
    /// A signal is a good end.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let targets =
            self.target.iter().map(|t| Target::parse(t)).collect::<Result<Vec<_>, _>>()?;
        std::fs::read_dir(&self.data)
            .map_err(|e| Failure::io(format_args!("cannot read {}", self.data.display()), &e))?;
        let plan = match self.publish.plan(env, &self.network).await? {
            Ok(plan) => plan,
            Err(exit) => return Ok(exit),
        };
        let engine = self.network.engine(env).await?;
        let mut all = Vec::new();
        for target in targets {
            let what = match env.unless_stopped(async { Ok(target.read(env).await?) }).await? {
                Ok(what) => what,
                Err(exit) => return Ok(exit),
            };
            let Peers { named, of_link } = self.network.peers(&what).await?;
            let what = cache::recall(env, what);
            if plan.is_some()
                && let What::Metainfo(metainfo) = &what
            {
                publish::allow(metainfo)?;
            }
            let add = AddTorrent {
                what,
                out_dir: self.data.clone(),
                select: Selection::All,
                peers: named,
                link_peers: of_link,
                trackers: self.network.trackers(env),
                verify: Verify::Auto,
                preallocate: crate::disk::Preallocate::None,
                overwrite: false,
                seed_only: true,
            };
            let giving = match Giving::begin(env, &engine, add).await? {
                Ok(giving) => giving,
                Err(exit) => return Ok(exit),
            };
            let listen = engine.listen_addr();
            if let Some(metainfo) = giving.metainfo() {
                let magnet = link_here(metainfo.magnet(), listen, None).to_string();
                let info_hash = metainfo.info_hash().to_string();
                let listen = listen.to_string();
                env.emit(&Event::Seeding { info_hash, magnet: &magnet, listen })?;
                env.note(format_args!("seeding {}, verified", giving.name));
                env.result(magnet)?;
            }
            all.push(giving);
        }
        let time = self.time.map(|every| every.0);
        let enough = Enough { ratio: self.ratio, time, copies: None };
        let end = publish::beside(plan, env, &engine, all, enough).await;
        engine.stop().await;
        end
    }
}
