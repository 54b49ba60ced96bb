//! Replays the fuzz corpora under `fixtures/corpus` through the laws that the fuzz targets check.

#[path = "../../tests/fuzz/laws.rs"]
mod laws;

use gaggle_core::proto::extension::{Extension, ExtensionHandshake, PexFlags, PexMessage};
use gaggle_core::proto::lsd::Announcement;
use std::path::Path;
use std::time::{Duration, Instant};

/// All inputs of one corpus take a tenth of a second; something that grows with the square of the input
/// takes minutes.
const TIME_MAX: Duration = Duration::from_secs(20);
/// No input is larger than 20 kB: a test that needs this much has believed a length.
const MEMORY_MAX_KIB: u64 = 256 << 10;

/// Calls a law with every input of one corpus and with every prefix of it.
#[expect(clippy::disallowed_methods, reason = "measures the test itself, in real time")]
fn replay(corpus: &str, law: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus").join(corpus);
    let mut inputs: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "{} inputs in {}", inputs.len(), folder.display());
    let begun = Instant::now();
    for input in inputs {
        let bytes = std::fs::read(&input).unwrap();
        let run = std::panic::catch_unwind(|| {
            law(&bytes);
            (0..bytes.len().min(2_000)).for_each(|end| law(&bytes[..end]));
        });
        assert!(run.is_ok(), "{} breaks a law", input.display());
    }
    assert!(begun.elapsed() < TIME_MAX, "{:?}", begun.elapsed());
    if let Some(peak) = peak_kib() {
        assert!(peak < MEMORY_MAX_KIB, "{peak} KiB");
    }
}

/// The most memory this process has had, where Linux tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[test]
fn gnutella() {
    replay("gnutella", laws::gnutella);
}

#[test]
fn share_record() {
    replay("share_record", laws::share_record);
}

#[test]
fn bencode() {
    replay("bencode", laws::bencode);
}

/// A captured message.
fn captured(corpus: &str, name: &str) -> Vec<u8> {
    let path = format!("../fixtures/corpus/{corpus}/{name}");
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn extension() {
    replay("extension", laws::extension);
    for (client, ut_metadata, ut_pex) in [("libtorrent_2.0.8", 2, 1), ("transmission_3.00", 3, 1)] {
        let shake = captured("extension", &format!("handshake_{client}"));
        let shake = ExtensionHandshake::parse(&shake).unwrap();
        assert_eq!(shake.ids.of(Extension::Metadata), Some(ut_metadata), "{client}");
        assert_eq!(shake.ids.of(Extension::Pex), Some(ut_pex), "{client}");
        // A seed, and the very peer that is told.
        let message = captured("extension", &format!("pex_{client}"));
        let message = PexMessage::parse(&message).unwrap();
        let added: Vec<_> =
            message.added.iter().map(|peer| (peer.addr.to_string(), peer.flags)).collect();
        let (seed, itself) = ("198.18.0.1:6881".to_owned(), "198.18.0.3:6881".to_owned());
        assert_eq!(added, [(seed, PexFlags::SEED), (itself, PexFlags::NONE)], "{client}");
        assert!(message.dropped.is_empty());
    }
}

#[test]
fn lsd() {
    replay("lsd", laws::lsd);
    for client in ["libtorrent_2.0.8", "transmission_3.00"] {
        let said = Announcement::parse(&captured("lsd", client)).unwrap();
        assert_eq!((said.port.get(), said.hashes.len()), (6881, 1), "{client}");
    }
}

#[test]
fn fasttrack() {
    replay("fasttrack", laws::fasttrack);
}

#[test]
fn krpc() {
    replay("krpc", laws::krpc);
}

#[test]
fn napster() {
    replay("napster", laws::napster);
}

#[test]
fn magnet() {
    replay("magnet", laws::magnet);
}

#[test]
fn metainfo() {
    replay("metainfo", laws::metainfo);
}
