//! Hashing on other threads, watched by the terminal: progress is shown and a signal breaks it off.

use super::env::Env;
use super::exit::Exit;
use super::progress::{Meter, TICK};
use crate::disk::Progress;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// What the threads and the terminal tell each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    hashed: AtomicU32,
    to_hash: AtomicU32,
    stop: AtomicBool,
}

impl Watch {
    /// For the threads: so far it is, and whether to go on.
    pub(super) fn step(&self, progress: Progress) -> ControlFlow<()> {
        self.hashed.store(progress.hashed, Ordering::Relaxed);
        self.to_hash.store(progress.to_hash, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Of `total` bytes.
    fn bytes(&self, total: u64) -> u64 {
        let (hashed, of) = (&self.hashed, &self.to_hash);
        let share = u128::from(hashed.load(Ordering::Relaxed)) * u128::from(total);
        u64::try_from(share / u128::from(of.load(Ordering::Relaxed).max(1))).unwrap_or(total)
    }
}

/// Runs `work` over `total` bytes; `Err` is the signal that stopped it.
pub(super) async fn watched<T: Send + 'static>(
    env: &Env,
    total: u64,
    work: impl FnOnce(&Watch) -> T + Send + 'static,
) -> anyhow::Result<Result<(T, Duration), Exit>> {
    let watch = Arc::new(Watch::default());
    let mut meter = Meter::new(env, total);
    let mut work = tokio::task::spawn_blocking({
        let watch = watch.clone();
        move || work(&watch)
    });
    let mut ticks = tokio::time::interval(TICK);
    ticks.tick().await; // the first is immediate
    let done = loop {
        tokio::select! {
            done = &mut work => break Ok((done?, meter.elapsed())),
            exit = env.signals.first() => {
                watch.stop.store(true, Ordering::Relaxed);
                break Err(exit);
            }
            _ = ticks.tick() => meter.hashing("hashing", watch.bytes(total), total),
        }
    };
    meter.finish();
    Ok(done)
}
