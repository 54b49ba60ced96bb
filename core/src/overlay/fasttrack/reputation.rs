//! What nodes are worth to others: 0 to 1000, from 10 on.
//!
//! Grows with the time that a node stays and with what others confirm to have got from it; broken promises and bad
//! bytes cost more than good ones earn. Kept at supernodes: a number that a node kept of itself would be forged.

use crate::clock::Instant;
use crate::proto::fasttrack::Receipt;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Of who has never been seen.
pub const SCORE_START: u16 = 10;
/// The best there is.
pub const SCORE_MAX: u16 = 1000;

/// Connected for as long, a node earns a point.
pub(super) const POINT_TIME: Duration = Duration::from_secs(600);
/// Points a day for being connected.
const TIME_POINTS_A_DAY: u32 = 36;
/// Bytes uploaded and found right that earn a point.
const POINT_BYTES: u64 = 8 << 20;
/// Points a day that one address can get a node by receipts: two friends alone make no supernode.
const PAIR_POINTS_A_DAY: u32 = 36;
/// What a transfer that was promised and broken off costs.
const FAILED_COST: u32 = 5;
/// What a piece or file with a wrong hash costs, and the most that one address can cost a node a day.
const BAD_COST: u32 = 50;
/// What is left of the distance to the start after a day.
const DAILY: f64 = 0.98;
const DAY: Duration = Duration::from_secs(86_400);
/// Accounts; beyond them the one that was touched longest ago is forgotten.
const ACCOUNTS_MAX: usize = 10_000;
/// Pairs of whose word it is and who is confirmed, in one day; further receipts do not count.
const PAIRS_MAX: usize = 10_000;

/// By what a node is known: there are no keys in this network.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Identity {
    /// As the node says.
    pub user: String,
    /// As its supernode sees.
    pub ip: Ipv4Addr,
}

#[derive(Clone, Debug)]
struct Account {
    score: f64,
    /// What it was worth elsewhere, by the word of another supernode.
    heard: f64,
    /// Bytes that have not earned a point yet.
    bytes: u64,
    time_points: u32,
    /// Until when the day lasts that the points above are of.
    day_ends: Instant,
    touched: Instant,
}

/// What one has said of another on one day. The two are apart: whoever shares a supernode with those who got something
/// cannot silence them by a complaint.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    earned: u32,
    cost: u32,
}

/// The reputations that one supernode keeps.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<Identity, Account>,
    /// The same, the one that was touched longest ago first.
    order: BTreeSet<(Instant, Identity)>,
    pairs: BTreeMap<(Identity, Identity), Said>,
    pairs_until: Instant,
}

impl Ledger {
    /// The reputation that a node has earned here.
    pub fn score(&mut self, now: Instant, who: &Identity) -> u16 {
        match self.accounts.get_mut(who) {
            Some(account) => {
                account.age(now);
                account.score as u16
            }
            None => SCORE_START,
        }
    }

    /// The same, or what another supernode has said of it, if that is more: what counts where it asks for something.
    pub fn worth(&mut self, now: Instant, who: &Identity) -> u16 {
        let earned = self.score(now, who);
        self.accounts.get(who).map_or(earned, |account| earned.max(account.heard as u16))
    }

    /// All accounts, those that were touched last at the end.
    pub fn accounts(&mut self, now: Instant) -> impl Iterator<Item = (&Identity, u16)> {
        self.accounts.values_mut().for_each(|account| account.age(now));
        let accounts = &self.accounts;
        let of = |who| Some((who, accounts.get(who)?.score as u16));
        self.order.iter().filter_map(move |(_, who)| of(who))
    }

    /// A supernode that the one who calls this trusts has kept this account so far; less than what is known here counts
    /// for nothing.
    pub fn vouch(&mut self, now: Instant, who: &Identity, score: u16) {
        let account = self.account(now, who);
        account.score = account.score.max(score.min(SCORE_MAX).into());
    }

    /// Another supernode, whose word nobody can check, says what a node was worth there. It counts only of who is not known
    /// here yet, for [`Self::worth`] alone, and complaints take it away as they do what is earned. Nobody is forgotten for it,
    /// and it takes no more than half of the accounts.
    pub fn hear(&mut self, now: Instant, who: &Identity, score: u16) {
        let room = self.accounts.len() < ACCOUNTS_MAX / 2 && !self.accounts.contains_key(who);
        if room && score > SCORE_START {
            self.account(now, who).heard = score.min(SCORE_MAX).into();
        }
    }

    /// A node has been connected for another ten minutes.
    pub fn stayed(&mut self, now: Instant, who: &Identity) {
        let account = self.account(now, who);
        if account.time_points < TIME_POINTS_A_DAY {
            account.time_points += 1;
            account.add(1.0);
        }
    }

    /// Somebody says what a download was worth. Of one's own files, or those of one's own address, nobody can say
    /// anything, except on this machine, where all have the same. `voice` is the address whose word it is: his own, or that
    /// of the supernode that speaks for him.
    pub fn receipt(
        &mut self,
        now: Instant,
        by: &Identity,
        voice: Ipv4Addr,
        of: &Identity,
        receipt: &Receipt,
    ) {
        if by == of || (by.ip == of.ip && !by.ip.is_loopback()) {
            return;
        }
        if now >= self.pairs_until {
            self.pairs.clear();
            self.pairs_until = now + DAY;
        }
        // One who calls himself many names is one.
        let user = if voice.is_loopback() { by.user.clone() } else { String::new() };
        let pair = (Identity { user, ip: voice }, of.clone());
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) {
            return;
        }
        let mut said = self.pairs.get(&pair).copied().unwrap_or_default();
        let account = self.account(now, of);
        let bytes = account.bytes.saturating_add(receipt.good_bytes);
        let earned = (bytes / POINT_BYTES).min((PAIR_POINTS_A_DAY - said.earned).into()) as u32;
        account.bytes = bytes % POINT_BYTES;
        let cost = FAILED_COST * u32::from(receipt.failed) + BAD_COST * u32::from(receipt.bad);
        let cost = cost.min(BAD_COST - said.cost);
        account.add(f64::from(earned));
        account.add(-f64::from(cost));
        said.earned += earned;
        said.cost += cost;
        self.pairs.insert(pair, said);
    }

    fn account(&mut self, now: Instant, who: &Identity) -> &mut Account {
        match self.accounts.get(who) {
            Some(account) => {
                self.order.remove(&(account.touched, who.clone()));
            }
            None if self.accounts.len() >= ACCOUNTS_MAX => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.accounts.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert((now, who.clone()));
        let account = self.accounts.entry(who.clone()).or_insert(Account {
            score: SCORE_START.into(),
            heard: SCORE_START.into(),
            bytes: 0,
            time_points: 0,
            day_ends: now + DAY,
            touched: now,
        });
        account.age(now);
        account.touched = now;
        account
    }
}

impl Account {
    fn add(&mut self, points: f64) {
        self.score = (self.score + points).clamp(0.0, SCORE_MAX.into());
        self.heard = (self.heard + points.min(0.0)).max(0.0);
    }

    /// Lets the days pass that have passed.
    fn age(&mut self, now: Instant) {
        let start = f64::from(SCORE_START);
        while now >= self.day_ends {
            self.score = start + (self.score - start) * DAILY;
            self.heard = start + (self.heard - start) * DAILY;
            self.time_points = 0;
            self.day_ends += DAY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: &str, last: u8) -> Identity {
        Identity { user: user.into(), ip: Ipv4Addr::new(9, 9, 9, last) }
    }

    fn at(hours: u64) -> Instant {
        Instant::from_micros(hours * 3_600_000_000)
    }

    fn said(good_bytes: u64, bad: u16, failed: u16) -> Receipt {
        let host = "9.9.9.1:1214".parse().unwrap();
        Receipt { host, supernode: host, user: "a".into(), good_bytes, bad, failed }
    }

    /// Somebody says so himself.
    fn hear(ledger: &mut Ledger, now: Instant, by: &Identity, of: &Identity, receipt: &Receipt) {
        ledger.receipt(now, by, by.ip, of, receipt);
    }

    #[test]
    fn it_begins_at_ten_and_grows_with_time_up_to_36_a_day() {
        let (mut ledger, a) = (Ledger::default(), who("a", 1));
        assert_eq!(ledger.score(at(0), &a), 10);
        (0..100).for_each(|_| ledger.stayed(at(1), &a));
        assert_eq!(ledger.score(at(1), &a), 46);
        // A day later two percent of what is above ten are gone.
        assert_eq!(ledger.score(at(25), &a), 45);
        ledger.stayed(at(26), &a);
        assert_eq!(ledger.score(at(26), &a), 46);
        assert_eq!(ledger.score(at(24 * 3650), &a), 10);
    }

    #[test]
    fn what_another_supernode_has_kept_is_taken_over() {
        let (mut ledger, a) = (Ledger::default(), who("a", 1));
        ledger.vouch(at(0), &a, 260);
        ledger.vouch(at(1), &a, 20);
        assert_eq!(ledger.score(at(1), &a), 260);
        ledger.vouch(at(1), &a, u16::MAX);
        assert_eq!(ledger.score(at(1), &a), SCORE_MAX);
        ledger.vouch(at(2), &who("b", 2), 12);
        let all: Vec<_> =
            ledger.accounts(at(25)).map(|(who, score)| (who.clone(), score)).collect();
        assert_eq!(all, [(a, 980), (who("b", 2), 12)]);
    }

    #[test]
    fn what_is_only_said_elsewhere_lasts_until_it_is_disproved() {
        let (mut ledger, a) = (Ledger::default(), who("a", 1));
        ledger.hear(at(0), &a, 100);
        assert_eq!((ledger.worth(at(0), &a), ledger.score(at(0), &a)), (100, 10));
        assert_eq!(ledger.worth(at(25), &a), 98);
        hear(&mut ledger, at(25), &who("f", 2), &a, &said(0, 1, 0));
        assert_eq!((ledger.worth(at(25), &a), ledger.score(at(25), &a)), (48, 0));
        ledger.hear(at(25), &a, 100);
        assert_eq!(ledger.worth(at(25), &a), 48, "it is known now");
        // Who has earned more is worth that.
        ledger.vouch(at(26), &a, 60);
        assert_eq!(ledger.worth(at(26), &a), 60);
        // What is said of many makes nobody forgotten.
        for n in 0..12_000u32 {
            let ip = Ipv4Addr::from(0x0a00_0000 + n);
            ledger.hear(at(27), &Identity { user: "x".into(), ip }, 100);
        }
        assert_eq!((ledger.accounts.len(), ledger.worth(at(27), &a)), (ACCOUNTS_MAX / 2, 60));
    }

    #[test]
    fn uploads_that_others_confirm_count_and_bad_ones_cost_more() {
        let (mut ledger, a) = (Ledger::default(), who("a", 1));
        for friend in 2..12 {
            hear(&mut ledger, at(1), &who("f", friend), &a, &said(24 << 20, 0, 0));
        }
        assert_eq!(ledger.score(at(1), &a), 40);
        hear(&mut ledger, at(1), &who("f", 20), &a, &said(12 << 20, 0, 0));
        hear(&mut ledger, at(1), &who("f", 21), &a, &said(4 << 20, 0, 0));
        assert_eq!(ledger.score(at(1), &a), 42, "halves add up");
        hear(&mut ledger, at(1), &who("f", 22), &a, &said(0, 0, 1));
        assert_eq!(ledger.score(at(1), &a), 37);
        hear(&mut ledger, at(1), &who("f", 23), &a, &said(0, 1, 0));
        assert_eq!(ledger.score(at(1), &a), 0);
    }

    /// Row 45: nobody makes himself, a friend or an enemy.
    #[test]
    fn attack_45_forged_receipts() {
        let (mut ledger, a) = (Ledger::default(), who("a", 1));
        hear(&mut ledger, at(1), &a, &a, &said(1 << 40, 0, 0));
        hear(&mut ledger, at(1), &who("twin", 1), &a, &said(1 << 40, 0, 0));
        assert_eq!(ledger.score(at(1), &a), 10);
        for _ in 0..10 {
            hear(&mut ledger, at(1), &who("friend", 2), &a, &said(u64::MAX, 0, 0));
        }
        assert_eq!(ledger.score(at(1), &a), 46);
        // Neither do other names help, nor a supernode that has them confirm.
        for n in 0..100 {
            let name = format!("friend{n}");
            hear(&mut ledger, at(1), &who(&name, 2), &a, &said(1 << 40, 0, 0));
            assert_eq!(ledger.score(at(1), &a), 46, "{name}");
        }
        let mut b = Ledger::default();
        let mut mate = |n, receipt| {
            b.receipt(at(1), &who("f", n), [7, 7, 7, 7].into(), &a, &receipt);
            b.score(at(1), &a)
        };
        // Nor does a complaint silence those who have the same one.
        assert_eq!(mate(49, said(0, 0, 1)), 5);
        (50..100).for_each(|n| _ = mate(n, said(1 << 40, 0, 0)));
        assert_eq!(mate(100, said(1 << 40, 0, 0)), 5 + 36);
        // Only so much of it counts, against a node and for it.
        (101..110).for_each(|n| _ = mate(n, said(0, 9, 9)));
        assert_eq!(mate(110, said(8 << 30, 0, 0)), 0);
        hear(&mut ledger, at(1), &who("enemy", 3), &a, &said(0, 9, 9));
        hear(&mut ledger, at(1), &who("enemy", 3), &a, &said(0, 9, 9));
        assert_eq!(ledger.score(at(1), &a), 0);
        (0..12_000u32).for_each(|n| {
            let ip = Ipv4Addr::from(0x0a00_0000 + n);
            ledger.stayed(at(2), &Identity { user: "x".into(), ip });
            hear(&mut ledger, at(2), &Identity { user: "y".into(), ip }, &a, &said(0, 0, 0));
        });
        assert_eq!((ledger.accounts.len(), ledger.pairs.len()), (ACCOUNTS_MAX, PAIRS_MAX));
        assert_eq!(ledger.order.len(), ACCOUNTS_MAX);
        for n in 0..100 {
            (0..10).for_each(|_| ledger.stayed(at(24 * n), &a));
            assert!(ledger.score(at(24 * n), &a) <= SCORE_MAX);
        }
    }
}
