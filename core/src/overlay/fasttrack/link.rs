//! One session on one connection: the bytes of [`Session`], and when it has been silent for too long.

use crate::blame::Blame;
use crate::clock::Instant;
use crate::proto::fasttrack::{
    Answer, Frame, From, Hello, Message, NETWORK, Packet, Session, WireError,
};
use crate::rng::Rng;
use std::time::Duration;

/// Until both sides have named their network; longer ends the connection.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Silence after which we ask whether they are there.
const PING_AFTER: Duration = Duration::from_secs(120);
/// How long they may take to answer; longer ends the connection.
const PONG_MAX: Duration = Duration::from_secs(20);
/// Bytes that a node may send before it says who it is; more ends the connection.
const BEFORE_LOGIN_MAX: usize = 64 << 10;

/// Why a session ended.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The handshake took too long.
    #[error("no handshake within {HANDSHAKE_MAX:?}")]
    Handshake,
    /// Much was said, but not by whom.
    #[error("{0} bytes without a login")]
    NoLogin(usize),
    /// Nothing came, not even an answer to a ping.
    #[error("silent for {0:?}")]
    Silent(Duration),
    /// Not the protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl LinkError {
    /// Whose fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Handshake | Self::Silent(_) => Blame::Network,
            Self::NoLogin(_) => Blame::Remote,
            Self::Wire(error) => error.blame(),
        }
    }
}

/// A session with its timers. Give it bytes, then drain [`Link::poll_message`] and [`Link::poll_transmit`].
#[derive(Clone, Debug)]
pub struct Link {
    session: Session,
    began: Instant,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    /// Bytes that came before the login; `None` once it has come, and at a node.
    unnamed: Option<usize>,
    network_told: bool,
}

impl Link {
    /// The end of a node.
    pub fn node(now: Instant, rng: &mut Rng) -> Self {
        let hello = Hello::ours(rng.next_u32(), rng.index(usize::MAX));
        Self::new(now, Session::node(hello), None)
    }

    /// The end of a supernode.
    pub fn supernode(now: Instant, rng: &mut Rng) -> Self {
        Self::new(now, Session::supernode(Answer::ours(rng.index(usize::MAX))), Some(0))
    }

    fn new(now: Instant, session: Session, unnamed: Option<usize>) -> Self {
        let (pinged_at, network_told) = (None, false);
        Self { session, began: now, heard_at: now, pinged_at, unnamed, network_told }
    }

    /// Whether messages may come.
    pub const fn is_open(&self) -> bool {
        self.session.is_open()
    }

    /// Takes what was read from the socket. After an error the connection must be closed.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), LinkError> {
        self.heard_at = now;
        self.pinged_at = None;
        if let Some(unnamed) = &mut self.unnamed {
            *unnamed += bytes.len();
            if *unnamed > BEFORE_LOGIN_MAX {
                return Err(LinkError::NoLogin(*unnamed));
            }
        }
        Ok(self.session.handle_bytes(bytes)?)
    }

    /// The next message. What concerns the session alone is answered here.
    pub fn poll_message(&mut self) -> Result<Option<Message>, LinkError> {
        while let Some(frame) = self.session.poll_frame()? {
            let packet = match frame {
                Frame::Ping => {
                    self.session.send(Frame::Pong);
                    continue;
                }
                Frame::Pong => continue,
                Frame::Packet(packet) => packet,
            };
            let message = Message::parse(self.session.them(), &packet)?;
            match message {
                Message::Echo(_) => self.send(&message),
                // A supernode says it first, so an answer to an answer would go on for ever.
                Message::Version(_) if self.session.them() == From::Supernode => {
                    self.send(&message);
                }
                Message::Network(_) if !self.network_told => {
                    self.network_told = true;
                    self.send(&Message::Network(NETWORK.to_owned()));
                }
                Message::Network(_) | Message::Version(_) | Message::Unknown(_) => {}
                message => {
                    if matches!(message, Message::NodeInfo(_)) {
                        self.unnamed = None;
                    }
                    return Ok(Some(message));
                }
            }
        }
        Ok(None)
    }

    /// Says something.
    pub fn send(&mut self, message: &Message) {
        self.send_packet(message.encode());
    }

    /// The same, of what is encoded already.
    pub fn send_packet(&mut self, packet: Packet) {
        self.session.send(Frame::Packet(packet));
    }

    /// All that is to be written to the socket.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.session.poll_transmit()
    }

    /// When to call [`Link::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        match self.pinged_at {
            _ if !self.is_open() => self.began + HANDSHAKE_MAX,
            Some(at) => at + PONG_MAX,
            None => self.heard_at + PING_AFTER,
        }
    }

    /// Asks who is silent, and gives up on who does not answer.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), LinkError> {
        if now < self.poll_timeout() {
            return Ok(());
        }
        if !self.is_open() {
            return Err(LinkError::Handshake);
        }
        if self.pinged_at.is_some() {
            return Err(LinkError::Silent(now.since(self.heard_at)));
        }
        self.pinged_at = Some(now);
        self.session.send(Frame::Ping);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::fasttrack::NodeInfo;

    fn secs(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn carry(now: Instant, from: &mut Link, to: &mut Link) {
        if let Some(bytes) = from.poll_transmit() {
            to.handle_bytes(now, &bytes).unwrap();
        }
    }

    fn opened() -> (Link, Link) {
        let mut rng = Rng::seeded(1);
        let now = secs(0);
        let (mut node, mut supernode) = (Link::node(now, &mut rng), Link::supernode(now, &mut rng));
        for _ in 0..3 {
            carry(now, &mut node, &mut supernode);
            carry(now, &mut supernode, &mut node);
        }
        assert!(node.is_open() && supernode.is_open());
        (node, supernode)
    }

    #[test]
    fn a_handshake_has_ten_seconds() {
        let mut link = Link::supernode(secs(0), &mut Rng::seeded(1));
        assert_eq!(link.poll_timeout(), secs(10));
        assert_eq!(link.handle_timeout(secs(9)), Ok(()));
        assert_eq!(link.handle_timeout(secs(10)), Err(LinkError::Handshake));
    }

    #[test]
    fn who_is_silent_is_asked_and_then_left() {
        let (mut node, mut supernode) = opened();
        assert_eq!(node.poll_timeout(), secs(120));
        node.handle_timeout(secs(120)).unwrap();
        carry(secs(121), &mut node, &mut supernode);
        assert_eq!(supernode.poll_message(), Ok(None));
        carry(secs(122), &mut supernode, &mut node);
        assert_eq!(node.poll_message(), Ok(None));
        assert_eq!(node.poll_timeout(), secs(242), "the answer counts");
        node.handle_timeout(secs(242)).unwrap();
        assert_eq!(node.handle_timeout(secs(261)), Ok(()));
        let silent = node.handle_timeout(secs(262));
        assert_eq!(silent, Err(LinkError::Silent(Duration::from_secs(140))));
    }

    #[test]
    fn echoes_versions_and_names_are_answered_once() {
        let (mut node, mut supernode) = opened();
        supernode.send(&Message::Version(0x22));
        supernode.send(&Message::Echo([1, 2, 3, 4]));
        supernode.send(&Message::Network("gaggle".into()));
        for _ in 0..4 {
            carry(secs(1), &mut supernode, &mut node);
            assert_eq!(node.poll_message(), Ok(None));
            let back = node.poll_transmit();
            let Some(back) = back else { continue };
            supernode.handle_bytes(secs(1), &back).unwrap();
            assert_eq!(supernode.poll_message(), Ok(None));
        }
        // The supernode has answered an echo of its own and the name, and then it is quiet: but for the echo, which
        // its partner began.
        assert!(supernode.network_told && node.network_told);
    }

    /// Row 45: much input and no login.
    #[test]
    fn attack_45_input_before_the_login() {
        let (mut node, mut supernode) = opened();
        let share = Message::Echo([0; 4]);
        let mut ended = None;
        for _ in 0..9_000 {
            node.send(&share);
            let bytes = node.poll_transmit().unwrap();
            if let Err(error) = supernode.handle_bytes(secs(1), &bytes) {
                ended = Some(error);
                break;
            }
            assert_eq!(supernode.poll_message(), Ok(None));
            let _ = supernode.poll_transmit();
        }
        assert!(matches!(ended, Some(LinkError::NoLogin(_))), "{ended:?}");
        let (mut node, mut supernode) = opened();
        let addr = "1.2.3.4:5".parse().unwrap();
        let info = NodeInfo { addr, bandwidth: 0x60, user: "ann".into() };
        node.send(&Message::NodeInfo(info));
        carry(secs(1), &mut node, &mut supernode);
        assert!(matches!(supernode.poll_message(), Ok(Some(Message::NodeInfo(_)))));
        assert_eq!(supernode.unnamed, None);
    }
}
