//! Whom this machine sends everything to that it has no other way for.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Where Linux shows its routes of IPv4. Elsewhere there is no such file, and no router is asked.
const TABLE: &str = "/proc/net/route";
/// The route is in use, and leads through another machine.
const UP_AND_GATEWAY: u32 = 0x1 | 0x2;

/// The way out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Route {
    /// The machine's default gateway.
    pub(super) router: Ipv4Addr,
    /// Our address toward it.
    pub(super) us: Ipv4Addr,
}

impl Route {
    /// As it is at this moment; none without a default gateway.
    pub(super) fn of_machine() -> Option<Self> {
        let router = default_gateway(&std::fs::read_to_string(TABLE).ok()?)?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((router, 9)).ok()?; // fixes our address; nothing is sent
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(us) => Some(Self { router, us }),
            IpAddr::V6(_) => None,
        }
    }
}

/// The gateway of the default route, of several that of the least metric.
fn default_gateway(table: &str) -> Option<Ipv4Addr> {
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let hex = |text| u32::from_str_radix(text, 16).ok();
        let is_default = hex(destination)? == 0 && hex(mask)? == 0;
        let leads = is_default && hex(flags)? & UP_AND_GATEWAY == UP_AND_GATEWAY;
        // The kernel prints the bytes as a number of this machine.
        let gateway = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
        leads.then_some((metric.parse::<u32>().ok()?, gateway))
    });
    routes.min().map(|(_, gateway)| gateway)
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[test]
    fn the_default_route_of_the_least_metric_counts() {
        let of = |lines: &str| default_gateway(&format!("{HEAD}{lines}"));
        let lan = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let wired = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        let wireless = "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
        assert_eq!(of(&format!("{wireless}{lan}{wired}")), Some([192, 168, 1, 1].into()));
        assert_eq!(of(wireless), Some([192, 168, 2, 1].into()));
        assert_eq!(of(lan), None);
        let down = wired.replace("\t0003\t", "\t0002\t");
        assert_eq!(of(&down), None);
        let half = "tun0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"; // 0.0.0.0/1
        assert_eq!(of(half), None);
        for junk in ["", "eth0 0 0", "eth0 x x x x x x x", "eth0 00000000 0101A8C0 0003 0 0 -1 0"] {
            assert_eq!(of(junk), None, "{junk}");
        }
    }
}
