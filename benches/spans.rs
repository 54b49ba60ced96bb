//! Where things lie: a piece in the files of a large torrent, and the info dictionary in the bytes of a .torrent.

use criterion::{Criterion, Throughput};
use gaggle_core::bencode::{Dict, Limits, List, span_of};
use gaggle_core::geometry::{Geometry, PieceIndex, Version};
use gaggle_core::rng::Rng;
use gaggle_core::storage::{FileSpec, Layout};

const PIECES: u32 = 100_000;
const PIECE_LEN: u32 = 256 << 10;
const FILES: u32 = 20_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    extents(&mut criterion);
    info(&mut criterion);
    criterion.final_summary();
}

/// 20 000 files of 1.25 MiB and an odd byte: most pieces lie in one, every fifth in two.
fn extents(criterion: &mut Criterion) {
    let total = u64::from(PIECES) * u64::from(PIECE_LEN);
    let geometry =
        Geometry::new(Version::V1, total, PIECE_LEN.into()).expect("the sizes are legal");
    let len = total / u64::from(FILES) + 1;
    let file = |at: u32| {
        let offset = u64::from(at) * len;
        let path = vec![format!("folder {}", at / 100), format!("file {at}")];
        FileSpec { path, len: len.min(total - offset), offset, pad: false }
    };
    let layout = Layout::new(geometry, (0..FILES).map(file).collect()).expect("the files tile it");
    let mut rng = Rng::seeded(1);
    let mut piece = move || PieceIndex(rng.below(PIECES.into()) as u32);
    let mut group = criterion.benchmark_group("layout");
    group.bench_function("extents of a piece", |b| b.iter(|| layout.extents(piece())));
    group.bench_function("extents of a block", |b| {
        b.iter(|| layout.extents_of(geometry.block(piece(), 3)));
    });
    group.finish();
}

fn info(criterion: &mut Criterion) {
    let file = |at: u32| {
        let path = List::of_bytes([format!("folder {}", at / 100), format!("file {at}")]);
        Dict::new().int("length", 1_310_721).list("path", path)
    };
    let info = Dict::new()
        .list("files", (0..FILES).map(file).fold(List::new(), List::dict))
        .bytes("name", "a large torrent")
        .int("piece length", PIECE_LEN)
        .bytes("pieces", vec![7; PIECES as usize * 20]);
    let torrent = Dict::new()
        .bytes("announce", "http://tracker.example/announce")
        .dict("info", info)
        .into_bytes();
    let mut group = criterion.benchmark_group("bencode");
    group.throughput(Throughput::Bytes(torrent.len() as u64));
    group.bench_function("span of info in a large torrent", |b| {
        b.iter(|| span_of(&torrent, Limits::TORRENT, &[b"info"]).expect("it is there"));
    });
    group.finish();
}
