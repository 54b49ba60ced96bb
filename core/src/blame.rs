//! Whose fault a failure was. Every network error answers it; what follows from the answer is decided elsewhere.

/// Who is to blame for a failure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Blame {
    /// Ourselves: a limit we set, a disk of ours, a command to stop.
    Local,
    /// Nobody: lost packets, a silent host, a program that speaks something else. Worth a retry.
    Network,
    /// The other side broke the protocol. Counts toward a ban.
    Remote,
}
