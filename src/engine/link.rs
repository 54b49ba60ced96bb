//! What one connection is still to be told.
//!
//! Keeps the order in which the machine said things. Bounded by bytes of messages, not by their number: a choke may
//! reject two thousand requests at once, and a fast download announces hundreds of pieces a second to a slow peer.

use crate::net::ToPeer;
use gaggle_core::proto::peer::Message;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;

/// Bytes of messages that may wait for a peer that does not read; one more and it is let go.
const UNREAD_MAX: usize = 512 << 10;
/// A connection that we close may take this long to take what it was promised.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// One live connection, as far as its torrent's task holds it.
pub(super) struct Link {
    queue: mpsc::Sender<ToPeer>,
    pump: AbortHandle,
    backlog: VecDeque<ToPeer>,
    unread: usize,
}

/// The peer takes nothing, or is gone.
pub(super) struct Deaf;

impl Link {
    pub(super) fn new(queue: mpsc::Sender<ToPeer>, pump: AbortHandle) -> Self {
        Self { queue, pump, backlog: VecDeque::new(), unread: 0 }
    }

    /// Adds a message; messages in a row leave together.
    pub(super) fn say(&mut self, message: Message) {
        self.unread += message.encoded_len();
        match self.backlog.back_mut() {
            Some(ToPeer::Messages(messages)) => messages.push(message),
            _ => self.backlog.push_back(ToPeer::Messages(vec![message])),
        }
    }

    /// Adds anything else.
    pub(super) fn push(&mut self, item: ToPeer) {
        self.backlog.push_back(item);
    }

    /// Hands over as much as the connection takes now.
    pub(super) fn flush(&mut self) -> Result<(), Deaf> {
        while let Some(item) = self.backlog.pop_front() {
            let bytes = match &item {
                ToPeer::Messages(messages) => messages.iter().map(Message::encoded_len).sum(),
                _ => 0,
            };
            match self.queue.try_send(item) {
                Ok(()) => self.unread -= bytes,
                Err(TrySendError::Full(item)) => {
                    self.backlog.push_front(item);
                    return if self.unread > UNREAD_MAX { Err(Deaf) } else { Ok(()) };
                }
                Err(TrySendError::Closed(_)) => return Err(Deaf),
            }
        }
        Ok(())
    }

    /// Whether something waits.
    pub(super) fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Ends the connection at once.
    pub(super) fn cut(self) {
        self.pump.abort();
    }

    /// Ends the connection after what was queued, within reason.
    pub(super) fn close(mut self) {
        if self.flush().is_err() || self.is_behind() {
            return self.cut();
        }
        let Self { queue, pump, .. } = self;
        tokio::spawn(async move {
            drop(queue); // the pump sends what it has, then finds its queue closed
            tokio::time::sleep(CLOSE_PATIENCE).await;
            pump.abort();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_reads_late_gets_everything_in_order_and_one_that_never_does_is_let_go() {
        let (queue, mut taken) = mpsc::channel(1);
        let pump = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let mut link = Link::new(queue, pump);
        for index in 0..2000 {
            link.say(Message::Have(index));
            assert!(link.flush().is_ok());
        }
        let mut next = 0;
        while next < 2000 {
            let Some(ToPeer::Messages(messages)) = taken.recv().await else { panic!("ended") };
            for message in messages {
                assert_eq!(message, Message::Have(next));
                next += 1;
            }
            assert!(link.flush().is_ok());
        }
        assert!(!link.is_behind());
        let deaf = (0..200_000).any(|index| {
            link.say(Message::Have(index));
            link.flush().is_err()
        });
        assert!(deaf);
    }
}
