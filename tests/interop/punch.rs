//! Two of libtorrent that cannot dial each other meet through gaggle, which both can.

use crate::case::Other;
use crate::clients::{Make, Part, Role, Ways};
use crate::creators::gaggle;
use crate::meeting::skips;
use anyhow::{Context, ensure};
use harness::libtorrent::{self, Libtorrent};
use harness::{Deadline, Process, content, namespace};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

const PORT: u16 = 6881;
/// libtorrent gives up on uTP after some seconds, and on TCP after 15, before it asks for help.
const MEET_S: u64 = 90;

/// Hosts 2 and 3 hear nothing of each other that they have not asked for themselves, as behind two routers.
const FIREWALL: &str = "
table ip filter {
    chain input {
        type filter hook input priority 0;
        ct state established accept
        ip saddr 198.18.0.2 ip daddr 198.18.0.3 drop
        ip saddr 198.18.0.3 ip daddr 198.18.0.2 drop
    }
}";

fn at(host: u8) -> SocketAddr {
    SocketAddr::new(namespace::host(host), PORT)
}

fn leech(work: &Path, torrent: &Path, host: u8, pex: bool) -> anyhow::Result<Process> {
    let part = libtorrent::Part {
        torrent: torrent.to_path_buf(),
        dir: work.join(format!("copy-{host}")),
        listen: at(host),
        peers: vec![at(1)],
        up: 0,
        down: 16 << 10, // nobody is done before they have met
        lsd: false,
        dht: Vec::new(),
        utp: true,
        pex,
    };
    std::fs::create_dir_all(&part.dir)?;
    let name = format!("libtorrent-{host}");
    let mut process = Libtorrent::find()?.start(&name, "leech", &part, work)?;
    libtorrent::go(&mut process)?;
    Ok(process)
}

fn heard(process: &Process, what: &str) -> bool {
    let said = process.said();
    said.iter().any(|said| said.text.contains("\"holepunch\"") && said.text.contains(what))
}

/// The one that hears of the other asks for the meeting; the other, who exchanges no peers, learns of it by the call alone.
fn meet() -> anyhow::Result<()> {
    let work = tempfile::Builder::new().prefix("gaggle-punch-").tempdir()?;
    let rules = work.path().join("rules.nft");
    std::fs::write(&rules, FIREWALL)?;
    ensure!(Command::new("nft").arg("-f").arg(&rules).status()?.success(), "no firewall");
    let original = work.path().join("original").join("content.bin");
    content::write(&original, 16 << 20, 3)?;
    let torrent = work.path().join("content.torrent");
    gaggle().create(&original, &torrent, &["--piece-length", "64KiB"])?;
    let ways = Ways { pex: true, ..Ways::default() };
    let part = Part {
        role: Role::Seed,
        torrent: torrent.clone(),
        dir: work.path().join("original"),
        listen: at(1),
        work: work.path().join("relay"),
        ways,
    };
    let mut relay = Make::Gaggle.start(&part)?;
    let seeds = Deadline::after_secs(30).poll(|| Ok(relay.has_all()?.then_some(())))?;
    seeds.context("the relay never has all")?;
    let called = leech(work.path(), &torrent, 3, false)?;
    let caller = leech(work.path(), &torrent, 2, true)?;
    // What they log comes a moment after it has happened.
    let met = Deadline::after_secs(MEET_S).poll(|| {
        let both = [&called, &caller].iter().all(|client| {
            harness::gaggle::last_counter(client, "peers") == 2 && heard(client, "connect")
        });
        Ok((both && heard(&caller, "rendezvous")).then_some(()))
    })?;
    let log = |process: &Process| -> String {
        let said = process.said();
        let holepunch = said.iter().filter(|said| said.text.contains("HOLEPUNCH"));
        holepunch.map(|said| format!("{}\n", said.text)).collect()
    };
    met.with_context(|| {
        let (peers, asked) = (log(&called), log(&caller));
        format!("they do not meet\ncaller:\n{asked}{}\ncalled:\n{peers}", caller.tail())
    })?;
    Ok(())
}

#[test]
fn two_of_libtorrent_meet_through_gaggle() {
    let test = "punch::two_of_libtorrent_meet_through_gaggle";
    if !skips(test, &[Make::Other(Other::Libtorrent).program(), "nft"]) {
        namespace::test(test, || meet().unwrap_or_else(|error| panic!("{error:?}")));
    }
}
