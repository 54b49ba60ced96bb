//! What an operator sets, and what strangers may cost.

use std::time::Duration;

/// Lines of a greeting; further ones are not sent.
pub(super) const MOTD_MAX: usize = 20;
/// Commands of which somebody who has not logged in needs one or two; then he is disconnected.
pub(super) const GREETING_MAX: u32 = 10;
/// Requests of one user that wait for an answer of others; further ones are refused.
pub(super) const WAITING_MAX: usize = 64;
/// How long one may take to answer a request of another.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How often everybody is told how many there are.
pub(super) const STATS_EVERY: Duration = Duration::from_secs(60);
/// A list of files goes on when less than so much of what was sent is on its way.
pub(super) const BROWSE_LOW_BYTES: usize = 32 << 10;
/// Commands wait while more than this of what was sent is on its way: with the rows of one more search it is less than who
/// reads is allowed.
pub(super) const BUSY_BYTES: usize = 48 << 10;
/// Transfers of one user that are counted a minute, as begun or as ended; others are not.
pub(super) const COUNTED_PER_MIN: u32 = 20;

/// A directory as its operator wants it.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it calls itself. No user can have that name.
    pub name: String,
    /// Further lines of the greeting; at most 20 in all.
    pub motd: Vec<String>,
    /// Whether torrents' files can be shared and found with what it takes to join their swarms.
    pub swarm_extension: bool,
    /// Whether names can get a password that travels as it is. Otherwise only what our own clients make of one is taken:
    /// a hash that serves nowhere else.
    pub legacy: bool,
    /// What strangers may cost.
    pub limits: Limits,
    /// Seconds since 1970 at the origin of the clock: users are told when somebody was last seen.
    pub origin_unix_s: u64,
}

/// What strangers may cost. `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections; further ones are refused.
    pub connections: usize,
    /// Connections of one address; further ones are refused.
    pub per_address: Option<usize>,
    /// Whether this machine is an address like any other.
    pub loopback_too: bool,
    /// Files of one user; further ones are not taken.
    pub files_per_user: usize,
    /// Rows that answer one search.
    pub rows: usize,
    /// Searches of one user a minute, so many of them at once; further ones are refused.
    pub searches_per_min: Option<u32>,
    /// The same for those that look for further sources of a file, and those for this server only.
    pub source_searches_per_min: Option<u32>,
    /// Commands of one connection a second, ten times as many at once; then it is closed. Shares, and names to be told of, are
    /// not counted.
    pub commands_per_s: Option<u32>,
    /// How long a login may take.
    pub login: Duration,
    /// How long a user may be silent before he is asked whether he is there.
    pub idle: Duration,
    /// Bytes that wait for one connection; who does not read is disconnected there.
    pub unsent_bytes: usize,
    /// Names with a password; further ones cannot be registered.
    pub accounts: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "gaggle".to_owned(),
            motd: Vec::new(),
            swarm_extension: true,
            legacy: false,
            limits: Limits::default(),
            origin_unix_s: 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            per_address: Some(10),
            loopback_too: false,
            files_per_user: 5000,
            rows: 100,
            searches_per_min: Some(10),
            source_searches_per_min: Some(60),
            commands_per_s: Some(20),
            login: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            unsent_bytes: 100 << 10,
            accounts: 10_000,
        }
    }
}

impl Limits {
    /// For measuring, and for networks of one's own.
    pub fn off() -> Self {
        Self {
            connections: usize::MAX,
            per_address: None,
            files_per_user: usize::MAX,
            searches_per_min: None,
            source_searches_per_min: None,
            commands_per_s: None,
            ..Self::default()
        }
    }
}
