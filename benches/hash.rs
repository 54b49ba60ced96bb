//! SHA-1 of pieces of 1 MiB that lie in blocks: the `sha1` crate, and ours with one to four pieces in one loop.

use criterion::{BenchmarkId, Criterion, Throughput};
use gaggle_core::geometry::BLOCK_LEN;
use gaggle_core::hash;
use gaggle_core::rng::Rng;
use sha1::Digest as _;
use std::hint::black_box;

const PIECE_LEN: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("hash");
    let mut bytes = vec![0; PIECE_LEN * hash::LANES];
    Rng::seeded(1).fill(&mut bytes);
    let pieces: Vec<Vec<&[u8]>> =
        bytes.chunks(PIECE_LEN).map(|piece| piece.chunks(BLOCK_LEN as usize).collect()).collect();
    group.throughput(Throughput::Bytes(PIECE_LEN as u64));
    group.bench_function("crate", |bencher| {
        bencher.iter(|| {
            let mut message = sha1::Sha1::new();
            pieces[0].iter().for_each(|block| message.update(block));
            message.finalize()
        });
    });
    for count in 1..=hash::LANES {
        let together: Vec<&[&[u8]]> = pieces[..count].iter().map(|piece| &piece[..]).collect();
        group.throughput(Throughput::Bytes((PIECE_LEN * count) as u64));
        group.bench_function(BenchmarkId::new("pieces", count), |bencher| {
            bencher.iter(|| hash::pieces(black_box(&together)));
        });
    }
    group.finish();
    criterion.final_summary();
}
