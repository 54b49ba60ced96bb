//! OpenNap, the protocol of Napster's directory servers: frames of text to values and back, and the words that two
//! clients exchange when one fetches a file from the other.
//!
//! Reads what deployed programs send, in any of their forms, and writes one. Text is bytes: no character set was ever
//! agreed on, and a path must reach the one who shares it as he wrote it. Never decides whom to answer, and never reads
//! a frame into memory before its length was judged.
//!
//! The protocol has no specification; numbers and orders are those of OpenNap-NG 0.50, as measured with it.

mod error;
mod fields;
mod file;
mod frame;
mod peer;
mod query;
#[cfg(test)]
mod tests;
mod text;
mod to_client;
mod to_server;

pub use error::NapsterError;
pub use fields::{ip_from_number, ip_to_number};
pub use file::{
    BITRATES, FREQUENCIES, File, FileHash, Media, btih_of, btih_path, name_path, round_up,
};
pub use frame::{Frame, FrameDecoder};
pub use peer::{
    PeerRequest, REQUEST_MAX, Request, SizeAnswer, list_lines, parse_list_line, read_server,
    read_size, write_server,
};
pub use query::{Bound, Compare, Property, Query, WantedMedia, words};
pub use text::{Nick, Text};
pub use to_client::{Row, SwarmRow, ToClient, Whois};
pub use to_server::{Login, ToServer};

/// Where a directory listens.
pub const SERVER_PORT: u16 = 8888;
/// Where a redirector listens.
pub const METASERVER_PORT: u16 = 8875;
/// Where a client classically takes connections of other clients; 0 in a login says that it cannot.
pub const DATA_PORT: u16 = 6699;
/// Data bytes of a frame that a directory takes; who sends a longer one is disconnected.
pub const FRAME_MAX: usize = 2048;
/// Data bytes of a frame that we send, so that every directory takes it.
pub const FRAME_OUT_MAX: usize = 2000;
/// Data bytes of a frame that a client takes from its directory: more than any known one sends.
pub const FRAME_IN_MAX: usize = 8192;
/// Bytes of a path. A longer one is not shared.
pub const PATH_MAX: usize = 255;
/// Bytes of a nick that is read; servers allow less, most of them [`NICK_MAX`].
pub const NICK_IN_MAX: usize = 64;
/// Bytes of a nick that a directory admits.
pub const NICK_MAX: usize = 19;
/// Bytes kept of what a client says about its program.
pub const CLIENT_INFO_MAX: usize = 32;
/// Words of a file that can be searched for, the last ones of its path.
pub const FILE_WORDS_MAX: usize = 31;
/// Words of a search that count; further ones are ignored.
pub const QUERY_WORDS_MAX: usize = 32;
/// Codes of link speeds: 0 unknown, 1 14.4k, 2 28.8k, 3 33.6k, 4 56.7k, 5 ISDN 64k, 6 ISDN 128k, 7 cable, 8 DSL, 9 T1,
/// 10 T3 or more. A login with a larger one is refused.
pub const SPEED_MAX: u8 = 10;
/// How many bytes of a file the classic hash covers, from its start.
pub const CLASSIC_HASH_BYTES: u64 = 300_000;
/// The line of a greeting that says that the directory speaks messages 21335 to 21337.
pub const SWARM_EXTENSION: &str = "SWARM-EXT 1 btih";
