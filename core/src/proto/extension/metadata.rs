//! Messages that carry the info dictionary to those who only know its hash.
//!
//! Decides whether a piece has the one length that it can have. Never assembles pieces and never checks the
//! hash: the torrent does.
//= BEP 9

use super::LIMITS;
use super::error::ExtensionError;
use crate::bencode::{Dict, Value};
use bytes::Bytes;
use std::ops::Range;

/// Bytes of every metadata piece but the last.
//= BEP 9 §metadata
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;
/// Longest info dictionary that is fetched; a larger one is refused when its size is named. libtorrent's
/// limit, and that of [`crate::bencode::Limits::METADATA`].
pub const METADATA_LEN_MAX: u32 = 31_457_280;

/// One message of the metadata extension.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MetadataMessage {
    /// A piece of the info dictionary.
    Data {
        /// Which one.
        piece: u32,
        /// Bytes of the whole dictionary.
        total_size: u32,
        /// Exactly as many as this piece must have.
        data: Bytes,
    },
    /// The piece will not be sent.
    Reject {
        /// Which one.
        piece: u32,
    },
    /// The piece is asked for.
    Request {
        /// Which one; not checked against anything.
        piece: u32,
    },
}

impl MetadataMessage {
    /// Reads a payload. `Ok(None)` for a message type that nobody here knows, which the BEP says to ignore.
    pub fn parse(payload: &Bytes) -> Result<Option<Self>, ExtensionError> {
        let (dict, rest) = Value::parse_first(payload, LIMITS)?;
        dict.as_dict().ok_or(ExtensionError::NotDictionary)?;
        let number = |key| dict.at(key).and_then(|value| value.as_int());
        let kind = number("msg_type").ok_or(ExtensionError::Field("msg_type"))?;
        let piece = number("piece").and_then(|piece| u32::try_from(piece).ok());
        let piece = piece.ok_or(ExtensionError::Field("piece"));
        match kind {
            0 => Ok(Some(Self::Request { piece: piece? })),
            1 => {
                let total = number("total_size").ok_or(ExtensionError::Field("total_size"))?;
                Self::data(piece?, total, payload.slice_ref(rest)).map(Some)
            }
            2 => Ok(Some(Self::Reject { piece: piece? })),
            _ => Ok(None),
        }
    }

    /// The payload to send under the id that the peer assigned.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Data { piece, total_size, data } => {
                let dict = head(1, *piece).int("total_size", *total_size);
                let mut out = dict.into_bytes();
                out.extend_from_slice(data);
                out.into()
            }
            Self::Reject { piece } => head(2, *piece).into_bytes().into(),
            Self::Request { piece } => head(0, *piece).into_bytes().into(),
        }
    }

    /// The answer to a request for `piece` of the dictionary `info`: the piece, or a reject if there is no
    /// such piece.
    pub fn answer(info: &Bytes, piece: u32) -> Self {
        let total_size = u32::try_from(info.len()).unwrap_or(u32::MAX);
        match metadata_range(total_size, piece) {
            Some(range) => Self::Data { piece, total_size, data: info.slice(range) },
            None => Self::Reject { piece },
        }
    }

    fn data(piece: u32, total: i64, data: Bytes) -> Result<Self, ExtensionError> {
        let total_size = u32::try_from(total)
            .ok()
            .filter(|size| (1..=METADATA_LEN_MAX).contains(size))
            .ok_or(ExtensionError::TotalSize(total))?;
        let range = metadata_range(total_size, piece).ok_or_else(|| {
            ExtensionError::PieceRange { piece, pieces: metadata_pieces(total_size) }
        })?;
        if data.len() != range.len() {
            let (got, want) = (data.len(), range.len());
            return Err(ExtensionError::DataLength { piece, got, want });
        }
        Ok(Self::Data { piece, total_size, data })
    }
}

/// Number of metadata pieces of an info dictionary of that many bytes.
pub const fn metadata_pieces(total_size: u32) -> u32 {
    total_size.div_ceil(METADATA_PIECE_LEN)
}

/// Where that piece lies in the dictionary; `None` past its end.
pub fn metadata_range(total_size: u32, piece: u32) -> Option<Range<usize>> {
    let start = piece.checked_mul(METADATA_PIECE_LEN).filter(|&start| start < total_size)?;
    let end = start.saturating_add(METADATA_PIECE_LEN).min(total_size);
    Some(start as usize..end as usize)
}

fn head(kind: u8, piece: u32) -> Dict {
    Dict::new().int("msg_type", kind).int("piece", piece)
}
