//! One limit of bytes for several connections that are not of one machine.

use super::Clock;
use gaggle_core::swarm::rate::{BURST, TokenBucket};
use gaggle_core::units::BytesPerSec;
use std::sync::{Arc, Mutex, PoisonError};

/// Of so many bytes there is always room in the bucket of a limit.
const PIECE_MIN: u64 = 16 << 10;

/// Bytes per second of all who hold it together. Clones are the same.
#[derive(Clone, Debug)]
pub struct Limit {
    rate: BytesPerSec,
    bucket: Arc<Mutex<TokenBucket>>,
    clock: Clock,
}

impl Limit {
    /// With what a moment gives saved up. A rate of zero lets nothing through, ever.
    pub fn new(rate: BytesPerSec, clock: Clock) -> Self {
        let bucket = TokenBucket::new(Some(rate), clock.now());
        Self { rate, bucket: Arc::new(Mutex::new(bucket)), clock }
    }

    /// How much to send at once, `most` at most: pieces that are too large would come seldom.
    pub fn piece(&self, most: u64) -> u64 {
        self.rate.times(BURST).max(PIECE_MIN).min(most)
    }

    /// Waits until so many bytes may be sent. If it is dropped before, they count for nobody.
    pub async fn pass(&self, bytes: u64) {
        loop {
            let ready = {
                // Every critical section here leaves the bucket consistent.
                let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
                let now = self.clock.now();
                if bucket.take_all(now, bytes) {
                    return;
                }
                bucket.ready_at(now, bytes)
            };
            self.clock.sleep_until(Some(ready)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_holds_for_all_who_hold_it_together() {
        let clock = Clock::start();
        let limit = Limit::new(BytesPerSec(400_000), clock);
        assert_eq!((limit.piece(9), limit.piece(1 << 20)), (9, 40_000));
        assert_eq!(Limit::new(BytesPerSec(1), clock).piece(1 << 20), PIECE_MIN);
        let send = async |limit: Limit| {
            for _ in 0..10 {
                limit.pass(10_000).await;
            }
        };
        let began = clock.now();
        tokio::join!(send(limit.clone()), send(limit));
        // 200 000 bytes, of which a tenth of a second is saved up.
        let took = clock.now().since(began);
        assert!(took > Duration::from_millis(350), "{took:?}");
    }
}
