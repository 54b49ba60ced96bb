//! One node on one core, asked by a crowd: queries answered in a second, while one host of it asks too much.
//!
//! The node is a process of its own, pinned to a core; the crowd is pinned to another. Before the measurement the
//! node's table and its store are filled over the wire. A sample of the answers is compared with what brute force
//! finds. The limit of each source stays on; those of a subnet and of all answers together are off.

mod crowd;
mod filling;
mod load;

use super::scratch;
use anyhow::{Context, ensure};
use clap::Args;
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::rng::Rng;
use harness::gaggle::{Gaggle, event};
use harness::{Deadline, Process, figure, namespace};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Queries answered in a second, at least.
const BAR: f64 = 100_000.0;
/// Nodes in its table, at least.
const ENTRIES: usize = 1_000;
/// Places of the first bucket, so that the table holds as many.
const TABLE_WIDTH: usize = 512;
/// Where the node is.
const NODE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), 6881);
/// The port of everybody else.
const CROWD_PORT: u16 = 6882;

#[derive(Args)]
pub(crate) struct Dht {
    /// The gaggle to measure [default: a release build of this checkout]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) gaggle: Option<PathBuf>,
    /// Nodes in its table
    #[arg(long, default_value_t = ENTRIES)]
    entries: usize,
    /// Addresses that ask
    #[arg(long, default_value_t = 20_000)]
    sources: u32,
    /// Peers in its store; a swarm has 400
    #[arg(long, default_value_t = 100_000)]
    peers: usize,
    /// Seconds of measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Run both ahead of everything else on their cores: on a machine that others use, too, the node would often wait
    /// for its turn
    #[arg(long)]
    ahead: bool,
    /// Cores for the node and for the crowd
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
    cores: Vec<usize>,
}

/// What the crowd knows: the other nodes, and who has announced what.
struct Known {
    own: NodeId,
    nodes: Vec<(NodeId, Ipv4Addr)>,
    swarms: Vec<(InfoHash, BTreeSet<Ipv4Addr>)>,
}

impl Known {
    /// By brute force: those of the ids nearest to the target.
    fn nearest(&self, target: &NodeId) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.nodes.iter().map(|(id, _)| *id).collect();
        ids.sort_by_key(|id| id.distance(target));
        ids.truncate(gaggle_core::overlay::kademlia::K);
        ids
    }
}

impl Dht {
    /// Inside the namespace.
    pub(super) fn run(&self, gaggle: &Gaggle) -> anyhow::Result<bool> {
        namespace::take_whole_range()?;
        let work = scratch(Path::new("/dev/shm"))?;
        let [node_core, crowd_core] = self.cores[..] else { anyhow::bail!("--cores takes two") };
        pin_self(crowd_core)?;
        let mut rng = Rng::seeded(1);
        let mut node = self.start(gaggle, node_core, work.path())?;
        let hello = node.wait_line(Deadline::after_secs(20), |said| event(said, "dht_node"))?;
        let own = hello["id_v4"].as_str().and_then(node_id).context("the node has an id")?;
        let mut crowd = crowd::Crowd::new(CROWD_PORT)?;
        let nodes = filling::nodes(&own, self.entries, &mut rng);
        let mut known = Known { own, nodes, swarms: Vec::new() };
        let entries = filling::table(&mut crowd, &mut node, &known, self.entries)?;
        filling::store(&mut crowd, &mut known, self.sources, self.peers, &mut rng)?;
        let stored = filling::stored(&mut node, self.peers)?;
        println!("{entries} nodes in the table, {stored} peers in the store");
        if self.ahead {
            [node.id(), std::process::id()].into_iter().try_for_each(put_ahead)?;
        }
        let cpu = node.cpu_s();
        let load = load::run(&mut crowd, &known, self.sources, self.seconds, &mut rng)?;
        let cpu = (node.cpu_s() - cpu) / load.seconds;
        let wrong = load.samples.iter().filter(|sample| !sample.is_right(&known)).count();
        let rate = load.answered as f64 / load.seconds;
        let text = format!(
            "{rate:.0} queries/s answered by one core ({:.0} % of it, {} lost), {entries} nodes, {stored} peers, {} sources; \
             {wrong} of {} sampled answers wrong; one host asked {} times and was answered {} times",
            cpu * 100.0,
            load.lost,
            self.sources,
            load.samples.len(),
            load.abuse.0,
            load.abuse.1
        );
        figure("dht", &text);
        // A burst of ten seconds' worth, then five a second.
        let allowed = 50 + 5 * (load.seconds.ceil() as u64 + 1);
        let right = wrong == 0 && !load.samples.is_empty();
        Ok(rate >= BAR && entries >= ENTRIES as u64 && right && load.abuse.1 <= allowed)
    }

    fn start(&self, gaggle: &Gaggle, core: usize, work: &Path) -> anyhow::Result<Process> {
        let plain = gaggle.command(work);
        let mut command = Command::new("taskset");
        command.arg("-c").arg(core.to_string()).arg(plain.get_program());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["dht", "node", "--json", "-q", "--listen", &NODE.to_string()]);
        let first = SocketAddr::new(filling::host(0).into(), CROWD_PORT).to_string();
        command.args(["--bootstrap", &first, "--per-subnet", "none", "--reply-budget", "none"]);
        command.args(["--table-width", &TABLE_WIDTH.to_string()]);
        Process::start("node", command, work)
    }
}

fn node_id(hex: &str) -> Option<NodeId> {
    let byte = |at: usize| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok();
    let mut id = [0; 20];
    for (at, slot) in id.iter_mut().enumerate() {
        *slot = byte(at)?;
    }
    Some(NodeId(id))
}

/// Gives all threads of a process the lowest of the real-time priorities.
fn put_ahead(pid: u32) -> anyhow::Result<()> {
    let put = Command::new("chrt").args(["-a", "-f", "-p", "1", &pid.to_string()]).output()?;
    ensure!(put.status.success(), "chrt: {}", String::from_utf8_lossy(&put.stderr));
    Ok(())
}

/// This process stays on one core, away from the node.
fn pin_self(core: usize) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let pinned =
        Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &pid]).output()?;
    ensure!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
    Ok(())
}
