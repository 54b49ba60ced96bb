//! Published bytes, laws for any bytes, and what strangers may not do.

mod laws;
mod transfers;
mod vectors;

use super::*;
use data_encoding::HEXLOWER_PERMISSIVE;

/// Bytes written as hex digits, with blanks wherever they help.
fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).unwrap()
}

fn addr(text: &str) -> std::net::SocketAddrV4 {
    text.parse().unwrap()
}

fn song(name: &str) -> File {
    let hash = UuHash(std::array::from_fn(|i| i as u8));
    let tags = Tags::default().with(tag_kind::FILE_NAME, name).with_number(tag_kind::LENGTH, 245);
    File { hash, file_id: hash.file_id().into(), size: 4_000_000, tags }
}

fn hit(at: &str, user: &str, name: &str) -> Hit {
    let network = NETWORK.to_owned();
    Hit { addr: addr(at), bandwidth: 0x68, user: user.to_owned(), network, file: song(name) }
}
