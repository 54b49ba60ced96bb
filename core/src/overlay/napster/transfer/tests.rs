//! Both sides of every conversation, with each other and with words of others.

use super::*;
use crate::proto::napster::{FileHash, list_lines};

fn ms(ms: u64) -> Instant {
    Instant::from_micros(1000 * ms)
}

fn nick(name: &str) -> Nick {
    Nick::new(name.as_bytes()).unwrap()
}

fn file(path: &str, size: u32) -> File {
    let hash = FileHash::NONE;
    File { path: path.into(), hash, size, bitrate: 128, frequency: 44_100, seconds: 61 }
}

fn steps<T>(next: impl FnMut() -> Option<T>) -> Vec<T> {
    std::iter::from_fn(next).collect()
}

fn get(offset: u64) -> Errand {
    Errand::Get { me: nick("bob"), path: "d\\a b.mp3".into(), size: 1000, offset }
}

#[test]
fn the_one_who_accepts_speaks_first_but_waits_for_bittorrent() {
    let mut peer = Inbound::new(ms(0));
    assert_eq!((peer.poll_timeout(), peer.poll_transmit()), (Some(ms(500)), None));
    peer.handle_bytes(ms(100), b"\x13BitTorrent protocol");
    assert_eq!(peer.poll_step(), Some(Step::BitTorrent(b"\x13BitTorrent protocol".to_vec())));
    assert_eq!((peer.poll_transmit(), peer.poll_timeout()), (None, None));
    let mut peer = Inbound::new(ms(0));
    peer.handle_timeout(ms(499));
    assert_eq!(peer.poll_transmit(), None);
    peer.handle_timeout(ms(500));
    assert_eq!(peer.poll_transmit(), Some(b"1".to_vec().into()));
    peer.handle_timeout(ms(30_499));
    assert_eq!(peer.poll_step(), None);
    peer.handle_timeout(ms(30_500));
    assert_eq!(peer.poll_step(), Some(Step::Failed(TransferError::Silent)));
    for (bytes, error) in
        [(&b"POST /"[..], TransferError::Protocol), (b"GET", TransferError::Closed)]
    {
        let mut peer = Inbound::new(ms(0));
        peer.handle_bytes(ms(1), bytes);
        peer.handle_closed();
        assert_eq!(steps(|| peer.poll_step()), [Step::Failed(error)]);
    }
}

#[test]
fn a_request_ends_with_a_pause() {
    let mut peer = Inbound::new(ms(0));
    peer.handle_timeout(ms(500));
    assert_eq!(peer.poll_transmit(), Some(b"1".to_vec().into()));
    for (at, bytes) in
        [(510, &b"GE"[..]), (520, b"Tbob \"d\\a"), (530, b" b.mp3\" 3"), (540, b"00")]
    {
        peer.handle_bytes(ms(at), bytes);
        assert_eq!(peer.poll_step(), None);
    }
    assert_eq!(peer.poll_timeout(), Some(ms(790)));
    peer.handle_timeout(ms(790));
    let (nick, path) = (nick("bob"), "d\\a b.mp3".into());
    assert_eq!(peer.poll_step(), Some(Step::Wanted(PeerRequest::Get { nick, path, offset: 300 })));
    peer.give(1000);
    assert_eq!((peer.poll_transmit(), peer.poll_timeout()), (Some(b"1000".to_vec().into()), None));
    peer.refuse();
    assert_eq!(peer.poll_transmit(), Some(b"FILE NOT SHARED".to_vec().into()));
}

/// A dialler that has heard the first byte, and what it has said since.
fn dialled(errand: Errand) -> (Outbound, Vec<Vec<u8>>) {
    let mut peer = Outbound::new(ms(0), errand);
    assert_eq!(peer.poll_transmit(), None);
    peer.handle_bytes(ms(10), b"1");
    let said = std::iter::from_fn(|| peer.poll_transmit()).map(|words| words.to_vec()).collect();
    (peer, said)
}

#[test]
fn a_file_is_fetched() {
    let (mut peer, said) = dialled(get(400));
    assert_eq!(said, [b"GET".to_vec(), b"bob \"d\\a b.mp3\" 400".to_vec()]);
    peer.handle_bytes(ms(20), b"10");
    assert_eq!(peer.poll_step(), None);
    peer.handle_bytes(ms(30), b"007data");
    assert_eq!(peer.poll_step(), Some(Step::Data(b"7data".to_vec())));
    let (mut peer, _) = dialled(get(400));
    peer.handle_bytes(ms(20), b"600data");
    assert_eq!(peer.poll_step(), Some(Step::Data(b"data".to_vec())));
    // Digits that could go on, and do not.
    let (mut peer, _) = dialled(get(990));
    peer.handle_bytes(ms(20), b"10");
    assert_eq!((peer.poll_step(), peer.poll_timeout()), (None, Some(ms(270))));
    peer.handle_timeout(ms(270));
    assert_eq!(peer.poll_step(), Some(Step::Data(Vec::new())));
    let refusals: [(&[u8], TransferError); 3] = [
        (b"FILE NOT SHARED", TransferError::Refused("FILE NOT SHARED".into())),
        (b"77", TransferError::Refused("77".into())),
        (b"", TransferError::Silent),
    ];
    for (answer, error) in refusals {
        let (mut peer, _) = dialled(get(0));
        peer.handle_bytes(ms(20), answer);
        assert_eq!(peer.poll_step(), None);
        peer.handle_timeout(ms(40_000));
        assert_eq!(peer.poll_step(), Some(Step::Failed(error)));
    }
    let (mut peer, _) = dialled(get(0));
    peer.handle_bytes(ms(20), &[b'x'; 5000]);
    let Some(Step::Failed(TransferError::Refused(text))) = peer.poll_step() else { panic!() };
    assert_eq!(text.as_bytes().len(), REFUSAL_MAX);
    let mut peer = Outbound::new(ms(0), get(0));
    peer.handle_bytes(ms(1), b"HTTP/1.1 400");
    assert_eq!(peer.poll_step(), Some(Step::Failed(TransferError::Protocol)));
    let mut peer = Outbound::new(ms(0), get(0));
    peer.handle_closed();
    assert_eq!(peer.poll_step(), Some(Step::Failed(TransferError::Closed)));
}

#[test]
fn a_file_is_pushed() {
    let errand = Errand::Give { me: nick("bob"), path: "d\\a b.mp3".into(), size: 1000 };
    let (mut up, said) = dialled(errand);
    assert_eq!(said, [b"SEND".to_vec(), b"bob \"d\\a b.mp3\" 1000".to_vec()]);
    let mut down = Inbound::new(ms(0));
    said.iter().for_each(|word| down.handle_bytes(ms(10), word));
    down.handle_timeout(ms(300));
    let (nick, path) = (nick("bob"), "d\\a b.mp3".into());
    let wanted = Step::Wanted(PeerRequest::Send { nick, path, size: 1000 });
    assert_eq!(down.poll_step(), Some(wanted));
    assert_eq!(down.take(40), b"");
    assert_eq!(down.poll_transmit(), Some(b"140".to_vec().into()));
    up.handle_bytes(ms(20), b"4");
    up.handle_bytes(ms(21), b"0");
    assert_eq!(up.poll_step(), None);
    up.handle_timeout(ms(300));
    assert_eq!(up.poll_step(), Some(Step::WantedFrom(40)));
    for answer in [&b"1001"[..], b"99999999999999999999999", b"INVALID REQUEST"] {
        let errand = Errand::Give { me: self::nick("bob"), path: "x".into(), size: 1000 };
        let (mut up, _) = dialled(errand);
        up.handle_bytes(ms(20), answer);
        up.handle_timeout(ms(400));
        assert!(matches!(up.poll_step(), Some(Step::Failed(TransferError::Refused(_)))));
    }
}

#[test]
fn lists_go_both_ways() {
    let files = [file("a.mp3", 1), file("b c.mp3", 2)];
    let lines = Bytes::from(list_lines(&nick("bob"), files.iter()));
    let want = [Step::Listed(files[0].clone()), Step::Listed(files[1].clone()), Step::ListEnd];
    let (mut reader, said) = dialled(Errand::GetList);
    assert_eq!(said, [b"GETLIST".to_vec()]);
    let mut giver = Inbound::new(ms(0));
    giver.handle_bytes(ms(1), b"GETLIST");
    giver.handle_timeout(ms(300));
    assert_eq!(giver.poll_step(), Some(Step::Wanted(PeerRequest::GetList)));
    giver.give_list(lines.clone());
    assert_eq!(steps(|| giver.poll_transmit()), [Bytes::from("1"), lines.clone()]);
    lines.chunks(7).for_each(|piece| reader.handle_bytes(ms(20), piece));
    assert_eq!(steps(|| reader.poll_step()), want);
    let (_, said) = dialled(Errand::GiveList { me: nick("bob"), lines });
    let mut taker = Inbound::new(ms(0));
    said.concat().chunks(5).for_each(|piece| taker.handle_bytes(ms(1), piece));
    let all = steps(|| taker.poll_step());
    assert_eq!(all[0], Step::Wanted(PeerRequest::SendList { nick: nick("bob") }));
    assert_eq!(all[1..], want);
}

#[test]
fn attack_45_lists_without_end_are_bounded() {
    let (mut reader, _) = dialled(Errand::GetList);
    reader.handle_bytes(ms(20), b"bob\nnonsense\n");
    assert_eq!(reader.poll_step(), None);
    reader.handle_bytes(ms(21), &[b'x'; LINE_MAX + 1]);
    assert_eq!(reader.poll_step(), Some(Step::Failed(TransferError::Protocol)));
    let (mut reader, _) = dialled(Errand::GetList);
    reader.handle_bytes(ms(20), b"bob\n");
    let line = list_lines(&nick("x"), [file("a", 1)].iter());
    let line = &line[2..line.len() - 1];
    let mut listed = 0;
    for _ in 0..30_000 {
        reader.handle_bytes(ms(20), line);
        listed += steps(|| reader.poll_step())
            .iter()
            .filter(|step| matches!(step, Step::Listed(_)))
            .count();
    }
    assert_eq!(listed as u32, super::super::client::BROWSE_MAX);
    let (mut reader, _) = dialled(Errand::GetList);
    reader.handle_bytes(ms(20), b"bob\n");
    reader.handle_timeout(ms(30_020));
    assert_eq!(reader.poll_step(), Some(Step::Failed(TransferError::Silent)));
}
