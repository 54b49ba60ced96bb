//! What the node says of the files of the library.

use gaggle_core::overlay::fasttrack::Node;
use gaggle_core::proto::fasttrack::{File, Share, Tags, UuHash, tag_kind};
use gaggle_core::share::{Catalogue, Item};
use std::collections::BTreeMap;

/// The files that the node shares, with their numbers in the catalogue.
#[derive(Debug, Default)]
pub(super) struct Shares(BTreeMap<UuHash, u32>);

impl Shares {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes the node share what is in the catalogue now, as far as there is room, and nothing else.
    pub(super) fn update(&mut self, node: &mut Node, catalogue: &Catalogue) {
        // Of several names of one content the network knows one.
        let mut now: BTreeMap<UuHash, (u32, Share)> = BTreeMap::new();
        for (number, item) in catalogue.iter() {
            let Some(share) = share(item) else { continue };
            now.entry(share.file.hash).or_insert((number, share));
        }
        let stays = |hash: &UuHash, number: &u32| now.get(hash).is_some_and(|new| new.0 == *number);
        self.0.retain(|hash, number| {
            let stays = stays(hash, number);
            if !stays {
                node.unshare(*hash);
            }
            stays
        });
        for (hash, (number, share)) in now {
            if !self.0.contains_key(&hash) && node.share(share) {
                self.0.insert(hash, number);
            }
        }
    }
}

/// A file as the network sees it; `None` while nobody knows its hash.
fn share(item: &Item) -> Option<Share> {
    let hash = item.hashes?.uu;
    let tags = Tags::default().with(tag_kind::FILE_NAME, item.name.as_str());
    let tags = match item.torrent {
        Some((torrent, _)) => tags.with_torrent(torrent),
        None => tags,
    };
    let file = File { hash, file_id: hash.file_id().into(), size: item.size(), tags };
    Some(Share { media: media(&item.name), file })
}

/// The kind of a file by the end of its name: 0 unknown, 1 audio, 2 video, 3 image, 4 document, 5 software.
fn media(name: &str) -> u8 {
    const KINDS: [(u8, &[&str]); 5] = [
        (1, &["aac", "aif", "aiff", "flac", "m4a", "mid", "mp3", "ogg", "opus", "wav", "wma"]),
        (2, &["avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "ts", "webm", "wmv"]),
        (3, &["bmp", "gif", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp"]),
        (4, &["doc", "docx", "epub", "htm", "html", "md", "odt", "pdf", "ps", "rtf", "txt"]),
        (
            5,
            &[
                "apk", "bin", "deb", "dmg", "exe", "gz", "img", "iso", "msi", "rpm", "tar", "xz",
                "zip",
            ],
        ),
    ];
    let Some((_, end)) = name.rsplit_once('.') else { return 0 };
    let end = end.to_ascii_lowercase();
    KINDS.iter().find(|(_, ends)| ends.contains(&end.as_str())).map_or(0, |(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::clock::Instant;
    use gaggle_core::id::InfoHash;
    use gaggle_core::overlay::fasttrack::{Cache, NodeConfig, NodeOutput};
    use gaggle_core::proto::fasttrack::{Datagram, Message, NETWORK};
    use gaggle_core::rng::Rng;
    use gaggle_core::share::{Hashes, Place};
    use gaggle_core::storage::Stamp;

    fn item(name: &str, content: u8) -> Item {
        let place = Place { folder: 0, path: vec![name.to_owned()] };
        let hashes = Hashes { sha1: [content; 20], md5: [content; 16], uu: UuHash([content; 20]) };
        Item { hashes: Some(hashes), ..Item::new(place, Stamp { len: 5, mtime_ns: 0 }) }
    }

    fn attached() -> Node {
        let supernode = "9.9.9.9:1214".parse().unwrap();
        let config = NodeConfig { user: "ann".into(), addr: supernode, bandwidth: 0 };
        let mut cache = Cache::new(0);
        cache.add(supernode);
        let mut node = Node::new(Instant::ZERO, config, cache, Rng::seeded(1));
        node.handle_timeout(Instant::ZERO);
        let pong = Datagram::Pong { children: 0, load: 0, network: NETWORK.into() };
        node.handle_datagram(Instant::ZERO, supernode, &pong);
        node.handle_open(Instant::ZERO);
        while node.poll_output().is_some() {}
        node
    }

    /// The names of what is said to be shared, or no longer.
    fn said(node: &mut Node) -> Vec<String> {
        let name = |file: &File| file.tags.file_name().unwrap().into_owned();
        let outputs = std::iter::from_fn(|| node.poll_output());
        let said = outputs.map(|output| match output {
            NodeOutput::Say(Message::Share(share)) => format!("+{}", name(&share.file)),
            NodeOutput::Say(Message::Unshare(file)) => format!("-{}", name(&file)),
            other => panic!("{other:?}"),
        });
        said.collect()
    }

    #[test]
    fn what_changes_is_told_and_nothing_else() {
        let (mut node, mut shares) = (attached(), Shares::default());
        let before = Catalogue::of(vec![item("a.mp3", 1), item("b.mkv", 2), item("b2.mkv", 2)]);
        shares.update(&mut node, &before);
        assert_eq!((said(&mut node), shares.len()), (vec!["+a.mp3".into(), "+b.mkv".into()], 2));
        shares.update(&mut node, &before);
        assert_eq!(said(&mut node), [""; 0]);
        let unknown = Item { hashes: None, ..item("later.txt", 9) };
        let after = before.renewed(vec![item("b.mkv", 2), item("c.pdf", 1), unknown]);
        shares.update(&mut node, &after);
        assert_eq!(said(&mut node), ["-a.mp3", "+c.pdf"], "another name of the same content");
        shares.update(&mut node, &Catalogue::default());
        assert_eq!((said(&mut node).len(), shares.len()), (2, 0));
    }

    #[test]
    fn a_file_of_a_torrent_says_so_in_a_way_that_all_pass_on() {
        let torrent = InfoHash([0xab; 20]);
        let share = share(&Item { torrent: Some((torrent, 3)), ..item("a.FLAC", 7) }).unwrap();
        assert_eq!((share.media, share.file.tags.torrent()), (1, Some(torrent)));
        let words = share.file.tags.of(tag_kind::KEYWORDS).unwrap();
        assert_eq!(words, format!("btih:{torrent}").as_bytes());
        assert_eq!(share.file.file_id, u64::from(UuHash([7; 20]).file_id()));
        assert_eq!((media("noend"), media("x.iso"), media("a.b/c.jpg")), (0, 5, 3));
    }
}
