//! Peers that send bad blocks: whoever downloads finishes, bans them, and says so.

use crate::mischief::{Rogue, Script, Wire};
use crate::scene::{PEAK_MAX, Scene};
use gaggle_core::proto::peer::{Message, Request};
use harness::{Stopwatch, figure};
use std::io;

const PIECES: u64 = 64;
/// Sixteen blocks each, so that a piece has room for several contributors.
const PIECE_LEN: u64 = 256 << 10;
/// The seed alone needs some seconds: a leech cannot do without looking at the others.
const SEED_UP: &str = "4M";
const PATIENCE_S: u64 = 60;

/// Claims everything and answers every request, each `every`th with a wrong byte.
fn poison(content: Vec<u8>, every: u32) -> impl Script {
    move |wire: &mut Wire| -> io::Result<()> {
        wire.shake_as_seed()?;
        wire.say(&Message::Unchoke)?;
        loop {
            let request = wire.request()?;
            let start = u64::from(request.index) * PIECE_LEN + u64::from(request.begin);
            let mut data = content[start as usize..][..request.len as usize].to_vec();
            if wire.count() % every == every - 1 {
                data[0] ^= 0x55;
            }
            wire.block(request, &data)?;
        }
    }
}

fn scene() -> Scene {
    Scene::new(PIECES * PIECE_LEN, "256K")
}

#[test]
fn claim_poison_the_program_bans_a_poisoner_and_says_so() {
    let scene = scene();
    let (mut seed, seed_addr) = scene.seed(&["--up", SEED_UP]);
    let poisoner = Rogue::listen(&scene, poison(scene.content(), 1));
    let watch = Stopwatch::new();
    let leech = scene.leech("leech", &[seed_addr, poisoner.addr]);
    let finished = scene.finish("leech", leech, PATIENCE_S);
    let bad = poisoner.deeds();
    assert!(bad > 0, "the poisoner was never asked");
    assert_eq!(finished.banned(), [poisoner.addr], "he, nobody else, and once");
    assert!(finished.peak < PEAK_MAX, "{} bytes", finished.peak);
    seed.still_runs().unwrap();
    scene.is_calm("seed");
    let seconds = watch.seconds();
    figure(
        "poison",
        &format!("one of two peers, {bad} bad blocks: banned, done in {seconds:.1} s"),
    );
}

#[test]
fn claim_poison_two_poisoners_of_whom_one_lies_rarely() {
    let scene = scene();
    let (mut seed, seed_addr) = scene.seed(&["--up", SEED_UP]);
    let always = Rogue::listen(&scene, poison(scene.content(), 1));
    let rarely = Rogue::listen(&scene, poison(scene.content(), 16));
    let watch = Stopwatch::new();
    let leech = scene.leech("leech", &[seed_addr, always.addr, rarely.addr]);
    let finished = scene.finish("leech", leech, PATIENCE_S);
    let mut banned = finished.banned();
    banned.sort();
    let mut liars = [always.addr, rarely.addr];
    liars.sort();
    assert_eq!(banned, liars, "both, and not the seed; asked {}", rarely.deeds());
    seed.still_runs().unwrap();
    scene.is_calm("seed");
    let seconds = watch.seconds();
    figure("poison", &format!("two of three, one lies 1 in 16: banned, done in {seconds:.1} s"));
}

#[test]
fn claim_poison_a_seed_takes_none() {
    let scene = scene();
    let (mut seed, seed_addr) = scene.seed(&[]);
    let before = scene.content();
    let poisoners: Vec<_> = (0..4)
        .map(|_| {
            let mut wire = Wire::dial(&scene, seed_addr);
            std::thread::spawn(move || push(&mut wire))
        })
        .collect();
    let leech = scene.leech("leech", &[seed_addr]);
    let finished = scene.finish("leech", leech, PATIENCE_S);
    assert!(finished.banned().is_empty());
    for poisoner in poisoners {
        assert!(poisoner.join().unwrap().is_err(), "shown the door");
    }
    seed.still_runs().unwrap();
    assert!(seed.peak_bytes().unwrap() < PEAK_MAX);
    scene.is_calm("seed");
    assert!(scene.content() == before, "the seed's file is as it was");
    // It still serves.
    let later = scene.leech("later", &[seed_addr]);
    scene.finish("later", later, PATIENCE_S);
    figure("poison", "4 push bad blocks at a seed: it serves on");
}

/// Sends a seed blocks that it never asked for, until it has enough.
fn push(wire: &mut Wire) -> io::Result<()> {
    wire.shake_as_seed()?;
    wire.say(&Message::Unchoke)?;
    let garbage = [0x5a; 16 << 10];
    for index in (0..PIECES as u32).cycle() {
        wire.block(Request { index, begin: 0, len: 16 << 10 }, &garbage)?;
    }
    Ok(())
}
