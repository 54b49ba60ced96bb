//! What may be said when: one connection's protocol state, without its socket and its clock.
//!
//! Decides whether an incoming message is legal here and now, and turns its numbers into checked values.
//! Never decides whom to unchoke or what to request, and never keeps time: the torrent does.

use super::error::PeerError;
use super::handshake::Reserved;
use super::id;
use super::message::{Message, Request};
use crate::bitfield::Bitfield;
use crate::geometry::{Block, Geometry, PIECES_MAX, PieceIndex};
use bytes::Bytes;

/// Longest request that a peer may send; longer, or zero, closes the connection. rtorrent's limit, and that
/// of the BEP's earlier text; everyone in use asks for 16 KiB.
//= BEP 3 §peer messages (request)
pub const REQUEST_LEN_MAX: u32 = 128 * 1024;

/// Whether one side serves the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choke {
    /// It does not. Every connection starts so.
    Choked,
    /// It does.
    Unchoked,
}

/// Whether one side wants something that the other has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interest {
    /// It does.
    Interested,
    /// It does not. Every connection starts so.
    NotInterested,
}

/// A legal message, its numbers checked against the torrent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// We may request this piece while choked.
    AllowedFast(PieceIndex),
    /// A request of theirs is withdrawn.
    Cancel(Block),
    /// They choke or unchoke us; it may be what they did already.
    Choke(Choke),
    /// For the extension protocol.
    Extended {
        /// One of our extension message ids; 0 is the handshake.
        id: u8,
        /// Bencode, usually.
        payload: Bytes,
    },
    /// They have this piece; it may be one they had already.
    Have(PieceIndex),
    /// They want something of us, or nothing any more.
    Interest(Interest),
    /// They have these, too: a bitfield that came later, instead of many [`Message::Have`].
    MorePieces(Bitfield),
    /// Nothing to do: a keep-alive, an unknown message, or a statement kept until the metadata is known.
    Nothing,
    /// Everything they have: the first message, at most once per connection.
    Pieces(Bitfield),
    /// UDP port of their DHT node, not 0.
    Port(u16),
    /// They will not answer this request.
    Reject(Block),
    /// They ask for a block, of at most [`REQUEST_LEN_MAX`]. Whether they may is the torrent's decision.
    Request(Block),
    /// They would like to give this piece.
    Suggest(PieceIndex),
}

/// One connection's protocol state after the handshake.
#[derive(Clone, Debug)]
pub struct Session {
    agreed: Reserved,
    phase: Phase,
    pieces: Pieces,
    they_choke: Choke,
    they_want: Interest,
    we_choke: Choke,
    we_want: Interest,
}

/// Whether have all and have none are still legal, and a bitfield says everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    First,
    Exchange,
}

#[derive(Clone, Debug)]
enum Pieces {
    Known(Geometry),
    Unknown(Early),
}

/// What a peer said about its pieces while nobody here knew how many there are. At most 512 KiB: two
/// bitfields of [`PIECES_MAX`] pieces.
#[derive(Clone, Debug, Default)]
struct Early {
    first: Claim,
    haves: Vec<u8>,
    last_have: Option<u32>,
    /// Bytes of the longest bitfield among the `haves`.
    late_len: Option<usize>,
}

#[derive(Clone, Debug, Default)]
enum Claim {
    All,
    Bits(Bytes),
    #[default]
    None,
}

impl Session {
    /// The state right after both handshakes. `geometry` is `None` while the metadata is unknown.
    pub fn new(ours: Reserved, theirs: Reserved, geometry: Option<Geometry>) -> Self {
        Self {
            agreed: ours.agreed(theirs),
            phase: Phase::First,
            pieces: geometry.map_or(Pieces::Unknown(Early::default()), Pieces::Known),
            they_choke: Choke::Choked,
            they_want: Interest::NotInterested,
            we_choke: Choke::Choked,
            we_want: Interest::NotInterested,
        }
    }

    /// What both sides have.
    pub const fn agreed(&self) -> Reserved {
        self.agreed
    }

    /// Whether they choke us.
    pub const fn they_choke(&self) -> Choke {
        self.they_choke
    }

    /// Whether they want something of us.
    pub const fn they_want(&self) -> Interest {
        self.they_want
    }

    /// Whether we choke them.
    pub const fn we_choke(&self) -> Choke {
        self.we_choke
    }

    /// Whether we told them that we want something.
    pub const fn we_want(&self) -> Interest {
        self.we_want
    }

    /// Chokes or unchokes them; the message to send, or `None` if nothing changes.
    #[must_use]
    pub fn set_choke(&mut self, to: Choke) -> Option<Message> {
        let changed = self.we_choke != to;
        self.we_choke = to;
        changed.then_some(match to {
            Choke::Choked => Message::Choke,
            Choke::Unchoked => Message::Unchoke,
        })
    }

    /// Tells them whether we want something; the message to send, or `None` if nothing changes.
    #[must_use]
    pub fn set_interest(&mut self, to: Interest) -> Option<Message> {
        let changed = self.we_want != to;
        self.we_want = to;
        changed.then_some(match to {
            Interest::Interested => Message::Interested,
            Interest::NotInterested => Message::NotInterested,
        })
    }

    /// Our first message, which says what we have; `have` is `None` while we know no metadata. `None` when
    /// there is nothing to say.
    //= BEP 6 §have all/have none (one of them or a bitfield is due)
    #[must_use]
    pub fn opening(&self, have: Option<&Bitfield>) -> Option<Message> {
        match have {
            Some(have) if self.agreed.fast() && have.is_full() => Some(Message::HaveAll),
            Some(have) if !have.is_empty() => Some(Message::Bitfield(have.to_wire().into())),
            _ => self.agreed.fast().then_some(Message::HaveNone),
        }
    }

    /// Checks a message and turns it into what it means. After an error the connection must be closed.
    pub fn on_message(&mut self, message: Message) -> Result<Input, PeerError> {
        let late = self.phase == Phase::Exchange;
        self.advance(&message)?;
        Ok(match message {
            Message::KeepAlive | Message::Unknown(_) => Input::Nothing,
            Message::Choke => self.choked(Choke::Choked),
            Message::Unchoke => self.choked(Choke::Unchoked),
            Message::Interested => self.wants(Interest::Interested),
            Message::NotInterested => self.wants(Interest::NotInterested),
            Message::Have(index) => self.have(index)?,
            Message::Bitfield(bits) if late => self.more(&bits)?,
            Message::Bitfield(bits) => self.claim(Claim::Bits(bits))?,
            Message::HaveAll => self.claim(Claim::All)?,
            Message::HaveNone => self.claim(Claim::None)?,
            Message::Request(request) if request.len == 0 || request.len > REQUEST_LEN_MAX => {
                return Err(PeerError::RequestLength { len: request.len });
            }
            Message::Request(request) => Input::Request(self.block(id::REQUEST, request)?),
            Message::Cancel(request) => Input::Cancel(self.block(id::CANCEL, request)?),
            Message::Reject(request) => Input::Reject(self.block(id::REJECT, request)?),
            Message::Suggest(index) => {
                self.piece(id::SUGGEST, index)?.map_or(Input::Nothing, Input::Suggest)
            }
            Message::AllowedFast(index) => {
                self.piece(id::ALLOWED_FAST, index)?.map_or(Input::Nothing, Input::AllowedFast)
            }
            Message::Port(0) => Input::Nothing,
            Message::Port(port) => Input::Port(port),
            Message::Extended { id, payload } if self.agreed.extension() => {
                Input::Extended { id, payload }
            }
            Message::Extended { .. } => Input::Nothing,
        })
    }

    /// Checks where a block that came claims to belong. Whether anybody asked for it is the torrent's to say.
    pub fn on_block(&self, index: u32, begin: u32, len: u32) -> Result<Block, PeerError> {
        self.block(id::PIECE, Request { index, begin, len })
    }

    /// The metadata became known: checks what the peer said before, and returns what it has.
    /// If the metadata was known already, nothing is left to return, and that is an empty set.
    pub fn metadata_known(&mut self, geometry: Geometry) -> Result<Bitfield, PeerError> {
        let was = std::mem::replace(&mut self.pieces, Pieces::Known(geometry));
        let Pieces::Unknown(early) = was else { return Ok(Bitfield::empty(geometry.pieces())) };
        let pieces = geometry.pieces();
        if let Some(index) = early.last_have.filter(|&index| index >= pieces) {
            return Err(PeerError::PieceIndex { id: id::HAVE, index, pieces });
        }
        let want = (pieces as usize).div_ceil(8);
        if let Some(got) = early.late_len.filter(|&got| got != want) {
            return Err(PeerError::BitfieldLength { got, want });
        }
        let mut has = full_claim(&early.first, pieces)?;
        for (at, byte) in early.haves.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                has.insert(PieceIndex(at as u32 * 8 + bit));
            }
        }
        Ok(has)
    }

    /// The rule of the first message, and of the fast extension.
    ///
    /// Extension handshakes, PORT and the hints of BEP 6 say nothing about what the sender has, and deployed
    /// clients (Transmission, aria2) send them before the bitfield.
    /// By the letter a bitfield is the first message or none. aria2 also sends one later, in place of haves that
    /// would be longer, so it counts as those haves and never takes a piece back.
    //= BEP 3 §peer messages (bitfield is only ever sent as the first message)
    fn advance(&mut self, message: &Message) -> Result<(), PeerError> {
        let (id, fast) = match message {
            Message::Bitfield(_) => (id::BITFIELD, false),
            Message::HaveAll => (id::HAVE_ALL, true),
            Message::HaveNone => (id::HAVE_NONE, true),
            Message::Reject(_) => (id::REJECT, true),
            Message::Suggest(_) => (id::SUGGEST, true),
            Message::AllowedFast(_) => (id::ALLOWED_FAST, true),
            _ => (0, false),
        };
        if fast && !self.agreed.fast() {
            return Err(PeerError::FastNotAgreed { id });
        }
        match message {
            Message::KeepAlive
            | Message::Extended { .. }
            | Message::Port(_)
            | Message::Unknown(_)
            | Message::Suggest(_)
            | Message::AllowedFast(_) => return Ok(()),
            Message::HaveAll | Message::HaveNone if self.phase != Phase::First => {
                return Err(PeerError::NotFirst { id });
            }
            _ => {}
        }
        self.phase = Phase::Exchange;
        Ok(())
    }

    fn choked(&mut self, to: Choke) -> Input {
        self.they_choke = to;
        Input::Choke(to)
    }

    fn wants(&mut self, to: Interest) -> Input {
        self.they_want = to;
        Input::Interest(to)
    }

    fn have(&mut self, index: u32) -> Result<Input, PeerError> {
        if let Some(piece) = self.piece(id::HAVE, index)? {
            return Ok(Input::Have(piece));
        }
        if let Pieces::Unknown(early) = &mut self.pieces {
            let at = index as usize / 8;
            early.haves.resize(early.haves.len().max(at + 1), 0);
            early.haves[at] |= 0x80 >> (index % 8);
            early.last_have = early.last_have.max(Some(index));
        }
        Ok(Input::Nothing)
    }

    /// A bitfield after the first message.
    fn more(&mut self, bits: &Bytes) -> Result<Input, PeerError> {
        match &mut self.pieces {
            Pieces::Known(geometry) => {
                full_claim(&Claim::Bits(bits.clone()), geometry.pieces()).map(Input::MorePieces)
            }
            Pieces::Unknown(early) => {
                check_early_len(bits)?;
                early.haves.resize(early.haves.len().max(bits.len()), 0);
                early.haves.iter_mut().zip(bits).for_each(|(have, more)| *have |= more);
                early.late_len = early.late_len.max(Some(bits.len()));
                Ok(Input::Nothing)
            }
        }
    }

    fn claim(&mut self, claim: Claim) -> Result<Input, PeerError> {
        match &mut self.pieces {
            Pieces::Known(geometry) => full_claim(&claim, geometry.pieces()).map(Input::Pieces),
            Pieces::Unknown(early) => {
                if let Claim::Bits(bits) = &claim {
                    check_early_len(bits)?;
                }
                early.first = claim;
                Ok(Input::Nothing)
            }
        }
    }

    /// The piece of that index; `None` while nobody knows which exist.
    fn piece(&self, id: u8, index: u32) -> Result<Option<PieceIndex>, PeerError> {
        match &self.pieces {
            Pieces::Known(geometry) => geometry
                .piece(index)
                .map(Some)
                .ok_or(PeerError::PieceIndex { id, index, pieces: geometry.pieces() }),
            Pieces::Unknown(_) if index >= PIECES_MAX => {
                Err(PeerError::PieceIndex { id, index, pieces: PIECES_MAX })
            }
            Pieces::Unknown(_) => Ok(None),
        }
    }

    fn block(&self, id: u8, request: Request) -> Result<Block, PeerError> {
        let Pieces::Known(geometry) = &self.pieces else { return Err(PeerError::TooEarly { id }) };
        let Request { index, begin, len } = request;
        let block = Block { piece: PieceIndex(index), begin, len };
        if geometry.contains(block) {
            return Ok(block);
        }
        let size = geometry.piece(index).map_or(0, |piece| geometry.size_of(piece));
        Err(PeerError::BlockRange { id, index, begin, len, size })
    }
}

/// The bound on a bitfield while nobody knows how many pieces there are.
fn check_early_len(bits: &Bytes) -> Result<(), PeerError> {
    let want = PIECES_MAX as usize / 8;
    if bits.len() > want {
        return Err(PeerError::BitfieldLength { got: bits.len(), want });
    }
    Ok(())
}

fn full_claim(claim: &Claim, pieces: u32) -> Result<Bitfield, PeerError> {
    match claim {
        Claim::All => Ok(Bitfield::full(pieces)),
        Claim::None => Ok(Bitfield::empty(pieces)),
        Claim::Bits(bits) => Bitfield::from_wire(bits, pieces).ok_or(PeerError::BitfieldLength {
            got: bits.len(),
            want: (pieces as usize).div_ceil(8),
        }),
    }
}
