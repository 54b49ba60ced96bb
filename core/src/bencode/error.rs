//! Why bytes are not the bencode they should be.

/// What is wrong, and at which byte of the input it was noticed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// Lists and dictionaries nested deeper than the limit.
    #[error("nested deeper than {max} at byte {at}")]
    Depth {
        /// Where the container that is one too deep begins.
        at: usize,
        /// The limit.
        max: usize,
    },
    /// A dictionary holds the same key twice.
    #[error("the key at byte {at} occurs twice in its dictionary")]
    DuplicateKey {
        /// Where the later of the two keys begins.
        at: usize,
    },
    /// `ie`, `i-0e`, `i07e`, `i+1e`, or anything but digits between `i` and `e`.
    #[error("malformed integer at byte {at}")]
    Integer {
        /// Where its `i` is.
        at: usize,
    },
    /// An integer that does not fit 64 bits with sign.
    #[error("integer at byte {at} needs more than 64 bits")]
    IntegerRange {
        /// Where its `i` is.
        at: usize,
    },
    /// A dictionary key is not a string.
    #[error("dictionary key at byte {at} is not a string")]
    KeyKind {
        /// Where the key should begin.
        at: usize,
    },
    /// A string length with a leading zero, without `:`, or longer than any input may be.
    #[error("malformed string length at byte {at}")]
    Length {
        /// Where its first digit is.
        at: usize,
    },
    /// A dictionary ends after a key.
    #[error("key without a value before byte {at}")]
    MissingValue {
        /// Where the `e` is that should be a value.
        at: usize,
    },
    /// Well-formed, but not what serde was asked to read or write.
    #[error("{0}")]
    Shape(String),
    /// More values and keys than the limit.
    #[error("more than {max} values at byte {at}")]
    TooManyTokens {
        /// Where the value that is one too many begins.
        at: usize,
        /// The limit.
        max: usize,
    },
    /// More bytes than the limit.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// Bytes follow the value.
    #[error("bytes after the end, from byte {at}")]
    Trailing {
        /// The first byte that is too many.
        at: usize,
    },
    /// The input ends inside a value.
    #[error("ends in the middle of a value, after {at} bytes")]
    Truncated {
        /// Length of what there is.
        at: usize,
    },
    /// A byte that begins no value.
    #[error("unexpected byte {byte:#04x} at byte {at}")]
    Unexpected {
        /// Where it is.
        at: usize,
        /// What it is.
        byte: u8,
    },
}
