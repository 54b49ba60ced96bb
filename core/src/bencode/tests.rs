use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::HashMap;

const SMALL: Limits = Limits { depth: 4, tokens: 12, bytes: 200 };

#[track_caller]
fn refuses(input: &[u8], want: BencodeError) {
    assert_eq!(check(input, SMALL), Err(want), "{}", input.escape_ascii());
}

#[test]
fn malformed_input_is_named_with_its_offset() {
    use BencodeError as E;
    refuses(b"", E::Truncated { at: 0 });
    refuses(b"x", E::Unexpected { at: 0, byte: b'x' });
    refuses(b"e", E::Unexpected { at: 0, byte: b'e' });
    refuses(b"-1:a", E::Unexpected { at: 0, byte: b'-' });
    refuses(b"i1ei2e", E::Trailing { at: 3 });
    refuses(b"le ", E::Trailing { at: 2 });
    for bad in ["ie", "i-e", "i-0e", "i07e", "i-07e", "i00e", "i+1e", "i 1e", "i1 e", "i1.5e"] {
        refuses(bad.as_bytes(), E::Integer { at: 0 });
    }
    refuses(b"i1x", E::Integer { at: 0 });
    refuses(b"i12", E::Truncated { at: 3 });
    refuses(b"i", E::Truncated { at: 1 });
    refuses(b"i9223372036854775808e", E::IntegerRange { at: 0 });
    refuses(b"i-9223372036854775809e", E::IntegerRange { at: 0 });
    refuses(format!("i{}e", "9".repeat(100)).as_bytes(), E::IntegerRange { at: 0 });
    refuses(b"5:spam", E::Truncated { at: 6 });
    refuses(b"5", E::Truncated { at: 1 });
    refuses(b"05:hello", E::Length { at: 0 });
    refuses(b"1a:b", E::Length { at: 0 });
    refuses(b"99999999999:", E::Length { at: 0 });
    refuses(b"9999999999:x", E::Truncated { at: 12 });
    refuses(b"d1:ae", E::MissingValue { at: 4 });
    refuses(b"di1ei2ee", E::KeyKind { at: 1 });
    refuses(b"dlei2ee", E::KeyKind { at: 1 });
    refuses(b"d1:ai1e1:ai2ee", E::DuplicateKey { at: 7 });
    refuses(b"d1:bi1e1:ai2e1:bi3ee", E::DuplicateKey { at: 13 });
    refuses(b"l1:a", E::Truncated { at: 4 });
    refuses(b"lllll", E::Depth { at: 4, max: 4 });
    refuses(b"llllllllllllllllllllll", E::Depth { at: 4, max: 4 });
    refuses(b"llelelelelelelelelelelelelelelee", E::TooManyTokens { at: 23, max: 12 });
    refuses(&[b'l'; 201], E::TooLong { max: 200 });
}

#[test]
fn odd_but_well_formed_input_passes() {
    for good in [
        &b"i0e"[..],
        b"i-1e",
        b"i9223372036854775807e",
        b"i-9223372036854775808e",
        b"0:",
        b"le",
        b"de",
        b"llllee1:xee",
        b"d1:bi1e1:ai2ee",           // unordered keys: old torrents have them
        b"d2:\0\xffi1e2:\0ai2ee",    // any bytes may be a key
        b"d1:ad1:ai1ee1:bd1:ai1eee", // the same key at another place is no duplicate
        b"d0:i1ee",
    ] {
        assert_eq!(check(good, SMALL), Ok(()), "{}", good.escape_ascii());
    }
}

#[test]
fn a_value_is_walked_in_place() {
    let doc = b"d4:infod4:name1:x6:lengthi-7ee4:listli1e3:two2:\xff\xfedeee";
    let value = Value::parse(doc, Limits::MESSAGE).unwrap();
    let info = value.at("info").unwrap();
    assert_eq!(info.raw(), b"d4:name1:x6:lengthi-7ee");
    assert_eq!(&doc[info.span()], info.raw());
    assert_eq!(span_of(doc, Limits::MESSAGE, &[b"info", b"name"]), Ok(Some(14..17)));
    assert_eq!(span_of(doc, Limits::MESSAGE, &[b"info", b"name", b"x"]), Ok(None));
    assert_eq!(info.at("length").unwrap().as_int(), Some(-7));
    assert_eq!(info.at("length").unwrap().as_uint(), None);
    assert_eq!(info.at("name").unwrap().as_str(), Some("x"));
    assert_eq!(info.at("name").unwrap().as_int(), None);
    assert_eq!(info.at("absent").map(|v| v.kind()), None);
    let items: Vec<_> = value.at("list").unwrap().as_list().unwrap().collect();
    assert_eq!(
        items.iter().map(Value::kind).collect::<Vec<_>>(),
        [Kind::Int, Kind::Bytes, Kind::Bytes, Kind::Dict]
    );
    assert_eq!(items[2].as_str(), None);
    assert_eq!(items[2].as_bytes(), Some(&b"\xff\xfe"[..]));
    assert_eq!(items[3].as_dict().unwrap().count(), 0);
    let keys: Vec<_> = value.as_dict().unwrap().map(|(key, _)| key).collect();
    assert_eq!(keys, [&b"info"[..], b"list"]);
}

#[test]
fn the_first_value_is_split_from_raw_bytes() {
    let message = b"d8:msg_typei1e5:piecei0eeRAW";
    let (value, rest) = Value::parse_first(message, SMALL).unwrap();
    assert_eq!((value.at("piece").unwrap().as_int(), rest), (Some(0), &b"RAW"[..]));
    // The limit counts the value, not what follows it.
    let long = [&b"le"[..], &[b'x'; 500]].concat();
    assert_eq!(split_first(&long, SMALL).unwrap().1.len(), 500);
    let max = SMALL.bytes;
    assert_eq!(
        split_first(&[&b"300:"[..], &[0; 300]].concat(), SMALL),
        Err(BencodeError::TooLong { max })
    );
    assert_eq!(split_first(b"300:", SMALL), Err(BencodeError::Truncated { at: 4 }));
}

#[test]
fn serde_runs_after_the_check() {
    #[derive(serde::Deserialize, serde::Serialize, Debug, PartialEq)]
    struct Reply {
        interval: i64,
        #[serde(with = "serde_bytes")]
        peers: Vec<u8>,
    }
    let reply = Reply { interval: 60, peers: vec![1, 255] };
    let bytes = to_bytes(&reply).unwrap();
    assert_eq!(bytes, b"d8:intervali60e5:peers2:\x01\xffe");
    assert_eq!(from_bytes::<Reply>(&bytes, Limits::MESSAGE), Ok(reply));
    assert_eq!(
        from_bytes::<i64>(b"i+5e", Limits::MESSAGE), // which serde_bencode alone reads as 5
        Err(BencodeError::Integer { at: 0 })
    );
    assert!(matches!(from_bytes::<Reply>(b"le", Limits::MESSAGE), Err(BencodeError::Shape(_))));
}

#[test]
fn writers_sort_keys_and_keep_raw_spans() {
    let raw = b"d1:z0:1:a0:e"; // unordered, and stays so
    let bytes = Dict::new()
        .bytes("b", "two")
        .int("a", -1)
        .raw("info", raw)
        .list("c", List::of_bytes(["x", "y"]).int(7u64).dict(Dict::new()).list(List::new()))
        .int("a", 1)
        .into_bytes();
    assert_eq!(bytes, b"d1:ai1e1:b3:two1:cl1:x1:yi7edelee4:infod1:z0:1:a0:ee");
    assert_eq!(check(&bytes, Limits::MESSAGE), Ok(()));
}

/// A bencode value as a tree, to compare decoders by.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(HashMap<Vec<u8>, Self>),
}

impl Tree {
    fn from_ours(value: &Value<'_>) -> Self {
        match value.kind() {
            Kind::Int => Self::Int(value.as_int().unwrap()),
            Kind::Bytes => Self::Bytes(value.as_bytes().unwrap().to_vec()),
            Kind::List => {
                Self::List(value.as_list().unwrap().map(|v| Self::from_ours(&v)).collect())
            }
            Kind::Dict => Self::Dict(
                value.as_dict().unwrap().map(|(k, v)| (k.to_vec(), Self::from_ours(&v))).collect(),
            ),
        }
    }

    fn from_theirs(value: serde_bencode::value::Value) -> Self {
        use serde_bencode::value::Value as V;
        match value {
            V::Int(n) => Self::Int(n),
            V::Bytes(b) => Self::Bytes(b),
            V::List(l) => Self::List(l.into_iter().map(Self::from_theirs).collect()),
            V::Dict(d) => {
                let entries: std::collections::BTreeMap<_, _> = d.into_iter().collect();
                Self::Dict(entries.into_iter().map(|(k, v)| (k, Self::from_theirs(v))).collect())
            }
        }
    }
}

fn any_tree() -> impl Strategy<Value = serde_bencode::value::Value> {
    use serde_bencode::value::Value as V;
    let bytes = || vec(any::<u8>(), 0..12);
    let leaf = prop_oneof![any::<i64>().prop_map(V::Int), bytes().prop_map(V::Bytes)];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(V::List),
            btree_map(bytes(), inner, 0..6).prop_map(|d| V::Dict(d.into_iter().collect())),
        ]
    })
}

/// Bytes that look like bencode more often than random ones do.
fn near_bencode() -> impl Strategy<Value = Vec<u8>> {
    let alphabet = prop::sample::select(b"ilde0123:-ab".to_vec());
    vec(prop_oneof![9 => alphabet, 1 => any::<u8>()], 0..40)
}

proptest! {
    #[test]
    fn we_agree_with_serde_bencode(tree in any_tree()) {
        let bytes = serde_bencode::to_bytes(&tree).unwrap();
        let ours = Value::parse(&bytes, Limits::MESSAGE).unwrap();
        prop_assert_eq!(Tree::from_ours(&ours), Tree::from_theirs(tree));
        let (first, rest) = split_first(&bytes, Limits::MESSAGE).unwrap();
        prop_assert_eq!((first, rest.len()), (&bytes[..], 0));
    }

    #[test]
    fn what_we_accept_serde_bencode_reads_alike(raw in near_bencode()) {
        if let Ok(value) = Value::parse(&raw, SMALL) {
            let theirs = serde_bencode::from_bytes(&raw).unwrap();
            prop_assert_eq!(Tree::from_ours(&value), Tree::from_theirs(theirs));
        }
    }

    #[test]
    fn a_cut_value_is_truncated_and_nothing_else(tree in any_tree(), cut in any::<prop::sample::Index>()) {
        let bytes = serde_bencode::to_bytes(&tree).unwrap();
        let at = cut.index(bytes.len());
        prop_assert_eq!(check(&bytes[..at], Limits::MESSAGE), Err(BencodeError::Truncated { at }));
    }

    #[test]
    fn hostile_bytes_never_panic(raw in vec(any::<u8>(), 0..300)) {
        let _ = check(&raw, SMALL);
        let _ = scan::end_of_value(&raw, 0);
        let _ = span_of(&raw, SMALL, &[b"a"]);
    }
}

#[test]
fn ten_thousand_nested_lists_cost_nothing() {
    let deep = [vec![b'l'; 10_000], vec![b'e'; 10_000]].concat();
    assert_eq!(check(&deep, Limits::TORRENT), Err(BencodeError::Depth { at: 100, max: 100 }));
}
