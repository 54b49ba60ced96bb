//! One zlib stream for each direction of a link, flushed after every handful of messages.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Bytes that one step of unpacking brings at most.
const STEP: usize = 16 << 10;
/// How much longer than it came a stream may become...
const RATIO_MAX: u64 = 64;
/// ...beyond this many bytes: real messages shrink to a third, so whoever exceeds it wants to keep us busy.
const FREE: u64 = 4 << 20;
/// Room that is made for what was packed, at a time.
const ROOM: usize = 4 << 10;

/// Why a stream cannot be unpacked any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum PackError {
    /// More came out of it than goes into honest messages.
    #[error("packed more than {RATIO_MAX} to one")]
    Bomb,
    /// It is no zlib, damaged, or has ended.
    #[error("no zlib stream")]
    Broken,
}

/// Packs what goes out.
pub(super) struct Packer(Compress);

impl Packer {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }

    /// Appends what these bytes become, as far as it is known before [`Self::flush`].
    pub(super) fn pack(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.run(plain, FlushCompress::None, out);
    }

    /// Appends the rest, so that the other end can unpack all that was packed.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(&[], FlushCompress::Sync, out);
    }

    fn run(&mut self, mut plain: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        loop {
            out.reserve(ROOM);
            let before = self.0.total_in();
            // The only error is an unwanted dictionary, which there is none of.
            let _ = self.0.compress_vec(plain, out, flush);
            plain = &plain[(self.0.total_in() - before) as usize..];
            if plain.is_empty() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

/// Unpacks what comes in, a bounded piece at a time.
pub(super) struct Unpacker {
    stream: Decompress,
    /// More may come of what was taken already.
    full: bool,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(true), full: false }
    }

    /// Takes from the front of `packed`, and says what it becomes; `None` if more must come first.
    ///
    /// # Errors
    /// The stream is of no use any longer.
    pub(super) fn step(&mut self, packed: &mut &[u8]) -> Result<Option<Vec<u8>>, PackError> {
        if packed.is_empty() && !self.full {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(STEP);
        let before = self.stream.total_in();
        let status = self.stream.decompress_vec(packed, &mut out, FlushDecompress::None);
        let status = status.map_err(|_| PackError::Broken)?;
        *packed = &packed[(self.stream.total_in() - before) as usize..];
        self.full = out.len() == out.capacity();
        if status == flate2::Status::StreamEnd && !(packed.is_empty() && out.is_empty()) {
            // What the end brought is lost; but whoever ends his stream says no more.
            return Err(PackError::Broken);
        }
        if self.stream.total_out() > FREE + RATIO_MAX * self.stream.total_in() {
            return Err(PackError::Bomb);
        }
        if out.is_empty() && !packed.is_empty() && self.stream.total_in() == before {
            return Err(PackError::Broken); // it cannot go on, whatever comes
        }
        Ok((!out.is_empty()).then_some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack_all(unpacker: &mut Unpacker, mut packed: &[u8]) -> Result<Vec<u8>, PackError> {
        let mut all = Vec::new();
        while let Some(some) = unpacker.step(&mut packed)? {
            assert!(some.len() <= STEP);
            all.extend(some);
        }
        Ok(all)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_flush_brings_all_that_was_packed(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..8),
            cut in 1usize..5000,
        ) {
            let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
            for message in messages {
                let mut packed = Vec::new();
                packer.pack(&message, &mut packed);
                packer.flush(&mut packed);
                let mut got = Vec::new();
                for part in packed.chunks(cut) {
                    got.extend(unpack_all(&mut unpacker, part).unwrap());
                }
                prop_assert_eq!(got, message);
            }
        }

        #[test]
        fn hostile_streams(junk in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut packed = vec![0x78, 0x9c];
            packed.extend(junk);
            let _ = unpack_all(&mut Unpacker::new(), &packed);
        }
    }

    #[test]
    fn a_bomb_is_noticed_before_it_has_cost_much() {
        let mut packer = Packer::new();
        let mut packed = Vec::new();
        packer.pack(&vec![0; 32 << 20], &mut packed);
        packer.flush(&mut packed);
        assert!(packed.len() < 256 << 10, "it is one");
        let mut unpacker = Unpacker::new();
        assert_eq!(unpack_all(&mut unpacker, &packed), Err(PackError::Bomb));
        let most = FREE + RATIO_MAX * packed.len() as u64 + STEP as u64;
        assert!(unpacker.stream.total_out() <= most);
    }

    #[test]
    fn what_is_no_stream_or_has_ended() {
        assert_eq!(unpack_all(&mut Unpacker::new(), b"plain text"), Err(PackError::Broken));
        let ended = miniz(b"one message");
        let more = [&ended[..], b"and more"].concat();
        assert_eq!(unpack_all(&mut Unpacker::new(), &more), Err(PackError::Broken));
    }

    fn miniz(plain: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }
}
