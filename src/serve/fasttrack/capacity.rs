//! Whether this machine has room for the work of a supernode.

use rustix::process::{Resource, getrlimit};

/// Descriptors that a process must be allowed: nodes, other supernodes, transfers.
const DESCRIPTORS_MIN: u64 = 1024;
/// Kilobytes that must be free: what a hundred nodes share, and what waits for them.
const FREE_KB_MIN: u64 = 256 << 10;
/// Tasks that may wait for each core.
const LOAD_MAX: f64 = 2.0;

/// Whether there is room. What the system does not tell stands in nobody's way.
pub(super) fn is_enough() -> bool {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    descriptors >= DESCRIPTORS_MIN
        && free_kb(&read("/proc/meminfo")).is_none_or(|kb| kb >= FREE_KB_MIN)
        && load(&read("/proc/loadavg")).is_none_or(|load| load <= LOAD_MAX * cores as f64)
}

fn free_kb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells() {
        let meminfo = "MemTotal:  2048 kB\nMemAvailable:     524288 kB\nCached: 5 kB\n";
        assert_eq!(free_kb(meminfo), Some(524_288));
        assert_eq!((free_kb(""), free_kb("MemAvailable: x")), (None, None));
        assert_eq!(load("0.52 0.58 0.59 1/467 12345\n"), Some(0.52));
        assert_eq!(load(""), None);
    }
}
