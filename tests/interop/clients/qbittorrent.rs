//! qbittorrent-nox, steered by its web API.

use super::{Client, Part, Role};
use crate::http;
use anyhow::{Context, ensure};
use harness::{Deadline, Process};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

/// Its web interface, on the loopback address of the namespace.
const WEB: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8099);
/// Ends the parts of a form; does not occur in a torrent of random bytes.
const BOUNDARY: &str = "gaggle-interop-7d41c2f0a9";

struct Qbittorrent(Process);

pub(super) fn start(part: &Part) -> anyhow::Result<Box<dyn Client>> {
    let config = part.work.join("qBittorrent/config");
    fs::create_dir_all(&config)?;
    fs::write(config.join("qBittorrent.conf"), settings(part))?;
    let mut command = part.command("qbittorrent-nox");
    command.arg(format!("--profile={}", part.work.display()));
    command.arg(format!("--webui-port={}", WEB.port()));
    let mut process = Process::start("qbittorrent-nox", command, &part.work)?;
    let up = Deadline::after_secs(30).poll(|| {
        process.still_runs()?;
        let answer = http::ask(WEB, "GET", "/api/v2/app/version", &[], b"");
        Ok(answer.ok().filter(|answer| answer.status == 200))
    })?;
    up.with_context(|| format!("no web interface\n{}", process.tail()))?;
    add(part)?;
    Ok(Box::new(Qbittorrent(process)))
}

fn settings(part: &Part) -> String {
    let (ip, port, dir) = (part.listen.ip(), part.listen.port(), part.dir.display());
    format!(
        r"[LegalNotice]
Accepted=true
[BitTorrent]
Session\DHTEnabled=false
Session\LSDEnabled=false
Session\PeXEnabled=false
Session\Port={port}
Session\UseRandomPort=false
Session\InterfaceAddress={ip}
Session\BTProtocol=TCP
Session\Encryption=2
Session\MultiConnectionsPerIp=true
Session\QueueingSystemEnabled=false
Session\SSRFMitigation=false
Session\DefaultSavePath={dir}
Session\TorrentContentLayout=Original
[Network]
PortForwardingEnabled=false
[Preferences]
General\Locale=en
WebUI\Address=127.0.0.1
WebUI\Port={web}
WebUI\LocalHostAuth=false
WebUI\CSRFProtection=false
WebUI\HostHeaderValidation=false
WebUI\UseUPnP=false
",
        web = WEB.port()
    )
}

fn add(part: &Part) -> anyhow::Result<()> {
    let mut form = Vec::new();
    let seeds = part.role == Role::Seed;
    let dir = part.dir.to_string_lossy();
    let fields = [
        ("savepath", &*dir),
        ("autoTMM", "false"),
        ("skip_checking", if seeds { "true" } else { "false" }),
    ];
    for (name, value) in fields {
        form.extend(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .bytes(),
        );
    }
    form.extend(
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"torrents\"; filename=\"t.torrent\"\r\n\
             Content-Type: application/x-bittorrent\r\n\r\n"
        )
        .bytes(),
    );
    form.extend(fs::read(&part.torrent)?);
    form.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    let kind = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let answer = http::ask(WEB, "POST", "/api/v2/torrents/add", &[kind], &form)?;
    let said = String::from_utf8_lossy(&answer.body);
    ensure!(
        answer.status == 200 && said.starts_with("Ok"),
        "qBittorrent refuses the torrent: {said}"
    );
    Ok(())
}

impl Client for Qbittorrent {
    fn has_all(&mut self) -> anyhow::Result<bool> {
        self.0.still_runs()?;
        let answer = http::ask(WEB, "GET", "/api/v2/torrents/info", &[], b"")?;
        let torrents: Value = serde_json::from_slice(&answer.body)?;
        let state = torrents[0]["state"].as_str().unwrap_or("");
        ensure!(!["error", "missingFiles"].contains(&state), "qBittorrent says {state}");
        let seeds = ["uploading", "stalledUP", "forcedUP"].contains(&state);
        Ok(seeds && torrents[0]["progress"].as_f64() == Some(1.0))
    }

    fn process(&self) -> &Process {
        &self.0
    }
}
