//! What must hold for any bytes whatever: the fuzz targets and `core/tests/corpus.rs` call these.

use bytes::{Bytes, BytesMut};
use gaggle_core::bencode::{self, Dict, Kind, Limits, List, Value};
use gaggle_core::hash::{sha1, sha256};
use gaggle_core::id::TorrentHashes;
use gaggle_core::metainfo::{self, Magnet, Metainfo, names};
use gaggle_core::proto::extension::{
    ExtensionHandshake, HolepunchMessage, MetadataMessage, PEX_MAX, PexMessage,
};
use gaggle_core::proto::fasttrack::mesh::{self, MeshMessage};
use gaggle_core::proto::fasttrack::{self as ft, Answer, Answered, Datagram, Hello, Session};
use gaggle_core::proto::gnutella::{
    self, Bye, Descriptor, Giv, Handshake, Ping, Pong, Push, Qrp, Query, QueryHit, Vendor,
};
use gaggle_core::proto::krpc::{self, Body, Message};
use gaggle_core::proto::lsd::{Announcement, GROUP_V4, GROUP_V6, HASHES_MAX, MESSAGE_MAX};
use gaggle_core::proto::napster::{
    self, FRAME_MAX, FrameDecoder, PeerRequest, REQUEST_MAX, SizeAnswer, ToClient, ToServer,
    btih_of, btih_path, parse_list_line, read_server, read_size,
};
use gaggle_core::share::Record;
use serde_bencode::value::Value as Theirs;
use std::collections::BTreeSet;

/// What is accepted can be walked to its end, reads like with serde_bencode, and can be written again.
pub(crate) fn bencode(data: &[u8]) {
    let first = bencode::split_first(data, Limits::MESSAGE);
    let checked = bencode::check(data, Limits::MESSAGE);
    let Ok((value, rest)) = Value::parse_first(data, Limits::MESSAGE) else {
        assert!(checked.is_err() && first.is_err());
        return;
    };
    assert_eq!(first, Ok((value.raw(), rest)));
    assert_eq!(checked.is_ok(), rest.is_empty() && data.len() <= Limits::MESSAGE.bytes);
    let theirs: Theirs =
        serde_bencode::from_bytes(value.raw()).expect("serde reads what we accept");
    assert!(same(&value, &theirs), "{value:?}");
    let written = List::new();
    let written = push(written, &value).into_bytes();
    let limits = Limits { depth: Limits::MESSAGE.depth + 1, ..Limits::DATAGRAM };
    let limits = Limits { tokens: usize::MAX, bytes: usize::MAX, ..limits };
    let again = Value::parse(&written, limits).expect("what we write is well-formed");
    let again = again.as_list().and_then(|mut items| items.next()).expect("one item");
    assert!(same(&again, &theirs), "{again:?}");
}

fn same(ours: &Value<'_>, theirs: &Theirs) -> bool {
    match theirs {
        Theirs::Int(n) => ours.as_int() == Some(*n),
        Theirs::Bytes(bytes) => ours.as_bytes() == Some(bytes),
        Theirs::List(list) => {
            let items = ours.as_list().expect("a list");
            items.clone().count() == list.len() && items.zip(list).all(|(a, b)| same(&a, b))
        }
        Theirs::Dict(dict) => {
            let mut entries = ours.as_dict().expect("a dictionary");
            entries.clone().count() == dict.len()
                && entries
                    .all(|(key, value)| dict.get(key).is_some_and(|their| same(&value, their)))
        }
    }
}

fn push(list: List, value: &Value<'_>) -> List {
    match value.kind() {
        Kind::Int => list.int(value.as_int().expect("an integer")),
        Kind::Bytes => list.bytes(value.as_bytes().expect("a string")),
        Kind::List => {
            let items = value.as_list().expect("a list");
            list.list(items.fold(List::new(), |list, item| push(list, &item)))
        }
        Kind::Dict => {
            let entries = value.as_dict().expect("a dictionary");
            list.dict(entries.fold(Dict::new(), |dict, (key, value)| match value.kind() {
                Kind::Int => dict.int(key, value.as_int().expect("an integer")),
                Kind::Bytes => dict.bytes(key, value.as_bytes().expect("a string")),
                Kind::List => {
                    let items = value.as_list().expect("a list");
                    dict.list(key, items.fold(List::new(), |list, item| push(list, &item)))
                }
                Kind::Dict => dict.raw(key, value.raw()),
            }))
        }
    }
}

/// A torrent that loads is consistent: names stay inside, sizes add up, and nothing changes its hash.
pub(crate) fn metainfo(data: &[u8]) {
    let Ok(metainfo) = Metainfo::parse(data) else { return };
    let info = &metainfo.info;
    assert!(names::is_safe(&info.name));
    let mut paths = BTreeSet::new();
    let mut offset = 0;
    for file in &info.files {
        assert_eq!(file.offset, offset);
        offset += file.len;
        assert_eq!(file.path.first(), Some(&info.name));
        assert_eq!(file.path.len() == 1, info.single);
        for name in &file.path {
            assert!(!name.is_empty() && name != "." && name != ".." && name.len() < 256);
            assert!(!name.contains(['/', '\\', '\0']));
        }
        assert!(file.pad || paths.insert(&file.path), "{:?} twice", file.path);
    }
    for path in &paths {
        let above = (1..path.len()).map(|len| path[..len].to_vec());
        assert!(above.into_iter().all(|folder| !paths.contains(&folder)), "{path:?}");
    }
    assert_eq!(offset, info.geometry.total());
    assert_eq!(info.pieces.len(), info.geometry.pieces() as usize);
    assert!(info.geometry.iter().all(|piece| info.pieces.of(piece).is_some()));
    assert!(metainfo.trackers.iter().flatten().count() <= metainfo::TRACKERS_MAX);

    let raw = metainfo.info_bytes();
    match metainfo.hashes() {
        TorrentHashes::V1(v1) => assert_eq!(v1.0, sha1([&raw[..]])),
        TorrentHashes::V2(v2) => assert_eq!(v2.0, sha256([&raw[..]])),
        TorrentHashes::Hybrid(v1, v2) => {
            assert_eq!((v1.0, v2.0), (sha1([&raw[..]]), sha256([&raw[..]])));
        }
    }
    let again = Metainfo::parse(&metainfo.to_bytes()).expect("what we write loads");
    assert_eq!((again.hashes(), &again.trackers), (metainfo.hashes(), &metainfo.trackers));
    let from_peer = Metainfo::from_info(raw.clone(), &metainfo.hashes()).expect("same dictionary");
    assert_eq!(from_peer.info.files, info.files);
    let link = metainfo.magnet().to_string();
    assert_eq!(Magnet::parse(&link).expect("a link we printed").hashes, metainfo.hashes());
}

/// What is read of an extension message stays within its bounds, and is the same when we write it.
pub(crate) fn extension(data: &[u8]) {
    if let Ok(handshake) = ExtensionHandshake::parse(data) {
        assert_eq!(ExtensionHandshake::parse(&handshake.encode()), Ok(handshake));
    }
    if let Ok(Some(message)) = MetadataMessage::parse(&Bytes::copy_from_slice(data)) {
        assert_eq!(MetadataMessage::parse(&message.encode()), Ok(Some(message)));
    }
    if let Ok(Some(message)) = HolepunchMessage::parse(data) {
        assert_eq!(HolepunchMessage::parse(&message.encode()), Ok(Some(message)));
    }
    if let Ok(message) = PexMessage::parse(data) {
        assert!(message.added.len() <= PEX_MAX && message.dropped.len() <= PEX_MAX);
        assert!(message.added.iter().all(|peer| peer.addr.port() != 0));
        assert_eq!(PexMessage::parse(&message.encode()), Ok(message));
    }
}

/// What a neighbour says stays within its bounds, and is the same when we say it.
pub(crate) fn lsd(data: &[u8]) {
    let Ok(said) = Announcement::parse(data) else { return };
    assert!((1..=HASHES_MAX).contains(&said.hashes.len()));
    for group in [GROUP_V4, GROUP_V6] {
        let datagram = said.encode(group);
        assert!(datagram.len() <= MESSAGE_MAX);
        assert_eq!(Announcement::parse(&datagram).as_ref(), Ok(&said));
    }
}

/// A link that is accepted stays within its bounds and prints as one that means the same.
pub(crate) fn magnet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Magnet::from_hash(text);
    let Ok(magnet) = Magnet::parse(text) else { return };
    assert!(magnet.trackers.len() <= metainfo::LINK_TRACKERS_MAX);
    assert!(magnet.web_seeds.len() <= metainfo::WEB_SEEDS_MAX);
    assert!(magnet.peers.len() <= metainfo::PEERS_MAX);
    assert!(magnet.name.as_deref().is_none_or(names::is_safe));
    let ranges = magnet.select.as_deref().unwrap_or_default();
    assert!(ranges.len() <= metainfo::RANGES_MAX);
    assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].start()));
    let printed = magnet.to_string();
    let again = Magnet::parse(&printed).expect("a link we printed");
    assert_eq!(again.to_string(), printed);
    assert_eq!((again.hashes, &again.trackers), (magnet.hashes, &magnet.trackers));
    assert_eq!((&again.name, &again.select), (&magnet.name, &magnet.select));
}

/// A record that is read is written and read again as the same; whether the check is right, or all of it is what the check
/// is about.
pub(crate) fn share_record(data: &[u8]) {
    let files = Dict::new().int("format", 1u8).bytes("check", sha1([data])).raw("files", data);
    for raw in [data, &files.into_bytes()] {
        let Ok(record) = Record::decode(raw) else { continue };
        assert!(record.len() <= gaggle_core::share::FILES_MAX && record.len() * 72 <= raw.len());
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

/// A message that is read stays within its bounds and reads the same when it is written again; what is refused is
/// answered only if it is a query, and with less than it brought.
pub(crate) fn krpc(data: &[u8]) {
    let message = match Message::parse(data) {
        Ok(message) => message,
        Err(error) => {
            if let Some(refusal) = error.answer() {
                let written = Message::refuse(refusal, None).encode();
                assert!(matches!(
                    Message::parse(&written),
                    Ok(Message { body: Body::Error(_), .. })
                ));
                assert!(written.len() <= data.len() + refusal.text.len() + 40);
            }
            return;
        }
    };
    if let Body::Reply(reply) = &message.body {
        let nodes = [&reply.nodes, &reply.nodes6].into_iter().flatten();
        assert!(nodes.clone().all(|nodes| nodes.len() <= krpc::NODES_MAX));
        assert!(nodes.flatten().all(|node| node.addr.port() != 0));
        assert!(reply.values.iter().flatten().all(|peer| peer.port() != 0));
        let samples = reply.samples.as_ref().map_or(0, |samples| samples.hashes.len());
        assert!(samples <= krpc::SAMPLES_MAX);
    }
    let written = message.encode();
    let most = message.datagram_max();
    assert!(written.len() <= most, "{} bytes", written.len());
    let again = Message::parse(&written).expect("what we write is a message");
    // What was too long for one datagram has lost something, and then loses nothing more.
    assert!(again == message || written.len() + 64 > most || data.len() > most);
    assert_eq!(again.encode(), written);
}

/// Whatever comes on a port of FastTrack is read or refused, within its bounds, and is the same when it is written
/// again. The first byte says what the others are.
pub(crate) fn fasttrack(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    match first % 8 {
        0 => packet(ft::From::Node, rest),
        1 => packet(ft::From::Supernode, rest),
        2 => session(Session::supernode(Answer::ours(1)), rest),
        3 => session(Session::node(Hello::ours(1, 1)), rest),
        4 => {
            let mut buf = BytesMut::from(rest);
            while let Ok(Some(message)) = MeshMessage::decode(&mut buf) {
                let written = message.encode();
                if written.len() <= mesh::MESSAGE_MAX {
                    let again = MeshMessage::decode(&mut BytesMut::from(&written[..]));
                    assert_eq!(again, Ok(Some(message)));
                }
            }
        }
        5 => {
            if let Ok(datagram) = Datagram::parse(rest) {
                assert_eq!(Datagram::parse(&datagram.encode()), Ok(datagram));
            }
        }
        6 => {
            let host = std::net::SocketAddrV4::new([9, 9, 9, 9].into(), ft::PORT);
            if let Ok(Some((ask, len))) = ft::Ask::parse(rest) {
                let head = ask.encode(host);
                assert!(len <= rest.len());
                // An escaped name is longer than one that is not, and may be too long then.
                if head.len() < 8 << 10 {
                    assert_eq!(ft::Ask::parse(head.as_bytes()), Ok(Some((ask, head.len()))));
                }
            }
            let _ = ft::parse_give(rest);
        }
        _ => {
            if let Ok(Some((answer, len))) = Answered::parse(rest) {
                assert!(len <= rest.len());
                let span = answer.range.zip(answer.total);
                assert!(span.is_none_or(
                    |(range, total)| range.start() <= range.end() && *range.end() < total
                ));
            }
        }
    }
}

/// Two bytes of kind, then a payload.
fn packet(from: ft::From, raw: &[u8]) {
    let Some((kind, payload)) = raw.split_first_chunk() else { return };
    let kind = u16::from_be_bytes(*kind);
    let payload = Bytes::copy_from_slice(&payload[..payload.len().min(ft::payload_max(kind))]);
    let Ok(message) = ft::Message::parse(from, &ft::Packet { kind, payload }) else { return };
    if let ft::Message::Share(share) = &message {
        let tags = &share.file.tags;
        assert!(tags.iter().count() <= ft::TAGS_MAX);
        assert!(tags.file_name().is_none_or(|name| names::is_safe(&name)));
    }
    let written = message.encode();
    if written.payload.len() <= ft::payload_max(kind) {
        assert_eq!(ft::Message::parse(from, &written), Ok(message));
    }
}

/// The bytes as they come, and as they would come through the cipher.
fn session(mut session: Session, raw: &[u8]) {
    let mut frames = 0;
    for part in raw.chunks(7) {
        if session.handle_bytes(part).is_err() {
            return;
        }
        while let Ok(Some(frame)) = session.poll_frame() {
            frames += 1;
            if let ft::Frame::Packet(packet) = frame {
                assert!(packet.payload.len() <= ft::payload_max(packet.kind));
            }
        }
    }
    assert!(frames <= raw.len());
}

/// Whatever the first byte makes of the rest: lines or descriptors are within their bounds, and what is read of them is
/// the same when it is written and read again.
pub(crate) fn gnutella(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    if let Ok(Some(block)) = Handshake::decode(&mut stream) {
        assert!(data.len() - stream.len() <= gnutella::HANDSHAKE_MAX);
        let written = block.encode();
        let again = Handshake::decode(&mut BytesMut::from(&written[..]));
        // Names and values may become longer than one block when bad bytes are replaced.
        if let Ok(again) = again {
            assert_eq!(again.expect("a whole block").encode(), written);
        }
    }
    if let Ok(Some(giv)) = Giv::decode(&mut BytesMut::from(data)) {
        let written = giv.encode();
        if let Ok(again) = Giv::decode(&mut BytesMut::from(&written[..])) {
            assert_eq!(again.expect("a whole line").encode(), written);
        }
    }
    let mut stream = BytesMut::from(data);
    while let Ok(Some(descriptor)) = Descriptor::decode(&mut stream) {
        assert!(descriptor.payload.len() <= descriptor.header.kind.payload_max());
        let mut written = BytesMut::from(&descriptor.encode()[..]);
        assert_eq!(Descriptor::decode(&mut written), Ok(Some(descriptor.clone())));
        payload(descriptor.header.kind, &descriptor.payload);
    }
}

/// What is written of what was read is read as the same.
fn payload(kind: gnutella::Kind, raw: &Bytes) {
    #[track_caller]
    fn stable<T, E: std::fmt::Debug>(
        read: Result<T, E>,
        write: impl Fn(&T) -> Vec<u8>,
        parse: impl Fn(&Bytes) -> Result<T, E>,
    ) {
        let Ok(read) = read else { return };
        let written = write(&read);
        let again = parse(&written.clone().into()).expect("what we write is well-formed");
        assert_eq!(write(&again), written);
    }
    match kind {
        gnutella::Kind::PING => {
            assert_eq!(Ping::parse(&Ping::parse(raw).encode()), Ping::parse(raw));
        }
        gnutella::Kind::PONG => stable(Pong::parse(raw), Pong::encode, |raw| Pong::parse(raw)),
        gnutella::Kind::PUSH => stable(Push::parse(raw), Push::encode, |raw| Push::parse(raw)),
        gnutella::Kind::BYE => stable(Bye::parse(raw), Bye::encode, |raw| Bye::parse(raw)),
        gnutella::Kind::QUERY => {
            let read = Query::parse(raw);
            if let Ok(query) = &read {
                assert!(query.extensions.urns.len() <= gnutella::STRINGS_MAX);
            }
            stable(read, Query::encode, |raw| Query::parse(raw));
        }
        gnutella::Kind::QUERY_HIT => {
            stable(QueryHit::parse(raw), QueryHit::encode, |raw| QueryHit::parse(raw));
        }
        gnutella::Kind::QRP => stable(Qrp::parse(raw), Qrp::encode, Qrp::parse),
        gnutella::Kind::VENDOR => stable(Vendor::parse(raw), Vendor::encode, Vendor::parse),
        _ => {}
    }
}

/// Frames that are read mean the same when they are written again, in whichever direction they travel; so do the
/// requests of clients, and lengths that are found lie within.
pub(crate) fn napster(data: &[u8]) {
    let mut decoder = FrameDecoder::new(FRAME_MAX);
    decoder.push(data);
    let mut read = 0;
    while let Ok(Some(frame)) = decoder.next_frame() {
        assert!(frame.data.len() <= FRAME_MAX);
        assert_eq!(frame.encode(), data[read..read + 4 + frame.data.len()]);
        read += 4 + frame.data.len();
        said(&frame);
    }
    match PeerRequest::parse(data) {
        Ok(napster::Request::More) => assert!(data.len() < REQUEST_MAX),
        Ok(napster::Request::Maybe(request)) => asked(&request),
        Ok(napster::Request::Whole(request, len)) => {
            assert!(len <= data.len());
            asked(&request);
        }
        Err(_) => {}
    }
    if let SizeAnswer::Data(digits) = read_size(data, 1000, 990, true) {
        assert!(data[..digits].iter().all(u8::is_ascii_digit));
    }
    let _ = (parse_list_line(data), read_server(data));
}

fn said(frame: &napster::Frame) {
    if let Ok(said) = ToServer::parse(frame) {
        if let ToServer::Download(_, path) = &said
            && let Some(hash) = btih_of(path)
        {
            assert_eq!(btih_of(&btih_path(hash, &path.decode())), Some(hash));
        }
        assert_eq!(ToServer::parse(&said.frame()), Ok(said));
    }
    if let Ok(said) = ToClient::parse(frame) {
        assert_eq!(ToClient::parse(&said.frame()), Ok(said));
    }
}

fn asked(request: &PeerRequest) {
    match PeerRequest::parse(&request.encode().concat()) {
        Ok(napster::Request::Maybe(again) | napster::Request::Whole(again, _)) => {
            assert_eq!(&again, request);
        }
        other => panic!("{other:?}"),
    }
}
