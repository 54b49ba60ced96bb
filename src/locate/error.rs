//! Why a network brought nothing.

use gaggle_core::blame::Blame;
use gaggle_core::proto::announce::RetryIn;
use gaggle_core::proto::tracker_http::{MAX_BODY, ReplyError};
use gaggle_core::proto::tracker_udp::ExchangeError;
use std::time::Duration;

/// Why a tracker brought nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// More bytes than any answer has, counted after decompression.
    #[error("answer of more than {MAX_BODY} bytes")]
    Body,
    /// The HTTP exchange broke off or never began.
    #[error("{0}")]
    Connection(String),
    /// The UDP exchange brought nothing.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The URL's host has no address.
    #[error("host not found: {0}")]
    Host(String),
    /// A status other than 200 without a tracker's answer in the body.
    #[error("HTTP status {0}")]
    HttpStatus(u16),
    /// There was nobody to ask, or nobody answered.
    #[error("{0}")]
    NoNodes(String),
    /// The tracker's URL names, or leads to, a private address in a way that could make us press somebody's buttons.
    #[error("{0}: on private addresses only /announce without a query is asked")]
    PrivateTarget(String),
    /// A redirect that is not followed.
    #[error("redirected {0}")]
    Redirect(&'static str),
    /// What came is no tracker's answer, or a refusal.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The socket could not be used.
    #[error("socket: {0}")]
    Socket(std::io::ErrorKind),
    /// Took too long.
    #[error("timed out ({} s)", .0.as_secs())]
    TimedOut(Duration),
    /// The tracker's URL does not follow the custom from which the scrape URL is made.
    #[error("this tracker has no scrape URL")]
    Unscrapable,
    /// A scheme that is not spoken here.
    #[error("{0}:// is not supported")]
    UnsupportedScheme(String),
    /// Not a tracker's URL.
    #[error("not a tracker URL: {0}")]
    Url(&'static str),
}

impl LocateError {
    /// Who caused it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Socket(_) => Blame::Local,
            Self::Connection(_)
            | Self::Exchange(ExchangeError::TimedOut { .. })
            | Self::Host(_)
            | Self::NoNodes(_)
            | Self::TimedOut(_) => Blame::Network,
            _ => Blame::Remote,
        }
    }

    /// When asking again makes sense, if something is known about that.
    pub fn retry_in(&self) -> Option<RetryIn> {
        match self {
            Self::HttpStatus(410)
            | Self::PrivateTarget(_)
            | Self::UnsupportedScheme(_)
            | Self::Url(_) => Some(RetryIn::Never),
            Self::Reply(ReplyError::Refused { retry_in, .. }) => *retry_in,
            _ => None,
        }
    }
}
