//! How peers meet without a tracker: through a peer that both know, and on one wire.
//!
//! All inside namespaces: the multicast of local discovery goes no further than their loopback device.

use crate::case::{Creator, Other};
use crate::clients::{Client, Make, Part, Role, Ways};
use crate::creators::Order;
use anyhow::{Context, ensure};
use harness::{Deadline, Stopwatch, clients_required, content, figure, installed, namespace};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const PORT: u16 = 6881;
/// Seconds for two programs to meet, and to move 4 MiB. Transmission unchokes every 10 s.
const MEET_S: u64 = 36;
/// Slow enough that nobody is done before the third has come: 4 MiB in about a minute.
const SLOW: u64 = 64 << 10;
/// Nobody listens there.
const NO_TRACKER: &str = "http://198.18.0.24:1/announce";
/// Where neighbours announce themselves.
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), 6771);

/// One torrent and a folder for everybody.
struct Place {
    scratch: tempfile::TempDir,
    torrent: PathBuf,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("gaggle-meeting-").tempdir()?;
        let torrent = scratch.path().join("solo.torrent");
        let place = Self { scratch, torrent };
        place.create("solo", false)?;
        Ok(place)
    }

    /// A torrent of that name, with its content in `original`.
    fn create(&self, name: &str, private: bool) -> anyhow::Result<PathBuf> {
        let work = self.scratch.path();
        let path = work.join("original").join(format!("{name}.bin"));
        content::write(&path, 4 << 20, name.len() as u64)?;
        let torrent = work.join(format!("{name}.torrent"));
        Creator::Gaggle.create(&Order {
            content: &path,
            torrent: &torrent,
            piece_len: 64 << 10,
            tracker: NO_TRACKER,
            private,
        })?;
        Ok(torrent)
    }

    /// A client on a host of its own.
    fn start(
        &self,
        make: Make,
        role: Role,
        host: u8,
        ways: Ways,
    ) -> anyhow::Result<Box<dyn Client>> {
        let work = self.scratch.path();
        let dir = if role == Role::Seed { "original".to_owned() } else { format!("copy-{host}") };
        let part = Part {
            role,
            torrent: self.torrent.clone(),
            dir: work.join(dir),
            listen: at(host),
            work: work.join(format!("host-{host}")),
            ways,
        };
        make.start(&part).with_context(|| format!("{make:?} on host {host}"))
    }
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::new(namespace::host(host), PORT)
}

/// Waits until a client is connected to so many.
fn wait_peers(client: &mut dyn Client, peers: usize, what: &str) -> anyhow::Result<()> {
    let met = Deadline::after_secs(MEET_S).poll(|| Ok((client.peers()? >= peers).then_some(())))?;
    met.with_context(|| format!("{what}: not {peers} peers\n{}", client.process().tail()))
}

fn name(make: Make) -> String {
    match make {
        Make::Gaggle => "gaggle".to_owned(),
        Make::Other(other) => format!("{other:?}"),
    }
}

/// The third client learns of the first from the second, whom alone it knows.
///
/// The first does not exchange peers, so it learns of nobody.
fn meet_through(hub: Make, third: Make) -> anyhow::Result<()> {
    let (told, watch) = (format!("{} of {}", name(third), name(hub)), Stopwatch::new());
    let place = Place::new()?;
    let dials = |host: u8| Ways { peers: vec![at(host)], ..Ways::default() };
    let hub_ways = Ways { pex: true, down: SLOW, ..Ways::default() };
    // Transmission cannot be told whom to dial: it is dialled.
    let is_told = |make: Make| make != Make::Other(Other::Transmission);
    let first_ways = if is_told(hub) { Ways::default() } else { dials(2) };
    let mut first = place.start(Make::Gaggle, Role::Seed, 1, first_ways)?;
    let mut hub_peers = Vec::new();
    hub_peers.extend(is_told(hub).then(|| at(1)));
    hub_peers.extend((!is_told(third)).then(|| at(3)));
    let seeds = Deadline::after_secs(MEET_S).poll(|| Ok(first.has_all()?.then_some(())))?;
    seeds.context("the first never has all")?;
    let hub_ways = Ways { peers: hub_peers, ..hub_ways };
    let mut hub = place.start(hub, Role::Leech, 2, hub_ways)?;
    wait_peers(&mut *hub, 1, "hub")?;
    let third_peers = if is_told(third) { vec![at(2)] } else { Vec::new() };
    let third_ways = Ways { peers: third_peers, pex: true, down: SLOW, ..Ways::default() };
    let mut third = place.start(third, Role::Leech, 3, third_ways)?;
    wait_peers(&mut *third, 2, "third")?;
    figure("meeting", &format!("PEX: {told}, {:.0} s", watch.seconds()));
    Ok(())
}

/// Both are told of nobody, and share a wire.
fn meet_on_the_wire(seed: Make, leech: Make) -> anyhow::Result<()> {
    let others = if seed == Make::Gaggle { 22 } else { 21 };
    wire(others)?;
    let (told, watch) = (format!("{} and {}", name(seed), name(leech)), Stopwatch::new());
    let place = Place::new()?;
    let ways = Ways { lsd: true, ..Ways::default() };
    let mut seed = place.start(seed, Role::Seed, 21, ways.clone())?;
    let seeds = Deadline::after_secs(MEET_S).poll(|| Ok(seed.has_all()?.then_some(())))?;
    seeds.context("the seed never has all")?;
    let mut leech = place.start(leech, Role::Leech, 22, ways)?;
    let done = Deadline::after_secs(MEET_S).poll(|| Ok(leech.has_all()?.then_some(())))?;
    done.with_context(|| {
        format!("they do not meet\n{}\n{}", seed.process().tail(), leech.process().tail())
    })?;
    figure("meeting", &format!("LSD: {told}, {:.0} s", watch.seconds()));
    Ok(())
}

/// Makes the loopback device look like a wire: multicast works, and hosts 21 to 23 are in one net (libtorrent hears
/// only those). Transmission speaks from wherever the route says, so it says `speaker`.
fn wire(speaker: u8) -> anyhow::Result<()> {
    let script = format!(
        "ip link set lo multicast on
        for n in 21 22 23; do
            ip addr del 198.18.0.$n/32 dev lo && ip addr add 198.18.0.$n/24 dev lo || exit 1
        done
        ip route add 239.0.0.0/8 dev lo src 198.18.0.{speaker}"
    );
    let status = Command::new("sh").args(["-c", &script]).status()?;
    ensure!(status.success(), "no wire: {status}");
    Ok(())
}

/// Runs it in a namespace, unless a client is missing.
pub(crate) fn apart(test: &str, makes: &[Make], play: impl FnOnce() -> anyhow::Result<()>) {
    let programs: Vec<&str> = makes.iter().map(|make| make.program()).collect();
    if !skips(test, &programs) {
        namespace::test(test, || play().unwrap_or_else(|error| panic!("{error:?}")));
    }
}

/// Whether a test is skipped, loudly, because one of these is missing where that is allowed.
pub(crate) fn skips(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !program.starts_with('/') && !installed(program));
    if let Some(program) = missing {
        assert!(!clients_required(), "{test}: {program} is not installed");
        eprintln!("SKIPPED {test}: {program} is not installed");
    }
    missing.is_some()
}

const LIBTORRENT: Make = Make::Other(Other::Libtorrent);
const TRANSMISSION: Make = Make::Other(Other::Transmission);

#[test]
fn claim_meeting_gaggle_learns_of_a_third_from_gaggle() {
    apart("meeting::claim_meeting_gaggle_learns_of_a_third_from_gaggle", &[], || {
        meet_through(Make::Gaggle, Make::Gaggle)
    });
}

#[test]
fn claim_meeting_gaggle_learns_of_a_third_from_libtorrent() {
    apart("meeting::claim_meeting_gaggle_learns_of_a_third_from_libtorrent", &[LIBTORRENT], || {
        meet_through(LIBTORRENT, Make::Gaggle)
    });
}

#[test]
fn claim_meeting_libtorrent_learns_of_a_third_from_gaggle() {
    apart("meeting::claim_meeting_libtorrent_learns_of_a_third_from_gaggle", &[LIBTORRENT], || {
        meet_through(Make::Gaggle, LIBTORRENT)
    });
}

#[test]
fn claim_meeting_gaggle_learns_of_a_third_from_transmission() {
    apart(
        "meeting::claim_meeting_gaggle_learns_of_a_third_from_transmission",
        &[TRANSMISSION],
        || meet_through(TRANSMISSION, Make::Gaggle),
    );
}

#[test]
fn claim_meeting_transmission_learns_of_a_third_from_gaggle() {
    apart(
        "meeting::claim_meeting_transmission_learns_of_a_third_from_gaggle",
        &[TRANSMISSION],
        || meet_through(Make::Gaggle, TRANSMISSION),
    );
}

#[test]
fn claim_meeting_neighbours_meet_gaggle_and_gaggle() {
    apart("meeting::claim_meeting_neighbours_meet_gaggle_and_gaggle", &[], || {
        meet_on_the_wire(Make::Gaggle, Make::Gaggle)
    });
}

#[test]
fn claim_meeting_neighbours_meet_gaggle_and_libtorrent() {
    apart("meeting::claim_meeting_neighbours_meet_gaggle_and_libtorrent", &[LIBTORRENT], || {
        meet_on_the_wire(Make::Gaggle, LIBTORRENT)
    });
}

#[test]
fn claim_meeting_neighbours_meet_libtorrent_and_gaggle() {
    apart("meeting::claim_meeting_neighbours_meet_libtorrent_and_gaggle", &[LIBTORRENT], || {
        meet_on_the_wire(LIBTORRENT, Make::Gaggle)
    });
}

#[test]
fn claim_meeting_neighbours_meet_gaggle_and_transmission() {
    apart(
        "meeting::claim_meeting_neighbours_meet_gaggle_and_transmission",
        &[TRANSMISSION],
        || meet_on_the_wire(Make::Gaggle, TRANSMISSION),
    );
}

#[test]
fn claim_meeting_neighbours_meet_transmission_and_gaggle() {
    apart(
        "meeting::claim_meeting_neighbours_meet_transmission_and_gaggle",
        &[TRANSMISSION],
        || meet_on_the_wire(TRANSMISSION, Make::Gaggle),
    );
}

#[test]
fn attack_13_the_neighbours_never_hear_of_a_private_torrent() {
    apart("meeting::attack_13_the_neighbours_never_hear_of_a_private_torrent", &[], || {
        wire(21)?;
        let place = Place::new()?;
        let private = place.create("private", true)?;
        let socket = listen_to_the_group()?;
        let ways = Ways { lsd: true, ..Ways::default() };
        let secret = Place { torrent: private, ..place };
        let mut seed = secret.start(Make::Gaggle, Role::Seed, 21, ways.clone())?;
        let seeds = Deadline::after_secs(MEET_S).poll(|| Ok(seed.has_all()?.then_some(())))?;
        seeds.context("the seed never has all")?;
        // By now it would have spoken. The next word is that of another, about what is no secret.
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut datagram = [0; 2000];
        ensure!(socket.recv(&mut datagram).is_err(), "it was spoken of");
        let open = Place { torrent: secret.scratch.path().join("solo.torrent"), ..secret };
        let _other = open.start(Make::Gaggle, Role::Seed, 22, ways)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let len = socket.recv(&mut datagram).context("the open one is spoken of")?;
        let text = String::from_utf8_lossy(&datagram[..len]).into_owned();
        let hash = gaggle_core::metainfo::Metainfo::parse(&std::fs::read(&open.torrent)?)?;
        ensure!(text.contains(&format!("Infohash: {}\r\n", hash.info_hash())), "{text}");
        ensure!(text.matches("Infohash").count() == 1, "{text}");
        Ok(())
    });
}

fn listen_to_the_group() -> anyhow::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&GROUP.into())?;
    let socket = std::net::UdpSocket::from(socket);
    let IpAddr::V4(group) = GROUP.ip() else { anyhow::bail!("the group is of IPv4") };
    socket.join_multicast_v4(&group, &Ipv4Addr::new(198, 18, 0, 23))?;
    Ok(socket)
}

#[test]
fn claim_meeting_neighbours_meet_over_ipv6() {
    apart("meeting::claim_meeting_neighbours_meet_over_ipv6", &[], || {
        meet_over_ipv6("2001:db8:198:19:", false)
    });
}

#[test]
fn claim_meeting_neighbours_meet_by_addresses_of_the_wire() {
    apart("meeting::claim_meeting_neighbours_meet_by_addresses_of_the_wire", &[], || {
        meet_over_ipv6("fe80:", true)
    });
}

/// The same over IPv6. Addresses that hold on one wire only are named with it.
fn meet_over_ipv6(net: &str, of_the_wire: bool) -> anyhow::Result<()> {
    // The loopback device carries no multicast of IPv6.
    let script = format!(
        "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up
        for n in 21 22; do ip -6 addr add {net}:$n/64 dev v0 nodad || exit 1; done"
    );
    if !Command::new("sh").args(["-c", &script]).status()?.success() {
        eprintln!("SKIPPED: this kernel has no veth or no IPv6");
        return Ok(());
    }
    let shown = Command::new("ip").args(["-o", "link", "show", "v0"]).output()?;
    let index = String::from_utf8_lossy(&shown.stdout).into_owned();
    let index = index.split(':').next().context("the device has a number")?;
    let wire = if of_the_wire { format!("%{index}") } else { String::new() };
    let place = Place::new()?;
    let part = |role: Role, host: u16, dir: &str| Part {
        role,
        torrent: place.torrent.clone(),
        dir: place.scratch.path().join(dir),
        listen: format!("[{net}:{host}{wire}]:{PORT}").parse().expect("an address"),
        work: place.scratch.path().join(format!("host-{host}")),
        ways: Ways { lsd: true, ..Ways::default() },
    };
    let mut seed = Make::Gaggle.start(&part(Role::Seed, 21, "original"))?;
    let seeds = Deadline::after_secs(MEET_S).poll(|| Ok(seed.has_all()?.then_some(())))?;
    seeds.context("the seed never has all")?;
    let mut leech = Make::Gaggle.start(&part(Role::Leech, 22, "copy"))?;
    let done = Deadline::after_secs(MEET_S).poll(|| Ok(leech.has_all()?.then_some(())))?;
    done.with_context(|| format!("they do not meet\n{}", leech.process().tail()))
}

#[test]
fn a_bare_hash_is_enough_on_one_wire() {
    apart("meeting::a_bare_hash_is_enough_on_one_wire", &[LIBTORRENT], || {
        wire(21)?;
        let place = Place::new()?;
        let ways = Ways { lsd: true, ..Ways::default() };
        let mut seed = place.start(LIBTORRENT, Role::Seed, 21, ways.clone())?;
        let seeds = Deadline::after_secs(MEET_S).poll(|| Ok(seed.has_all()?.then_some(())))?;
        seeds.context("the seed never has all")?;
        let bytes = std::fs::read(&place.torrent)?;
        let hash = gaggle_core::metainfo::Metainfo::parse(&bytes)?.info_hash().to_string();
        // No file of that name exists, so it is taken for what it is.
        let bare = Place { torrent: PathBuf::from(hash), ..place };
        let mut leech = bare.start(Make::Gaggle, Role::Leech, 22, ways)?;
        let done = Deadline::after_secs(MEET_S).poll(|| Ok(leech.has_all()?.then_some(())))?;
        done.with_context(|| format!("they do not meet\n{}", leech.process().tail()))
    });
}
