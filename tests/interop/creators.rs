//! Programs that make torrents.

use crate::case::Creator;
use anyhow::{Context, ensure};
use harness::gaggle::Gaggle;
use harness::libtorrent::Libtorrent;
use std::path::Path;
use std::process::Command;

/// What a torrent is made of.
pub(crate) struct Order<'a> {
    /// A file or a folder.
    pub(crate) content: &'a Path,
    /// Where the torrent goes.
    pub(crate) torrent: &'a Path,
    /// A power of two.
    pub(crate) piece_len: u64,
    /// Announce URL.
    pub(crate) tracker: &'a str,
    /// Whether peers may come from the tracker only.
    pub(crate) private: bool,
}

/// The program under test.
pub(crate) fn gaggle() -> Gaggle {
    Gaggle::new(env!("CARGO_BIN_EXE_gaggle"))
}

impl Creator {
    /// The program that must be installed.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Gaggle => env!("CARGO_BIN_EXE_gaggle"),
            Self::Transmission => "transmission-create",
            Self::Mktorrent => "mktorrent",
            Self::Libtorrent => "/usr/bin/python3",
        }
    }

    /// Makes the torrent.
    pub(crate) fn create(self, order: &Order<'_>) -> anyhow::Result<()> {
        let Order { content, torrent, piece_len, tracker, private } = *order;
        match self {
            Self::Gaggle => {
                let piece_len = piece_len.to_string();
                let mut flags = vec!["--tracker", tracker, "--piece-length", &piece_len];
                flags.extend(private.then_some("--private"));
                gaggle().create(content, torrent, &flags).map(drop)
            }
            Self::Transmission => {
                let mut command = Command::new(self.program());
                command.arg("-o").arg(torrent).args(["-t", tracker]);
                command.args(["-s", &(piece_len >> 10).to_string()]);
                command.args(private.then_some("-p")).arg(content);
                run(command)
            }
            Self::Mktorrent => {
                let mut command = Command::new(self.program());
                command.args(["-a", tracker, "-l", &piece_len.ilog2().to_string()]);
                command.args(private.then_some("-p")).arg("-o").arg(torrent).arg(content);
                run(command)
            }
            Self::Libtorrent => Libtorrent::find()?.create(content, torrent, piece_len, tracker),
        }
    }
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}\n{said}{errors}", output.status);
    Ok(())
}
