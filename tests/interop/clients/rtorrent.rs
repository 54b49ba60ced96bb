//! rtorrent as a daemon, steered by a file of settings; it marks the end of a download by making a file.

use super::{Client, Part, Role};
use harness::Process;
use std::fs;
use std::path::PathBuf;

struct Rtorrent {
    process: Process,
    mark: PathBuf,
    role: Role,
}

pub(super) fn start(part: &Part) -> anyhow::Result<Box<dyn Client>> {
    let session = part.work.join("session");
    fs::create_dir_all(&session)?;
    let (settings, mark) = (part.work.join("rtorrent.rc"), part.work.join("finished"));
    let (ip, port) = (part.listen.ip(), part.listen.port());
    fs::write(
        &settings,
        format!(
            "system.daemon.set = true\n\
             session.path.set = {session}\n\
             directory.default.set = {dir}\n\
             network.bind_address.set = {ip}\n\
             network.local_address.set = {ip}\n\
             network.port_range.set = {port}-{port}\n\
             network.port_random.set = no\n\
             dht.mode.set = disable\n\
             protocol.pex.set = no\n\
             protocol.encryption.set = allow_incoming,prefer_plaintext\n\
             pieces.hash.on_completion.set = no\n\
             method.set_key = event.download.finished, mark, \"execute2=touch,{mark}\"\n\
             load.start = {torrent}\n",
            session = session.display(),
            dir = part.dir.display(),
            mark = mark.display(),
            torrent = part.torrent.display(),
        ),
    )?;
    let mut command = part.command("rtorrent");
    command.args(["-n", "-o"]).arg(format!("import={}", settings.display()));
    let process = Process::start("rtorrent", command, &part.work)?;
    Ok(Box::new(Rtorrent { process, mark, role: part.role }))
}

impl Client for Rtorrent {
    fn has_all(&mut self) -> anyhow::Result<bool> {
        self.process.still_runs()?;
        // A seed finishes nothing; the tracker tells when it serves.
        Ok(self.role == Role::Seed || self.mark.exists())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
