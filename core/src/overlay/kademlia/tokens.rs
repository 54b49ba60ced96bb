//! Tokens: whoever repeats one has received what we sent to that address.
//!
//! Nothing is remembered about who got one, so asking costs us no memory. A token is good for one address (not its
//! port, which some routers change), for one target, which is a swarm or the place of an item, and for five to ten minutes.
//= BEP 5 §token

use crate::clock::Instant;
use crate::hash::sha1;
use crate::id::NodeId;
use crate::proto::krpc::Token;
use crate::rng::Rng;
use std::net::IpAddr;
use std::time::Duration;

/// How long one secret makes tokens; the one before is accepted as long again.
pub(super) const ROTATION: Duration = Duration::from_secs(300);
/// Bytes of a token: guessing one takes 2⁶³ announces.
const LEN: usize = 8;
/// Bytes of a secret: nobody finds it by trying, not even with a token to try against.
const SECRET_LEN: usize = 20;

/// Makes and checks tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    rng: Rng,
    current: [u8; SECRET_LEN],
    previous: [u8; SECRET_LEN],
    rotate_at: Instant,
}

impl Tokens {
    /// With fresh secrets.
    pub fn new(now: Instant, mut rng: Rng) -> Self {
        let [mut current, mut previous] = [[0; SECRET_LEN]; 2];
        rng.fill(&mut current);
        rng.fill(&mut previous);
        Self { rng, current, previous, rotate_at: now + ROTATION }
    }

    /// The token that this address may store something at this target with.
    pub fn issue(&mut self, now: Instant, ip: IpAddr, target: NodeId) -> Token {
        self.rotate(now);
        Token::new(&digest(&self.current, ip, target)).expect("shorter than the longest token")
    }

    /// Whether this address got this token for this target, not long ago.
    pub fn accepts(&mut self, now: Instant, ip: IpAddr, target: NodeId, token: &Token) -> bool {
        self.rotate(now);
        [&self.current, &self.previous]
            .into_iter()
            .any(|secret| digest(secret, ip, target)[..] == *token.as_bytes())
    }

    fn rotate(&mut self, now: Instant) {
        if now < self.rotate_at {
            return;
        }
        self.previous = self.current;
        self.rng.fill(&mut self.current);
        self.rotate_at += ROTATION;
        if now >= self.rotate_at {
            // After a long pause the last secret is too old as well.
            self.rng.fill(&mut self.previous);
            self.rotate_at = now + ROTATION;
        }
    }
}

/// All parts have fixed lengths for one family, and only 8 of 20 bytes are given away, so the plain hash with the
/// secret in front cannot be extended.
fn digest(secret: &[u8; SECRET_LEN], ip: IpAddr, target: NodeId) -> [u8; LEN] {
    let hash = match ip {
        IpAddr::V4(v4) => sha1([&secret[..], &v4.octets(), &target.0]),
        IpAddr::V6(v6) => sha1([&secret[..], &v6.octets(), &target.0]),
    };
    *hash.first_chunk().expect("8 of 20 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_address_swarm_and_time() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut tokens = Tokens::new(at(0), Rng::seeded(1));
        let [ip, other]: [IpAddr; 2] = ["1.2.3.4", "1.2.3.5"].map(|ip| ip.parse().unwrap());
        let [swarm, elsewhere] = [NodeId([1; 20]), NodeId([2; 20])];
        let token = tokens.issue(at(10), ip, swarm);
        assert!(tokens.accepts(at(10), ip, swarm, &token));
        assert!(!tokens.accepts(at(10), other, swarm, &token));
        assert!(!tokens.accepts(at(10), ip, elsewhere, &token));
        let short = Token::new(&token.as_bytes()[..7]).unwrap();
        assert!(!tokens.accepts(at(10), ip, swarm, &short));
        assert!(!tokens.accepts(at(10), ip, swarm, &Token::new(b"").unwrap()));
        assert!(tokens.accepts(at(310), ip, swarm, &token), "the secret before is accepted");
        assert!(!tokens.accepts(at(601), ip, swarm, &token), "the one before that is not");
    }

    #[test]
    fn after_a_long_sleep_no_old_token_is_good() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut tokens = Tokens::new(at(0), Rng::seeded(1));
        let (ip, swarm) = ("::1".parse().unwrap(), NodeId([1; 20]));
        let token = tokens.issue(at(0), ip, swarm);
        assert!(!tokens.accepts(at(100_000), ip, swarm, &token));
        for morning in [200_000, 400_000] {
            let token = tokens.issue(at(morning), ip, swarm);
            assert!([1, 299, 300, 599].iter().all(|s| tokens.accepts(
                at(morning + s),
                ip,
                swarm,
                &token
            )));
        }
    }
}
