//! One round of the choker with 200 peers of every kind.

use criterion::{BenchmarkId, Criterion};
use gaggle_core::clock::Instant;
use gaggle_core::proto::peer::Choke;
use gaggle_core::rng::Rng;
use gaggle_core::swarm::PeerKey;
use gaggle_core::swarm::choker::{Choker, ChokerConfig, Contender, ROUND};
use gaggle_core::units::BytesPerSec;

const PEERS: u32 = 200;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("choker");
    for (who, seeding) in [("leech", false), ("seed", true)] {
        group.bench_function(BenchmarkId::new("round", who), |bencher| {
            let mut rng = Rng::seeded(1);
            let mut choker = Choker::new(ChokerConfig::default(), rng.fork());
            let mut peers: Vec<Contender> =
                (0..PEERS).map(|peer| contender(peer, &mut rng)).collect();
            let mut now = Instant::ZERO;
            bencher.iter(|| {
                now += ROUND;
                let rate = BytesPerSec(20 << 20);
                for (peer, choke) in choker.round(now, seeding, Some(rate), rate, &peers) {
                    peers[peer.0 as usize].unchoked = choke == Choke::Unchoked;
                }
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn contender(peer: u32, rng: &mut Rng) -> Contender {
    let mut rate = || BytesPerSec(rng.below(4 << 20));
    let (down, up) = (rate(), rate());
    Contender {
        peer: PeerKey(peer),
        interested: !peer.is_multiple_of(10),
        unchoked: false,
        down,
        up,
        snubbed: peer.is_multiple_of(7),
        joined: Instant::ZERO,
        sent: rng.below(64 << 20),
        complete: peer.is_multiple_of(20),
        given: rng.below(1 << 30),
        taken: rng.below(1 << 30),
        hoards: peer.is_multiple_of(13),
    }
}
