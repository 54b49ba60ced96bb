//! Whom to dial next, and when.

use super::{
    Candidate, DIALLING_PER_HOST, EXPLICIT_RETRY_MAX, HOST_FAILURES_MAX, RESERVED_FOR_CALLERS,
    Roster, Source, State, canonical, timers,
};
use crate::clock::Instant;
use crate::id::PeerId;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

impl Roster {
    /// The next address to dial, now, if any; it counts as being dialled until `connected` or `dial_failed`.
    /// `wanted` says whether more peers are of use at all. Fewest failures first, then the better source,
    /// then what BEP 40 prefers.
    /// O(1) while nothing is due, else O(candidates).
    #[must_use]
    pub fn poll_dial(&mut self, now: Instant, wanted: bool) -> Option<SocketAddr> {
        self.wanted = wanted;
        if !wanted || !self.has_room() || now < self.idle_until || now < self.dial_paced_at() {
            return None;
        }
        let connected: BTreeSet<PeerId> = self.connections.values().map(|peer| peer.id).collect();
        let mut best = None;
        let mut next = Instant::FAR_FUTURE;
        for (addr, candidate) in &self.candidates {
            let Some(at) = self.due(*addr, candidate, &connected) else { continue };
            if at > now {
                next = next.min(at);
                continue;
            }
            let liked = Reverse((candidate.source, self.priority(*addr)));
            let order = (candidate.failures, liked, candidate.salt, *addr);
            best = best.into_iter().chain([order]).min();
        }
        let Some((.., addr)) = best else {
            self.idle_until = next;
            return None;
        };
        self.set_state(addr, State::Dialling);
        self.dials_paid_at = self.dials_paid_at.max(now) + self.dial_interval();
        Some(addr)
    }

    /// When `poll_dial` may have something; none while it is not wanted, there is no room or nobody is left.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let at = self.idle_until.max(self.dial_paced_at());
        (self.wanted && self.has_room() && at != Instant::FAR_FUTURE && !self.candidates.is_empty())
            .then_some(at)
    }

    /// Nobody answered, or the handshake did not complete.
    pub fn dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        let addr = canonical(addr);
        self.set_state(addr, State::Idle);
        self.failed(now, addr);
        let host = self.hosts.entry(addr.ip()).or_default();
        host.failures += 1;
        if host.failures >= HOST_FAILURES_MAX {
            let beyond = host.failures - HOST_FAILURES_MAX + 1;
            host.rests_until = now + timers::host_rest(addr.ip(), beyond);
        }
        self.prune_host(addr.ip());
    }

    /// Counts a failure in a row, and says when to try again.
    pub(super) fn failed(&mut self, now: Instant, addr: SocketAddr) {
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        candidate.failures = candidate.failures.saturating_add(1);
        let mut wait = timers::retry_after(addr.ip(), candidate.failures);
        if candidate.source >= Source::Magnet {
            wait = wait.min(EXPLICIT_RETRY_MAX);
        }
        candidate.retry_at = now + wait;
        self.idle_until = self.idle_until.min(candidate.retry_at);
    }

    /// When the candidate may be dialled; none if something else must happen before.
    fn due(
        &self,
        addr: SocketAddr,
        candidate: &Candidate,
        connected: &BTreeSet<PeerId>,
    ) -> Option<Instant> {
        let named = candidate.source == Source::Explicit;
        let host = self.hosts.get(&addr.ip()).copied().unwrap_or_default();
        // Somebody meant these, not some list: the one of a link may be all there is.
        let meant = candidate.source >= Source::Magnet;
        let given_up = !meant && candidate.failures >= timers::failures_max(addr.ip());
        let busy = host.dialling >= DIALLING_PER_HOST || candidate.state != State::Idle;
        if given_up || busy || candidate.id.is_some_and(|id| connected.contains(&id)) {
            return None;
        }
        Some(if named { candidate.retry_at } else { candidate.retry_at.max(host.rests_until) })
    }

    /// Whether another dial may begin, as far as numbers go.
    fn has_room(&self) -> bool {
        let max = self.config.connections_max;
        let dialled_max = max - max / RESERVED_FOR_CALLERS;
        self.dialling < self.config.half_open_max
            && self.connections.len() + self.dialling < dialled_max
    }

    fn dial_interval(&self) -> Duration {
        Duration::from_secs(1) / self.config.dials_per_s.max(1)
    }

    /// When the pace allows the next dial.
    fn dial_paced_at(&self) -> Instant {
        self.dials_paid_at - self.dial_interval() * self.config.dials_burst.saturating_sub(1)
    }
}
