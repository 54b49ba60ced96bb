//! What goes wrong with a source, and whose fault that is.

use crate::blame::Blame;
use std::net::IpAddr;
use std::time::Duration;

/// Why a range did not come, or a source is gone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFault {
    /// Whoever led us there cannot know that address, or no host can have it.
    #[error("{0} is no address to be sent to from there")]
    Address(IpAddr),
    /// It sent a piece that fails its hash.
    #[error("sent data that fails its hash")]
    BadPiece,
    /// It has no place for us now.
    #[error("busy")]
    Busy {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// What it says before the bytes is not what its network says there.
    #[error("its answer cannot be read")]
    Head,
    /// No connection, or one that broke.
    #[error("connection lost")]
    Lost,
    /// Another range than the one asked for, or none named.
    #[error("answers with bytes from {got:?}, asked for those from {want}")]
    Range {
        /// The first byte that it names.
        got: Option<u64>,
        /// The first byte asked for.
        want: u64,
    },
    /// One redirect after the other.
    #[error("redirects more than {0} times")]
    Redirects(u8),
    /// It says in words that it does not give the file.
    #[error("refuses")]
    Refused,
    /// Whoever added it took it back.
    #[error("taken back")]
    Removed,
    /// The body ended early, or without one whole block.
    #[error("body of {got} bytes instead of {want}")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        want: u64,
    },
    /// Nothing came for [`super::STALL_AFTER`].
    #[error("silent")]
    Stalled,
    /// Neither a range nor a delay.
    #[error("status {0}")]
    Status(u16),
    /// The body goes on beyond the range, or is announced to.
    #[error("body of more than {0} bytes")]
    TooLong(u64),
    /// Its file has another size than ours.
    #[error("file of {got} bytes instead of {want}")]
    Total {
        /// Its size.
        got: u64,
        /// Ours.
        want: u64,
    },
    /// It sends whole files only.
    #[error("does not serve ranges")]
    Unranged,
}

impl SourceFault {
    /// Whose fault it is: of the network, and worth some retries; of the host, and worth few.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Removed => Blame::Local,
            Self::Busy { .. } | Self::Lost | Self::Short { .. } | Self::Stalled => Blame::Network,
            Self::Status(500..) => Blame::Network,
            Self::Address(_)
            | Self::BadPiece
            | Self::Head
            | Self::Range { .. }
            | Self::Redirects(_)
            | Self::Refused
            | Self::Status(_)
            | Self::TooLong(_)
            | Self::Total { .. }
            | Self::Unranged => Blame::Remote,
        }
    }
}

/// Why a source was not added.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceRefusal {
    /// Whoever named it cannot know that address, or no host can have it.
    #[error("{0} is no address to hear of from there")]
    Address(IpAddr),
    /// Its address or host is banned.
    #[error("banned")]
    Banned,
    /// There are enough.
    #[error("{0} sources are known already")]
    Full(usize),
    /// It is being asked already.
    #[error("known already")]
    Known,
    /// What the torrent consists of is not known yet.
    #[error("no metadata yet")]
    NoMetadata,
    /// Its file contains no whole piece.
    #[error("its bytes, {from} to {to}, contain no whole piece")]
    NoPiece {
        /// First byte in the torrent.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// The torrent is private: its content comes from who its trackers name, and from nobody else.
    //= BEP 27
    #[error("the torrent is private")]
    Private,
}
