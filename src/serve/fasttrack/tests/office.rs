//! How a node becomes a supernode, and is one no longer.

use super::wire::Played;
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn auto(connect: Vec<SocketAddrV4>, dir: &Path) -> Config {
    let state_dir = Some(dir.to_owned());
    let user = Some("ann".into());
    Config { connect, state_dir, user, has_room: || true, ..config(Role::Auto) }
}

#[tokio::test]
async fn who_is_asked_to_and_is_fit_becomes_a_supernode_and_who_is_not_needed_ceases() {
    let dir = tempfile::tempdir().unwrap();
    let played = Played::new().await;
    let check_every = Duration::from_millis(300);
    let config = Config { check_every, ..auto(vec![played.addr], dir.path()) };
    let us = FastTrack::start(config, None, Clock::start()).unwrap();
    played.pong(played.pinged().await).await;
    let mut sn = played.log_in().await;
    assert_eq!((sn.hear_any().await.0, sn.hear_any().await.0), (0x02, 0xe0));
    sn.say(0x2c, "7f000001").await;
    let at = six(played.addr);
    sn.say(0xe2, &format!("7f000001 {at} 00fa {}", hex_of("ann"))).await;
    sn.say(0xe2, &format!("7f000001 {at} 03e8 {}", hex_of("bob"))).await;
    assert_eq!(until(&us, |status| status.score != 10).await.score, 250);
    sn.say(0xe3, "").await;
    sn.wait_closed().await;
    let status = until(&us, |status| status.supernode && status.attached.is_some()).await;
    assert_eq!((status.attached, status.nodes, status.score), (Some(us.addr()), 1, 250));
    // Now it is linked to the one that it came from.
    let (mut mesh, _) = in_time(played.tcp.accept()).await.unwrap();
    mesh.write_all(b"GGSN").await.unwrap();
    let mut raw = [0; 8];
    in_time(mesh.read_exact(&mut raw)).await.unwrap();
    assert_eq!(raw, *b"GGSN\0\0\0\x29");
    // And lets others in.
    let mut client = wire::Wire::client(us.addr()).await;
    assert_eq!(client.hear_any().await.0, 0x00);
    until(&us, |status| status.nodes == 2).await;
    drop((client, mesh));
    // Nobody comes any more: three checks, and it is a node again.
    let status = until(&us, |status| !status.supernode).await;
    assert_eq!((status.nodes, status.score), (0, 250));
    us.stop().await;
    let own = std::fs::read_to_string(dir.path().join("fasttrack.own")).unwrap();
    assert_eq!(own, "user ann\nscore 250\n");
    let nodes = std::fs::read_to_string(dir.path().join("fasttrack.nodes")).unwrap();
    assert!(nodes.contains(&format!("127.0.0.1 {} 1 ", played.addr.port())), "{nodes}");
}

#[tokio::test]
async fn who_is_to_be_a_node_or_has_no_room_stays_one() {
    let dir = tempfile::tempdir().unwrap();
    for (role, has_room) in [(Role::Node, true), (Role::Auto, false)] {
        let played = Played::new().await;
        let has_room: fn() -> bool = if has_room { || true } else { || false };
        let config = Config { role, has_room, ..auto(vec![played.addr], dir.path()) };
        let us = FastTrack::start(config, None, Clock::start()).unwrap();
        played.pong(played.pinged().await).await;
        let mut sn = played.log_in().await;
        assert_eq!((sn.hear_any().await.0, sn.hear_any().await.0), (0x02, 0xe0));
        sn.say(0xe3, "").await;
        sn.ping().await;
        sn.say(0x15, &six(played.addr)).await; // answered by who has heard the other before
        in_time(played.udp.recv(&mut [0; 100])).await.unwrap();
        assert!(!us.status().supernode);
    }
}

/// What others are worth is kept by who keeps the accounts, and the own worth by everybody.
#[tokio::test]
async fn accounts_outlast_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("fasttrack.scores"), "127.0.0.1 321 bob\n").unwrap();
    std::fs::write(dir.path().join("fasttrack.own"), "user ann\nscore 222\n").unwrap();
    for _ in 0..2 {
        let state_dir = Some(dir.path().to_owned());
        let config = Config { state_dir, ..config(Role::Supernode) };
        let sn = FastTrack::start(config, None, Clock::start()).unwrap();
        let mut bob = wire::Wire::client(sn.addr()).await;
        for kind in [0x00, 0x2c, 0x03] {
            assert_eq!(bob.hear_any().await.0, kind);
        }
        bob.say(0x02, &format!("7f000001 04be 60 00 {}", hex_of("bob"))).await;
        bob.say(0xe0, "00000000").await;
        let at = six(sn.addr());
        bob.hear(0xe2, &format!("7f000001 {at} 0141 {}", hex_of("bob"))).await;
        bob.say(0xe2, &format!("7f000001 {at} ffff {}", hex_of("ann"))).await;
        bob.hear(0xe2, &format!("7f000001 {at} 00de {}", hex_of("ann"))).await;
        sn.stop().await;
    }
    let scores = std::fs::read_to_string(dir.path().join("fasttrack.scores")).unwrap();
    assert!(
        scores.contains("127.0.0.1 321 bob\n") && scores.contains("127.0.0.1 222 ann\n"),
        "{scores}"
    );
}
