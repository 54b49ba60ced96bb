use super::*;
use proptest::prelude::*;

const ABC: [&[u8]; 2] = [b"a", b"bc"];

fn hex(digest: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest)
}

#[test]
fn known_digests() {
    assert_eq!(sha256(ABC)[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!((crc32c(b""), crc32c(b"123456789")), (0, 0xe306_9283));
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
}

/// The messages that FIPS 180-4 and RFC 3174 give, each alone and then all in one loop.
#[test]
fn published_vectors() {
    let million = vec![b'a'; 1_000_000];
    let digits = b"01234567".repeat(80);
    let vectors: [(&[u8], &str); 6] = [
        (b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (b"a", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
        (b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (&digits, "dea356a2cddd90c7a7ecedc5ebb563934f460452"),
        (&million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
    ];
    for (message, want) in vectors {
        assert_eq!(hex(&sha1([message])), want);
    }
    let messages = vectors.map(|(message, _)| [message]);
    let got = pieces(&messages.each_ref().map(|message| &message[..]));
    assert!(got.iter().map(|digest| hex(digest)).eq(vectors.map(|(_, want)| want)));
}

/// Cuts `bytes` into parts, some of them empty and most of them no multiple of a block.
fn cut<'b>(mut bytes: &'b [u8], lens: &[usize]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    for len in lens {
        let (part, rest) = bytes.split_at(bytes.len().min(*len));
        parts.push(part);
        bytes = rest;
    }
    parts.push(bytes);
    parts
}

/// A message and where it is cut. Its bytes follow from the seed: shrinking them would tell nothing.
fn any_message() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let len = prop_oneof![0..200usize, 0..5000usize, (0..40usize).prop_map(|blocks| blocks * 64)];
    let cuts = proptest::collection::vec(prop_oneof![0..3usize, 0..200usize, Just(64)], 0..12);
    (any::<u64>(), len, cuts).prop_map(|(seed, len, cuts)| {
        let mut bytes = vec![0; len];
        crate::rng::Rng::seeded(seed).fill(&mut bytes);
        (bytes, cuts)
    })
}

fn oracle(bytes: &[u8]) -> [u8; 20] {
    <::sha1::Sha1 as ::sha1::Digest>::digest(bytes).into()
}

proptest! {
    #[test]
    fn neither_cuts_nor_company_change_a_digest(
        messages in proptest::collection::vec(any_message(), 0..10)
    ) {
        let want: Vec<_> = messages.iter().map(|(bytes, _)| oracle(bytes)).collect();
        let parts: Vec<_> = messages.iter().map(|(bytes, cuts)| cut(bytes, cuts)).collect();
        let whole: Vec<&[&[u8]]> = parts.iter().map(|parts| &parts[..]).collect();
        prop_assert_eq!(pieces(&whole), &want[..]);
        let alone: Vec<_> = parts.iter().map(|parts| sha1(parts.iter().copied())).collect();
        prop_assert_eq!(alone, &want[..]);
        let mut together = vec![Sha1::new(); messages.len()];
        for nth in 0..parts.iter().map(Vec::len).max().unwrap_or(0) {
            let next: Vec<&[u8]> =
                parts.iter().map(|parts| parts.get(nth).copied().unwrap_or(&[])).collect();
            update_each(&mut together, &next);
        }
        prop_assert!(together.into_iter().map(Sha1::finish).eq(want));
    }

    /// Every width of the loop from states that no message starts with, against the crate block by block.
    #[test]
    fn every_width_compresses_like_the_crate(
        states in any::<[[u32; 5]; 4]>(), seed in any::<u64>(), counts in [0..9usize, 0..9usize, 0..9usize, 0..9usize]
    ) {
        fn check<const N: usize>(
            states: &[[u32; 5]; 4],
            blocks: &[Vec<[u8; 64]>; 4],
        ) -> Result<(), TestCaseError> {
            let blocks: [&[[u8; 64]]; N] = std::array::from_fn(|lane| &blocks[lane][..]);
            let mut got: [[u32; 5]; N] = std::array::from_fn(|lane| states[lane]);
            let mut want = got;
            let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap();
            for (state, blocks) in want.iter_mut().zip(blocks) {
                ::sha1::block_api::compress(state, &blocks[..count]);
            }
            prop_assert_eq!(lanes::compress(&mut got, blocks), count);
            prop_assert_eq!(got, want);
            Ok(())
        }
        let mut rng = crate::rng::Rng::seeded(seed);
        let blocks = counts.map(|count| {
            let mut blocks = vec![[0; 64]; count];
            rng.fill(blocks.as_flattened_mut());
            blocks
        });
        check::<1>(&states, &blocks)?;
        check::<2>(&states, &blocks)?;
        check::<3>(&states, &blocks)?;
        check::<4>(&states, &blocks)?;
    }
}
