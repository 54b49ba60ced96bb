//! One user: what he said of himself, how well he serves, and what he may still do.

use super::super::bucket::Bucket;
use super::UserId;
use super::lists::Lists;
use crate::clock::Instant;
use crate::proto::napster::{Nick, Text};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long a report that a port does not answer counts.
pub(super) const REPORT_LIFE: Duration = Duration::from_secs(600);
/// Reports of so many users within that time, and nobody is sent there any more.
pub(super) const REPORTS_MAX: usize = 3;
/// How long a user may be silent after a question before nobody is sent there.
pub(super) const PONG_WAIT: Duration = Duration::from_secs(90);
/// So many questions without an answer, and he is taken for gone.
pub(super) const MISSED_MAX: u32 = 2;
/// Users that were sent to one lately, whose reports about him count; the oldest is forgotten.
const SENT_MAX: usize = 64;
/// After so long a presence nobody is more reliable.
const UPTIME_FULL: Duration = Duration::from_secs(4 * 3600);
/// Files that a user gives at once, until he says how many.
const PLACES: u32 = 5;
/// How long a full queue is believed to stay full.
const BUSY_LIFE: Duration = Duration::from_secs(60);
/// Round trips: as good as it gets, and as bad.
const RTT_BEST_MS: u64 = 50;
const RTT_WORST_MS: u64 = 500;

/// How well somebody serves.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Of a question to his client and its answer; a moving average.
    pub(super) rtt: Option<Duration>,
    /// When he was asked what he has not answered yet.
    pub(super) asked: Option<Instant>,
    /// Questions in a row without an answer.
    pub(super) missed: u32,
    /// Who could not reach him, and when; nobody twice.
    reports: Vec<(String, Instant)>,
    sent: VecDeque<(UserId, Instant)>,
    busy_until: Instant,
    /// Until when he is taken for one who does not answer requests.
    mute_until: Instant,
    places: Option<u32>,
}

impl Health {
    /// Somebody was told where he is.
    pub(super) fn sent(&mut self, now: Instant, who: UserId) {
        if self.sent.len() >= SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((who, now));
    }

    /// Somebody could not reach him. Counts only from who was sent there lately: else three strangers could hide anybody.
    pub(super) fn report(&mut self, now: Instant, who: UserId, nick: String) {
        if self.sent.iter().any(|(sent, at)| *sent == who && now.since(*at) <= REPORT_LIFE) {
            self.failed(now, nick);
        }
    }

    /// He could not be reached.
    pub(super) fn failed(&mut self, now: Instant, nick: String) {
        self.reports.retain(|(other, at)| *other != nick && now.since(*at) <= REPORT_LIFE);
        if self.reports.len() < REPORTS_MAX {
            self.reports.push((nick, now));
        }
    }

    /// He was reached.
    pub(super) fn worked(&mut self) {
        self.reports.clear();
    }

    /// Somebody has waited in vain for his answer to a request.
    pub(super) fn let_wait(&mut self, now: Instant) {
        self.mute_until = now + REPORT_LIFE;
    }

    /// He has answered one, whatever he said.
    pub(super) fn answered(&mut self) {
        self.mute_until = Instant::ZERO;
    }

    /// His queue is full; he gives so many at once.
    pub(super) fn busy(&mut self, now: Instant, places: u32) {
        self.busy_until = now + BUSY_LIFE;
        self.places = Some(places);
    }

    pub(super) fn heard(&mut self) {
        self.missed = 0;
    }

    /// He has answered.
    pub(super) fn pong(&mut self, now: Instant) {
        if let Some(asked) = self.asked.take() {
            let new = now.since(asked);
            self.rtt = Some(self.rtt.map_or(new, |old| (old * 7 + new) / 8));
        }
    }

    fn reports(&self, now: Instant) -> usize {
        self.reports.iter().filter(|(_, at)| now.since(*at) <= REPORT_LIFE).count()
    }

    /// What has gone wrong with him lately: nobody could reach him, or he did not answer.
    fn failures(&self, now: Instant) -> usize {
        self.reports(now) + usize::from(now < self.mute_until)
    }

    /// Whether nobody should be sent there.
    pub(super) fn is_trimmed(&self, now: Instant) -> bool {
        self.missed > 0 || self.reports(now) >= REPORTS_MAX
    }
}

/// Somebody who has logged in.
#[derive(Debug)]
pub(super) struct User {
    pub(super) nick: Nick,
    pub(super) ip: Ipv4Addr,
    /// 0 if nobody can connect to him.
    pub(super) port: u16,
    pub(super) client: Text,
    pub(super) speed: u8,
    pub(super) since: Instant,
    pub(super) downloads: u32,
    pub(super) uploads: u32,
    pub(super) health: Health,
    pub(super) searches: Bucket,
    pub(super) source_searches: Bucket,
    pub(super) counters: Bucket,
    /// Requests that wait for somebody's answer.
    pub(super) waiting: usize,
    pub(super) browse: Option<Browse>,
    pub(super) lists: Lists,
}

/// A list of somebody's files that is being sent.
#[derive(Debug)]
pub(super) struct Browse {
    pub(super) of: UserId,
    pub(super) nick: Nick,
    pub(super) after: Option<Text>,
    pub(super) left: u32,
}

impl User {
    /// Somebody who has just logged in: nothing is known of him but what he says.
    pub(super) fn new(
        nick: Nick,
        (ip, port): (Ipv4Addr, u16),
        client: Text,
        speed: u8,
        now: Instant,
    ) -> Self {
        Self {
            nick,
            ip,
            port,
            client,
            speed,
            since: now,
            downloads: 0,
            uploads: 0,
            health: Health::default(),
            searches: Bucket::default(),
            source_searches: Bucket::default(),
            counters: Bucket::default(),
            waiting: 0,
            browse: None,
            lists: Lists::default(),
        }
    }

    /// How good a source he is for somebody at `asker`: larger is better. At most 350, and 80 less for each failure of
    /// the last ten minutes.
    pub(super) fn score(&self, now: Instant, asker: Ipv4Addr) -> i32 {
        let uptime = now.since(self.since).min(UPTIME_FULL).as_secs() as i32 * 100
            / UPTIME_FULL.as_secs() as i32;
        let places = self.health.places.unwrap_or(PLACES).max(1);
        let busy = if now < self.health.busy_until { places } else { self.uploads.min(places) };
        let idle = 60 - (60 * u64::from(busy) / u64::from(places)) as i32;
        let near = self.health.rtt.map_or(0, |rtt| {
            let ms = (rtt.as_millis() as u64).clamp(RTT_BEST_MS, RTT_WORST_MS);
            (40 * (RTT_WORST_MS - ms) / (RTT_WORST_MS - RTT_BEST_MS)) as i32
        });
        let same_net = self.ip.octets()[..2] == asker.octets()[..2];
        uptime + 12 * i32::from(self.speed) + idle + near + 30 * i32::from(same_net)
            - 80 * self.health.failures(now) as i32
    }

    pub(super) fn firewalled(&self) -> bool {
        self.port == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    fn user(speed: u8) -> User {
        let bob = Nick::new(b"bob").unwrap();
        User::new(bob, ([10, 1, 2, 3].into(), 6699), "x".into(), speed, at(0))
    }

    #[test]
    fn uptime_speed_load_and_closeness_make_the_score() {
        let (near, far) = ([10, 1, 9, 9].into(), [10, 2, 9, 9].into());
        let mut bob = user(7);
        assert_eq!(bob.score(at(0), far), 84 + 60);
        assert_eq!(bob.score(at(0), near), 84 + 60 + 30);
        assert_eq!(bob.score(at(2 * 3600), far), 50 + 84 + 60);
        assert_eq!(bob.score(at(9 * 3600), far), 100 + 84 + 60);
        bob.uploads = 2;
        assert_eq!(bob.score(at(0), far), 84 + 36);
        bob.health.busy(at(0), 4);
        assert_eq!(bob.score(at(0), far), 84);
        assert_eq!(bob.score(at(60), far), 84 + 30);
        bob.health.asked = Some(at(100));
        bob.health.pong(at(100) + Duration::from_millis(275));
        assert_eq!((bob.health.rtt, bob.health.asked), (Some(Duration::from_millis(275)), None));
        assert_eq!(bob.score(at(60), far), 84 + 30 + 20);
        bob.health.failed(at(60), "x".into());
        assert_eq!(bob.score(at(60), far), 84 + 30 + 20 - 80);
        bob.health.let_wait(at(60));
        assert_eq!(bob.score(at(60), far), 84 + 30 + 20 - 160);
        bob.health.answered();
        assert_eq!(bob.score(at(60), far), 84 + 30 + 20 - 80);
    }

    #[test]
    fn reports_of_three_who_were_sent_there_hide_a_user() {
        let mut health = Health::default();
        for n in 0..10 {
            health.report(at(0), UserId(n), format!("stranger{n}"));
        }
        (1..=3).for_each(|n| health.sent(at(0), UserId(n)));
        for _ in 0..5 {
            health.report(at(1), UserId(1), "one".into());
        }
        health.report(at(2), UserId(2), "two".into());
        assert!(!health.is_trimmed(at(2)));
        health.report(at(3), UserId(3), "three".into());
        assert!(health.is_trimmed(at(601)) && !health.is_trimmed(at(602)));
        health.worked();
        assert!(!health.is_trimmed(at(3)));
        // What was long ago is no reason to report.
        health.report(at(700), UserId(1), "one".into());
        assert_eq!(health.reports(at(700)), 0);
        health.missed = 1;
        assert!(health.is_trimmed(at(700)));
        health.heard();
        assert!(!health.is_trimmed(at(700)));
    }
}
