//! gaggle itself, as a user would start it.

use super::{Client, Part, Role};
use crate::creators::gaggle;
use harness::Process;
use harness::gaggle::{Part as Flags, event, last_counter};

struct Gaggle {
    process: Process,
    role: Role,
}

pub(super) fn start(part: &Part) -> anyhow::Result<Box<dyn Client>> {
    let mut more = Vec::new();
    if part.role == Role::Leech {
        more.extend(["--seed", "never"].map(str::to_owned));
    }
    for peer in &part.ways.peers {
        more.extend(["--peer".to_owned(), peer.to_string()]);
    }
    if part.ways.down > 0 {
        more.extend(["--down".to_owned(), part.ways.down.to_string()]);
    }
    more.extend((!part.ways.pex).then(|| "--no-pex".to_owned()));
    for node in &part.ways.dht {
        more.extend(["--dht-bootstrap".to_owned(), node.to_string()]);
    }
    let program = if part.ways.lsd { gaggle().with_lsd() } else { gaggle() };
    let program = if part.ways.dht.is_empty() { program } else { program.with_dht() };
    let flags = Flags {
        torrent: part.torrent.clone(),
        dir: part.dir.clone(),
        listen: part.listen,
        state: part.work.join("state"),
        flags: more,
    };
    let process = match part.role {
        Role::Seed => program.seed("gaggle-seed", &flags, &part.work)?,
        Role::Leech => program.get("gaggle-leech", &flags, &part.work)?,
    };
    Ok(Box::new(Gaggle { process, role: part.role }))
}

impl Client for Gaggle {
    fn has_all(&mut self) -> anyhow::Result<bool> {
        // A leech ends by itself, with 0 and a last word; a seed stays.
        let ended = self.process.try_wait()?;
        let word = if self.role == Role::Seed { "seeding" } else { "complete" };
        let said = self.process.said().iter().any(|said| event(said, word).is_some());
        match (self.role, ended) {
            (Role::Leech, Some(status)) if status.success() && said => Ok(true),
            (Role::Seed, None) => Ok(said),
            (_, Some(status)) => {
                anyhow::bail!("gaggle ended with {status}\n{}", self.process.tail())
            }
            (Role::Leech, None) => Ok(false),
        }
    }

    fn peers(&mut self) -> anyhow::Result<usize> {
        Ok(last_counter(&self.process, "peers") as usize)
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
