//! transmission-daemon, steered by its RPC.

use super::{Client, Part, Role};
use crate::http;
use anyhow::{Context, bail, ensure};
use harness::{Deadline, Process};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

/// Its control interface, on the loopback address of the namespace.
const RPC: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);

struct Transmission {
    process: Process,
    session: String,
    asked_to_verify: bool,
    role: Role,
}

pub(super) fn start(part: &Part) -> anyhow::Result<Box<dyn Client>> {
    let config = part.work.join("config");
    fs::create_dir_all(&config)?;
    let bind = match part.listen {
        SocketAddr::V4(_) => "bind-address-ipv4",
        SocketAddr::V6(_) => "bind-address-ipv6",
    };
    let mut settings = json!({
        "dht-enabled": !part.ways.dht.is_empty(), "lpd-enabled": part.ways.lsd, "pex-enabled": part.ways.pex,
        "utp-enabled": false, "speed-limit-down-enabled": part.ways.down > 0,
        "speed-limit-down": part.ways.down >> 10,
        "port-forwarding-enabled": false, "encryption": 0,
        "peer-port": part.listen.port(), "peer-port-random-on-start": false,
        "rpc-bind-address": RPC.ip().to_string(), "rpc-port": RPC.port(),
        "rpc-authentication-required": false, "rpc-whitelist-enabled": false,
        "rpc-host-whitelist-enabled": false, "incomplete-dir-enabled": false,
        "rename-partial-files": false, "preallocation": 1, "ratio-limit-enabled": false,
    });
    settings[bind] = json!(part.listen.ip().to_string());
    fs::write(config.join("settings.json"), settings.to_string())?;
    let nodes = part.ways.dht.iter().map(|node| format!("{} {}\n", node.ip(), node.port()));
    fs::write(config.join("dht.bootstrap"), nodes.collect::<String>())?;
    let mut command = part.command("transmission-daemon");
    command.arg("-f").arg("-g").arg(&config);
    let process = Process::start("transmission-daemon", command, &part.work)?;
    let mut transmission =
        Transmission { process, session: String::new(), asked_to_verify: false, role: part.role };
    let up = Deadline::after_secs(20).poll(|| {
        transmission.process.still_runs()?;
        Ok(transmission.call("session-get", &json!({})).ok())
    })?;
    up.with_context(|| format!("no RPC\n{}", transmission.process.tail()))?;
    let added = transmission.call(
        "torrent-add",
        &json!({ "filename": part.torrent, "download-dir": part.dir, "paused": false }),
    )?;
    ensure!(added["torrent-added"].is_object(), "transmission refuses the torrent: {added}");
    Ok(Box::new(transmission))
}

impl Transmission {
    fn call(&mut self, method: &str, arguments: &Value) -> anyhow::Result<Value> {
        let body = json!({ "method": method, "arguments": arguments }).to_string();
        for _ in 0..2 {
            let session = format!("X-Transmission-Session-Id: {}", self.session);
            let answer = http::ask(RPC, "POST", "/transmission/rpc", &[session], body.as_bytes())?;
            // 409 carries the token that the next request must show.
            if let Some(token) =
                answer.header("x-transmission-session-id").filter(|_| answer.status == 409)
            {
                self.session = token.to_owned();
                continue;
            }
            ensure!(answer.status == 200, "RPC: HTTP status {}", answer.status);
            let mut reply: Value = serde_json::from_slice(&answer.body)?;
            ensure!(reply["result"] == "success", "RPC {method}: {reply}");
            return Ok(reply["arguments"].take());
        }
        bail!("transmission keeps changing its session token")
    }
}

impl Client for Transmission {
    fn has_all(&mut self) -> anyhow::Result<bool> {
        self.process.still_runs()?;
        let fields = json!({ "fields": ["percentDone", "status", "error", "errorString"] });
        let reply = self.call("torrent-get", &fields)?;
        let torrent = &reply["torrents"][0];
        // 3 is an error of the torrent itself; a tracker that is slow is 1 or 2.
        ensure!(torrent["error"] != 3, "transmission: {}", torrent["errorString"]);
        if torrent["percentDone"].as_f64() == Some(1.0) {
            // 5, 6: seeding.
            return Ok(torrent["status"] == 5 || torrent["status"] == 6);
        }
        // 4: downloading what it did not look for on the disk.
        if self.role == Role::Seed && torrent["status"] == 4 && !self.asked_to_verify {
            self.asked_to_verify = true;
            self.call("torrent-verify", &json!({}))?;
        }
        Ok(false)
    }

    fn peers(&mut self) -> anyhow::Result<usize> {
        let fields = json!({ "fields": ["peersConnected"] });
        let reply = self.call("torrent-get", &fields)?;
        let peers = reply["torrents"][0]["peersConnected"].as_u64().context("a number of peers")?;
        Ok(usize::try_from(peers)?)
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
