//! One simulated computer: its machine, its line, its disk, its side of every connection.

use super::disk::Disk;
use super::role::{Setup, TorrentSpec};
use super::stream::Way;
use super::tyrant::Purse;
use crate::clock::Instant;
use crate::id::PeerId;
use crate::rng::Rng;
use crate::swarm::torrent::{Event, Torrent};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Names a host of one world; counted from 0 in the order of spawning.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostId(pub u32);

impl HostId {
    pub(super) const NOBODY: Self = Self(u32::MAX);

    pub(super) fn idx(self) -> usize {
        self.0 as usize
    }

    /// Where the host listens. Each has a /24 of its own, because the fast extension goes by networks.
    pub fn addr(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from(FIRST_IP + (self.0 << 8))), PORT)
    }

    /// The host with this address, whatever the port.
    pub fn of(addr: SocketAddr) -> Self {
        let IpAddr::V4(ip) = addr.ip() else { return Self::NOBODY };
        let offset = u32::from(ip).wrapping_sub(FIRST_IP);
        if offset & 0xff == 0 { Self(offset >> 8) } else { Self::NOBODY }
    }
}

/// 20.0.0.1: neither private nor loopback, so that no dial timer is shortened.
const FIRST_IP: u32 = 0x1400_0001;
/// Where every host listens.
pub(super) const PORT: u16 = 6881;

/// What the world keeps of one host.
pub(super) struct Host {
    pub(super) setup: Setup,
    pub(super) torrent: TorrentSpec,
    pub(super) machine: Option<Torrent>,
    /// Counts restarts; what was meant for an earlier life is not delivered.
    pub(super) life: u32,
    pub(super) id: PeerId,
    pub(super) rng: Rng,
    pub(super) conns: BTreeMap<u32, Way>,
    /// When the machine is next woken; nothing is scheduled for [`Instant::FAR_FUTURE`].
    pub(super) wake_at: Instant,

    pub(super) up_rate: u64,
    pub(super) down_rate: u64,
    pub(super) up_free: Instant,
    pub(super) down_free: Instant,
    pub(super) uplink_due: bool,
    pub(super) ready: VecDeque<Way>,
    pub(super) disk: Disk,
    /// Blocks sent, for a poisoner that alternates.
    pub(super) served: u64,
    /// For [`super::Mischief::Stint`].
    pub(super) purse: Purse,

    // What tests ask about.
    pub(super) log: Vec<(Instant, Event)>,
    pub(super) started: Instant,
    pub(super) done_at: Option<Instant>,
    pub(super) unchoked_by: BTreeMap<HostId, Instant>,
    pub(super) sent: u64,
    pub(super) received: BTreeMap<HostId, u64>,
    pub(super) crashed: bool,
    /// Pieces that the machine counted when the oracle last looked.
    pub(super) counted: u32,
}

impl Host {
    pub(super) fn new(setup: Setup, torrent: TorrentSpec, lines: (u64, u64), mut rng: Rng) -> Self {
        let good = setup.first_pieces(torrent.geometry.pieces());
        Self {
            id: PeerId::generate(&mut rng),
            setup,
            machine: None,
            life: 0,
            rng,
            conns: BTreeMap::new(),
            wake_at: Instant::FAR_FUTURE,
            up_rate: lines.0,
            down_rate: lines.1,
            up_free: Instant::ZERO,
            down_free: Instant::ZERO,
            uplink_due: false,
            ready: VecDeque::new(),
            disk: Disk::new(good),
            served: 0,
            purse: Purse::default(),
            log: Vec::new(),
            started: Instant::ZERO,
            done_at: None,
            unchoked_by: BTreeMap::new(),
            sent: 0,
            received: BTreeMap::new(),
            crashed: false,
            counted: 0,
            torrent,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.machine.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_hosts_and_only_hosts() {
        for id in [0, 1, 299, 65_535] {
            let mut addr = HostId(id).addr();
            addr.set_port(50_000);
            assert_eq!(HostId::of(addr), HostId(id));
        }
        assert_ne!(HostId(1).addr().ip(), HostId(257).addr().ip());
        assert_eq!(HostId::of("20.0.0.2:6881".parse().unwrap()), HostId::NOBODY);
        assert_eq!(HostId::of("[::1]:6881".parse().unwrap()), HostId::NOBODY);
    }
}
