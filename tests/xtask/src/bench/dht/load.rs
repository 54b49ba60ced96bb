//! Asks as fast as answers come, and one host faster than it may.

use super::crowd::Crowd;
use super::filling::{asker, source};
use super::{Known, NODE};
use gaggle_core::id::NodeId;
use gaggle_core::proto::krpc::{Ask, Body, Message, Query};
use gaggle_core::rng::Rng;
use harness::Stopwatch;
use std::net::{IpAddr, Ipv4Addr};

/// Questions under way: fewer than the kernel's queue of a socket holds, and enough that the node is never out of work.
const WINDOW: usize = 400;
/// Bits of a transaction that say which of them it is.
const SLOT_BITS: u32 = 9;
/// Seconds without an answer after which a question counts as lost.
const LOST_S: f64 = 0.3;
/// Every so many answers one is kept and checked afterwards.
const SAMPLE_EVERY: u64 = 997;
/// The host that asks too much, and how often in a second.
const ABUSER: Ipv4Addr = Ipv4Addr::new(198, 18, 9, 251);
const ABUSE_RATE: f64 = 2000.0;
/// Transactions of the abuser have this bit.
const ABUSE: u32 = 1 << 31;

/// What came of it.
pub(super) struct Load {
    pub(super) seconds: f64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) samples: Vec<Sample>,
    /// Asked and answered, of the host that asks too much.
    pub(super) abuse: (u64, u64),
}

/// An answer that is looked at closely.
pub(super) struct Sample {
    target: NodeId,
    /// The swarm that was asked for, if it was one.
    swarm: Option<usize>,
    answer: Vec<u8>,
}

impl Sample {
    /// Whether brute force comes to the same.
    pub(super) fn is_right(&self, known: &Known) -> bool {
        let Ok(Message { body: Body::Reply(reply), .. }) = Message::parse(&self.answer) else {
            return false;
        };
        let mut named: Vec<NodeId> =
            reply.nodes.unwrap_or_default().iter().map(|node| node.id).collect();
        named.sort_by_key(|id| id.distance(&self.target));
        if named != known.nearest(&self.target) {
            return false;
        }
        let Some(swarm) = self.swarm else { return true };
        let peers = &known.swarms[swarm].1;
        let values = reply.values.unwrap_or_default();
        let announced = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if peers.contains(&ip));
        reply.token.is_some()
            && values.len() >= 50
            && values.iter().all(|peer| peer.port() == 1000 && announced(peer.ip()))
    }
}

/// A query whose target and transaction are replaced for each use.
struct Template {
    raw: Vec<u8>,
    target: usize,
    transaction: usize,
}

impl Template {
    fn new(known: &Known, of: impl Fn(NodeId) -> Ask) -> Self {
        const MARK: NodeId = NodeId([0xa5; 20]);
        const NUMBER: u32 = 0xa1b2_c3d4;
        let query = Query { id: asker(known), read_only: true, ask: of(MARK) };
        let raw = Message::query(NUMBER.into(), query).encode();
        let find = |needle: &[u8]| raw.windows(needle.len()).position(|part| part == needle);
        let (target, transaction) = (find(&MARK.0), find(&NUMBER.to_be_bytes()));
        Self { target: target.unwrap_or(0), transaction: transaction.unwrap_or(0), raw }
    }

    fn fill(&mut self, target: &NodeId, number: u32) -> &[u8] {
        self.raw[self.target..self.target + 20].copy_from_slice(&target.0);
        self.raw[self.transaction..self.transaction + 4].copy_from_slice(&number.to_be_bytes());
        &self.raw
    }
}

/// One question under way.
#[derive(Clone)]
struct Slot {
    number: u32,
    target: NodeId,
    swarm: Option<usize>,
    at: f64,
}

pub(super) fn run(
    crowd: &mut Crowd,
    known: &Known,
    sources: u32,
    seconds: u64,
    rng: &mut Rng,
) -> anyhow::Result<Load> {
    let mut find = Template::new(known, |target| Ask::FindNode { target, want: None });
    let mut get = Template::new(known, |target| Ask::GetPeers {
        info_hash: gaggle_core::id::InfoHash(target.0),
        want: None,
        no_seed: false,
        scrape: false,
        bootstrap: false,
    });
    let watch = Stopwatch::new();
    let mut load = Load { seconds: 0.0, answered: 0, lost: 0, samples: Vec::new(), abuse: (0, 0) };
    let mut slots: Vec<Option<Slot>> = vec![None; WINDOW];
    let mut free: Vec<usize> = (0..WINDOW).collect();
    let (mut asked, mut swept) = (0u64, 0.0);
    let mut now = 0.0;
    while now < seconds as f64 {
        while let Some(at) = free.pop() {
            let swarm = (asked % 2 == 1 && !known.swarms.is_empty())
                .then(|| rng.next_u64() as usize % known.swarms.len());
            let target =
                swarm.map_or_else(|| NodeId::random(rng), |nth| known.swarms[nth].0.into());
            // The slot in the low bits finds it again, the rest tells late answers apart.
            let number = ((asked as u32) << SLOT_BITS | at as u32) & !ABUSE;
            let template = if swarm.is_some() { &mut get } else { &mut find };
            let from = source((asked % u64::from(sources)) as u32);
            crowd.send(from, NODE, template.fill(&target, number));
            slots[at] = Some(Slot { number, target, swarm, at: now });
            asked += 1;
        }
        while (load.abuse.0 as f64) < now * ABUSE_RATE {
            let target = NodeId::random(rng);
            let number = ABUSE | load.abuse.0 as u32;
            crowd.send(ABUSER, NODE, find.fill(&target, number));
            load.abuse.0 += 1;
        }
        crowd.receive(|to, raw| take(to, raw, &mut slots, &mut free, &mut load))?;
        now = watch.seconds();
        if now - swept > LOST_S / 4.0 {
            swept = now;
            for (at, slot) in slots.iter_mut().enumerate() {
                if slot.as_ref().is_some_and(|slot| now - slot.at > LOST_S) {
                    *slot = None;
                    free.push(at);
                    load.lost += 1;
                }
            }
        }
    }
    load.seconds = now;
    Ok(load)
}

fn take(
    to: Ipv4Addr,
    raw: &[u8],
    slots: &mut [Option<Slot>],
    free: &mut Vec<usize>,
    load: &mut Load,
) {
    // Every answer ends in its transaction, our version and its kind.
    const TAIL: usize = b"1:v4:xxxx1:y1:re".len();
    let number = raw.len().checked_sub(TAIL + 4).and_then(|at| raw[at..].first_chunk().copied());
    let Some(number) = number.map(u32::from_be_bytes) else { return };
    if to == ABUSER {
        load.abuse.1 += u64::from(number & ABUSE != 0);
        return;
    }
    let at = (number & ((1 << SLOT_BITS) - 1)) as usize;
    let Some(slot) = slots.get_mut(at).and_then(|slot| slot.take_if(|slot| slot.number == number))
    else {
        return;
    };
    free.push(at);
    load.answered += 1;
    if load.answered.is_multiple_of(SAMPLE_EVERY) {
        load.samples.push(Sample { target: slot.target, swarm: slot.swarm, answer: raw.to_vec() });
    }
}
