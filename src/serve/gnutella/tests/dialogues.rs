//! Every order of messages that the protocol states, with a neighbour that a test plays.

use super::*;
use bytes::Bytes;
use gaggle_core::hash::sha1;
use gaggle_core::overlay::gnutella::Table;
use gaggle_core::proto::gnutella::{Bye, Ggep, Hit, Ping, Push, QueryHit, Trailer};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What we say about ourselves, in this order.
fn about(servent: &Gnutella, ultrapeer: &str, degree: usize, guid: &str) -> String {
    let addr = servent.addr();
    format!(
        "User-Agent: gaggle/{VERSION}\r\nListen-IP: {addr}\r\nRemote-IP: 127.0.0.1\r\nX-Ultrapeer: {ultrapeer}\r\n\
         X-Query-Routing: 0.1\r\nX-Ultrapeer-Query-Routing: 0.1\r\nX-Dynamic-Querying: 0.1\r\nX-Ext-Probes: 0.1\r\n\
         X-Max-TTL: 4\r\nX-Degree: {degree}\r\nGGEP: 0.5\r\nPong-Caching: 0.1\r\nBye-Packet: 0.1\r\n\
         Vendor-Message: 0.2\r\nX-Requeries: False\r\nGUID: {guid}\r\n"
    )
}

fn guid_in(block: &str) -> &str {
    let at = block.find("GUID: ").unwrap() + 6;
    &block[at..at + 32]
}

/// A descriptor as bytes, whatever its id is.
fn body(descriptor: &Descriptor) -> Vec<u8> {
    descriptor.encode().split_off(16)
}

/// Which messages of vendors an ultrapeer understands.
const SUPPORTED: &[u8] = b"\x31\x01\0\x32\0\0\0\0\0\0\0\0\0\0\0\x05\0BEAR\x04\0\x01\0BEAR\x07\0\x01\0BEAR\x0b\0\x01\0BEAR\x0c\0\x01\0LIME\x15\0\x02\0";
/// And a leaf, which does not connect to who wants to know whether others can.
const LEAF_SUPPORTS: &[u8] = b"\x31\x01\0\x2a\0\0\0\0\0\0\0\0\0\0\0\x04\0BEAR\x04\0\x01\0BEAR\x0b\0\x01\0BEAR\x0c\0\x01\0LIME\x15\0\x02\0";

#[tokio::test]
async fn a_leaf_comes_to_the_ultrapeer() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut far = Far::call(&servent).await;
    far.say("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\nvendor-message: 0.2\r\n\r\n").await;
    let answer = far.text().await;
    let want = about(&servent, "True", 32, guid_in(&answer));
    assert_eq!(answer, format!("GNUTELLA/0.6 200 OK\r\n{want}Accept-Encoding: deflate\r\n\r\n"));
    far.say("GNUTELLA/0.6 200 OK\r\n\r\n").await;
    assert_eq!(body(&far.next().await.unwrap()), SUPPORTED);
    until(&servent, |status| (status.ultrapeers, status.leaves) == (0, 1)).await;
    // Pong: port, address, no files, and 8 KiB, which marks an ultrapeer.
    far.give(&Descriptor::new(guid(3), Kind::PING, 1, Bytes::new())).await;
    let mut want = vec![3; 16];
    want.extend([1, 7, 0, 14, 0, 0, 0]);
    want.extend(servent.addr().port().to_le_bytes());
    want.extend([127, 0, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0]);
    assert_eq!(far.raw(want.len()).await, want);
}

#[tokio::test]
async fn an_ultrapeer_comes_to_the_ultrapeer_packed() {
    let shelf = shelf().await;
    let servent = start(config(Role::Ultrapeer), Some(&shelf));
    let mut far = Far::call(&servent).await;
    far.say("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nAccept-Encoding: deflate\r\nX-Query-Routing: 0.1\r\nVendor-Message: 0.2\r\n\r\n").await;
    let answer = far.text().await;
    let want = about(&servent, "True", 32, guid_in(&answer));
    let want = format!(
        "GNUTELLA/0.6 200 OK\r\n{want}X-Ultrapeer-Needed: True\r\nAccept-Encoding: deflate\r\nContent-Encoding: deflate\r\n\r\n"
    );
    assert_eq!(answer, want);
    // The last block and the beginning of the packed stream come in one read.
    let mut pack = Packer::new();
    let mut last = b"GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n".to_vec();
    pack.pack(&Descriptor::new(guid(4), Kind::PING, 1, Bytes::new()).encode(), &mut last);
    pack.flush(&mut last);
    far.say(&last).await;
    let mut far = Far { pack: Some(pack), unpack: Some(Unpacker::new()), ..far };
    assert_eq!(body(&far.next().await.unwrap()), SUPPORTED);
    let reset = far.next().await.unwrap();
    assert_eq!(body(&reset), b"\x30\x01\0\x06\0\0\0\0\0\0\x01\0\x02");
    let pong = far.next_of(Kind::PONG).await;
    assert_eq!((pong.header.guid, pong.payload[6..10].to_vec()), (guid(4), vec![2, 0, 0, 0]));
    assert_eq!(until(&servent, |status| status.ultrapeers == 1).await.packed, 1);
}

#[tokio::test]
async fn a_servent_of_version_0_4() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut far = Far::call(&servent).await;
    far.say("GNUTELLA CONNECT/0.4\n\n").await;
    assert_eq!(far.raw(13).await, b"GNUTELLA OK\n\n");
    far.give(&Descriptor::new(guid(3), Kind::PING, 1, Bytes::new())).await;
    far.next_of(Kind::PONG).await;
    // A leaf has no use for it.
    let leaf = start(config(Role::Leaf), None);
    let mut far = Far::call(&leaf).await;
    far.say("GNUTELLA CONNECT/0.4\n\n").await;
    assert_eq!(far.end().await, []);
}

#[tokio::test]
async fn the_leaf_calls_an_ultrapeer_and_tells_its_words() {
    let shelf = shelf().await;
    for packed in [false, true] {
        let (servent, mut far) = Far::called(config(Role::Leaf), Some(&shelf)).await;
        let hello = far.text().await;
        let want = about(&servent, "False", 3, guid_in(&hello));
        let want = format!("GNUTELLA CONNECT/0.6\r\n{want}Accept-Encoding: deflate\r\n\r\n");
        assert_eq!(hello, want);
        let packs = "Accept-Encoding: deflate\r\nContent-Encoding: deflate\r\n";
        let packs = if packed { packs } else { "" };
        far.say(format!("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nX-Query-Routing: 0.1\r\nVendor-Message: 0.2\r\n{packs}\r\n")).await;
        let last = far.text().await;
        let encoding = if packed { "Content-Encoding: deflate\r\n" } else { "" };
        assert_eq!(last, format!("GNUTELLA/0.6 200 OK\r\n{encoding}\r\n"));
        let mut far = if packed { far.packed() } else { far };
        assert_eq!(body(&far.next().await.unwrap()), LEAF_SUPPORTS);
        // RESET of 65 536 slots, and one PATCH of four bits a slot with exactly these words.
        assert_eq!(body(&far.next().await.unwrap()), b"\x30\x01\0\x06\0\0\0\0\0\0\x01\0\x02");
        let patch = far.next().await.unwrap();
        let urns = [&blue_moon()[..], b"hello"].map(|file| {
            let base32 = data_encoding::BASE32_NOPAD.encode(&sha1([file]));
            format!("urn:sha1:{}", base32.to_lowercase())
        });
        let words = ["blue", "blu", "moon", "moo", "red", "sun", "mp3"].map(str::to_owned);
        let table = Table::of(16, words.into_iter().chain(urns));
        let want = &table.messages()[1].encode()[..];
        assert_eq!((patch.header.ttl, &patch.payload[..]), (1, want));
        assert_eq!(&patch.payload[..5], [1, 1, 1, 1, 4]);
        // A question that is met, and the answer to the byte.
        far.give(&query(5, "Moon BLUE", 1)).await;
        let hit = far.next_of(Kind::QUERY_HIT).await;
        let mut want = vec![5; 16];
        want.extend([0x81, 3, 0]);
        let urn = data_encoding::BASE32_NOPAD.encode(&sha1([&blue_moon()[..]]));
        let index = hit.payload[11..15].to_vec();
        let mut payload = vec![1];
        payload.extend(servent.addr().port().to_le_bytes());
        payload.extend([127, 0, 0, 1, 0xe8, 3, 0, 0]);
        payload.extend(&index);
        payload.extend([0x28, 0x23, 0, 0]);
        payload.extend(b"blue moon.mp3\0urn:sha1:");
        payload.extend(urn.as_bytes());
        // Not firewalled; the value of that bit is in the first byte.
        payload.extend(b"\0GGLE\x02\x00\x01");
        payload.extend(Guid::from_hex(guid_in(&hello)).unwrap().0);
        want.extend((payload.len() as u32).to_le_bytes());
        want.extend(payload);
        assert_eq!(hit.encode(), want);
        // What is not met is not answered, and nothing is relayed: the next that comes is the Pong.
        far.give(&query(6, "blue mars", 1)).await;
        far.give(&Descriptor::new(guid(7), Kind::PING, 1, Bytes::new())).await;
        let next = loop {
            let next = far.next().await.unwrap();
            if next.header.kind != Kind::PING {
                break next;
            }
        };
        assert_eq!((next.header.kind, next.header.guid), (Kind::PONG, guid(7)));
    }
}

#[tokio::test]
async fn the_leaf_refuses_a_leaf_and_heeds_who_refuses_it() {
    let other = start(config(Role::Ultrapeer), None);
    let (servent, mut far) = Far::called(config(Role::Leaf), None).await;
    far.block().await;
    let tries = other.addr();
    far.say(format!("GNUTELLA/0.6 503 Full\r\nX-Try-Ultrapeers: {tries}\r\n\r\n")).await;
    assert_eq!(far.end().await, []);
    until(&servent, |status| status.ultrapeers == 1).await;
    until(&other, |status| status.leaves == 1).await;
    let mut leaf = Far::call(&servent).await;
    leaf.say("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\n\r\n").await;
    let refusal = leaf.text().await;
    assert!(refusal.starts_with("GNUTELLA/0.6 503 I am a leaf\r\n"), "{refusal}");
    assert_eq!(leaf.end().await, []);
}

#[tokio::test]
async fn an_ultrapeer_asks_the_leaf_whose_words_are_met() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut leaf = Far::join(&servent, false, "").await;
    let mut other = Far::join(&servent, true, "").await;
    for message in Table::of(16, ["violet", "light"].map(str::to_owned).into_iter()).messages() {
        leaf.give(&Descriptor::new(guid(1), Kind::QRP, 1, message.encode())).await;
    }
    // The leaf's own Pong says that the table has been taken in.
    leaf.give(&Descriptor::new(guid(2), Kind::PING, 1, Bytes::new())).await;
    leaf.next_of(Kind::PONG).await;
    other.give(&query(10, "violet mars", 1)).await;
    let met = query(11, "violet light", 3);
    other.give(&met).await;
    let got = leaf.next_of(Kind::QUERY).await;
    // One hop further, to the last of its links; the payload as it came.
    let mut want = met.encode();
    (want[17], want[18]) = (1, 2);
    assert_eq!(got.encode(), want);
    // The leaf answers, and its answer goes back one link.
    let hit = answer(11, 0x77, None);
    leaf.give(&hit).await;
    let mut want = hit.encode();
    (want[17], want[18]) = (2, 1);
    assert_eq!(other.next_of(Kind::QUERY_HIT).await.encode(), want);
    // A Push to it goes the same way.
    let push = Push {
        target: guid(0x77),
        index: 9,
        addr: "127.0.0.1:80".parse().unwrap(),
        ggep: Ggep::new(),
    };
    other.give(&Descriptor::new(guid(12), Kind::PUSH, 4, push.encode())).await;
    let got = leaf.next_of(Kind::PUSH).await;
    assert_eq!((got.header.ttl, got.header.hops, &got.payload[..]), (3, 1, &push.encode()[..]));
    // What it may not: relay.
    leaf.give(&query(13, "relayed", 2)).await;
    let bye = leaf.end().await.pop().unwrap();
    assert_eq!(body(&bye), b"\x02\x01\0\x16\0\0\0\x9e\x01leaves do not relay\0");
}

/// An answer of one file; `push` says that the servent must be asked to connect.
fn answer(query: u8, servent: u8, push: Option<bool>) -> Descriptor {
    let hit = Hit { index: 9, size: 77, name: "violet light".into(), extensions: <_>::default() };
    let answer = QueryHit {
        addr: "127.0.0.1:7777".parse().unwrap(),
        speed: 1,
        hits: vec![hit],
        trailer: Some(Trailer { vendor: *b"TEST", push, ..Trailer::default() }),
        servent: guid(servent),
    };
    Descriptor::new(guid(query), Kind::QUERY_HIT, 3, answer.encode())
}

#[tokio::test]
async fn a_search_of_the_leaf_and_its_end() {
    let (servent, mut far) = Far::called(config(Role::Leaf), None).await;
    // The question waits for a neighbour.
    let mut found = soon(servent.search(Query::words("violet light"))).await.unwrap();
    far.block().await;
    far.say("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nVendor-Message: 0.2\r\n\r\n").await;
    far.block().await;
    let asked = far.next_of(Kind::QUERY).await;
    assert_eq!(body(&asked), b"\x80\x04\0\x0f\0\0\0\x90\0violet light\0");
    let mut hit = answer(0, 0x77, Some(true));
    hit.header.guid = asked.header.guid;
    far.give(&hit).await;
    let one = soon(found.recv()).await.unwrap();
    assert_eq!((one.name.as_str(), one.size, one.index), ("violet light", 77, 9));
    assert_eq!((one.servent, one.addr, one.vendor), (guid(0x77), None, Some(*b"TEST")));
    // How many hits were kept is asked, and told.
    let how_many = Vendor::HowMany.encode();
    far.give(&Descriptor::new(asked.header.guid, Kind::VENDOR, 1, how_many)).await;
    let told = loop {
        let told = far.next_of(Kind::VENDOR).await;
        if told.header.guid == asked.header.guid {
            break told;
        }
    };
    assert_eq!(body(&told), b"\x31\x01\0\x0a\0\0\0BEAR\x0c\0\x01\0\x01\0");
    // Who wants no more says so to his ultrapeer.
    drop(found);
    let stopped = far.next_of(Kind::VENDOR).await;
    assert_eq!(stopped.header.guid, asked.header.guid);
    assert_eq!(stopped.payload[..], *b"BEAR\x0c\0\x01\0\xff\xff");
    until(&servent, |status| status.searches == 0).await;
}

#[tokio::test]
async fn searches_that_nobody_would_answer() {
    let servent = start(config(Role::Leaf), None);
    for dull in ["", " ", "a b c", "---"] {
        assert_eq!(servent.search(Query::words(dull)).await.err(), Some(Error::Dull), "{dull}");
    }
    let long = servent.search(Query::words(&"word ".repeat(60))).await.err();
    assert_eq!(long, Some(Error::TooLong { got: 303, most: 256 }));
    let mut kept = Vec::new();
    let refused = loop {
        match servent.search(Query::words("blue")).await {
            Ok(found) => kept.push(found),
            Err(error) => break error,
        }
    };
    assert_eq!((refused, kept.len()), (Error::TooManySearches, 64));
    servent.stop().await;
    assert_eq!(servent.search(Query::words("blue")).await.err(), Some(Error::Stopped));
}

#[tokio::test]
async fn the_last_words_of_both_sides() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut far = Far::join(&servent, true, "").await;
    let mut leaver = Far::join(&servent, true, "").await;
    until(&servent, |status| status.ultrapeers == 2).await;
    let bye = Bye { code: 200, reason: "I leave".into() };
    leaver.give(&Descriptor::new(guid(1), Kind::BYE, 1, bye.encode())).await;
    leaver.end().await;
    until(&servent, |status| status.ultrapeers == 1).await;
    let (_, said) = tokio::join!(servent.stop(), far.end());
    assert_eq!(body(said.last().unwrap()), b"\x02\x01\0\x10\0\0\0\xc8\0shutting down\0");
}

#[tokio::test]
async fn a_leaf_grows_when_others_could_connect_for_long_enough() {
    let promote_after = Duration::from_millis(1);
    let mut wishes = config(Role::Auto);
    wishes.promote_after = promote_after;
    let servent = start(wishes, None);
    until(&servent, |status| status.role == Now::Ultrapeer).await;
    let mut leaf = Far::join(&servent, false, "").await;
    assert_eq!(body(&leaf.next().await.unwrap()), SUPPORTED);
    // Not who cannot be connected to, nor who was told to stay a leaf.
    let walled = start(Config { promote_after, firewalled: true, ..config(Role::Auto) }, None);
    let told = start(Config { promote_after, ..config(Role::Leaf) }, None);
    tokio::time::sleep(Duration::from_millis(1_500)).await; // a tick of the machine, and a half
    assert_eq!([walled.status().role, told.status().role], [Now::Leaf; 2]);
}

/// For each link: its own stream of a packed connection survives many flushes in both directions.
#[tokio::test]
async fn a_packed_link_carries_many_answers() {
    let shelf = shelf().await;
    let servent = start(config(Role::Ultrapeer), Some(&shelf));
    let mut far = Far::call(&servent).await;
    far.say("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nAccept-Encoding: deflate\r\nBye-Packet: 0.1\r\n\r\n").await;
    far.block().await;
    far.say("GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n").await;
    let mut far = far.packed();
    for n in 0..200 {
        far.give(&query(n, "sun", 1)).await;
        assert_eq!(far.next_of(Kind::QUERY_HIT).await.header.guid, guid(n));
    }
    far.give(&vendor(&Vendor::HopsFlow(0))).await;
    let ping = Ping::default().encode();
    far.give(&Descriptor::new(guid(1), Kind::PING, 1, ping)).await;
    far.next_of(Kind::PONG).await;
}
