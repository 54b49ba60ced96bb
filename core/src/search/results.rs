//! What one search has found so far, and which of it comes first.

use super::hit::{Hashes, Hit, Network, Voice};
use super::merge::{Group, merge};
use super::spam::{self, Spam};
use super::{HITS_MAX, HITS_PER_VOICE, Question};
use crate::id::TorrentHashes;
use crate::metainfo::Magnet;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

/// Ages that are the same when results are put in order.
const AGES: [Duration; 3] =
    [Duration::from_secs(300), Duration::from_secs(3_600), Duration::from_secs(86_400)];
/// The same of distances; who was not measured is as far as the last.
const DISTANCES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(250)];

/// What became of a hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Added {
    /// It is not wanted.
    Filtered,
    /// It is new.
    Kept,
    /// It was there already.
    Known,
    /// There are [`HITS_MAX`], or [`HITS_PER_VOICE`] of this host.
    TooMany,
}

/// One thing that was found, at one host or several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// What most call it.
    pub name: String,
    /// Bytes, if anybody knows.
    pub size: Option<u64>,
    /// All that names its content.
    pub hashes: Hashes,
    /// Who has it, the best first. Never empty.
    pub sources: Vec<Hit>,
    /// Sources that are somebody of their own.
    pub voices: usize,
    /// Why it comes last, if it does.
    pub spam: Option<Spam>,
}

/// The hits of one search.
#[derive(Clone, Debug)]
pub struct Results {
    question: Question,
    hits: Vec<Hit>,
    known: BTreeSet<(super::Reach, String)>,
    of_voice: BTreeMap<Voice, usize>,
}

impl Results {
    /// Nothing yet.
    pub fn new(question: Question) -> Self {
        let (hits, known, of_voice) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { question, hits, known, of_voice }
    }

    /// One more hit.
    pub fn add(&mut self, hit: Hit) -> Added {
        if !self.question.filter.passes(&hit.name, hit.size) {
            return Added::Filtered;
        }
        let key = (hit.reach.clone(), hit.name.clone());
        if self.known.contains(&key) {
            return Added::Known;
        }
        let of_voice = self.of_voice.entry(hit.reach.voice()).or_default();
        if self.hits.len() >= HITS_MAX || *of_voice >= HITS_PER_VOICE {
            return Added::TooMany;
        }
        *of_voice += 1;
        self.known.insert(key);
        self.hits.push(hit);
        Added::Kept
    }

    /// Hits that were kept.
    pub fn len(&self) -> usize {
        self.hits.len()
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// How far everybody at this address is.
    pub fn set_ping(&mut self, addr: SocketAddrV4, ping: Duration) {
        for hit in self.hits.iter_mut().filter(|hit| hit.reach.direct() == Some(addr)) {
            hit.ping = Some(ping);
        }
    }

    /// How far a user of a directory is.
    pub fn set_ping_of(&mut self, user: &crate::proto::napster::Nick, ping: Duration) {
        for hit in &mut self.hits {
            if let super::Reach::Napster { nick, .. } = &hit.reach
                && nick.key() == user.key()
            {
                hit.ping = Some(ping);
            }
        }
    }

    /// All things, the best first: junk last; before that by the number of hosts that could give it, each doubling
    /// being a step; by age; by the nearest host; by speed.
    pub fn ranked(&self) -> Vec<Found> {
        let echoes = spam::echoes(&self.question, &self.hits);
        let newest = self.hits.iter().map(|hit| hit.seen_s).max().unwrap_or(0);
        let groups = merge(&self.hits).into_iter();
        let mut found: Vec<Found> = groups.map(|group| self.found(group, &echoes)).collect();
        found.sort_by_cached_key(|found| found.order(newest));
        found
    }

    fn found(&self, group: Group, echoes: &BTreeSet<Voice>) -> Found {
        let Group { hashes, size, mut hits, voices, .. } = group;
        hits.sort_unstable();
        let mut sources: Vec<Hit> = hits.iter().map(|&at| self.hits[at].clone()).collect();
        let name = usual_name(&sources);
        let spam = spam::judge(&self.question, &sources, echoes);
        sources.sort_by_key(|hit| {
            let far = hit.ping.unwrap_or(Duration::MAX);
            (hit.busy, hit.reach.direct().is_none(), far, Reverse(hit.speed))
        });
        Found { name, size, hashes, sources, voices: voices.len(), spam }
    }
}

/// What the most voices call it; of as many the first.
fn usual_name(sources: &[Hit]) -> String {
    let mut names: BTreeMap<&str, (BTreeSet<Voice>, usize)> = BTreeMap::new();
    for (at, hit) in sources.iter().enumerate() {
        let known = names.entry(&hit.name).or_insert_with(|| (BTreeSet::new(), at));
        known.0.insert(hit.reach.voice());
    }
    let best = names.into_iter().max_by_key(|(_, (voices, at))| (voices.len(), Reverse(*at)));
    best.map_or_else(String::new, |(name, _)| name.to_owned())
}

impl Found {
    /// By what results are put in order; the smallest first.
    fn order(&self, newest_s: u64) -> impl Ord + use<> {
        let idle: BTreeSet<Voice> =
            self.sources.iter().filter(|hit| !hit.busy).map(|hit| hit.reach.voice()).collect();
        let seen_s = self.sources.iter().map(|hit| hit.seen_s).max().unwrap_or(0);
        let age = Duration::from_secs(newest_s.saturating_sub(seen_s));
        let ping = self.sources.iter().filter_map(|hit| hit.ping).min().unwrap_or(Duration::MAX);
        let steps = |of: &[Duration], value| of.iter().filter(|step| value > **step).count();
        let speed: u64 = self.sources.iter().filter_map(|hit| hit.speed).map(u64::from).sum();
        (
            self.spam.is_some(),
            Reverse(usize::BITS - idle.len().leading_zeros()),
            steps(&AGES, age),
            steps(&DISTANCES, ping),
            Reverse(speed),
            Reverse(self.voices),
            self.name.clone(),
            self.hashes,
        )
    }

    /// Sources of each network that has any.
    pub fn networks(&self) -> BTreeMap<Network, usize> {
        let mut counts = BTreeMap::new();
        for hit in &self.sources {
            *counts.entry(hit.network()).or_default() += 1;
        }
        counts
    }

    /// The SHA-1 that its file of the torrent must have: if more voices name it than name the torrent without it, for a
    /// single one could give a torrent any.
    pub fn sha1_in_torrent(&self) -> Option<[u8; 20]> {
        self.proofs().sha1.filter(|_| self.hashes.torrent.is_some())
    }

    /// What it is told and compared with: its number in the torrent, and of the SHA-1 and the UUHash, each if more voices
    /// name it than leave it out, for who only names the same torrent as all others could give them any. Of the number
    /// Gnutella alone has a place to speak.
    pub fn proofs(&self) -> Hashes {
        let Hashes { file, sha1, uu, .. } = self.hashes;
        let file =
            file.filter(|_| self.most_name(&[Network::Gnutella], |hashes| hashes.file.is_some()));
        let sha1 = sha1.filter(|_| self.most_name(&Network::ALL, |hashes| hashes.sha1.is_some()));
        let uu = uu.filter(|_| self.most_name(&Network::ALL, |hashes| hashes.uu.is_some()));
        Hashes { file, sha1, uu, ..self.hashes }
    }

    /// Whether more voices of some networks name something than leave it out.
    fn most_name(&self, of: &[Network], names: impl Fn(&Hashes) -> bool) -> bool {
        let voices = |named: bool| {
            let hits = self.sources.iter().filter(|hit| of.contains(&hit.network()));
            let hits = hits.filter(|hit| names(&hit.hashes) == named);
            hits.map(|hit| hit.reach.voice()).collect::<BTreeSet<Voice>>().len()
        };
        voices(true) > voices(false)
    }

    /// The link that joins the swarm, if it has one: with every host that takes part there, and the one file of several
    /// that was found, if it is known which that is.
    pub fn magnet(&self) -> Option<Magnet> {
        let mut magnet = Magnet::of(TorrentHashes::V1(self.hashes.torrent?));
        magnet.name = Some(self.name.clone());
        magnet.select = self.proofs().file.map(|file| vec![file..=file]);
        for peer in self.sources.iter().filter_map(|hit| hit.peer) {
            magnet.add_peer(peer.into());
        }
        Some(magnet)
    }
}

#[cfg(test)]
mod tests {
    use super::super::hit::tests::{fasttrack_hit, hit, napster_hit};
    use super::super::{Filter, Reach};
    use super::*;
    use crate::id::InfoHash;
    use crate::proto::fasttrack::UuHash;

    fn results(hits: impl IntoIterator<Item = Hit>) -> Results {
        let mut results = Results::new(Question::new(&["blue"], Filter::default()).unwrap());
        for hit in hits {
            assert_eq!(results.add(hit), Added::Kept);
        }
        results
    }

    fn with_sha1(byte: u8, hit: Hit) -> Hit {
        Hit { hashes: Hashes { sha1: Some([byte; 20]), ..Hashes::default() }, ..hit }
    }

    fn names(results: &Results) -> Vec<String> {
        results.ranked().into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn more_hosts_come_first_then_near_then_fast() {
        let mut results = results([
            with_sha1(1, hit(1, "blue far", 1)),
            with_sha1(2, hit(2, "blue fast", 2)),
            with_sha1(3, hit(3, "blue near", 3)),
            with_sha1(4, hit(4, "blue many", 4)),
            with_sha1(4, hit(5, "blue many", 4)),
            with_sha1(5, Hit { seen_s: 900_000, ..hit(6, "blue old", 6) }),
            with_sha1(5, Hit { seen_s: 900_000, ..hit(7, "blue old", 6) }),
            with_sha1(6, Hit { busy: true, ..hit(8, "blue busy", 8) }),
            with_sha1(7, hit(9, "red", 9)),
            with_sha1(7, hit(10, "red", 9)),
        ]);
        results.hits[1].speed = Some(1_000);
        let Some(near) = results.hits[2].reach.direct() else { panic!() };
        results.set_ping(near, Duration::from_millis(5));
        let want =
            ["blue many", "blue old", "blue near", "blue fast", "blue far", "blue busy", "red"];
        assert_eq!(names(&results), want, "what lacks the word is last");
    }

    #[test]
    fn sources_are_in_the_order_of_use() {
        let mut hits = [hit(1, "blue", 1), hit(2, "blue", 1), hit(3, "blue", 1), hit(4, "blue", 1)]
            .map(|hit| with_sha1(1, hit));
        hits[0].busy = true;
        let Reach::Gnutella { addr, .. } = &mut hits[1].reach else { panic!() };
        *addr = None;
        let mut results = results(hits);
        results.set_ping("9.9.4.1:6346".parse().unwrap(), Duration::from_millis(5));
        let found = results.ranked().remove(0);
        let order: Vec<u8> =
            found
                .sources
                .iter()
                .map(|hit| {
                    if let Reach::Gnutella { servent, .. } = &hit.reach { servent.0[0] } else { 0 }
                })
                .collect();
        assert_eq!(order, [4, 3, 2, 1]);
        assert_eq!((found.voices, found.networks()), (4, BTreeMap::from([(Network::Gnutella, 4)])));
    }

    #[test]
    fn a_torrent_has_a_link_with_all_who_take_part() {
        let torrent = Some(InfoHash([7; 20]));
        let of = |hit: Hit, peer: &str, file| Hit {
            hashes: Hashes { torrent, file, ..Hashes::default() },
            peer: peer.parse().ok(),
            ..hit
        };
        let results = results([
            of(napster_hit("ann", [9, 9, 4, 4], "blue.iso", 5), "9.9.4.4:6699", None),
            of(hit(1, "blue.iso", 5), "9.9.1.1:6881", Some(2)),
            of(fasttrack_hit("bob", "9.9.5.5:1214", "blue.iso", 5), "9.9.1.1:6881", None),
        ]);
        let found = results.ranked();
        assert_eq!(found.len(), 1);
        let link = found[0].magnet().unwrap();
        let mut peers: Vec<String> = link.peers.iter().map(ToString::to_string).collect();
        peers.sort();
        assert_eq!(peers, ["9.9.1.1:6881", "9.9.4.4:6699"], "each once");
        assert_eq!((link.info_hash(), link.select), (InfoHash([7; 20]), Some(vec![2..=2])));
        let networks: Vec<Network> = found[0].networks().into_keys().collect();
        assert_eq!(networks, Network::ALL);
        assert_eq!(Results::new(results.question).ranked(), []);
    }

    #[test]
    fn a_sha1_that_most_name_must_be_that_of_the_torrents_file() {
        let torrent = Some(InfoHash([7; 20]));
        let of = |n, sha1: Option<u8>| {
            let sha1 = sha1.map(|byte| [byte; 20]);
            Hit { hashes: Hashes { torrent, sha1, ..Hashes::default() }, ..hit(n, "blue", 1) }
        };
        let must = |hits: Vec<Hit>| {
            let ranked = results(hits).ranked();
            assert_eq!(ranked.len(), 1);
            ranked[0].sha1_in_torrent()
        };
        assert_eq!(must(vec![of(1, Some(5))]), Some([5; 20]));
        assert_eq!(must(vec![of(1, Some(5)), of(2, Some(5)), of(3, None)]), Some([5; 20]));
        assert_eq!(must(vec![of(1, Some(5)), of(2, None)]), None, "one word against another");
        let bare = with_sha1(5, hit(3, "blue", 1));
        assert_eq!(must(vec![of(1, Some(5)), of(2, Some(5)), bare.clone()]), Some([5; 20]));
        let alone = results([bare]).ranked().remove(0);
        assert_eq!(alone.sha1_in_torrent(), None, "no torrent");
        assert_eq!(alone.proofs().sha1, Some([5; 20]));
    }

    #[test]
    fn one_voice_does_not_say_what_the_file_of_others_must_be() {
        let torrent = Some(InfoHash([7; 20]));
        let of = |uu: Option<u8>, hit: Hit| {
            let uu = uu.map(|byte| UuHash([byte; 20]));
            Hit { hashes: Hashes { torrent, uu, ..Hashes::default() }, ..hit }
        };
        let proofs = |hits: Vec<Hit>| {
            let ranked = results(hits).ranked();
            assert_eq!(ranked.len(), 1);
            let Hashes { sha1, uu, .. } = ranked[0].proofs();
            (sha1, uu)
        };
        let mut liar = of(None, hit(9, "blue", 1));
        liar.hashes.sha1 = Some([66; 20]);
        let honest = [1, 2].map(|n| of(None, hit(n, "blue", 1)));
        assert_eq!(proofs([vec![liar.clone()], honest.to_vec()].concat()), (None, None));
        let nodes =
            ["9.9.5.5:1", "9.9.6.6:1"].map(|a| of(Some(3), fasttrack_hit("b", a, "blue", 1)));
        let want = (None, Some(UuHash([3; 20])));
        assert_eq!(proofs([vec![liar.clone()], nodes.to_vec()].concat()), want);
        liar.hashes = Hashes { sha1: None, uu: Some(UuHash([66; 20])), ..liar.hashes };
        assert_eq!(proofs([vec![liar], honest.to_vec()].concat()), (None, None));
    }

    #[test]
    fn one_voice_does_not_say_which_file_of_a_torrent_others_have() {
        let torrent = Some(InfoHash([7; 20]));
        let of = |n, file| Hit {
            hashes: Hashes { torrent, file, ..Hashes::default() },
            ..hit(n, "blue", 1)
        };
        let chosen = |hits: Vec<Hit>| {
            let ranked = results(hits).ranked();
            assert_eq!(ranked.len(), 1);
            assert_eq!(
                ranked[0].magnet().unwrap().select,
                ranked[0].proofs().file.map(|n| vec![n..=n])
            );
            ranked[0].proofs().file
        };
        assert_eq!(chosen(vec![of(9, Some(66)), of(1, None), of(2, None)]), None);
        assert_eq!(chosen(vec![of(9, Some(66)), of(1, None)]), None, "one word against another");
        assert_eq!(chosen(vec![of(1, Some(2)), of(2, Some(2)), of(3, None)]), Some(2));
        assert_eq!(chosen(vec![of(1, Some(2))]), Some(2), "nobody says anything else");
        let crowd = (0..5).map(|n| Hit { name: format!("blue {n}"), ..of(9, Some(66)) });
        assert_eq!(chosen(crowd.chain([of(1, None), of(2, None)]).collect()), None);
    }

    #[test]
    fn what_one_host_and_all_together_can_fill() {
        let mut results = results([]);
        for n in 0..HITS_PER_VOICE {
            assert_eq!(results.add(hit(1, "blue", n as u64)), Added::Kept);
        }
        assert_eq!(results.add(hit(1, "blue", 999)), Added::TooMany);
        assert_eq!(results.add(hit(1, "blue", 0)), Added::Known);
        for n in 0..=HITS_MAX {
            let nick = format!("u{n}");
            let ip = [9, (n >> 8) as u8, n as u8, 1];
            results.add(napster_hit(&nick, ip, "blue", 1));
        }
        assert_eq!(results.len(), HITS_MAX);
        assert_eq!(results.add(hit(2, "blue", 5)), Added::TooMany);
    }

    #[test]
    fn what_is_not_wanted_is_not_kept() {
        let filter = Filter { size_min: Some(10), ..Filter::default() };
        let mut results = Results::new(Question::new(&["blue", "-live"], filter).unwrap());
        assert_eq!(results.add(hit(1, "blue", 9)), Added::Filtered);
        assert_eq!(results.add(hit(1, "blue live", 10)), Added::Filtered);
        assert_eq!(results.add(hit(1, "blue", 10)), Added::Kept);
        assert_eq!((results.len(), results.is_empty()), (1, false));
    }

    #[test]
    fn the_usual_name_counts_voices() {
        let hits = ["blue x", "blue y", "blue y"].map(str::to_owned);
        let hits = hits.iter().zip(1..).map(|(name, n)| with_sha1(1, hit(n, name, 1)));
        assert_eq!(names(&results(hits)), ["blue y"]);
    }
}
