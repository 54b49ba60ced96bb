//! Strangers that break the protocol, waste time or ask for everything: an honest leech beside them finishes.

use crate::mischief::{Rogue, Wire, late_door};
use crate::scene::{Finished, PEAK_MAX, Scene};
use gaggle_core::proto::extension::MetadataMessage;
use gaggle_core::proto::peer::{Frame, Handshake, Message, Request, Reserved};
use gaggle_core::{id::PeerId, proto::extension::METADATA_PIECE_LEN};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const LEN: u64 = 8 << 20;
const PIECE_LEN: &str = "128K";
/// Two seconds for an honest leech: time for the others to do what they do.
const SEED_UP: &str = "4M";
const PATIENCE_S: u64 = 40;

fn scene() -> Scene {
    Scene::new(LEN, PIECE_LEN)
}

/// A leech of one honest, slow seed and these peers has everything, soon and in little memory.
#[track_caller]
fn leech_beside(scene: &Scene, rogues: &[&Rogue]) -> Finished {
    let (mut seed, addr) = scene.seed(&["--up", SEED_UP]);
    let peers: Vec<SocketAddr> = rogues.iter().map(|rogue| rogue.addr).chain([addr]).collect();
    let leech = scene.leech("leech", &peers);
    let finished = scene.finish("leech", leech, PATIENCE_S);
    assert!(finished.peak < PEAK_MAX, "{} bytes", finished.peak);
    for rogue in rogues {
        assert!(rogue.deeds() > 0, "{} had no chance", rogue.addr);
    }
    assert!(!finished.banned().contains(&addr), "the honest seed was banned");
    seed.still_runs().unwrap();
    scene.is_calm("seed");
    finished
}

#[test]
fn bytes_that_are_no_protocol() {
    let scene = scene();
    let garbage = Rogue::listen(&scene, |wire| {
        wire.count();
        wire.raw(&[0xa5; 200_000])?;
        wire.listen_on()
    });
    let other_first_byte = Rogue::listen(&scene, |wire| {
        wire.count();
        wire.raw(&[0x12])?;
        wire.raw(b"BitTorrent protocol")?;
        wire.listen_on()
    });
    let noise_after_handshake = Rogue::listen(&scene, |wire| {
        wire.shake()?;
        wire.count();
        let noise: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(97) >> 3) as u8).collect();
        wire.raw(&noise)?;
        wire.listen_on()
    });
    leech_beside(&scene, &[&garbage, &other_first_byte, &noise_after_handshake]);
}

#[test]
fn messages_that_never_end() {
    let scene = scene();
    let gigabyte = Rogue::listen(&scene, |wire| {
        wire.shake()?;
        wire.count();
        wire.raw(&(1u32 << 30).to_be_bytes())?;
        wire.raw(&[7])?; // a block, it says
        loop {
            wire.raw(&[0; 64 << 10])?;
        }
    });
    let drips = Rogue::listen(&scene, |wire| {
        wire.shake()?;
        wire.count();
        let bytes = Message::Bitfield(vec![0xff; 8].into()).to_bytes();
        drip(wire, &bytes)
    });
    let drips_handshake = Rogue::listen(&scene, |wire| {
        wire.count();
        let peer_id = PeerId(*b"-RG0001-drips.......");
        let hello = Handshake { info_hash: wire.info_hash(), peer_id, reserved: Reserved::NONE };
        drip(wire, &hello.encode())
    });
    leech_beside(&scene, &[&gigabyte, &drips, &drips_handshake]);
}

fn drip(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        wire.raw(&[*byte])?;
        std::thread::sleep(Duration::from_secs(1));
    }
    wire.listen_on()
}

#[test]
fn a_peer_that_claims_everything_and_never_answers() {
    let scene = scene();
    let silent = Rogue::listen(&scene, |wire| {
        wire.shake_as_seed()?;
        wire.say(&Message::Unchoke)?;
        loop {
            wire.request()?;
            wire.count();
        }
    });
    leech_beside(&scene, &[&silent]);
}

#[test]
fn a_peer_that_rejects_every_request() {
    let scene = scene();
    let rejects = Rogue::listen(&scene, |wire| {
        wire.shake_as_seed()?;
        wire.say(&Message::Unchoke)?;
        loop {
            let request = wire.request()?;
            wire.count();
            wire.say(&Message::Reject(request))?;
        }
    });
    leech_beside(&scene, &[&rejects]);
    // Asked again and again it could keep both busy for nothing.
    assert!(rejects.deeds() < 100_000, "asked {} times", rejects.deeds());
}

#[test]
fn a_peer_that_cannot_decide_whether_to_choke() {
    let scene = scene();
    let flaps = Rogue::listen(&scene, |wire| {
        wire.shake_as_seed()?;
        let mut voice = wire.voice();
        std::thread::spawn(move || -> io::Result<()> {
            loop {
                io::Write::write_all(&mut voice, &Message::Unchoke.to_bytes())?;
                std::thread::sleep(Duration::from_millis(2));
                io::Write::write_all(&mut voice, &Message::Choke.to_bytes())?;
            }
        });
        loop {
            wire.request()?;
            wire.count();
        }
    });
    leech_beside(&scene, &[&flaps]);
}

#[test]
fn a_seed_under_a_flood_of_requests_serves_on() {
    let scene = scene();
    let (mut seed, addr) = scene.seed(&[]);
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let mut wire = Wire::dial(&scene, addr);
            std::thread::spawn(move || flood(&mut wire))
        })
        .collect();
    let leech = scene.leech("leech", &[addr]);
    scene.finish("leech", leech, PATIENCE_S);
    for flood in floods {
        assert!(flood.join().unwrap().is_err(), "shown the door");
    }
    seed.still_runs().unwrap();
    let peak = seed.peak_bytes().unwrap();
    assert!(peak < PEAK_MAX, "{peak} bytes for four that ask without reading");
    scene.is_calm("seed");
    let later = scene.leech("later", &[addr]);
    scene.finish("later", later, PATIENCE_S);
}

/// Asks for everything over and over, and reads nothing of the answers.
fn flood(wire: &mut Wire) -> io::Result<()> {
    wire.shake()?;
    wire.say(&Message::HaveNone)?;
    wire.say(&Message::Interested)?;
    let mut batch = Vec::new();
    for index in 0..64 {
        for begin in (0..128 << 10).step_by(16 << 10) {
            let request = Request { index, begin, len: 16 << 10 };
            batch.extend_from_slice(&Message::Request(request).to_bytes());
        }
    }
    loop {
        wire.raw(&batch)?;
    }
}

#[test]
fn a_seed_under_a_flood_of_small_messages_serves_on() {
    let scene = scene();
    let (mut seed, addr) = scene.seed(&[]);
    let floods: Vec<_> = [Message::KeepAlive, Message::Have(3), Message::Unknown(77)]
        .into_iter()
        .map(|message| {
            let mut wire = Wire::dial(&scene, addr);
            std::thread::spawn(move || -> io::Result<()> {
                wire.shake()?;
                wire.say(&Message::HaveNone)?;
                let batch = message.to_bytes().repeat(10_000);
                for _ in 0..200 {
                    wire.raw(&batch)?;
                }
                Ok(())
            })
        })
        .collect();
    let leech = scene.leech("leech", &[addr]);
    scene.finish("leech", leech, PATIENCE_S);
    // Whether it hears them out or closes the door is its own choice.
    floods.into_iter().for_each(|flood| drop(flood.join().unwrap()));
    seed.still_runs().unwrap();
    let peak = seed.peak_bytes().unwrap();
    assert!(peak < PEAK_MAX, "{peak} bytes for messages of no use");
    scene.is_calm("seed");
}

#[test]
fn wrong_metadata_from_one_and_right_from_another() {
    let scene = Scene::new(LEN, "16K"); // its info dictionary is of 10 KiB and more
    let info = scene.metainfo.info_bytes().clone();
    let mut wrong = info.to_vec();
    let at = wrong.len() - 2;
    wrong[at] ^= 1; // in the hash of the last piece
    let wrong = bytes::Bytes::from(wrong);
    assert!(wrong.len() < METADATA_PIECE_LEN as usize, "one answer is the whole of it");
    let liar = Rogue::listen(&scene, move |wire| {
        wire.shake_as_seed()?;
        wire.offer_metadata(wrong.len())?;
        loop {
            if let Frame::Message(Message::Extended { id, payload }) = wire.hear()?
                && id != 0
                && let Ok(Some(MetadataMessage::Request { piece })) =
                    MetadataMessage::parse(&payload)
            {
                wire.count();
                wire.say_metadata(MetadataMessage::answer(&wrong, piece).encode())?;
            }
        }
    });
    let (mut seed, addr) = scene.seed(&[]);
    let door = late_door(addr, Duration::from_secs(1));
    let magnet = scene.metainfo.magnet().to_string();
    let leech = scene.get("leech", magnet.as_ref(), &[liar.addr, door]);
    let finished = scene.finish("leech", leech, PATIENCE_S);
    assert!(liar.deeds() > 0, "the liar was never asked");
    assert_eq!(finished.banned(), [liar.addr], "who sent all of it is to blame");
    assert!(finished.peak < PEAK_MAX, "{} bytes", finished.peak);
    seed.still_runs().unwrap();
}
