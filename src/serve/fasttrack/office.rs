//! The time as a supernode: how it begins, how others are let in, and how it ends.

use super::Role;
use super::links::Kind;
use super::speech::Words;
use super::task::Task;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{
    Identity, Supernode, SupernodeConfig, SupernodeOutput, Tenure,
};
use std::net::SocketAddrV4;

/// What a supernode is beside its node.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) supernode: Supernode,
    tenure: Tenure,
    check_at: Instant,
    /// Whether somebody has connected to us since the last check.
    called: bool,
}

impl Office {
    pub(super) fn due(&self) -> Instant {
        self.supernode.poll_timeout().min(self.check_at)
    }

    pub(super) fn poll(&mut self) -> Option<SupernodeOutput> {
        self.supernode.poll_output()
    }

    /// Somebody has connected to us.
    pub(super) fn call(&mut self) {
        self.called = true;
    }

    /// What others are worth.
    pub(super) fn scores(&mut self, now: Instant) -> Vec<(Identity, u16)> {
        let accounts = self.supernode.ledger().accounts(now);
        accounts.map(|(who, score)| (who.clone(), score)).collect()
    }
}

impl Task {
    pub(super) fn with_office(&mut self, f: impl FnOnce(&mut Office)) {
        if let Some(office) = &mut self.office {
            f(office);
        }
    }

    /// Our supernode is crowded and has found us fit; whether we have room only we can tell.
    pub(super) fn on_promoted(&mut self, now: Instant) {
        if self.config.role == Role::Auto && self.office.is_none() && (self.config.has_room)() {
            self.take_office(now);
        }
    }

    /// Becomes a supernode, with what we are worth; `false` if we do not know where others reach us.
    pub(super) fn take_office(&mut self, now: Instant) -> bool {
        let addr = self.reachable();
        if addr.ip().is_unspecified() {
            return false;
        }
        let config = SupernodeConfig { addr, limits: self.config.limits };
        let known: Vec<SocketAddrV4> = self.node.cache().iter().collect();
        let mut supernode = Supernode::new(now, config, &known, self.rng.fork());
        let us = Identity { user: self.own.user.clone(), ip: *addr.ip() };
        let ledger = supernode.ledger();
        self.scores.drain(..).for_each(|(who, score)| ledger.vouch(now, &who, score));
        ledger.vouch(now, &us, self.own.score);
        let check_at = now + self.config.check_every;
        self.office =
            Some(Office { supernode, tenure: Tenure::default(), check_at, called: false });
        self.node.stay_with(now, Some(addr));
        tracing::info!(%addr, "a supernode from now on");
        true
    }

    /// Does what is due at the supernode, and ends its time if it is no longer fit.
    pub(super) fn look_after_office(&mut self, now: Instant) {
        let us = Identity { user: self.own.user.clone(), ip: *self.reachable().ip() };
        let Some(office) = &mut self.office else { return };
        office.supernode.handle_timeout(now);
        if now < office.check_at {
            return;
        }
        office.check_at = now + self.config.check_every;
        let score = office.supernode.ledger().score(now, &us);
        self.own.score = score;
        // Our own node is always there.
        let reachable = std::mem::take(&mut office.called) || office.supernode.children() > 1;
        let goes_on = office.tenure.check(score, reachable);
        if self.config.role == Role::Auto && !goes_on {
            self.resign(now);
        }
    }

    /// Is an ordinary node again. Its nodes find others: that is what they have been told of.
    fn resign(&mut self, now: Instant) {
        self.with_office(|office| office.supernode.leave());
        self.drain(now);
        if let Some(mut office) = self.office.take() {
            self.scores = office.scores(now);
        }
        self.close_all();
        self.home = None;
        self.node.stay_with(now, None);
        tracing::info!("an ordinary node again");
    }

    pub(super) fn on_supernode(&mut self, now: Instant, output: SupernodeOutput) {
        match output {
            SupernodeOutput::Close(key) => self.close(now, key),
            SupernodeOutput::Datagram(to, datagram) => self.send(to, &datagram),
            SupernodeOutput::Dial(to) => {
                self.dial(Kind::Mate { dialled: true }, to);
            }
            SupernodeOutput::Mesh(key, message) => {
                self.say(now, key, Words::Mesh(message.encode()));
            }
            SupernodeOutput::Node(key, message) => self.say_to_node(now, key, message),
        }
    }
}
