//! The programs that the check needs: installed when we are root, otherwise named with the line to type.

use anyhow::{Context, ensure};
use harness::namespace::is_root;
use harness::{clients_required, installed};
use std::process::Command;

/// A Debian package, and how to see that it is there.
const PACKAGES: &[(&str, Probe)] = &[
    ("transmission-daemon", Probe::Program("transmission-daemon")),
    ("transmission-cli", Probe::Program("transmission-create")),
    ("aria2", Probe::Program("aria2c")),
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

enum Probe {
    Program(&'static str),
    /// A module of Debian's own Python, whatever other Python comes first in `PATH`.
    Python(&'static str),
}

impl Probe {
    fn found(&self) -> bool {
        match self {
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
    let missing = || -> Vec<&str> {
        PACKAGES.iter().filter(|(_, probe)| !probe.found()).map(|(name, _)| *name).collect()
    };
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install --yes --no-install-recommends {}", wanted.join(" "));
    if is_root() && installed("apt-get") {
        println!("installing: {}", wanted.join(" "));
        apt(&["update"])?;
        let mut install = vec!["install", "--yes", "--no-install-recommends"];
        install.extend(&wanted);
        apt(&install)?;
    } else {
        println!("clients to test against are missing; type: sudo {line}");
    }
    let missing = missing();
    ensure!(missing.is_empty() || !clients_required(), "missing clients: {}", missing.join(" "));
    Ok(())
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    Ok(())
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
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            let status = Command::new(cargo).args(["install", "--locked", tool]).status()?;
            ensure!(status.success(), "cargo install --locked {tool} failed");
        }
        have.push(*tool);
    }
    Ok(Tools(have))
}
