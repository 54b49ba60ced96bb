//! What a lookup for an item believes, and what a put tells whom.

use super::*;
use crate::proto::krpc::{ItemValue, Kept};
use crate::sign::SecretKey;

fn value(text: &str) -> ItemValue {
    ItemValue::of_bytes(text.as_bytes()).unwrap()
}

fn signed(seq: i64, text: &str) -> Item {
    Item::sign(&SecretKey::from_seed(&[3; 32]), &Salt::default(), seq, value(text))
}

fn kept(item: &Item) -> Option<Kept> {
    Some(Kept::Item(Box::new(item.clone())))
}

/// A node that knows so many others, with ids of their own.
fn knowing(count: u8) -> Node {
    let mut node = node(idle());
    for n in 0..count {
        let addr = SocketAddr::from(([60, n, 0, 1], 1));
        node.vouch(at(0), Contact { id: id(100 + n), addr }, Duration::ZERO);
    }
    node
}

/// Answers all questions that wait, each as `fill` has it.
fn answer_all(node: &mut Node, mut fill: impl FnMut(u8, &Ask, &mut Reply)) {
    let waiting: Vec<_> = std::iter::from_fn(|| node.poll_message()).collect();
    for (to, message) in waiting {
        let (IpAddr::V4(ip), Body::Query(query)) = (to.ip(), message.body) else { panic!() };
        let n = ip.octets()[1];
        let mut reply = Reply::new(id(100 + n));
        fill(n, &query.ask, &mut reply);
        node.handle_message(at(10), to, Message::reply(message.transaction, reply), 100);
    }
}

fn items(node: &mut Node) -> Vec<(Option<i64>, ItemValue)> {
    std::iter::from_fn(|| node.poll_event())
        .filter_map(|event| match event {
            Event::Item { item, .. } => Some((item.seq(), item.value)),
            _ => None,
        })
        .collect()
}

#[test]
fn only_genuine_items_are_told_and_each_newer_one() {
    let mut node = knowing(5);
    let target = signed(0, "").target(&Salt::default());
    node.get_item(at(0), target, &Salt::default());
    let forged = Item { value: value("forged"), ..signed(9, "nine") };
    let foreign =
        Item::sign(&SecretKey::from_seed(&[4; 32]), &Salt::default(), 9, value("foreign"));
    let plain = Item { value: value("plain"), signed: None };
    let offers = [signed(2, "two"), forged, foreign, plain, signed(5, "five")];
    answer_all(&mut node, |n, _, reply| reply.kept = kept(&offers[usize::from(n)]));
    let mut told = items(&mut node);
    let newest = told.pop();
    assert_eq!(newest, Some((Some(5), value("five"))));
    assert!(told.is_empty() || told == [(Some(2), value("two"))], "{told:?}");
}

#[test]
fn an_immutable_item_is_the_end_of_the_lookup() {
    let mut node = knowing(30);
    let item = Item { value: value("found"), signed: None };
    let lookup = node.get_item(at(0), item.target(&Salt::default()), &Salt::default())[0];
    let mut first = true;
    answer_all(&mut node, |_, _, reply| {
        reply.kept = std::mem::take(&mut first).then(|| kept(&item)).flatten();
    });
    assert_eq!(node.poll_message(), None, "nobody more is asked");
    let events: Vec<Event> = std::iter::from_fn(|| node.poll_event()).collect();
    let [Event::Item { lookup: of, item: got, .. }, Event::Done { found, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*of, &**got, found.copies), (lookup, &item, 1));
    assert!(node.lookups.is_empty());
}

#[test]
fn what_is_stored_here_is_told_without_asking_anybody() {
    let mut node = node(idle());
    let item = Item { value: value("here"), signed: None };
    let target = item.target(&Salt::default());
    let asks = |seq| Ask::Get { target, seq, want: None };
    let token = reply_from(&mut node, at(0), "8.8.8.8:1", asks(None)).token.unwrap();
    let put = Box::new(Put::new(item.clone()));
    reply_from(&mut node, at(0), "8.8.8.8:1", Ask::Put { token, put });
    assert_eq!(reply_from(&mut node, at(0), "9.9.9.9:1", asks(Some(7))).kept, kept(&item));
    node.get_item(at(1), target, &Salt::default());
    let told = node.poll_event();
    assert!(matches!(told, Some(Event::Item { from: None, .. })), "{told:?}");
    assert!(matches!(node.poll_event(), Some(Event::Done { .. })));
    assert_eq!(node.poll_message(), None);
}

#[test]
fn who_has_the_item_already_is_sent_its_number_only() {
    let mut node = node(idle());
    let target = signed(4, "four").target(&Salt::default());
    let asks = |seq| Ask::Get { target, seq, want: None };
    let token = reply_from(&mut node, at(0), "8.8.8.8:1", asks(None)).token.unwrap();
    let put = Box::new(Put::new(signed(4, "four")));
    reply_from(&mut node, at(0), "8.8.8.8:1", Ask::Put { token, put });
    let kept_for = |node: &mut Node, seq| reply_from(node, at(0), "9.9.9.9:1", asks(seq)).kept;
    assert_eq!(kept_for(&mut node, None), kept(&signed(4, "four")));
    assert_eq!(kept_for(&mut node, Some(3)), kept(&signed(4, "four")));
    assert_eq!(kept_for(&mut node, Some(4)), Some(Kept::Seq(4)));
    assert_eq!(kept_for(&mut node, Some(i64::MAX)), Some(Kept::Seq(4)));
}

#[test]
fn a_put_goes_to_the_willing_and_its_condition_to_those_that_have_something() {
    let mut node = knowing(6);
    let put = Put { cas: Some(4), ..Put::new(signed(5, "five")) };
    let lookup = node.put_item(at(0), put)[0];
    let token_of = |node: &mut Node| {
        answer_all(node, |n, ask, reply| {
            assert!(matches!(ask, Ask::Get { seq: Some(5), .. }), "{ask:?}");
            // One has no place for us, one has what is to be replaced, one something newer, and one something older.
            reply.token = (n != 0).then(|| Token::new(b"token").unwrap());
            reply.kept = match n {
                1 => Some(Kept::Seq(4)),
                2 => kept(&signed(6, "six")),
                3 => Some(Kept::Seq(2)),
                _ => None,
            };
        });
    };
    // Five at a time.
    token_of(&mut node);
    token_of(&mut node);
    let mut conditions = BTreeMap::new();
    while let Some((to, message)) = node.poll_message() {
        let (IpAddr::V4(ip), Body::Query(query)) = (to.ip(), message.body) else { panic!() };
        let n = ip.octets()[1];
        match query.ask {
            Ask::Put { put, .. } => {
                conditions.insert(n, put.cas);
                let answer = if n == 2 {
                    let (code, text) = (ErrorCode::CAS, "CAS mismatch");
                    let refusal = crate::proto::krpc::Refusal {
                        transaction: message.transaction,
                        code,
                        text,
                    };
                    Message::refuse(refusal, None)
                } else {
                    Message::reply(message.transaction, Reply::new(id(100 + n)))
                };
                node.handle_message(at(20), to, answer, 100);
            }
            ask => panic!("{ask:?}"),
        }
    }
    assert_eq!(
        conditions,
        BTreeMap::from([(1, Some(4)), (2, Some(4)), (3, Some(2)), (4, None), (5, None)])
    );
    let last = std::iter::from_fn(|| node.poll_event()).last();
    assert_eq!(last, Some(Event::Stored { lookup, stored: 4, refused: Some(ErrorCode::CAS) }));
}
