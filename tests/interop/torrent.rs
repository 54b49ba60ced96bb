//! A torrent's info hash, found without the program under test.

use gaggle_core::hash::sha1;

/// SHA-1 of the bytes of `info`; `None` if this is no torrent.
pub(crate) fn info_hash(torrent: &[u8]) -> Option<[u8; 20]> {
    let mut rest = torrent.strip_prefix(b"d")?;
    while rest.first() != Some(&b'e') {
        let value = skip(rest)?;
        let after = skip(value)?;
        if rest.starts_with(b"4:info") {
            return Some(sha1([&value[..value.len() - after.len()]]));
        }
        rest = after;
    }
    None
}

/// What comes after the first value.
fn skip(value: &[u8]) -> Option<&[u8]> {
    match value.first()? {
        b'i' => Some(&value[value.iter().position(|byte| *byte == b'e')? + 1..]),
        b'l' | b'd' => {
            let mut rest = &value[1..];
            while rest.first()? != &b'e' {
                rest = skip(rest)?;
            }
            Some(&rest[1..])
        }
        _ => {
            let colon = value.iter().position(|byte| *byte == b':')?;
            let len: usize = std::str::from_utf8(&value[..colon]).ok()?.parse().ok()?;
            value.get(colon + 1 + len..)
        }
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_info_span_is_found() {
    let torrent = b"d8:announce3:url4:infod6:lengthi3e4:name1:ae5:nodesll1:hi1eeee";
    assert_eq!(info_hash(torrent), Some(sha1([&b"d6:lengthi3e4:name1:ae"[..]])));
    assert_eq!(info_hash(b"d4:name1:ae"), None);
}
