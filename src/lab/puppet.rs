//! A peer that lies, as a program of its own: it speaks the wire like any client, and breaks a promise.
//!
//! Decides nothing about honest peers, and holds no content: whatever it sends is wrong.

use crate::locate::{Announcing, AnnouncingSetup, Progress, Trackers, TrackersConfig};
use crate::net::{Clock, Connected, Door, HANDSHAKE_TIMEOUT, Listener, os_rng};
use bytes::BytesMut;
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::metainfo::Metainfo;
use gaggle_core::proto::peer::{
    Bounds, Decoder, Frame, Handshake, Message, Request, Reserved, piece_header,
};
use gaggle_core::swarm::announce::Pace;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Which promise it breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Claims everything, takes requests, sends nothing.
    Liar,
    /// Claims everything and sends wrong bytes.
    Poisoner,
}

/// A lying peer that listens.
pub struct Puppet {
    part: Part,
    listener: Listener,
    hash: InfoHash,
    pieces: u32,
    us: Handshake,
    trackers: Vec<String>,
}

/// Connections waiting to be played; more are left in the handshake.
const WAITING_MAX: usize = 16;
/// Bytes of a read.
const READ: usize = 64 << 10;
/// Longest request that it answers.
const ANSWER_MAX: u32 = 128 << 10;

impl Puppet {
    /// Listens, and says so to nobody yet.
    pub fn bind(
        part: Part,
        metainfo: &Metainfo,
        listen: SocketAddr,
        trackers: Vec<String>,
    ) -> io::Result<Self> {
        let mut rng = os_rng()?;
        let us = Handshake {
            info_hash: metainfo.info_hash(),
            peer_id: PeerId::generate(&mut rng),
            reserved: Reserved::NONE.with_fast(),
        };
        Ok(Self {
            part,
            listener: Listener::bind(listen)?,
            hash: us.info_hash,
            pieces: metainfo.info.geometry.pieces(),
            us,
            trackers,
        })
    }

    /// Where it listens, with the true port.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Announces itself as a seed and plays its part until the future is dropped.
    pub async fn play(self) -> io::Result<()> {
        let port = self.addr().port();
        let mut announcing = self.announcing(port)?;
        let (out, mut connections) = mpsc::channel(WAITING_MAX);
        let (us, hash) = (self.us, self.hash);
        let lookup = move |wanted: InfoHash| (wanted == hash).then_some(us);
        let door = Door::new(HANDSHAKE_TIMEOUT, lookup, out);
        let accept = tokio::spawn(self.listener.run(door));
        let mut playing = JoinSet::new();
        loop {
            tokio::select! {
                connected = connections.recv() => match connected {
                    Some(connected) => {
                        playing.spawn(converse(self.part, self.pieces, connected));
                    }
                    None => break,
                },
                Some(_) = playing.join_next() => {}
                _ = announcing.step() => {} // it waits to be dialled
            }
        }
        accept.abort();
        Ok(())
    }

    /// Announces a seed.
    fn announcing(&self, port: u16) -> io::Result<Announcing> {
        let mut rng = os_rng()?;
        let clock = Clock::start();
        let trusted = self.trackers.iter().cloned().collect();
        let config = TrackersConfig { trusted, ..TrackersConfig::default() };
        let setup = AnnouncingSetup {
            info_hash: self.hash,
            peer_id: self.us.peer_id,
            port,
            key: rng.next_u32(),
            tiers: self.trackers.iter().map(|url| vec![url.clone()]).collect(),
            pace: Pace::default(),
        };
        let trackers = Trackers::new(config, clock, rng.fork());
        let seed = Progress { complete: true, ..Progress::default() };
        Ok(Announcing::new(setup, trackers, clock, rng, seed))
    }
}

/// Plays one connection to its end; whatever ends it is fine.
async fn converse(part: Part, pieces: u32, connected: Connected) -> io::Result<()> {
    let Connected { mut stream, theirs, leftover: mut input, .. } = connected;
    let mut out = BytesMut::new();
    if theirs.reserved.fast() {
        Message::HaveAll.encode_into(&mut out);
    } else {
        let mut bits = vec![0xff; pieces.div_ceil(8) as usize];
        if let (Some(last), spare @ 1..) = (bits.last_mut(), (8 - pieces % 8) % 8) {
            *last <<= spare;
        }
        Message::Bitfield(bits.into()).encode_into(&mut out);
    }
    Message::Unchoke.encode_into(&mut out);
    let mut decoder = Decoder::new(Bounds::new(Some(pieces)));
    loop {
        stream.write_all(&out).await?;
        out.clear();
        while let Some(frame) = decoder.next(&mut input).map_err(io::Error::other)? {
            if let (Part::Poisoner, Frame::Message(Message::Request(request))) = (part, frame) {
                poison(request, &mut out);
            }
        }
        if out.is_empty() {
            input.reserve(READ);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }
}

/// A block of the right length that is not what was asked for, whatever that is: no content repeats its own offset.
fn poison(request: Request, out: &mut BytesMut) {
    let Request { index, begin, len } = request;
    if len == 0 || len > ANSWER_MAX {
        return;
    }
    out.extend_from_slice(&piece_header(index, begin, len));
    out.extend((0..len).map(|at| (at ^ begin ^ index).wrapping_mul(167) as u8));
}
