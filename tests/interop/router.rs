//! gaggle behind a router of another make: it asks for ports, and somebody outside calls.
//!
//! Three namespaces: this one is the house; the router stands in another, with one foot here and one outside; the third
//! is all of the outside there is. The router's outer address is of a kind that it takes for a true one.

use crate::creators::gaggle;
use crate::meeting::skips;
use anyhow::{Context, ensure};
use harness::gaggle::event;
use harness::{Deadline, Process, content, namespace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const OUTER: &str = "11.0.0.1";
const PORT: u16 = 6881;
const WAIT_S: u64 = 60;

/// Wires and addresses; `$1` is the router's namespace, `$2` the outside.
const SETUP: &str = r#"
for pid in $1 $2; do
  until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
done
ip link add home type veth peer name lan netns $1 || exit 91
nsenter -n -t $1 -- ip link add wan type veth peer name far netns $2 || exit 92
ip addr add 10.9.0.2/24 dev home && ip link set home up || exit 93
nsenter -n -t $1 -- sh -c 'ip link set lo up && ip addr add 10.9.0.1/24 dev lan && ip link set lan up &&
  ip addr add 11.0.0.1/24 dev wan && ip link set wan up && echo 1 > /proc/sys/net/ipv4/ip_forward' || exit 94
nsenter -n -t $2 -- sh -c 'ip link set lo up && ip addr add 11.0.0.2/24 dev far && ip link set far up' || exit 95
ip route add default via 10.9.0.1
"#;

/// Nothing from outside comes in but through the chains that miniupnpd fills.
const FIREWALL: &str = "
table inet filter {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname lan accept
        jump miniupnpd
    }
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname wan masquerade; }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
}";

/// The house, its router, and what is outside.
struct House {
    work: tempfile::TempDir,
    router: Process,
    outside: Process,
    _daemon: Process,
}

impl House {
    fn with_router(languages: &str) -> anyhow::Result<Self> {
        let work = tempfile::Builder::new().prefix("gaggle-router-").tempdir()?;
        let apart = |name: &str| {
            let mut command = Command::new("unshare");
            command.args(["-n", "sleep", "600"]);
            Process::start(name, command, work.path())
        };
        let (router, outside) = (apart("router")?, apart("outside")?);
        let pids = [router.id().to_string(), outside.id().to_string()];
        let status = Command::new("sh").args(["-c", SETUP, "sh"]).args(&pids).status()?;
        ensure!(status.success(), "no wires: {status}");
        let rules = work.path().join("rules.nft");
        fs::write(&rules, FIREWALL)?;
        let status = within(&router, "nft").arg("-f").arg(&rules).status()?;
        ensure!(status.success(), "no firewall: {status}");
        let config = work.path().join("miniupnpd.conf");
        let net = "allow 1024-65535 10.9.0.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535";
        fs::write(
            &config,
            format!("ext_ifname=wan\nlistening_ip=lan\nsecure_mode=yes\n{languages}\n{net}\n"),
        )?;
        let mut daemon = within(&router, "miniupnpd");
        daemon.arg("-d").arg("-f").arg(&config).arg("-P").arg(work.path().join("pid"));
        let mut daemon = Process::start("miniupnpd", daemon, work.path())?;
        let log = work.path().join("miniupnpd.err");
        let up = Deadline::after_secs(WAIT_S).poll(|| {
            daemon.still_runs()?;
            Ok(fs::read_to_string(&log)?.contains("istening").then_some(()))
        })?;
        up.with_context(|| format!("miniupnpd is silent\n{}", daemon.tail()))?;
        Ok(Self { work, router, outside, _daemon: daemon })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn seed(&self, torrent: &Path) -> anyhow::Result<Process> {
        let mut command = gaggle().with_dht().with_upnp().command(&self.path("home"));
        command.arg("seed").arg(torrent).arg("--data").arg(self.path("original"));
        command.args(["--json", "--listen", &format!("0.0.0.0:{PORT}")]);
        Process::start("seed", command, self.work.path())
    }

    /// Somebody outside who has the torrent and knows the router's address.
    fn fetch(&self, torrent: &Path, within_s: u64) -> anyhow::Result<()> {
        let mut get = gaggle().command(&self.path("guest"));
        get.arg("get").arg(torrent).arg("-o").arg(self.path("copy"));
        get.args(["--json", "--seed", "never", "--timeout", &format!("{within_s}s")]);
        get.args(["--peer", &format!("{OUTER}:{PORT}")]);
        let mut command = within(&self.outside, get.get_program());
        command.args(get.get_args());
        for (name, value) in get.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What the router lets in.
    fn rules(&self) -> anyhow::Result<String> {
        let output = within(&self.router, "nft").args(["list", "ruleset"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A program in the namespace of another.
fn within(holder: &Process, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-n", "-t", &holder.id().to_string(), "--"]).arg(program);
    command
}

/// Seeds behind the router, which is asked in this language; a guest fetches; then the door is closed.
fn open_and_close(languages: &str, by: &str) -> anyhow::Result<()> {
    let house = House::with_router(languages)?;
    let original = house.path("original").join("content.bin");
    content::write(&original, (1 << 20) + 777, 5)?;
    let torrent = house.path("content.torrent");
    gaggle().create(&original, &torrent, &["--piece-length", "64KiB"])?;
    ensure!(house.fetch(&torrent, 2).is_err(), "the door is open already");
    let mut seed = house.seed(&torrent)?;
    let deadline = Deadline::after_secs(WAIT_S);
    let mapped = seed.wait_line(deadline, |said| event(said, "ports_mapped"));
    let mapped = mapped.with_context(|| format!("{}\n{}", seed.tail(), house._daemon.tail()))?;
    ensure!(mapped["by"] == by && mapped["router"] == "10.9.0.1", "{mapped}");
    ensure!(
        mapped["external"] == OUTER && mapped["tcp"] == PORT && mapped["udp"] == PORT,
        "{mapped}"
    );
    seed.wait_line(deadline, |said| event(said, "seeding"))?;
    house.fetch(&torrent, WAIT_S)?;
    ensure!(content::digest(&original)? == content::digest(&house.path("copy/content.bin"))?);
    let rules = house.rules()?;
    ensure!(rules.matches("dport 6881").count() >= 2, "TCP and UDP: {rules}");
    seed.terminate()?;
    ensure!(seed.wait(Deadline::after_secs(10))?.success(), "{}", seed.tail());
    let rules = house.rules()?;
    ensure!(!rules.contains("6881"), "left open: {rules}");
    Ok(())
}

fn behind_a_router(test: &str, languages: &str, by: &str) {
    if !skips(test, &["miniupnpd", "nft"]) {
        namespace::test(test, || open_and_close(languages, by).unwrap_or_else(|e| panic!("{e:?}")));
    }
}

#[test]
fn miniupnpd_opens_ports_by_pcp_and_closes_them() {
    let test = "router::miniupnpd_opens_ports_by_pcp_and_closes_them";
    behind_a_router(test, "enable_natpmp=yes\nenable_upnp=no", "pcp");
}

#[test]
fn miniupnpd_opens_ports_by_upnp_and_closes_them() {
    let test = "router::miniupnpd_opens_ports_by_upnp_and_closes_them";
    behind_a_router(test, "enable_natpmp=no\nenable_upnp=yes", "upnp");
}
