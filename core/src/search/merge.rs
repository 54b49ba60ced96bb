//! Which hits are the same thing.
//!
//! Hits that claim the same hashes and size are one claim. Claims join when a hash that names content is the same in
//! both and none is different: those of the most voices first, so that a liar who gives another torrent to what others
//! know finds himself alone. Those who know a file by its SHA-1 have it taken for that of a torrent only if more voices
//! say so than there are of them. A name and a size alone never make two files one.

use super::hit::{Hashes, Hit, Voice};
use std::collections::{BTreeMap, BTreeSet};

/// Hits of one thing, by their places in a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) hashes: Hashes,
    pub(super) size: Option<u64>,
    pub(super) hits: Vec<usize>,
    pub(super) voices: BTreeSet<Voice>,
    /// Who names both a torrent and a SHA-1.
    ties: BTreeSet<Voice>,
    /// Who names a SHA-1 and no torrent.
    bare: BTreeSet<Voice>,
}

/// Hits as groups, in no order that means anything.
pub(super) fn merge(hits: &[Hit]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for mut claim in claims(hits) {
        // All that this one ties together, the one with the most voices first.
        let mut at = 0;
        while at < groups.len() {
            if claim.is_of(&groups[at]) {
                let group = groups.remove(at);
                claim = group.and(claim);
                // What was passed over may be of it now.
                at = 0;
            } else {
                at += 1;
            }
        }
        groups.push(claim);
    }
    groups
}

/// What is claimed, by how many; of the most voices first, and of as many the one that says most.
fn claims(hits: &[Hit]) -> Vec<Group> {
    let mut same: BTreeMap<(Hashes, Option<u64>, usize), Group> = BTreeMap::new();
    for (at, hit) in hits.iter().enumerate() {
        // Without a hash each is alone.
        let alone = if hit.hashes.count() == 0 { at } else { usize::MAX };
        let claim = same.entry((hit.hashes, hit.size, alone)).or_insert_with(|| Group {
            hashes: hit.hashes,
            size: hit.size,
            ..Group::default()
        });
        let voice = hit.reach.voice();
        claim.hits.push(at);
        claim.voices.insert(voice);
        match (hit.hashes.torrent, hit.hashes.sha1) {
            (Some(_), Some(_)) => _ = claim.ties.insert(voice),
            (None, Some(_)) => _ = claim.bare.insert(voice),
            (_, None) => {}
        }
    }
    let mut claims: Vec<Group> = same.into_values().collect();
    claims.sort_by_key(|claim| {
        let first = claim.hits.first().copied();
        (std::cmp::Reverse((claim.voices.len(), claim.hashes.count())), first)
    });
    claims
}

/// Whether both are there and the same, or different.
fn compare<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<bool> {
    Some(a? == b?)
}

impl Group {
    /// Whether both are the same thing.
    fn is_of(&self, other: &Self) -> bool {
        let sizes = compare(self.size, other.size);
        let (ours, theirs) = (&self.hashes, &other.hashes);
        let torrents = compare(ours.torrent, theirs.torrent);
        let sha1 = compare(ours.sha1, theirs.sha1);
        let strong = [torrents, sha1];
        let files = compare(ours.file, theirs.file).filter(|_| torrents == Some(true));
        // A part of it is the same with every program.
        let uu = ours.uu.zip(theirs.uu).map(|(a, b)| a.may_be(&b));
        if [sizes, files, uu].into_iter().chain(strong).any(|same| same == Some(false)) {
            return false;
        }
        // One liar would name the torrent for all who know the file by its SHA-1.
        if sha1 == Some(true) && torrents.is_none() && !self.is_tied(other) {
            return false;
        }
        // Programs take an MD5 of different things: that it differs means nothing.
        let weak = uu == Some(true) || compare(ours.md5, theirs.md5) == Some(true);
        // What covers a part of the file only does not lend one's torrent or SHA-1 to the other: a lone voice would name them
        // for all.
        let names = |hashes: &Hashes| hashes.torrent.is_some() || hashes.sha1.is_some();
        let weak = weak && !names(ours) && !names(theirs);
        strong.contains(&Some(true)) || (weak && sizes == Some(true))
    }

    /// Whether more voices give the SHA-1 of both a torrent than name it alone; or neither has a torrent.
    fn is_tied(&self, other: &Self) -> bool {
        let neither = self.hashes.torrent.is_none() && other.hashes.torrent.is_none();
        neither || self.ties.union(&other.ties).count() > self.bare.union(&other.bare).count()
    }

    fn and(mut self, other: Self) -> Self {
        let (ours, theirs) = (&mut self.hashes, other.hashes);
        ours.torrent = ours.torrent.or(theirs.torrent);
        ours.file = ours.file.or(theirs.file);
        ours.sha1 = ours.sha1.or(theirs.sha1);
        ours.uu = ours.uu.or(theirs.uu);
        ours.md5 = ours.md5.or(theirs.md5);
        self.size = self.size.or(other.size);
        self.hits.extend(other.hits);
        self.voices.extend(other.voices);
        self.ties.extend(other.ties);
        self.bare.extend(other.bare);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::hit::Reach;
    use super::super::hit::tests::{fasttrack_hit, hit, napster_hit};
    use super::*;
    use crate::id::InfoHash;
    use crate::proto::fasttrack::UuHash;
    use proptest::prelude::*;

    fn named(servent: u8, torrent: Option<u8>, sha1: Option<u8>) -> Hit {
        let torrent = torrent.map(|byte| InfoHash([byte; 20]));
        let sha1 = sha1.map(|byte| [byte; 20]);
        Hit { hashes: Hashes { torrent, sha1, ..Hashes::default() }, ..hit(servent, "a", 5) }
    }

    /// The groups as sorted lists.
    fn merged(hits: &[Hit]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = merge(hits)
            .into_iter()
            .map(|mut group| {
                group.hits.sort_unstable();
                group.hits
            })
            .collect();
        groups.sort();
        groups
    }

    #[test]
    fn one_torrent_in_three_networks_is_one_thing() {
        let torrent = Some(InfoHash([7; 20]));
        let mut hits = vec![
            named(1, Some(7), Some(1)),
            Hit {
                hashes: Hashes { torrent, ..Hashes::default() },
                ..napster_hit("ann", [9, 9, 4, 4], "b", 5)
            },
            Hit {
                hashes: Hashes { torrent, uu: Some(UuHash([3; 20])), ..Hashes::default() },
                ..fasttrack_hit("bob", "9.9.5.5:1", "c", 5)
            },
            named(2, Some(7), Some(1)),
            named(3, None, Some(1)),
        ];
        assert_eq!(merged(&hits), [vec![0, 1, 2, 3, 4]]);
        hits.truncate(4);
        // Another file of the same torrent.
        hits.push(Hit { size: Some(6), ..hits[1].clone() });
        assert_eq!(merged(&hits), [vec![0, 1, 2, 3], vec![4]]);
    }

    #[test]
    fn files_of_a_torrent_are_told_apart() {
        let of = |servent, file| {
            let mut hit = named(servent, Some(7), None);
            hit.hashes.file = file;
            hit
        };
        assert_eq!(merged(&[of(1, Some(0)), of(2, Some(1))]), [[0], [1]]);
        assert_eq!(merged(&[of(1, Some(0)), of(2, None)]), [[0, 1]]);
    }

    #[test]
    fn a_name_and_a_size_are_not_enough() {
        let hits = [hit(1, "a", 5), hit(2, "a", 5), named(3, None, Some(1))];
        assert_eq!(merged(&hits), [[0], [1], [2]]);
    }

    #[test]
    fn a_different_hash_or_size_parts() {
        assert_eq!(merged(&[named(1, Some(7), Some(1)), named(2, Some(7), Some(2))]), [[0], [1]]);
        let larger = Hit { size: Some(6), ..named(2, None, Some(1)) };
        assert_eq!(merged(&[named(1, None, Some(1)), larger]), [[0], [1]]);
        let unknown = Hit { size: None, ..named(2, None, Some(1)) };
        assert_eq!(merged(&[named(1, None, Some(1)), unknown]), [[0, 1]]);
    }

    #[test]
    fn weak_hashes_group_what_has_one_size() {
        let mut uu = [3; 20];
        let node = |uu, size| Hit {
            hashes: Hashes { uu: Some(UuHash(uu)), ..Hashes::default() },
            ..fasttrack_hit("bob", "9.9.5.5:1", "c", size)
        };
        let whole = node(uu, 5);
        uu[19] = 0; // as mldonkey writes it
        assert_eq!(merged(&[whole.clone(), node(uu, 5)]), [[0, 1]]);
        assert_eq!(merged(&[whole.clone(), node(uu, 6)]), [[0], [1]]);
        uu[0] = 0;
        assert_eq!(merged(&[whole, node(uu, 5)]), [[0], [1]]);
        let user = |nick, md5: u8| Hit {
            hashes: Hashes { md5: Some([md5; 16]), ..Hashes::default() },
            ..napster_hit(nick, [9, 9, 4, 4], "c", 5)
        };
        assert_eq!(merged(&[user("ann", 1), user("bob", 1), user("cy", 2)]), [vec![0, 1], vec![2]]);
        let mut liar = user("dan", 1);
        liar.hashes.torrent = Some(InfoHash([9; 20]));
        assert_eq!(merged(&[user("ann", 1), user("bob", 1), liar]), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn who_is_alone_with_his_torrent_stays_alone() {
        // Five know a file and three of them its torrent; one gives it another torrent, and came first.
        let hits = [
            named(9, Some(66), Some(1)),
            named(1, None, Some(1)),
            named(2, None, Some(1)),
            named(3, Some(7), Some(1)),
            named(4, Some(7), Some(1)),
            named(5, Some(7), Some(1)),
        ];
        assert_eq!(merged(&hits), [vec![0], vec![1, 2, 3, 4, 5]]);
        // Many hits from one small network are one voice.
        let mut crowd = hits.to_vec();
        for n in 0..5 {
            let mut liar = named(9, Some(66), Some(1));
            let Reach::Gnutella { addr, .. } = &mut liar.reach else { panic!() };
            *addr = Some(std::net::SocketAddrV4::new([9, 9, 9, 10 + n].into(), 6346));
            crowd.push(liar);
        }
        assert_eq!(merged(&crowd)[0], [0, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn one_voice_does_not_name_the_torrent_of_what_others_know() {
        let liar = || named(9, Some(66), Some(1));
        let honest = |n| named(n, None, Some(1));
        let torrents = |hits: &[Hit]| {
            let mut groups = merge(hits);
            groups.sort_by_key(|group| group.hits.clone());
            groups.iter().map(|group| (group.hits.len(), group.hashes.torrent)).collect::<Vec<_>>()
        };
        let theirs = Some(InfoHash([66; 20]));
        assert_eq!(
            torrents(&[liar()]),
            [(1, theirs)],
            "who is alone is believed until it is there"
        );
        assert_eq!(torrents(&[liar(), honest(1)]), [(1, theirs), (1, None)]);
        assert_eq!(torrents(&[honest(1), honest(2), liar()]), [(2, None), (1, theirs)]);
        // That many have the torrent does not make it that file.
        let mut hits = vec![honest(1), honest(2), liar()];
        hits.extend((3..8).map(|n| named(n, Some(66), None)));
        assert_eq!(torrents(&hits), [(2, None), (6, theirs)]);
        // More who know both than who know less.
        let both = [1, 2].map(|n| named(n, Some(7), Some(1)));
        let hits = [both[0].clone(), both[1].clone(), honest(3)];
        assert_eq!(torrents(&hits), [(3, Some(InfoHash([7; 20])))]);
    }

    proptest! {
        #[test]
        fn every_hit_is_in_one_group_and_none_contradicts_itself(
            claimed in prop::collection::vec((0u8..3, 0u8..3, 0u8..3, 0u8..2), 0..40)) {
            let some = |n: u8| (n > 0).then_some(n);
            let hits: Vec<Hit> = claimed.iter().enumerate().map(|(at, &(torrent, sha1, uu, size))| {
                let mut hit = named(at as u8, some(torrent), some(sha1));
                hit.hashes.uu = some(uu).map(|byte| UuHash([byte; 20]));
                hit.size = some(size).map(u64::from);
                hit
            }).collect();
            let groups = merge(&hits);
            let mut all: Vec<usize> = groups.iter().flat_map(|group| group.hits.clone()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..hits.len()).collect::<Vec<_>>());
            for group in &groups {
                for hit in group.hits.iter().map(|&at| &hits[at]) {
                    prop_assert_ne!(compare(hit.hashes.torrent, group.hashes.torrent), Some(false));
                    prop_assert_ne!(compare(hit.hashes.sha1, group.hashes.sha1), Some(false));
                    prop_assert_ne!(compare(hit.size, group.size), Some(false));
                }
            }
        }
    }
}
