//! `gaggle dht get` and `dht put`: small values that the DHT keeps for a while, found by their hash or by their owner's key.
//= BEP 44

use super::dht::Way;
use super::dht_ask::nobody;
use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use crate::locate::{Dht, ItemOutcome};
use crate::net::{Clock, os_entropy};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use gaggle_core::id::NodeId;
use gaggle_core::proto::krpc::{
    ErrorCode, Item, ItemError, ItemValue, Put, SALT_MAX, Salt, VALUE_MAX, target_of,
};
use gaggle_core::sign::{PublicKey, SecretKey};
use std::io::{ErrorKind, IsTerminal as _, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of the longest key file: 128 hex digits, and white space.
const KEY_FILE_MAX: u64 = 200;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle dht get e5f96f6f38320f0f33959cb4d3d656452117aadb
  gaggle dht get 77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548 --salt news
  gaggle dht get e5f96f6f38320f0f33959cb4d3d656452117aadb --bootstrap 10.1.0.5:6881 > value")]
pub(super) struct GetItem {
    /// The item's target (40 hex digits), or its owner's public key (64)
    target: String,
    /// What the owner tells this item from his others by
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = salt, hide_default_value = true)]
    salt: Salt,
    /// Print the value as it is encoded, also if it is a string
    #[arg(long)]
    bencode: bool,
    #[command(flatten)]
    way: Way,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle dht put --text 'Hello World!'
  gaggle dht put latest.txt --key release.key --new-key --salt latest
  date | gaggle dht put - --key release.key

Without --key the item is found by the hash that is printed, and nobody can change it. With --key it is found by the
public key that is printed (and the salt), and whoever has the key file can put another value in its place. Nodes
forget an item after about two hours: put it again every hour to keep it.")]
pub(super) struct PutItem {
    /// File with the value; `-` reads it from stdin
    #[arg(required_unless_present = "text", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// The value itself
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// The value is bencoded already [default: its bytes become one string]
    #[arg(long)]
    bencode: bool,
    /// Sign it with the key in FILE, so that it can be changed later
    #[arg(long, value_name = "FILE", env = "GAGGLE_DHT_KEY")]
    key: Option<PathBuf>,
    /// Make a key if there is no such FILE
    #[arg(long, requires = "key")]
    new_key: bool,
    /// Tells this item from others of the same key
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = salt, requires = "key", hide_default_value = true)]
    salt: Salt,
    /// Sequence number [default: that of the newest that is found, and one more if it has another value]
    #[arg(long, value_name = "NUMBER", requires = "key", value_parser = clap::value_parser!(i64).range(0..))]
    seq: Option<i64>,
    /// Only replace an item that has this sequence number [default: that of the newest that is found, without --seq]
    #[arg(long, value_name = "NUMBER", requires = "key", value_parser = clap::value_parser!(i64).range(0..))]
    cas: Option<i64>,
    #[command(flatten)]
    way: Way,
}

/// Prints the value: of a string its bytes, of anything else what it is encoded as.
pub(super) async fn get(env: &Env, args: &GetItem) -> anyhow::Result<Exit> {
    let key = PublicKey::from_hex(&args.target).map(|key| target_of(&key, &args.salt));
    let target = key.or_else(|| NodeId::from_hex(&args.target)).ok_or_else(|| {
        Failure::usage(format!("{} is neither a target nor a public key", args.target))
            .hint("a target has 40 hex digits, a public key 64")
    })?;
    let node = args.way.node(env)?;
    let clock = Clock::start();
    let outcome = node.get_item(target, args.salt.clone()).await.map_err(|error| nobody(&error))?;
    let ItemOutcome { item, copies, asked, answered, .. } = outcome;
    let seconds = clock.now().as_secs_f64();
    if let Some(item) = &item {
        let value = item.value.read();
        let signed = item.signed.as_ref();
        env.emit(&Event::DhtItem {
            target: target.to_string(),
            key: signed.map(|signed| signed.key.to_string()),
            seq: item.seq(),
            signature: signed.map(|signed| signed.signature.to_string()),
            text: value.as_str(),
            bencode: HEXLOWER.encode(value.raw()),
        })?;
        let string = value.as_bytes().filter(|_| !args.bencode);
        print(env, string.unwrap_or(value.raw()))?;
    }
    env.emit(&Event::DhtGet { target: target.to_string(), asked, answered, copies, seconds })?;
    let nodes = if copies == 1 { "1 node has" } else { &format!("{copies} nodes have") };
    let seq = item.as_ref().and_then(Item::seq).map(|seq| format!(" with sequence number {seq}"));
    let it = format!("it{}", seq.unwrap_or_default());
    env.note(format_args!("{asked} nodes asked, {nodes} {it}, {seconds:.1} s"));
    Ok(if item.is_some() { Exit::Done } else { Exit::Other })
}

/// Stores a value, and prints what it is found by.
pub(super) async fn put(env: &Env, args: &PutItem) -> anyhow::Result<Exit> {
    let value = read_value(args)?;
    let owner = args.key.as_deref().map(|file| read_key(env, file, args.new_key)).transpose()?;
    let node = args.way.node(env)?;
    let clock = Clock::start();
    let mut cas = args.cas;
    let item = match &owner {
        Some(owner) => {
            let seq = match args.seq {
                Some(seq) => seq,
                None => {
                    let (seq, newest) = next_seq(&node, owner, &args.salt, &value).await?;
                    // What somebody else puts in the meantime is not replaced unseen.
                    cas = cas.or(newest);
                    seq
                }
            };
            Item::sign(owner, &args.salt, seq, value)
        }
        None => Item { value, signed: None },
    };
    let (target, seq) = (item.target(&args.salt), item.seq());
    let put = Put { item, salt: args.salt.clone(), cas };
    let ItemOutcome { asked, stored, refused, .. } =
        node.put_item(put).await.map_err(|error| nobody(&error))?;
    let seconds = clock.now().as_secs_f64();
    let (target, key) = (target.to_string(), owner.map(|owner| owner.public().to_string()));
    env.emit(&Event::DhtPut {
        target: target.clone(),
        key: key.clone(),
        seq,
        asked,
        stored,
        refused: refused.map(|code| code.0),
        seconds,
    })?;
    if stored == 0 {
        return Err(refusal(refused, asked, args).into());
    }
    env.result(key.as_ref().unwrap_or(&target))?;
    let s = if stored == 1 { "" } else { "s" };
    let seq = seq.map(|seq| format!(" with sequence number {seq}")).unwrap_or_default();
    env.note(format_args!("stored by {stored} node{s}{seq}; it lasts for about two hours"));
    if matches!(refused, Some(ErrorCode::SEQ | ErrorCode::CAS)) {
        env.note("others have something newer, which readers will find instead");
    }
    Ok(Exit::Done)
}

/// That of the newest item of this owner and salt if it has the same value, which renews it; otherwise one more. And that
/// of the newest itself, if there is one.
async fn next_seq(
    node: &Dht,
    owner: &SecretKey,
    salt: &Salt,
    value: &ItemValue,
) -> anyhow::Result<(i64, Option<i64>)> {
    let target = target_of(&owner.public(), salt);
    let found = node.get_item(target, salt.clone()).await.map_err(|error| nobody(&error))?;
    let newest = found.item.as_ref().and_then(|item| Some((&item.value, item.seq()?)));
    match newest {
        None => Ok((1, None)),
        Some((same, seq)) if same == value => Ok((seq, Some(seq))),
        Some((_, i64::MAX)) => {
            let what = "the newest item has the highest sequence number that there is";
            Err(Failure::new(Exit::Other, what).into())
        }
        Some((_, seq)) => Ok((seq + 1, Some(seq))),
    }
}

/// Why nobody stores it.
fn refusal(code: Option<ErrorCode>, asked: u32, args: &PutItem) -> Failure {
    let failure = |why: &str| Failure::new(Exit::Other, format!("not stored: {why}"));
    match (code, args.cas) {
        (Some(ErrorCode::CAS), Some(cas)) => {
            failure(&format!("what is there has another sequence number than {cas}"))
                .hint("`gaggle dht get` shows it")
        }
        (Some(ErrorCode::CAS), None) => {
            failure("something newer has come in the meantime").hint("`gaggle dht get` shows it")
        }
        (Some(ErrorCode::SEQ), _) => {
            failure("something newer is there").hint("without --seq the next number is used")
        }
        (Some(ErrorCode(code)), _) => failure(&format!("refused with error {code}")),
        (None, _) => failure(&format!("{asked} nodes asked, and none takes it")),
    }
}

/// Shows a value. Where a terminal would take parts of it for commands, they are escaped; elsewhere it goes out as it is.
fn print(env: &Env, value: &[u8]) -> anyhow::Result<()> {
    if env.json {
        return Ok(());
    }
    if !std::io::stdout().is_terminal() {
        return env.stdout(value);
    }
    let harmless = |text: &&str| !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    match std::str::from_utf8(value).ok().filter(harmless) {
        Some(text) => env.result(text.trim_end_matches('\n')),
        None => env.result(value.escape_ascii()),
    }
}

fn salt(text: &str) -> Result<Salt, String> {
    let long = || format!("{} bytes, a salt has at most {SALT_MAX}", text.len());
    Salt::new(text.as_bytes()).ok_or_else(long)
}

fn read_value(args: &PutItem) -> anyhow::Result<ItemValue> {
    let (name, bytes) = match (&args.text, args.file.as_deref()) {
        (Some(text), _) => ("the text".to_owned(), text.clone().into_bytes()),
        (None, file) => {
            let file = file.unwrap_or(Path::new("-"));
            let name =
                if file == Path::new("-") { "stdin".into() } else { file.display().to_string() };
            let bytes = read_some(file, VALUE_MAX as u64 + 1)
                .map_err(|error| Failure::io(format_args!("cannot read {name}"), &error))?;
            (name, bytes)
        }
    };
    let value = if args.bencode { ItemValue::new(&bytes) } else { ItemValue::of_bytes(&bytes) };
    Ok(value.map_err(|error| match error {
        // Not all of it was read.
        ItemError::TooLong { .. } => Failure::usage(format!("{name} is too long for an item"))
            .hint("it can have 1000 bytes when bencoded: a string of 996, such as a link to something larger"),
        error => Failure::usage(format!("{name}: {error}")),
    })?)
}

/// What a file begins with, or stdin.
fn read_some(file: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    if file == Path::new("-") {
        return first_of(std::io::stdin().lock(), most);
    }
    first_of(std::fs::File::open(file)?, most)
}

fn first_of(from: impl Read, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A key: 64 hex digits, which are a seed, or 128, of which there are [two kinds](SecretKey::from_long).
fn read_key(env: &Env, file: &Path, make: bool) -> anyhow::Result<SecretKey> {
    let name = file.display();
    let cannot_read = |error| Failure::io(format_args!("cannot read the key {name}"), &error);
    // Asked before it is opened: to open a pipe is to wait for whoever writes.
    let meta = match std::fs::metadata(file) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound && make => {
            let key = make_key(file)
                .map_err(|error| Failure::io(format_args!("cannot make {name}"), &error))?;
            env.note(format_args!("new key in {name}: whoever has it can change the item"));
            return Ok(key);
        }
        Err(error) => {
            let gone = error.kind() == ErrorKind::NotFound;
            let failure = cannot_read(error);
            return Err(if gone { failure.hint("--new-key makes one") } else { failure }.into());
        }
    };
    let no_key = |why| Failure::usage(format!("{name} is no key: {why}"));
    if !meta.is_file() {
        return Err(no_key("it must be a regular file").into());
    }
    if meta.mode() & 0o077 != 0 {
        let failure =
            Failure::usage(format!("others than its owner have access to the key {name}"));
        return Err(failure.hint(format!("`chmod 600 {name}`")).into());
    }
    let open = std::fs::File::open(file);
    let bytes = open.and_then(|file| first_of(file, KEY_FILE_MAX + 1)).map_err(cannot_read)?;
    let whole = bytes.len() as u64 <= KEY_FILE_MAX;
    let key = HEXLOWER_PERMISSIVE.decode(bytes.trim_ascii()).ok().filter(|_| whole);
    let key = key.unwrap_or_default();
    if let Ok(seed) = key.as_slice().try_into() {
        return Ok(SecretKey::from_seed(seed));
    }
    let long = key.as_slice().try_into();
    let long = long.map_err(|_| no_key("it must be 64 hex digits, or 128"))?;
    Ok(SecretKey::from_long(long).ok_or_else(|| {
        no_key("128 hex digits must be a seed with its public key, or an expanded key")
    })?)
}

/// Nobody else may read it, and nothing is ever overwritten.
fn make_key(file: &Path) -> std::io::Result<SecretKey> {
    let seed = os_entropy()?;
    let mut out =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(out, "{}", HEXLOWER.encode(&seed))?;
    out.sync_all()?;
    Ok(SecretKey::from_seed(&seed))
}
