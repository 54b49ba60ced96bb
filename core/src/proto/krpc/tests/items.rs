//! Messages with items, and with what is none.

use super::*;

#[test]
fn a_put_that_cannot_be_stored_is_answered_with_what_is_wrong() {
    const MUTABLE: &str = "1:v3:abc5:token1:x1:k32:kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk3:seqi1e\
                           3:sig64:ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss";
    let put = |rest: &str, code| answered(&with(rest), "put", code);
    let salted = |len: usize| format!("{MUTABLE}4:salt{len}:{}", "x".repeat(len));
    answered(&with(""), "get", ErrorCode::PROTOCOL);
    put("5:token1:x", ErrorCode::PROTOCOL);
    put("1:v3:abc", ErrorCode::PROTOCOL);
    put("1:vd1:bi1e1:ai1ee5:token1:x", ErrorCode::PROTOCOL);
    put(&format!("1:v997:{}5:token1:x", "x".repeat(997)), ErrorCode::VALUE);
    put(&MUTABLE.replace("i1e", "i-1e"), ErrorCode::PROTOCOL);
    put(&MUTABLE.replace("3:seqi1e", ""), ErrorCode::PROTOCOL);
    put(&MUTABLE.replace("32:k", "31:"), ErrorCode::PROTOCOL);
    put(&MUTABLE.replace("64:s", "63:"), ErrorCode::PROTOCOL);
    put(&format!("{MUTABLE}3:cas1:1"), ErrorCode::PROTOCOL);
    put(&format!("{MUTABLE}4:salti1e"), ErrorCode::PROTOCOL);
    put(&salted(65), ErrorCode::SALT);
    put(&salted(1200), ErrorCode::SALT);
    // As many parts as fit, and as deep as may be.
    for value in [format!("l{}e", "0:".repeat(499)), "l".repeat(32) + &"e".repeat(32)] {
        let raw = format!("d1:a{}1:q3:put1:t2:aa1:y1:qe", with(&MUTABLE.replace("3:abc", &value)));
        let read = Message::parse(raw.as_bytes()).unwrap().body;
        let Body::Query(Query { ask: Ask::Put { put, .. }, .. }) = read else { panic!("a put") };
        assert_eq!(put.item.value.as_bytes(), value.as_bytes());
    }
    // The size of the value comes first.
    put(&salted(65).replace("3:abc", &format!("997:{}", "x".repeat(997))), ErrorCode::VALUE);
    let longest = format!("d1:a{}1:q3:put1:t2:aa1:y1:qe", with(&salted(64)));
    let read = Message::parse(longest.as_bytes()).unwrap();
    let Body::Query(Query { ask: Ask::Put { put, .. }, .. }) = read.body else { panic!("a put") };
    assert_eq!(put.salt.as_bytes().len(), 64);
}

#[test]
fn what_is_no_whole_item_counts_as_absent() {
    let value = ItemValue::of_bytes(b"abc").unwrap();
    let signed = Signed { key: PublicKey([1; 32]), seq: 7, signature: Signature([2; 64]) };
    let whole = || Dict::new().bytes("k", [1; 32]).int("seq", 7).bytes("sig", [2; 64]);
    let kept = |results: Dict| {
        let raw = Dict::new().bytes("t", "aa").bytes("y", "r");
        let raw = raw.dict("r", results.bytes("id", ASKER.0)).into_bytes();
        match Message::parse(&raw).unwrap().body {
            Body::Reply(reply) => reply.kept,
            other => panic!("{other:?}"),
        }
    };
    let item = |signed| Some(Kept::Item(Box::new(Item { value: value.clone(), signed })));
    assert_eq!(kept(Dict::new().bytes("v", "abc")), item(None));
    assert_eq!(kept(whole().bytes("v", "abc")), item(Some(signed)));
    assert_eq!(kept(whole()), Some(Kept::Seq(7)));
    assert_eq!(kept(Dict::new().int("seq", -1)), None);
    for odd in [
        whole().bytes("v", "abc").int("seq", -1),
        whole().bytes("v", "abc").bytes("k", [1; 31]),
        whole().bytes("v", "abc").bytes("sig", [1; 65]),
        whole().bytes("v", [0; 997]),
        whole().raw("v", b"d1:b0:1:a0:e"),
        Dict::new().bytes("v", "abc").bytes("sig", [1; 64]),
    ] {
        assert_eq!(kept(odd.clone()), None, "{odd:?}");
    }
}

#[test]
fn the_largest_item_fits_a_datagram() {
    let value = ItemValue::of_bytes(&[0; 996]).unwrap();
    let signed = Signed { key: PublicKey([1; 32]), seq: i64::MAX, signature: Signature([2; 64]) };
    let item = Item { value, signed: Some(signed) };
    let salt = Salt::new(&[3; SALT_MAX]).unwrap();
    let put = Box::new(Put { item: item.clone(), salt, cas: Some(i64::MAX) });
    let mut largest = asks(Ask::Put { token: Token::new(&[4; TOKEN_MAX]).unwrap(), put });
    largest.version = Some(ClientTag(*b"GG01"));
    largest.transaction = TransactionId::new(&[5; TRANSACTION_MAX]).unwrap();
    let raw = largest.encode();
    assert!(raw.len() <= DATAGRAM_ITEM_MAX, "{}", raw.len());
    assert_eq!(Message::parse(&raw), Ok(largest));

    let contact =
        |n: u8| Contact { id: NodeId([n; 20]), addr: SocketAddr::from(([n, 1, 1, 1], 1)) };
    let kept = Some(Kept::Item(Box::new(item)));
    let nodes = Some((1..=8).map(contact).collect::<Vec<_>>());
    let token = Token::new(&[4; 8]);
    let reply = Reply { nodes, token, kept: kept.clone(), ..Reply::new(ASKER) };
    let raw = answers(reply.clone()).encode();
    assert_eq!(Message::parse(&raw), Ok(answers(reply.clone())), "with all eight nodes");
    let filter = Some(Filter::new());
    let more =
        Reply { seeds: filter.clone(), leeches: filter, name: Some(Text::new(b"n")), ..reply };
    let raw = answers(more).encode();
    assert!(raw.len() <= DATAGRAM_ITEM_MAX, "{}", raw.len());
    let Body::Reply(left) = Message::parse(&raw).unwrap().body else { panic!("a reply") };
    assert_eq!(left.kept, kept, "the item stays");
}
