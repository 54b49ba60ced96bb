//! Peers that do harm: threads of the test that speak the wire and then do as their script says.

use crate::scene::Scene;
use bytes::{Bytes, BytesMut};
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::extension::{Extension, ExtensionHandshake, HANDSHAKE_ID, Ids};
use gaggle_core::proto::peer::{
    Bounds, Decoder, Frame, HANDSHAKE_LEN, Handshake, Message, Request, Reserved, piece_header,
};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// How long a script waits for bytes before it gives its connection up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a peer does with a connection; its end closes it.
pub(crate) trait Script: Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static {}
impl<F: Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static> Script for F {}

/// A peer that listens. Its threads end with the test's process.
pub(crate) struct Rogue {
    pub(crate) addr: SocketAddr,
    deeds: Arc<AtomicU32>,
}

/// One connection of a rogue.
pub(crate) struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    info_hash: InfoHash,
    peer_id: PeerId,
    deeds: Arc<AtomicU32>,
}

impl Rogue {
    /// Plays the script with everybody who calls.
    pub(crate) fn listen(scene: &Scene, script: impl Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (info_hash, pieces) = (scene.metainfo.info_hash(), scene.pieces());
        let (script, peer_id, deeds) = (Arc::new(script), new_id(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&deeds);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let deeds = Arc::clone(&counted);
                let mut wire = Wire::new(stream, info_hash, pieces, peer_id, deeds);
                let script = Arc::clone(&script);
                // An error is a closed connection: often just what the test is about.
                std::thread::spawn(move || script(&mut wire).ok());
            }
        });
        Self { addr, deeds }
    }

    /// How often it did what its script counts.
    pub(crate) fn deeds(&self) -> u32 {
        self.deeds.load(Ordering::Relaxed)
    }
}

impl Wire {
    fn new(
        stream: TcpStream,
        info_hash: InfoHash,
        pieces: u32,
        peer_id: PeerId,
        deeds: Arc<AtomicU32>,
    ) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let decoder = Decoder::new(Bounds::new(Some(pieces)));
        Self { stream, decoder, input: BytesMut::new(), info_hash, peer_id, deeds }
    }

    /// Calls somebody.
    pub(crate) fn dial(scene: &Scene, addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        let pieces = scene.pieces();
        Self::new(stream, scene.metainfo.info_hash(), pieces, new_id(), Arc::default())
    }

    /// The torrent that it is about.
    pub(crate) fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Exchanges handshakes, with the fast extension and that for extensions.
    pub(crate) fn shake(&mut self) -> io::Result<()> {
        let (info_hash, peer_id) = (self.info_hash, self.peer_id);
        let reserved = Reserved::NONE.with_fast().with_extension();
        self.raw(&Handshake { info_hash, peer_id, reserved }.encode())?;
        self.stream.read_exact(&mut [0; HANDSHAKE_LEN])
    }

    /// Shakes hands and claims everything.
    pub(crate) fn shake_as_seed(&mut self) -> io::Result<()> {
        self.shake()?;
        self.say(&Message::HaveAll)
    }

    /// Says that it has metadata of so many bytes.
    pub(crate) fn offer_metadata(&mut self, size: usize) -> io::Result<()> {
        let metadata_size = u32::try_from(size).ok();
        let hello =
            ExtensionHandshake { ids: Ids::ours(|_| false), metadata_size, ..Default::default() };
        self.say(&Message::Extended { id: HANDSHAKE_ID, payload: hello.encode() })
    }

    /// Sends a message of the metadata extension to a gaggle.
    pub(crate) fn say_metadata(&mut self, payload: Bytes) -> io::Result<()> {
        self.say(&Message::Extended { id: Extension::Metadata.our_id(), payload })
    }

    pub(crate) fn say(&mut self, message: &Message) -> io::Result<()> {
        self.raw(&message.to_bytes())
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Answers a request.
    pub(crate) fn block(&mut self, request: Request, data: &[u8]) -> io::Result<()> {
        let mut message = piece_header(request.index, request.begin, request.len).to_vec();
        message.extend_from_slice(data);
        self.raw(&message)
    }

    /// The next thing that the other side says.
    pub(crate) fn hear(&mut self) -> io::Result<Frame> {
        loop {
            let next = self.decoder.next(&mut self.input);
            if let Some(frame) =
                next.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?
            {
                return Ok(frame);
            }
            let mut buffer = [0; 64 << 10];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// The next request that the other side makes.
    pub(crate) fn request(&mut self) -> io::Result<Request> {
        loop {
            if let Frame::Message(Message::Request(request)) = self.hear()? {
                return Ok(request);
            }
        }
    }

    /// Listens without a word until the other side closes.
    pub(crate) fn listen_on(&mut self) -> io::Result<()> {
        loop {
            self.hear()?;
        }
    }

    /// Another handle of the same connection, to talk while this one listens.
    pub(crate) fn voice(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Counts a deed and says how many came before it.
    pub(crate) fn count(&self) -> u32 {
        self.deeds.fetch_add(1, Ordering::Relaxed)
    }
}

/// A door to somebody else that opens late: whoever comes through meets the others first.
pub(crate) fn late_door(to: SocketAddr, after: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                std::thread::sleep(after);
                let there = TcpStream::connect(to)?;
                let (mut from, mut into) = (here.try_clone()?, there.try_clone()?);
                std::thread::spawn(move || io::copy(&mut from, &mut into));
                let (mut from, mut into) = (there, here);
                io::copy(&mut from, &mut into)
            });
        }
    });
    addr
}

fn new_id() -> PeerId {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let mut id = *b"-RG0001-............";
    id[19] = COUNT.fetch_add(1, Ordering::Relaxed);
    PeerId(id)
}
