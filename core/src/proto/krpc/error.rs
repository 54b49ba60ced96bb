//! Why a datagram is no message, and what its sender may be told about it.

use super::{
    DATAGRAM_IN_MAX, DATAGRAM_IN_MIN, SALT_MAX, TRANSACTION_MAX, TransactionId, VALUE_MAX,
};
use crate::bencode::BencodeError;
use crate::blame::Blame;

/// Numbers that an error message carries.
//= BEP 5 §errors
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ErrorCode(pub i32);

impl ErrorCode {
    /// Anything that has no number of its own.
    pub const GENERIC: Self = Self(201);
    /// The fault lies with the one who answers.
    pub const SERVER: Self = Self(202);
    /// A malformed message, a wrong argument, a bad token.
    pub const PROTOCOL: Self = Self(203);
    /// Nobody here knows this query.
    pub const METHOD: Self = Self(204);
    /// The value of an item is too long.
    //= BEP 44 §errors
    pub const VALUE: Self = Self(205);
    /// An item is not signed by the owner that it names.
    //= BEP 44 §errors
    pub const SIGNATURE: Self = Self(206);
    /// The salt of an item is too long.
    //= BEP 44 §errors
    pub const SALT: Self = Self(207);
    /// What is stored is not what the owner thinks.
    //= BEP 44 §errors
    pub const CAS: Self = Self(301);
    /// Something newer is stored.
    //= BEP 44 §errors
    pub const SEQ: Self = Self(302);
}

/// An error that may be sent back, because the query had a transaction id to answer to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Of the query.
    pub transaction: TransactionId,
    /// What to say.
    pub code: ErrorCode,
    /// In words.
    pub text: &'static str,
}

/// What is wrong with a datagram.
///
/// Only a well-formed query is answered. Everything else stays without an answer, so that nobody can make us
/// send datagrams to a third party that he names as his sender.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KrpcError {
    /// A query lacks an argument, or has one of the wrong kind or size.
    #[error("argument `{key}` is missing or malformed")]
    Argument {
        /// Of the query.
        transaction: TransactionId,
        /// Which one.
        key: &'static str,
    },
    /// Not bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// A top-level key is missing or of the wrong kind.
    #[error("top-level key `{0}` is missing or malformed")]
    Envelope(&'static str),
    /// A query that nobody here knows, and that names no target.
    #[error("unknown query")]
    Method {
        /// Of the query.
        transaction: TransactionId,
    },
    /// A reply without the id of its sender, or with one of the wrong size.
    #[error("reply without a node id")]
    ReplyId,
    /// The salt of an item is longer than one can be.
    #[error("salt of {got} bytes, at most {SALT_MAX}")]
    SaltLength {
        /// Of the query.
        transaction: TransactionId,
        /// Its length.
        got: usize,
    },
    /// Shorter or longer than any message.
    #[error("{got} bytes, a message has {DATAGRAM_IN_MIN} to {DATAGRAM_IN_MAX}")]
    Size {
        /// How many there are.
        got: usize,
    },
    /// An empty transaction id is fine, a long one is not.
    #[error("transaction id of {got} bytes, at most {TRANSACTION_MAX}")]
    Transaction {
        /// Its length.
        got: usize,
    },
    /// The value of an item is longer than one can be.
    #[error("value of {got} bytes, at most {VALUE_MAX}")]
    ValueLength {
        /// Of the query.
        transaction: TransactionId,
        /// Its length.
        got: usize,
    },
}

impl KrpcError {
    /// Datagrams are easily forged and every program may speak on this port: nobody is banned for noise, but who
    /// gets as far as a reply or a query speaks the protocol and breaks it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Argument { .. }
            | Self::ReplyId
            | Self::SaltLength { .. }
            | Self::ValueLength { .. } => Blame::Remote,
            Self::Bencode(_)
            | Self::Envelope(_)
            | Self::Method { .. }
            | Self::Size { .. }
            | Self::Transaction { .. } => Blame::Network,
        }
    }

    /// The error to answer with; `None` if nothing may be answered.
    pub fn answer(&self) -> Option<Refusal> {
        match *self {
            Self::Argument { transaction, .. } => Some(Refusal {
                transaction,
                code: ErrorCode::PROTOCOL,
                text: "missing or malformed argument",
            }),
            Self::Method { transaction } => {
                Some(Refusal { transaction, code: ErrorCode::METHOD, text: "unknown query" })
            }
            Self::SaltLength { transaction, .. } => {
                Some(Refusal { transaction, code: ErrorCode::SALT, text: "salt too big" })
            }
            Self::ValueLength { transaction, .. } => {
                Some(Refusal { transaction, code: ErrorCode::VALUE, text: "value too big" })
            }
            _ => None,
        }
    }
}
