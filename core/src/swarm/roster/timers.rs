//! When to dial again. The only code that may ask whether an address is near: a mistake on the own network is
//! cheap to repeat, and a swarm that starts on one machine or one wire should not wait a minute for it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// After the first, second .. failure at a near address: programs of one script start within a second or two of
/// each other.
pub const NEAR_RETRIES: [Duration; 8] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// Elsewhere: so long for every failure in a row (libtorrent).
pub const FAR_RETRY: Duration = Duration::from_secs(60);
/// Failures in a row after which an address elsewhere is given up (libtorrent). A near one gets all of
/// [`NEAR_RETRIES`].
pub const FAR_FAILURES_MAX: u32 = 3;
/// Longest time between two dials of a peer that the user named.
pub const EXPLICIT_RETRY_MAX: Duration = Duration::from_secs(60);
/// Two ends that both had everything need each other no more: by then one may have lost its data, or started anew.
pub(super) const SATED_RETRY: Duration = Duration::from_secs(30 * 60);
/// An address that gave us something is dialled again after this (Transmission).
pub const FAR_RECONNECT: Duration = Duration::from_secs(5);

/// How long to leave an address alone after `failures` in a row; at least one.
pub(super) fn retry_after(ip: IpAddr, failures: u32) -> Duration {
    let failures = failures.max(1);
    if is_near(ip) {
        let nth = (failures as usize - 1).min(NEAR_RETRIES.len() - 1);
        NEAR_RETRIES[nth]
    } else {
        FAR_RETRY * failures
    }
}

/// How long a whole host rests after `beyond` failures more than it may have. A near one, never long: there the ports of
/// programs that have ended stand beside those of living ones, and a tracker lists them all.
pub(super) fn host_rest(ip: IpAddr, beyond: u32) -> Duration {
    let rest = retry_after(ip, beyond);
    if is_near(ip) { rest.min(NEAR_RETRIES[2]) } else { rest }
}

/// How long to wait after a useful connection ended.
pub(super) fn reconnect_after(ip: IpAddr) -> Duration {
    if is_near(ip) { NEAR_RETRIES[0] } else { FAR_RECONNECT }
}

/// How many failures in a row an address may have and still be dialled.
pub(super) fn failures_max(ip: IpAddr) -> u32 {
    if is_near(ip) { NEAR_RETRIES.len() as u32 } else { FAR_FAILURES_MAX }
}

/// Loopback, private and link-local nets, and the benchmark net of RFC 2544, which nobody has on the internet.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let benchmark = u32::from(ip) & 0xfffe_0000 == u32::from(Ipv4Addr::new(198, 18, 0, 0));
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || benchmark
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_addresses_are_retried_fast() {
        #[track_caller]
        fn check(ip: &str, failures: u32, want_ms: u64) {
            let wait = retry_after(ip.parse().unwrap(), failures);
            assert_eq!(wait, Duration::from_millis(want_ms), "{ip} after {failures}");
        }
        check("127.0.0.1", 1, 100);
        check("::1", 3, 500);
        check("10.1.2.3", 5, 2000);
        check("192.168.1.9", 99, 30_000);
        check("198.19.255.1", 1, 100);
        check("fe80::1", 0, 100);
        check("198.20.0.1", 1, 60_000);
        check("8.8.8.8", 3, 180_000);
        check("2001:db8::1", 2, 120_000);
    }
}
