//! Datagrams that other programs sent: each is understood, and written again byte for byte.

use gaggle_core::proto::krpc::{Ask, Body, Kept, Message, Query, Salt};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn captured_messages_are_written_again_as_they_came() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/krpc");
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".py") {
            continue;
        }
        let raw = std::fs::read(&path).unwrap();
        let message = Message::parse(&raw).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (ours, theirs) = (message.encode(), &raw);
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{name}");
        *kinds.entry(kind(&name, &message)).or_default() += 1;
    }
    // The name of a file says what it must have been understood as.
    for (client, kind) in [
        ("libtorrent", "announce_peer"),
        ("libtorrent", "error"),
        ("libtorrent", "filters"),
        ("libtorrent", "get"),
        ("libtorrent", "get_peers"),
        ("libtorrent", "item"),
        ("libtorrent", "nodes"),
        ("libtorrent", "put"),
        ("libtorrent", "samples"),
        ("libtorrent", "seq"),
        ("libtorrent", "values"),
        ("transmission", "announce_peer"),
        ("transmission", "error"),
        ("transmission", "find_node"),
        ("transmission", "get_peers"),
        ("transmission", "nodes"),
        ("transmission", "ping"),
        ("transmission", "pong"),
        ("transmission", "values"),
    ] {
        assert!(kinds.contains_key(&format!("{client} {kind}")), "{client} {kind} of {kinds:?}");
    }
    assert!(kinds.values().sum::<usize>() >= 54, "{kinds:?}");
}

/// What libtorrent signs, and what it keeps for others, is as the specification of items has it.
#[test]
fn captured_items_are_genuine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/krpc");
    let salts = ["", "foobar"].map(|salt| Salt::new(salt.as_bytes()).unwrap());
    let (mut signed, mut others) = (0, 0);
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let (item, salts) = match Message::parse(&std::fs::read(&path).unwrap()) {
            Ok(Message { body: Body::Query(Query { ask: Ask::Put { put, .. }, .. }), .. }) => {
                (put.item, vec![put.salt])
            }
            Ok(Message { body: Body::Reply(reply), .. }) => match reply.kept {
                Some(Kept::Item(item)) => (*item, salts.to_vec()),
                _ => continue,
            },
            _ => continue,
        };
        assert!(salts.iter().any(|salt| item.is_genuine(salt)), "{}", path.display());
        *if item.signed.is_some() { &mut signed } else { &mut others } += 1;
    }
    assert!(signed >= 8 && others >= 4, "{signed} signed, {others} others");
}

/// What the message is, in the words of the file name, which it must agree with.
fn kind(name: &str, message: &Message) -> String {
    let mut parts = name.splitn(3, '_');
    let client = parts.next().unwrap();
    let kind = match &message.body {
        Body::Query(query) => match &query.ask {
            Ask::Ping => "ping",
            Ask::FindNode { .. } => "find_node",
            Ask::GetPeers { .. } => "get_peers",
            Ask::AnnouncePeer { .. } => "announce_peer",
            Ask::SampleInfohashes { .. } => "sample_infohashes",
            Ask::Get { .. } => "get",
            Ask::Put { .. } => "put",
            Ask::Unknown { .. } => "unknown",
        },
        Body::Reply(reply) if matches!(reply.kept, Some(Kept::Item(_))) => "item",
        Body::Reply(reply) if reply.kept.is_some() => "seq",
        Body::Reply(reply) if reply.samples.is_some() => "samples",
        Body::Reply(reply) if reply.values.is_some() => "values",
        Body::Reply(reply) if reply.seeds.is_some() => "filters",
        Body::Reply(reply) if reply.token.is_some() => "token",
        Body::Reply(reply) if reply.nodes.is_some() || reply.nodes6.is_some() => "nodes",
        Body::Reply(_) => "pong",
        Body::Error(_) => "error",
    };
    let told = parts.nth(1).unwrap();
    assert!(told.starts_with(kind), "{name} was read as {kind}");
    format!("{client} {kind}")
}
