//! The programs that the check and the measurements need: installed when we are root, otherwise named with the line to
//! type.

use anyhow::{Context, ensure};
use harness::namespace::is_root;
use harness::{clients_required, installed};
use std::path::Path;
use std::process::Command;

/// A Debian package, and how to see that it is there.
type Package = (&'static str, Probe);

/// For the check.
const PACKAGES: &[Package] = &[
    ("transmission-daemon", Probe::Program("transmission-daemon")),
    ("transmission-cli", Probe::Program("transmission-create")),
    ("aria2", Probe::Program("aria2c")),
    ("curl", Probe::Program("curl")),
    ("rtorrent", Probe::Program("rtorrent")),
    ("qbittorrent-nox", Probe::Program("qbittorrent-nox")),
    ("python3-libtorrent", Probe::Python("libtorrent")),
    ("opentracker", Probe::Program("opentracker")),
    ("mktorrent", Probe::Program("mktorrent")),
    ("miniupnpd-nftables", Probe::Program("miniupnpd")),
    ("nftables", Probe::Program("nft")),
    ("iproute2", Probe::Program("ip")),
    ("openssl", Probe::Program("openssl")),
];

/// For the measurements beside rivals; two of these rivals are in no package, see [`rivals`].
const RIVALS: &[Package] = &[
    ("gcc", Probe::Program("cc")),
    ("iperf3", Probe::Program("iperf3")),
    ("iproute2", Probe::Program("ip")),
    ("libssl-dev", Probe::File("/usr/include/openssl/sha.h")),
    ("mktorrent", Probe::Program("mktorrent")),
    ("procps", Probe::Program("sysctl")),
    ("python3-venv", Probe::Python("ensurepip")),
    ("rtorrent", Probe::Program("rtorrent")),
    ("transmission-cli", Probe::Program("transmission-create")),
    ("transmission-daemon", Probe::Program("transmission-daemon")),
];
/// What pip is asked for.
const LIBTORRENT: &str = "libtorrent>=2.1,<2.2";
/// The release of rqbit that is measured.
const RQBIT: &str = "9.1.0";

enum Probe {
    File(&'static str),
    Program(&'static str),
    /// A module of Debian's own Python, whatever other Python comes first in `PATH`.
    Python(&'static str),
}

impl Probe {
    fn found(&self) -> bool {
        match self {
            Self::File(path) => Path::new(path).is_file(),
            Self::Program(program) => installed(program),
            Self::Python(module) => {
                let mut python = Command::new("/usr/bin/python3");
                let output = python.args(["-c", &format!("import {module}")]).output();
                output.is_ok_and(|output| output.status.success())
            }
        }
    }
}

/// Sees to the foreign clients.
///
/// # Errors
/// The installation failed, or a client is missing where `GAGGLE_REQUIRE_CLIENTS=1` asks for all of them.
pub(crate) fn packages() -> anyhow::Result<()> {
    let missing = install(PACKAGES)?;
    ensure!(missing.is_empty() || !clients_required(), "missing clients: {}", missing.join(" "));
    Ok(())
}

/// Installs the rivals that gaggle is measured beside: Debian's own, and in `folder` libtorrent (pip) and rqbit (cargo).
///
/// # Errors
/// An installation failed, or packages are missing that only root can install.
pub(crate) fn rivals(folder: &Path) -> anyhow::Result<()> {
    let missing = install(RIVALS)?;
    ensure!(missing.is_empty(), "missing packages: {}", missing.join(" "));
    let python = folder.join("venv/bin/python");
    let has_libtorrent = |python: &Path| {
        let output = Command::new(python).args(["-c", "import libtorrent"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !has_libtorrent(&python) {
        run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", LIBTORRENT]))?;
    }
    if !folder.join("bin/rqbit").is_file() {
        println!("installing rqbit {RQBIT} (some minutes)");
        let features = ["--no-default-features", "--features", "rust-tls,prometheus"];
        let mut install = crate::step::cargo();
        install.args(["install", "rqbit", "--version", RQBIT]).args(features);
        run(install.arg("--root").arg(folder))?;
    }
    println!("the rivals are in {} and in PATH", folder.display());
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// Installs packages as root; to anybody else it says what to type. Returns what is missing in the end.
fn install(packages: &'static [Package]) -> anyhow::Result<Vec<&'static str>> {
    let missing = || -> Vec<&str> {
        packages.iter().filter(|(_, probe)| !probe.found()).map(|(name, _)| *name).collect()
    };
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let line = format!("apt-get install --yes --no-install-recommends {}", wanted.join(" "));
    if is_root() && installed("apt-get") {
        println!("installing: {}", wanted.join(" "));
        apt(&["update"])?;
        let mut install = vec!["install", "--yes", "--no-install-recommends"];
        install.extend(&wanted);
        apt(&install)?;
    } else {
        println!("other programs are missing; type: sudo {line}");
    }
    Ok(missing())
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "-o", "DPkg::Lock::Timeout=120"]).args(arguments);
    run(command.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The cargo tools that are there.
pub(crate) struct Tools(Vec<&'static str>);

impl Tools {
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.0.contains(&tool)
    }
}

/// Sees to tools of cargo: installed as root, otherwise named.
///
/// # Errors
/// The installation failed.
pub(crate) fn tools(wanted: &[&'static str]) -> anyhow::Result<Tools> {
    let mut have = Vec::new();
    for tool in wanted {
        if !installed(tool) {
            if !is_root() {
                println!("a tool is missing; type: cargo install --locked {tool}");
                continue;
            }
            println!("installing {tool} (some minutes)");
            let status = crate::step::cargo().args(["install", "--locked", tool]).status()?;
            ensure!(status.success(), "cargo install --locked {tool} failed");
        }
        have.push(*tool);
    }
    Ok(Tools(have))
}
