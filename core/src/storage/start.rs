//! Decides at start-up which pieces are trusted, which are hashed, and which cannot be there.
//!
//! Trust needs all of: a record of this torrent, the piece durable in it, and every file of the piece with the size
//! and time that were recorded. A file that we were writing when the process ended has another time; the unsynced
//! list, written before each piece, explains that. Never trusts a listed piece, and never reads a file.

use super::layout::{Layout, Place};
use super::resume::{Record, Stamp};
use crate::bitfield::Bitfield;
use crate::geometry::PieceIndex;
use std::time::Duration;

/// How long after the last line of the unsynced list a write of ours may have ended: a file changed later than
/// that was changed by somebody else.
pub const WRITE_LAG_MAX: Duration = Duration::from_secs(60);

/// How much of what is on disk is believed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Verify {
    /// Hash everything that exists, whatever the record says.
    Always,
    /// Believe the record where sizes and times fit, hash the rest.
    #[default]
    Auto,
    /// Believe the record without looking at times, though never a piece of the unsynced list, which may be half
    /// written; without a record, believe files of the right size.
    Trust,
}

/// What lies in the state and output folders.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// A record of this torrent and output folder, if there is one.
    pub record: Option<&'a Record>,
    /// The pieces of the unsynced list.
    pub listed: &'a Bitfield,
    /// When the list was last written, nanoseconds since 1970.
    pub listed_mtime_ns: i64,
    /// Per file of the torrent: what is there now.
    pub files: &'a [Option<Stamp>],
    /// The parts file.
    pub parts: Option<Stamp>,
}

/// What to do with each piece; one in none of the sets is known to be missing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StartPlan {
    /// Taken without reading.
    pub trusted: Bitfield,
    /// To be read and hashed.
    pub hash: Bitfield,
    /// Has bytes in the parts file whose own file is selected now: unless it hashes right where it is, carry out
    /// [`Layout::moves`] and hash it again.
    pub moves: Bitfield,
}

/// Sorts the pieces of a torrent. `layout.reset_stored` must have been called with the record's files.
pub fn plan(layout: &Layout, found: &Found<'_>, verify: Verify) -> StartPlan {
    let geometry = layout.geometry();
    let none = || Bitfield::empty(geometry.pieces());
    let mut plan = StartPlan { trusted: none(), hash: none(), moves: none() };
    let before = found.record.map(Record::stored);
    let signs = Signs::read(layout, found);
    for piece in geometry.iter() {
        let known = found.record.is_some_and(|r| r.durable.has(piece) || found.listed.has(piece));
        let moved = before.as_ref().is_some_and(|before| !layout.moves(piece, before).is_empty());
        if moved && known {
            plan.moves.insert(piece);
        }
        let (exists, sign) = signs.of(layout, found, piece);
        if !exists {
            continue;
        }
        let set = match (verify, found.record) {
            (Verify::Always, _) | (Verify::Auto, None) => &mut plan.hash,
            (Verify::Trust, None) if signs.right_size(layout, found, piece) => &mut plan.trusted,
            (Verify::Trust, Some(_)) if durable(found, piece) && !moved => &mut plan.trusted,
            (Verify::Trust, None) => &mut plan.hash,
            (_, Some(_)) if sign == Sign::Changed => &mut plan.hash,
            (_, Some(_)) if moved => continue,
            (_, Some(_)) if found.listed.has(piece) && !durable(found, piece) => &mut plan.hash,
            (_, Some(_)) if durable(found, piece) => &mut plan.trusted,
            // Padding alone costs no reading, and nobody ever stores it.
            (_, Some(_)) if layout.extents(piece).iter().all(|e| e.place == Place::Pad) => {
                &mut plan.hash
            }
            (_, Some(_)) => continue,
        };
        set.insert(piece);
    }
    plan
}

fn durable(found: &Found<'_>, piece: PieceIndex) -> bool {
    found.record.is_some_and(|record| record.durable.has(piece))
}

/// Whether somebody else wrote to a file since the record was made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Sign {
    Unchanged,
    Changed,
}

struct Signs {
    files: Vec<Sign>,
    parts: Sign,
}

impl Signs {
    fn read(layout: &Layout, found: &Found<'_>) -> Self {
        let mut explained = vec![false; layout.files().len()];
        let mut parts_explained = false;
        for piece in found.listed.ones() {
            for extent in layout.extents(piece) {
                match extent.place {
                    Place::File { file, .. } => explained[file] = true,
                    Place::Parts { .. } => parts_explained = true,
                    Place::Pad => {}
                }
            }
        }
        let sign = |was: Option<Stamp>, now: Option<Stamp>, explained: bool| match now {
            Some(now) if was != Some(now) && !(explained && by_us(was, now, found)) => {
                Sign::Changed
            }
            _ => Sign::Unchanged,
        };
        let was = |at: usize| found.record.and_then(|record| record.files[at].stamp);
        let files =
            (0..explained.len()).map(|at| sign(was(at), found.files[at], explained[at])).collect();
        let parts_were = found.record.and_then(|record| record.parts);
        Self { files, parts: sign(parts_were, found.parts, parts_explained) }
    }

    /// Whether every byte of the piece exists, and the worst sign of the files that it lies in.
    fn of(&self, layout: &Layout, found: &Found<'_>, piece: PieceIndex) -> (bool, Sign) {
        let mut worst = Sign::Unchanged;
        for extent in layout.extents(piece) {
            let (stamp, start, sign) = match extent.place {
                Place::File { file, offset } => (found.files[file], offset, self.files[file]),
                Place::Parts { offset } => (found.parts, offset, self.parts),
                Place::Pad => continue,
            };
            if stamp.is_none_or(|now| now.len < start + u64::from(extent.len)) {
                return (false, worst);
            }
            worst = worst.max(sign);
        }
        (true, worst)
    }

    /// Whether every file that the piece lies in has exactly the declared size.
    fn right_size(&self, layout: &Layout, found: &Found<'_>, piece: PieceIndex) -> bool {
        layout.extents(piece).iter().all(|extent| match extent.place {
            Place::File { file, .. } => {
                found.files[file].is_some_and(|now| now.len == layout.files()[file].len)
            }
            Place::Pad => true,
            Place::Parts { .. } => false,
        })
    }
}

/// Whether a listed piece can be why the file differs from its stamp: it did not shrink, its time went forward,
/// and not much past the last line of the list.
fn by_us(was: Option<Stamp>, now: Stamp, found: &Found<'_>) -> bool {
    let lag_ns = WRITE_LAG_MAX.as_nanos() as i64;
    let grew = was.is_none_or(|was| now.len >= was.len && now.mtime_ns >= was.mtime_ns);
    grew && now.mtime_ns <= found.listed_mtime_ns.saturating_add(lag_ns)
}
