//! The picker at 100 000 pieces and 200 peers: what one more block costs in a busy download, and what peers cost that
//! come, go and announce pieces.

use criterion::{BenchmarkId, Criterion};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::geometry::{BLOCK_LEN, Block, Geometry, Version};
use gaggle_core::rng::Rng;
use gaggle_core::storage::Verdict;
use gaggle_core::swarm::PeerKey;
use gaggle_core::swarm::picker::{Arrival, Picker};
use std::time::{Duration, Instant};

const PIECES: u32 = 100_000;
const PEERS: u32 = 200;
/// Blocks of a piece.
const BLOCKS: u32 = 16;
/// Requests that a peer has outstanding.
const DEPTH: usize = 32;

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let mut group = criterion.benchmark_group("picker");
    // A seed here and there, half of everything, and next to nothing: there the walk over the rarest mostly fails.
    for percent in [100, 50, 2] {
        let mut swarm = Swarm::new(percent);
        group.bench_function(
            BenchmarkId::new("next block, of everything in %", percent),
            |bencher| {
                bencher.iter_custom(|iterations| swarm.blocks(iterations));
            },
        );
    }
    let mut swarm = Swarm::new(50);
    let mut rng = Rng::seeded(2);
    group.bench_function("have", |bencher| {
        bencher.iter(|| {
            let piece = swarm.geometry.piece(rng.below(PIECES.into()) as u32).expect("it exists");
            swarm.picker.peer_has(PeerKey(rng.below(PEERS.into()) as u32), piece)
        });
    });
    group.bench_function("peer joins and leaves", |bencher| {
        let pieces = some_pieces(swarm.geometry, 50, &mut rng);
        bencher.iter(|| {
            swarm.picker.peer_joined(PeerKey(PEERS), pieces.clone());
            swarm.picker.peer_left(PeerKey(PEERS));
        });
    });
    group.finish();
    criterion.final_summary();
}

fn some_pieces(geometry: Geometry, percent: u64, rng: &mut Rng) -> Bitfield {
    let mut pieces = Bitfield::empty(PIECES);
    for piece in geometry.iter().filter(|_| rng.below(100) < percent) {
        pieces.insert(piece);
    }
    pieces
}

/// A download in full swing: every peer is asked for [`DEPTH`] blocks, and sends them in order.
struct Swarm {
    geometry: Geometry,
    picker: Picker,
    queues: Vec<Vec<Block>>, // of each peer, the next block last
    turn: u32,
    begun: Picker, // to start over with
}

impl Swarm {
    /// The peers have so much of everything each.
    fn new(percent: u64) -> Self {
        let piece_len = u64::from(BLOCKS * BLOCK_LEN);
        let total = u64::from(PIECES) * piece_len;
        let geometry = Geometry::new(Version::V1, total, piece_len).expect("the sizes are legal");
        let mut rng = Rng::seeded(percent);
        let mut picker = Picker::new(geometry, Bitfield::empty(PIECES), rng.fork());
        for peer in 0..PEERS {
            picker.peer_joined(PeerKey(peer), some_pieces(geometry, percent, &mut rng));
        }
        let queues = vec![Vec::new(); PEERS as usize];
        Self { geometry, begun: picker.clone(), picker, queues, turn: 0 }
    }

    /// Time that so many blocks take: each arrives, its piece may be whole, and the peer is asked for more.
    #[expect(clippy::disallowed_methods, reason = "a bench times the world")]
    fn blocks(&mut self, count: u64) -> Duration {
        let mut took = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let started = Instant::now();
            while left > 0 && self.step() {
                left -= 1;
            }
            took += started.elapsed();
            if left > 0 {
                self.picker = self.begun.clone();
                self.queues.iter_mut().for_each(Vec::clear);
            }
        }
        took
    }

    /// `false` when a quarter is done, long before the end changes the picture.
    fn step(&mut self) -> bool {
        self.turn = (self.turn + 1) % PEERS;
        let (peer, queue) = (PeerKey(self.turn), &mut self.queues[self.turn as usize]);
        if let Some(block) = queue.pop()
            && let Arrival::PieceReady { .. } = self.picker.block_arrived(peer, block)
        {
            _ = self.picker.piece_checked(block.piece, Verdict::Good);
        }
        if queue.len() <= DEPTH / 2 {
            let mut more = Vec::with_capacity(DEPTH);
            self.picker.reserve(peer, DEPTH - queue.len(), &mut more);
            more.reverse();
            more.append(queue);
            *queue = more;
        }
        self.picker.have().count() < PIECES / 4
    }
}
