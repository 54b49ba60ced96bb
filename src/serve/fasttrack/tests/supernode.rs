//! What clients of old and other supernodes say to a supernode, and what it says.

use super::wire::Wire;
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const HASH: &str = "422922672fb7e75cfdcf2d8921a696a2aac24c41";
const NAME: &str = "payload from giFT.mp3";

/// The file of giFT: 700 000 bytes, with its name.
fn file() -> String {
    format!("{HASH} 8c1b aadc60 01 02 15 {}", hex_of(NAME))
}

/// Everything up to the upload of shares; both clients have what they wait for.
async fn log_in(sn: &FastTrack, user: &str) -> Wire {
    let mut client = Wire::client(sn.addr()).await;
    client.hear(0x00, &format!("{} 00 64", six(sn.addr()))).await;
    client.hear(0x2c, "7f000001").await;
    client.hear(0x03, "").await;
    let info = format!("7f000001 04be 60 00 {}", hex_of(user));
    client.say(0x02, &info).await;
    client.say(0x02, &info).await; // giFT says it again when it knows its address
    client
}

async fn sharing(sn: &FastTrack) -> Wire {
    let mut gift = log_in(sn, "giFTed").await;
    gift.say(0x22, &format!("00 01 00 00 {}", file())).await;
    gift.ping().await;
    gift
}

fn row(user: &str) -> String {
    format!("7f000001 04be 60 {} 01 4b615a6141 00 {}", hex_of(user), file())
}

#[tokio::test]
async fn gift_shares_and_mldonkey_finds_it_and_has_it_connect() {
    let sn = supernode();
    let mut gift = sharing(&sn).await;
    let mut mldonkey = log_in(&sn, "mldonk").await;
    mldonkey.say(0x06, "0001 0020 0000 01 3f 01 05 00 07 7061796c6f6164").await;
    let at = six(sn.addr());
    mldonkey.hear(0x07, &format!("{at} 0000 0001 {}", row("giFTed"))).await;
    mldonkey.hear(0x08, "0000").await;
    // By its hash, with the term that mldonkey adds.
    mldonkey.say(0x06, &format!("0001 0020 0007 01 3f 02 00 03 14 {HASH} 06 1f 01 02")).await;
    mldonkey.hear(0x07, &format!("{at} 0007 0001 {}", row("giFTed"))).await;
    mldonkey.hear(0x08, "0007").await;
    // Another kind of file, and what nobody has.
    for query in [
        "0001 0020 0008 01 22 01 05 00 07 7061796c6f6164",
        "0001 0020 0008 01 3f 01 05 00 07 6e6f7468696e67",
    ] {
        mldonkey.say(0x06, query).await;
        mldonkey.hear(0x08, "0008").await;
    }
    // giFT does not find its own.
    gift.say(0x06, "0001 03e8 0000 01 bf 01 05 00 07 7061796c6f6164").await;
    gift.hear(0x08, "0000").await;

    let push = format!("01020304 09090909 1234 7f000001 04be {at} {}", hex_of("giFTed"));
    mldonkey.say(0x0d, &push).await;
    gift.hear(0x0d, "01020304 7f000001 1234").await; // to where he is seen, and nowhere else

    gift.say(0x05, &file()).await;
    gift.ping().await;
    mldonkey.say(0x06, "0001 0020 0009 01 3f 01 05 00 07 7061796c6f6164").await;
    mldonkey.hear(0x08, "0009").await;
    assert_eq!(sn.status().nodes, 3, "with the node of its own");
}

#[tokio::test]
async fn what_leaves_takes_its_files_along() {
    let sn = supernode();
    let gift = sharing(&sn).await;
    until(&sn, |status| status.files == 1 && status.nodes == 2).await;
    drop(gift);
    until(&sn, |status| status.files == 0 && status.nodes == 1).await;
    let mut mldonkey = log_in(&sn, "mldonk").await;
    mldonkey.say(0x06, "0001 0020 0009 01 3f 01 05 00 07 7061796c6f6164").await;
    mldonkey.hear(0x08, "0009").await;
}

#[tokio::test]
async fn small_talk() {
    let sn = supernode();
    let mut client = log_in(&sn, "giFTed").await;
    client.say(0x1d, &hex_of("giFT")).await;
    client.hear(0x1d, &hex_of("KaZaA")).await;
    client.say(0x1d, &hex_of("giFT")).await; // said once is enough
    client.say(0x1e, "0a0b0c0d").await;
    client.hear(0x1e, "0a0b0c0d").await;
    client.say(0x26, "00000022").await;
    for ignored in [0x01, 0x0a, 0x0b, 0x1f, 0x20, 0x21, 0x23, 0x24, 0x2b, 0x8000, 0xc000] {
        client.say(ignored, "00000001").await;
    }
    client.say_bytes(b"\x52").await; // an answer to nothing
    client.ping().await;
    let (knocked, at) = udp().await;
    client.say(0x15, &six(at)).await;
    let mut raw = [0; 100];
    let (len, from) = in_time(knocked.recv_from(&mut raw)).await.unwrap();
    assert_eq!((&raw[..len], v4(from)), (&b"\xc0"[..], sn.addr()));
}

/// Reputation: one of ours is told what it is worth, and how much another one is.
#[tokio::test]
async fn our_own_packets() {
    let sn = supernode();
    let mut client = log_in(&sn, "ann").await;
    client.say(0xe0, "00000e10").await;
    let at = six(sn.addr());
    client.hear(0xe2, &format!("7f000001 {at} 000a {}", hex_of("ann"))).await;
    let _host = log_in(&sn, "bob").await;
    // 24 MiB of his were right: three points.
    let receipt = format!("7f000001 04be {at} 8c808000 0000 0000 {}", hex_of("bob"));
    client.say(0xe1, &receipt).await;
    client.say(0xe2, &format!("7f000001 {at} ffff {}", hex_of("bob"))).await;
    client.hear(0xe2, &format!("7f000001 {at} 000d {}", hex_of("bob"))).await;
}

#[tokio::test]
async fn pings_are_answered_while_there_is_room() {
    let one = Limits { children: 2, ..Limits::default() };
    let config = Config { limits: one, ..config(Role::Supernode) };
    let sn = FastTrack::start(config, None, Clock::start()).unwrap();
    until(&sn, |status| status.nodes == 1).await;
    let (socket, _) = udp().await;
    let ask = async |ping: &str, want: &str| {
        socket.send_to(&hex(ping), sn.addr()).await.unwrap();
        let mut raw = [0; 100];
        let (len, _) = in_time(socket.recv_from(&mut raw)).await.unwrap();
        assert_eq!(raw[..len], hex(want));
    };
    let ping = "27 000000a9 80 4b615a6141 00";
    ask(ping, "28 000000a9 00 00 00 01 32 00 4b615a6141 00").await;
    // Of another network, and what is no ping: only the last is answered.
    for other in ["27 000000a9 80 6162 00", "27", "28 000000a9", "ff", "00"] {
        socket.send_to(&hex(other), sn.addr()).await.unwrap();
    }
    ask("27 00000029 80 6b617a6161 00", "28 000000a9 00 00 00 01 32 00 4b615a6141 00").await;
    let mut client = Wire::client(sn.addr()).await;
    client.hear(0x00, &format!("{} 00 32", six(sn.addr()))).await;
    until(&sn, |status| status.nodes == 2).await;
    ask(ping, "29 000000a9 00 01 000000000000").await;
    // One too many is sent on.
    let mut late = Wire::client(sn.addr()).await;
    late.hear(0x00, &format!("{} 00 00", six(sn.addr()))).await;
    late.wait_closed().await;
}

/// A connection of another supernode, by hand.
struct Mate(TcpStream);

impl Mate {
    async fn new(sn: &FastTrack, at: SocketAddrV4) -> Self {
        let mut mate = Self(TcpStream::connect(sn.addr()).await.unwrap());
        mate.0.write_all(b"GGSN").await.unwrap();
        let mut magic = [0; 4];
        in_time(mate.0.read_exact(&mut magic)).await.unwrap();
        assert_eq!(&magic, b"GGSN");
        let hello = mate.hear().await;
        assert_eq!(hello[..2], [1, 1]);
        assert_eq!(hello[34..], hex(&format!("{} 00", six(sn.addr()))));
        let key = format!("{:064x}", u32::from(at.port()));
        mate.say(&format!("0101 {key} {} 07", six(at))).await;
        mate
    }

    async fn say(&mut self, message: &str) {
        let message = hex(message);
        self.0.write_all(&(message.len() as u32).to_be_bytes()).await.unwrap();
        self.0.write_all(&message).await.unwrap();
    }

    /// The next message that is not how it is doing.
    async fn hear(&mut self) -> Vec<u8> {
        loop {
            let len = in_time(self.0.read_u32()).await.unwrap();
            let mut message = vec![0; len as usize];
            in_time(self.0.read_exact(&mut message)).await.unwrap();
            if message[0] != 6 {
                return message;
            }
            assert_eq!(message.len(), 8);
        }
    }
}

#[tokio::test]
async fn another_supernode_asks_pushes_and_leaves() {
    let sn = supernode();
    let mut gift = sharing(&sn).await;
    let at: SocketAddrV4 = "127.0.0.1:7".parse().unwrap();
    let mut mate = Mate::new(&sn, at).await;
    until(&sn, |status| status.supernodes == 1).await;
    let guid = "000102030405060708090a0b0c0d0e0f";
    let query = format!("02 {guid} 01 0010 bf 01 05 00 07 7061796c6f6164");
    mate.say(&query).await;
    let here = six(sn.addr());
    assert_eq!(mate.hear().await, hex(&format!("03 {guid} {here} 0001 {}", row("giFTed"))));
    assert_eq!(mate.hear().await, hex(&format!("04 {guid}")));
    mate.say(&query).await; // the same again is answered with its end alone
    assert_eq!(mate.hear().await, hex(&format!("04 {guid}")));
    mate.say(&format!("05 04 01020304 7f000001 1234 7f000001 04be {here} {}", hex_of("giFTed")))
        .await;
    gift.hear(0x0d, "01020304 7f000001 1234").await;
    mate.say(&format!("63 {guid}")).await; // a kind that nobody knows
    mate.say(&format!("07 {}", hex_of("leaving"))).await;
    in_time(mate.0.read_to_end(&mut Vec::new())).await.unwrap();
    until(&sn, |status| status.supernodes == 0).await;
}

/// What a node of ours asks goes to another supernode, and its answers come back.
#[tokio::test]
async fn a_query_goes_on_to_other_supernodes() {
    let sn = supernode();
    let at: SocketAddrV4 = "127.0.0.1:7".parse().unwrap();
    let mut mate = Mate::new(&sn, at).await;
    until(&sn, |status| status.supernodes == 1).await;
    let mut client = Wire::client(sn.addr()).await;
    let (kind, rows) = client.hear_any().await;
    assert_eq!((kind, rows), (0x00, hex(&format!("{} 00 64 {} 00 32", six(sn.addr()), six(at)))));
    client.hear(0x2c, "7f000001").await;
    client.hear(0x03, "").await;
    client.say(0x02, &format!("7f000001 04be 60 00 {}", hex_of("ann"))).await;
    client.say(0x06, "0001 0020 0005 01 3f 01 05 00 07 7061796c6f6164").await;
    let asked = mate.hear().await;
    let guid = data_encoding::HEXLOWER.encode(&asked[1..17]);
    assert_eq!(asked, hex(&format!("02 {guid} 02 0020 3f 01 05 00 07 7061796c6f6164")));
    mate.say(&format!("03 {guid} {} 0001 {}", six(at), row("bob"))).await;
    mate.say(&format!("04 {guid}")).await;
    client.hear(0x07, &format!("{} 0005 0001 {}", six(at), row("bob"))).await;
    client.hear(0x08, "0005").await;
    // To push him, his supernode is asked.
    let push = format!("01020304 7f000001 1234 7f000001 04be {} {}", six(at), hex_of("bob"));
    client.say(0x0d, &push).await;
    assert_eq!(mate.hear().await, hex(&format!("05 04 {push}")));
    sn.stop().await;
    assert_eq!(mate.hear().await, hex(&format!("07 {}", hex_of("leaving"))));
}
