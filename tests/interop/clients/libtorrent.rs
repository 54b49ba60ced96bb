//! libtorrent through its Python bindings (Debian: python3-libtorrent).

use super::{Client, Part, Role};
use harness::Process;
use harness::gaggle::last_counter;
use harness::libtorrent::{self, Libtorrent};

struct Session(Process);

pub(super) fn start(part: &Part) -> anyhow::Result<Box<dyn Client>> {
    let peer = libtorrent::Part {
        torrent: part.torrent.clone(),
        dir: part.dir.clone(),
        listen: part.listen,
        peers: part.ways.peers.clone(),
        up: 0,
        down: part.ways.down,
        lsd: part.ways.lsd,
        dht: part.ways.dht.clone(),
        utp: false,
        pex: true,
    };
    let mode = if part.role == Role::Seed { "seed" } else { "leech" };
    let mut process = Libtorrent::find()?.start("libtorrent", mode, &peer, &part.work)?;
    libtorrent::go(&mut process)?;
    Ok(Box::new(Session(process)))
}

impl Client for Session {
    fn has_all(&mut self) -> anyhow::Result<bool> {
        self.0.still_runs()?;
        Ok(self.0.said().iter().any(|said| said.text.contains(r#""type": "done""#)))
    }

    fn peers(&mut self) -> anyhow::Result<usize> {
        Ok(last_counter(&self.0, "peers") as usize)
    }

    fn process(&self) -> &Process {
        &self.0
    }
}
