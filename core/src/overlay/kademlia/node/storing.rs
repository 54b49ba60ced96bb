//! What we store at others once a lookup has found them: announces, and items.

use super::ask::Purpose;
use super::{Event, Node};
use crate::clock::Instant;
use crate::overlay::kademlia::lookup::{Goal, Lookup, LookupId};
use crate::proto::krpc::{Ask, Contact, ErrorCode, Put, Token};

/// An announce or a put under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Storing {
    /// Nodes that have yet to answer.
    left: u32,
    stored: u32,
    refused: Option<ErrorCode>,
}

impl Node {
    /// A lookup has ended: asks the closest to store what it was for.
    pub(super) fn store_there(&mut self, now: Instant, id: LookupId, lookup: &Lookup) {
        if !matches!(lookup.goal, Goal::Announce { .. } | Goal::Put(_)) {
            return;
        }
        let mut left = 0;
        let willing =
            lookup.closest().filter_map(|(contact, token)| Some((contact, token?.clone())));
        for (contact, token) in willing.take(self.config.policy.announce_to) {
            let Some(ask) = request(lookup, &contact, token) else { continue };
            // They have just answered, so their way is open: nothing new for a router to remember.
            self.send(now, contact.addr, Some(contact.id), Purpose::Store(id), ask);
            left += 1;
        }
        if left == 0 {
            self.events.push_back(Event::Stored { lookup: id, stored: 0, refused: None });
        } else {
            self.storing.insert(id, Storing { left, ..Storing::default() });
        }
    }

    /// Somebody has stored it, has refused, or has not answered.
    pub(super) fn store_settled(&mut self, id: LookupId, outcome: Result<(), Option<ErrorCode>>) {
        let Some(storing) = self.storing.get_mut(&id) else { return };
        storing.left -= 1;
        match outcome {
            Ok(()) => storing.stored += 1,
            Err(code) => storing.refused = storing.refused.max(code),
        }
        let Storing { left, stored, refused } = *storing;
        if left == 0 {
            self.storing.remove(&id);
            self.events.push_back(Event::Stored { lookup: id, stored, refused });
        }
    }
}

/// What the node is asked to store.
fn request(lookup: &Lookup, contact: &Contact, token: Token) -> Option<Ask> {
    match &lookup.goal {
        Goal::Announce { swarm, port, seed } => Some(Ask::AnnouncePeer {
            info_hash: *swarm,
            port: port.unwrap_or(contact.addr.port()),
            implied_port: port.is_none(),
            seed: Some(*seed),
            token,
            name: None,
        }),
        Goal::Put(put) => {
            // Who has missed a change has an older one, and is not to keep it: what matters is that nobody has a newer.
            let held = lookup.held_by(contact.addr);
            let cas = put.cas.zip(held).map(|(cas, held)| cas.min(held));
            Some(Ask::Put { token, put: Box::new(Put { cas, ..(**put).clone() }) })
        }
        Goal::Get(_) | Goal::Nodes | Goal::Peers(_) | Goal::Scrape(_) => None,
    }
}
