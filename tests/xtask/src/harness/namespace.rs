//! A network with nobody else in it.
//!
//! A test or measurement runs its own executable again inside a new network namespace, whose loopback device
//! carries addresses that look like those of different hosts. Transmission never dials 127.0.0.0/8, and libtorrent
//! keeps one peer per address: both are content with 198.18.0.0/15, the range for benchmarks (RFC 2544).

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

/// Set for whatever runs inside; says that it need not be started again.
const MARK: &str = "GAGGLE_NAMESPACE";
/// Hosts in a namespace: 198.18.0.1 up to this last byte, the same in IPv6.
pub const HOSTS_MAX: u8 = 24;

/// A machine without IPv6 keeps the rest.
const SETUP: &str = r#"
ip link set lo up || exit 90
n=1
while [ $n -le 24 ]; do
  ip addr add 198.18.0.$n/32 dev lo || exit 91
  ip -6 addr add 2001:db8:198:18::$(printf %x $n)/128 dev lo nodad 2>/dev/null
  n=$((n + 1))
done
exec "$@"
"#;

/// Whether this process already runs inside a namespace of its own.
pub fn inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// The IPv4 address of a host of the namespace, from 1.
pub fn host(number: u8) -> IpAddr {
    assert!((1..=HOSTS_MAX).contains(&number), "the namespace has hosts 1 to {HOSTS_MAX}");
    Ipv4Addr::new(198, 18, 0, number).into()
}

/// The IPv6 address of a host of the namespace, from 1.
pub fn host_v6(number: u8) -> IpAddr {
    assert!((1..=HOSTS_MAX).contains(&number), "the namespace has hosts 1 to {HOSTS_MAX}");
    Ipv6Addr::new(0x2001, 0xdb8, 0x198, 0x18, 0, 0, 0, number.into()).into()
}

/// Makes all of 198.18.0.0/15 ours, for more hosts than [`HOSTS_MAX`].
///
/// # Errors
/// `ip` cannot be run, or refuses.
pub fn take_whole_range() -> anyhow::Result<()> {
    let route = ["route", "add", "local", "198.18.0.0/15", "dev", "lo"];
    anyhow::ensure!(Command::new("ip").args(route).status()?.success(), "no route for the range");
    Ok(())
}

/// Whether the namespace's hosts have their IPv6 addresses.
pub fn has_ipv6() -> bool {
    std::net::TcpListener::bind((host_v6(1), 0)).is_ok()
}

/// `program` in a new namespace; arguments and environment are the caller's.
///
/// Root makes a network namespace; anybody else a user namespace around it, in which he keeps his own user id and
/// the right to add addresses (opentracker refuses to run as a root that is none).
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(if is_root() { &["-n"][..] } else { &["-c", "-n", "--keep-caps"][..] });
    command.args(["--", "sh", "-c", SETUP, "sh"]).arg(program).env(MARK, "1");
    command
}

/// The running test, alone, again in a namespace. `test` is its full name as the test harness prints it.
///
/// # Errors
/// The path of this executable is unknown.
pub fn this_test_again(test: &str) -> anyhow::Result<Command> {
    let mut command = command(std::env::current_exe()?);
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    // The outer test shows the words of the inner one; where in the harness they came from helps nobody.
    command.env("RUST_BACKTRACE", "0");
    Ok(command)
}

/// Runs the body of a test inside a namespace: outside, the test is started again there and its failure is ours.
///
/// # Panics
/// The test inside failed, or no namespace can be made.
pub fn test(name: &str, body: impl FnOnce()) {
    if inside() {
        return body();
    }
    let mut again = this_test_again(name).expect("a test knows its executable");
    let status = again.status().expect("unshare can be run (util-linux)");
    assert!(status.success(), "{name} failed in its namespace ({status}); its words are above");
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|uids| uids.split_whitespace().nth(1)) == Some("0")
}
