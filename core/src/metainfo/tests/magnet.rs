//! Links of every form, and back.

use crate::id::{InfoHash, InfoHashV2, TorrentHashes};
use crate::metainfo::{Magnet, MagnetError, PeerHint, names};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

const HEX: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
const BASE32: &str = "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK";

#[test]
fn magnet_topics() {
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "rows read better without a reference")]
    fn check(link: &str, want: Result<TorrentHashes, MagnetError>) {
        assert_eq!(Magnet::parse(link).map(|m| m.hashes), want, "{link}");
    }
    let hash = InfoHash::from_hex(HEX).unwrap();
    let v2_hex = "ab".repeat(32);
    let v2 = InfoHashV2([0xab; 32]);
    check(&format!("magnet:?xt=urn:btih:{HEX}"), Ok(TorrentHashes::V1(hash)));
    check(&format!(" MAGNET:?xt=URN:BTIH:{}\n", HEX.to_uppercase()), Ok(TorrentHashes::V1(hash)));
    check(&format!("magnet:?xt=urn:btih:{BASE32}"), Ok(TorrentHashes::V1(hash)));
    let lower = BASE32.to_lowercase();
    check(&format!("magnet:?dn=x&amp;xt=urn%3abtih%3A{lower}"), Ok(TorrentHashes::V1(hash)));
    check(&format!("magnet:?xt=urn:btmh:1220{v2_hex}"), Ok(TorrentHashes::V2(v2)));
    check(
        &format!("magnet:?xt.1=urn:btih:{HEX}&xt.2=urn:btmh:1220{v2_hex}"),
        Ok(TorrentHashes::Hybrid(hash, v2)),
    );
    check("magnet:?dn=no+hash", Err(MagnetError::NoTopic));
    check("magnet:?", Err(MagnetError::NoTopic));
    check("magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C", Err(MagnetError::NoTopic));
    check("magnet:?xt=urn:btih:c12f", Err(MagnetError::TopicLength { chars: 4 }));
    check(&format!("magnet:?xt=urn:btih:{}", "é".repeat(20)), Err(MagnetError::TopicDigits));
    check(&format!("magnet:?xt=urn:btih:{}", "1".repeat(32)), Err(MagnetError::TopicDigits));
    check(&format!("magnet:?xt=urn:btmh:1221{v2_hex}"), Err(MagnetError::TopicKind));
    check(&format!("magnet:?xt=urn:btmh:{v2_hex}"), Err(MagnetError::TopicLength { chars: 64 }));
    check("http://example.com/?xt=urn:btih:", Err(MagnetError::Scheme));
    check("magnet", Err(MagnetError::Scheme));
    assert_eq!(Magnet::from_hash(&format!(" {HEX} ")), Some(Magnet::of(TorrentHashes::V1(hash))));
    assert_eq!(Magnet::from_hash(&lower), Some(Magnet::of(TorrentHashes::V1(hash))));
    assert_eq!(Magnet::from_hash(&v2_hex), Some(Magnet::of(TorrentHashes::V2(v2))));
    for no_hash in ["", "file.torrent", &HEX[1..], &"g".repeat(40), &"1".repeat(32)] {
        assert_eq!(Magnet::from_hash(no_hash), None, "{no_hash}");
    }
}

#[test]
fn magnet_hints() {
    let link = format!(
        "magnet:?xt=urn:btih:{HEX}&dn=a+b%2Fc%20d&tr=http%3A%2F%2Ft%2F%3Fa%3Db%26c&tr.1=udp://u:1/\
         &tr=udp://u:1/&tr=%0d%0a&tr=&ws=http://w/&x.pe=1.2.3.4:5&x.pe=%5B::1%5D:6&x.pe=host.x:7\
         &x.pe=1.2.3.4:0&x.pe=bad%20host:1&x.pe=[zz]:1&so=4-6,0,2,5-9,x,8-1,7&xl=10&foo=bar&&="
    );
    let magnet: Magnet = link.parse().unwrap();
    assert_eq!(magnet.name.as_deref(), Some("a b_c d"));
    assert_eq!(magnet.trackers, ["http://t/?a=b&c", "udp://u:1/"]);
    assert_eq!(magnet.web_seeds, ["http://w/"]);
    let peers: Vec<_> = magnet.peers.iter().map(|p| (p.to_string(), p.addr().is_some())).collect();
    assert_eq!(
        peers,
        [
            ("1.2.3.4:5".to_owned(), true),
            ("[::1]:6".to_owned(), true),
            ("host.x:7".to_owned(), false)
        ]
    );
    assert_eq!(magnet.select, Some(vec![0..=0, 2..=2, 4..=9]));
    assert!(magnet.selects(9) && !magnet.selects(3));
    assert_eq!(
        magnet.to_string(),
        format!(
            "magnet:?xt=urn:btih:{HEX}&dn=a%20b_c%20d&tr=http%3A%2F%2Ft%2F%3Fa%3Db%26c\
             &tr=udp%3A%2F%2Fu%3A1%2F&ws=http%3A%2F%2Fw%2F&x.pe=1.2.3.4:5&x.pe=[::1]:6\
             &x.pe=host.x:7&so=0,2,4-9"
        )
    );
    let bare: Magnet = format!("magnet:?xt=urn:btih:{HEX}&dn=&so=x").parse().unwrap();
    assert_eq!(bare, Magnet::of(bare.hashes));
    assert!(bare.selects(u32::MAX));
}

fn any_magnet() -> impl Strategy<Value = Magnet> {
    let hashes = prop_oneof![
        any::<[u8; 20]>().prop_map(|h| TorrentHashes::V1(InfoHash(h))),
        any::<[u8; 32]>().prop_map(|h| TorrentHashes::V2(InfoHashV2(h))),
        any::<([u8; 20], [u8; 32])>()
            .prop_map(|(a, b)| TorrentHashes::Hybrid(InfoHash(a), InfoHashV2(b))),
    ];
    let name = option::of("\\PC{1,20}".prop_map(|n| names::safe(n.as_bytes()).into_owned()));
    let urls = || btree_set("(http|udp)://[a-zé&=%+# ]{1,12}/", 0..4);
    let peer = prop_oneof![
        any::<(u32, NonZeroU16)>().prop_map(|(ip, p)| (Ipv4Addr::from(ip).to_string(), p)),
        any::<(u128, NonZeroU16)>().prop_map(|(ip, p)| (Ipv6Addr::from(ip).to_string(), p)),
        ("[a-z]{1,9}\\.example", any::<NonZeroU16>()),
    ];
    let peer = peer.prop_map(|(host, port)| PeerHint { host, port: port.get() });
    let starts = btree_set(0u32..1000, 1..5);
    let select = starts.prop_map(|s| s.into_iter().map(|n| n * 10..=n * 10 + n % 8).collect());
    (hashes, name, urls(), urls(), vec(peer, 0..4), option::of(select)).prop_map(
        |(hashes, name, trackers, web_seeds, mut peers, select)| {
            peers.dedup();
            let (trackers, web_seeds) =
                (trackers.into_iter().collect(), web_seeds.into_iter().collect());
            Magnet { hashes, name, trackers, web_seeds, peers, select }
        },
    )
}

proptest! {
    #[test]
    fn a_printed_link_reads_back_the_same(magnet in any_magnet()) {
        prop_assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
    }

    #[test]
    fn hostile_links_never_panic(tail in "[a-z0-9.=&%+:,\\[\\]-]{0,120}|\\PC{0,60}") {
        let _ = Magnet::parse(&tail);
        let _ = Magnet::from_hash(&tail);
        if let Ok(magnet) = Magnet::parse(&format!("magnet:?xt=urn:btih:{HEX}&{tail}")) {
            let printed = magnet.to_string();
            prop_assert_eq!(Magnet::parse(&printed).unwrap().to_string(), printed);
        }
    }
}
