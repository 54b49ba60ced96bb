//! The threads that do blocking work: one per core for hashing, writing and reading, and one keeper that syncs.
//!
//! Syncs have a thread of their own because fdatasync can take seconds, and pieces must go on being written
//! meanwhile. The queue is bounded by its users: a torrent refuses work past its own limit, see `storage`. Pieces that
//! wait at one moment are hashed together, which takes less than half the time; where large ones come fast, one waits a
//! little for the next.

use super::claim::cores;
use super::descriptors::Descriptors;
use super::fault::{StorageError, at};
use super::locks::Locks;
use super::recycled::Recycled;
use super::state;
use bytes::Bytes;
use gaggle_core::clock::Instant;
use gaggle_core::hash;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Reads the time. The program has one clock; this module is handed it.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Work for a thread.
pub(super) enum Job {
    /// Pieces to hash together. They come one by one; the queue joins those that wait.
    Pieces(Vec<Whole>),
    /// Anything else.
    Other(Box<dyn FnOnce() + Send>),
}

/// A whole piece.
pub(super) struct Whole {
    /// Its bytes, in order.
    pub(super) blocks: Vec<Bytes>,
    /// Called with them and their SHA-1.
    pub(super) then: Box<dyn FnOnce(Vec<Bytes>, [u8; 20]) + Send>,
}

impl Job {
    fn run(self) {
        match self {
            Self::Pieces(pieces) => {
                let blocks: Vec<&[Bytes]> = pieces.iter().map(|piece| &piece.blocks[..]).collect();
                let hashes = hash::pieces(&blocks);
                for (piece, hash) in pieces.into_iter().zip(hashes) {
                    (piece.then)(piece.blocks, hash);
                }
            }
            Self::Other(job) => job(),
        }
    }
}

/// Pieces of which none waits for another. Two take little more time than one; if more waited, then large pieces would
/// use up what may be in memory, and the sender would pause.
const COMPANY: usize = 2;
/// Largest piece that waits for another: eight of them may be in hand.
const COMPANY_LEN_MAX: usize = 4 << 20;
/// For how long a piece may wait for company, by its length: about six times as long as it takes to hash alone.
const PATIENCE_PER_KIB: Duration = Duration::from_micros(3);
/// Fewest worker threads: one may wait for a slow disk while another serves the page cache.
const WORKERS_MIN: usize = 2;

/// A torrent that the keeper looks after.
pub(super) trait Kept: Send + Sync {
    /// When it wants to be synced.
    fn deadline(&self) -> Option<Instant>;
    /// Syncs it if that is due.
    fn keep(&self, now: Instant);
}

/// The pool. Cheap to clone; threads end when the last clone is dropped, after the work that is queued.
#[derive(Clone)]
pub struct Pool {
    guard: Arc<Guard>,
}

struct Guard {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(super) struct Shared {
    pub(super) descriptors: Arc<Descriptors>,
    pub(super) buffers: Recycled,
    /// By state folder.
    locks: Mutex<BTreeMap<PathBuf, Arc<Locks>>>,
    clock: Clock,
    queue: Mutex<Queue>,
    work: Condvar,
    kept: Mutex<Keeping>,
    poke: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// How many of them are pieces.
    pieces: usize,
    /// When a piece came last.
    last_piece: Option<Instant>,
    /// Whether pieces wait for one another; not where the CPU hashes two no faster than one after the other.
    patient: bool,
    /// Until when the last one waits, if it is alone.
    ripe: Instant,
    stopping: bool,
}

/// What there is to do for a worker.
enum Next {
    Run(Job),
    /// Nothing, unless more comes, for so long.
    Later(Duration),
    Nothing,
}

#[derive(Default)]
struct Keeping {
    torrents: Vec<Weak<dyn Kept>>,
    poked: bool,
    stopping: bool,
}

impl Queue {
    /// A piece that comes soon after another waits for the next one, which should be as near. Others do not wait.
    fn push(&mut self, now: Instant, job: Job) {
        if let Job::Pieces(pieces) = &job {
            let len: usize = pieces.iter().flat_map(|piece| &piece.blocks).map(Bytes::len).sum();
            let patience = match len {
                0..=COMPANY_LEN_MAX if self.patient => PATIENCE_PER_KIB * (len >> 10) as u32,
                _ => Duration::ZERO,
            };
            let soon = self.last_piece.is_some_and(|last| now.since(last) < patience);
            self.ripe = if soon { now + patience } else { now };
            self.last_piece = Some(now);
            self.pieces += pieces.len();
        }
        self.jobs.push_back(job);
    }

    /// The job that waits longest; a piece that waits for company lets others pass. If it is a piece, then other pieces
    /// come with it.
    fn next(&mut self, now: Instant) -> Next {
        // Who is alone is the one that came last: pieces leave in their order.
        let waits = (1..COMPANY).contains(&self.pieces) && now < self.ripe && !self.stopping;
        let goes = |job: &Job| !waits || matches!(job, Job::Other(_));
        let Some(first) = self.jobs.iter().position(goes) else {
            return if waits { Next::Later(self.ripe.since(now)) } else { Next::Nothing };
        };
        let mut job = self.jobs.remove(first).expect("it was found there");
        if let Job::Pieces(pieces) = &mut job {
            let mut at = 0;
            while pieces.len() < hash::LANES && at < self.jobs.len() {
                match &mut self.jobs[at] {
                    Job::Pieces(more) => {
                        pieces.append(more);
                        self.jobs.remove(at);
                    }
                    Job::Other(_) => at += 1,
                }
            }
            self.pieces -= pieces.len();
        }
        Next::Run(job)
    }
}

impl Pool {
    /// Starts `workers` threads, by default one per core and at least two, and the keeper.
    pub fn start(workers: Option<usize>, clock: Clock) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            descriptors: Descriptors::new(),
            buffers: Recycled::default(),
            locks: Mutex::default(),
            clock,
            queue: Mutex::new(Queue { patient: hash::interleaves(), ..Queue::default() }),
            work: Condvar::new(),
            kept: Mutex::default(),
            poke: Condvar::new(),
        });
        let guard = Guard { shared: Arc::clone(&shared), threads: Mutex::default() };
        let spawn = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
        };
        for _ in 0..workers.unwrap_or_else(cores).max(WORKERS_MIN) {
            held(&guard.threads).push(spawn("disk", Shared::work)?);
        }
        held(&guard.threads).push(spawn("disk-sync", Shared::keep)?);
        Ok(Self { guard: Arc::new(guard) })
    }

    /// Finishes what is queued and ends the threads. Blocks; close the torrents first, or their last pieces
    /// are hashed again at the next start.
    pub fn stop(&self) {
        self.guard.shared.stop();
        let threads = std::mem::take(&mut *held(&self.guard.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a disk thread panicked");
            }
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.guard.shared)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    pub(super) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// The locks of a state folder, which is made if need be.
    pub(super) fn locks(&self, state_dir: &Path) -> Result<Arc<Locks>, StorageError> {
        let mut known = held(&self.locks);
        if let Some(locks) = known.get(state_dir) {
            return Ok(Arc::clone(locks));
        }
        let folder = state_dir.join(state::FOLDER);
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let locks = Locks::open(&folder)?;
        known.insert(state_dir.to_owned(), Arc::clone(&locks));
        Ok(locks)
    }

    /// After the pool has stopped, the asker does the work: a torrent that is closed late still ends.
    pub(super) fn submit(&self, job: Job) {
        let mut queue = held(&self.queue);
        if queue.stopping {
            drop(queue);
            return job.run();
        }
        queue.push(self.now(), job);
        self.work.notify_one();
    }

    pub(super) fn look_after(&self, torrent: Weak<dyn Kept>) {
        held(&self.kept).torrents.push(torrent);
        self.poke();
    }

    /// A deadline came nearer.
    pub(super) fn poke(&self) {
        held(&self.kept).poked = true;
        self.poke.notify_one();
    }

    fn stop(&self) {
        held(&self.queue).stopping = true;
        self.work.notify_all();
        held(&self.kept).stopping = true;
        self.poke.notify_all();
    }

    fn work(&self) {
        loop {
            let mut queue = held(&self.queue);
            let (mut now, mut watches) = (self.now(), false);
            let job = loop {
                match queue.next(now) {
                    Next::Run(job) => break job,
                    Next::Later(wait) => {
                        watches = true;
                        let woken = self.work.wait_timeout(queue, wait);
                        let (again, timer) = woken.unwrap_or_else(PoisonError::into_inner);
                        queue = again;
                        // What was waited for is over, even if somebody has stopped that clock.
                        let waited = if timer.timed_out() { now + wait } else { now };
                        now = self.now().max(waited);
                    }
                    Next::Nothing if queue.stopping => return,
                    Next::Nothing => {
                        queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                        now = self.now();
                    }
                }
            };
            // It may have been woken for one job while it watched over another: nobody promises which worker is woken.
            if watches && !queue.jobs.is_empty() {
                self.work.notify_one();
            }
            drop(queue);
            job.run();
        }
    }

    fn keep(&self) {
        loop {
            let torrents: Vec<Arc<dyn Kept>> = {
                let mut kept = held(&self.kept);
                if kept.stopping {
                    return;
                }
                kept.poked = false;
                kept.torrents.retain(|torrent| torrent.strong_count() > 0);
                kept.torrents.iter().filter_map(Weak::upgrade).collect()
            };
            let now = self.now();
            torrents.iter().for_each(|torrent| torrent.keep(now));
            let wake = torrents.iter().filter_map(|torrent| torrent.deadline()).min();
            drop(torrents);
            let wait = wake.map_or(Duration::MAX, |wake| wake.since(self.now()));
            let kept = held(&self.kept);
            if kept.poked || kept.stopping {
                continue;
            }
            // Woken too early or for nothing: the loop looks again.
            drop(self.poke.wait_timeout(kept, wait.min(Duration::from_secs(3600))));
        }
    }
}

/// Bookkeeping stays usable after a panic elsewhere: every critical section here leaves it consistent.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Of what waits: which pieces leave together, and that everything else keeps its turn.
    #[test]
    fn pieces_that_wait_leave_together_and_the_rest_in_order() {
        let (said, heard) = mpsc::sync_channel(32);
        let mut queue = Queue::default();
        for (at, kind) in "ppoppopp".char_indices() {
            let said = said.clone();
            let say = move |what: String| said.send(what).expect("somebody listens");
            queue.push(
                Instant::ZERO,
                match kind {
                    'p' => Job::Pieces(vec![Whole {
                        blocks: vec![
                            Bytes::from(vec![at as u8; 100 * at]),
                            Bytes::from_static(b"end"),
                        ],
                        then: Box::new(move |blocks, got| {
                            assert_eq!(got, hash::sha1(blocks.iter().map(|block| &block[..])));
                            say(format!("piece {at}"));
                        }),
                    }]),
                    _ => Job::Other(Box::new(move || say(format!("other {at}")))),
                },
            );
        }
        let mut jobs = 0;
        while let Next::Run(job) = queue.next(Instant::ZERO) {
            job.run();
            said.send("next".to_owned()).expect("somebody listens");
            jobs += 1;
        }
        assert_eq!(jobs, 4);
        let order: Vec<String> = heard.try_iter().collect();
        let want =
            "piece 0,piece 1,piece 3,piece 4,next,other 2,next,other 5,next,piece 6,piece 7,next";
        assert_eq!(order.join(","), want);
    }

    /// A piece of 1 MiB may wait for 3 ms.
    #[test]
    fn a_piece_waits_for_the_next_one_where_they_come_fast_and_lets_others_pass() {
        let ms = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        let piece = || {
            let blocks = vec![Bytes::from(vec![0; 1 << 20])];
            Job::Pieces(vec![Whole { blocks, then: Box::new(|_, _| {}) }])
        };
        let other = || Job::Other(Box::new(|| {}));
        let next = |queue: &mut Queue, now| match queue.next(ms(now)) {
            Next::Run(Job::Pieces(pieces)) => format!("{} together", pieces.len()),
            Next::Run(Job::Other(_)) => "other".to_owned(),
            Next::Later(wait) => format!("wait {wait:?}"),
            Next::Nothing => "nothing".to_owned(),
        };
        let mut queue = Queue { patient: true, ..Queue::default() };
        queue.push(ms(10), piece());
        assert_eq!(next(&mut queue, 10), "1 together", "nobody knows of another");
        queue.push(ms(12), piece());
        queue.push(ms(12), other());
        assert_eq!(next(&mut queue, 12), "other");
        assert_eq!(next(&mut queue, 13), "wait 2.072ms");
        queue.push(ms(14), piece());
        assert_eq!(next(&mut queue, 14), "2 together");
        queue.push(ms(15), piece());
        assert_eq!(next(&mut queue, 19), "1 together", "it has waited long enough");
        queue.push(ms(30), piece());
        assert_eq!(next(&mut queue, 30), "1 together", "the one before came long ago");
        let large = vec![Bytes::from(vec![0; COMPANY_LEN_MAX + 1])];
        let large = Whole { blocks: large, then: Box::new(|_, _| {}) };
        queue.push(ms(31), Job::Pieces(vec![large]));
        assert_eq!(next(&mut queue, 31), "1 together", "two would fill the memory");
        queue.push(ms(31), piece());
        queue.stopping = true;
        assert_eq!(next(&mut queue, 31), "1 together", "no more will come");
        assert_eq!(next(&mut queue, 31), "nothing");
        queue = Queue::default();
        (31..33).for_each(|at| queue.push(ms(at), piece()));
        assert_eq!(next(&mut queue, 33), "2 together");
        queue.push(ms(34), piece());
        assert_eq!(next(&mut queue, 34), "1 together", "nothing would be won by waiting");
    }

    #[test]
    fn a_piece_that_waits_does_not_wait_for_ever_even_if_the_clock_stands_still() {
        let pool = Pool::start(Some(2), Arc::new(|| Instant::ZERO)).expect("threads start");
        let (said, heard) = mpsc::sync_channel(2);
        let piece = |what: &'static str| {
            let (said, blocks) = (said.clone(), vec![Bytes::from(vec![0; 1 << 20])]);
            let then = move |_, _| said.send(what).expect("somebody listens");
            pool.shared().submit(Job::Pieces(vec![Whole { blocks, then: Box::new(then) }]));
        };
        let next = || heard.recv_timeout(Duration::from_secs(20));
        piece("first");
        assert_eq!(next(), Ok("first"));
        piece("second"); // it waits: the clock says that it comes at once after the first
        let (go, gone) = mpsc::sync_channel::<()>(0);
        pool.shared().submit(Job::Other(Box::new(move || _ = gone.recv())));
        assert_eq!(next(), Ok("second"), "the other worker is left");
        drop(go);
        pool.stop();
    }
}
