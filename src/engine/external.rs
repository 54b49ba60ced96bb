//! Which addresses all torrents of an engine have: what anybody says of it comes here, and what is believed goes out.
//!
//! Never judges where there is a node of the DHT: it hears most and its id hangs on it, so it is told what trackers,
//! peers and the router say, and its word counts for all. Without one the same machine of core judges here.

use super::engine::Shared;
use crate::locate::{Dht, Mapped};
use crate::net::Clock;
use gaggle_core::external::{External, Sighting};
use gaggle_core::scope::Scope;
use std::net::IpAddr;
use tokio::sync::{mpsc, watch};

/// Words that may wait to be heard; more are lost, and others say the same.
const SIGHTINGS_MAX: usize = 64;

/// An address of each family, IPv4 and IPv6, as far as it is known.
pub(super) type Addresses = [Option<IpAddr>; 2];

/// Where to say what one has heard, and where to read what is believed.
pub(super) struct Ends {
    pub(super) sightings: mpsc::Sender<Sighting>,
    pub(super) addresses: watch::Receiver<Addresses>,
}

/// Whoever judges.
pub(super) struct Judge {
    clock: Clock,
    dht: Option<Dht>,
    own: External,
    sightings: mpsc::Receiver<Sighting>,
    addresses: watch::Sender<Addresses>,
}

impl Judge {
    pub(super) fn new(clock: Clock, dht: Option<Dht>) -> (Self, Ends) {
        let (say, sightings) = mpsc::channel(SIGHTINGS_MAX);
        let (tell, addresses) = watch::channel(Addresses::default());
        let judge = Self { clock, dht, own: External::default(), sightings, addresses: tell };
        (judge, Ends { sightings: say, addresses })
    }

    /// Listens for ever.
    pub(super) async fn run(mut self, mut mapped: Option<watch::Receiver<Option<Mapped>>>) {
        let mut status = self.dht.as_ref().map(Dht::watch_status);
        loop {
            tokio::select! {
                said = self.sightings.recv() => match said {
                    Some(sighting) => self.hear(sighting),
                    None => return,
                },
                () = changed(&mut mapped) => {
                    let now = mapped.as_ref().and_then(|mapped| *mapped.borrow());
                    if let Some((by, us)) = now.and_then(|mapped| Some((mapped.router, mapped.external?))) {
                        self.hear(Sighting { by, us });
                    }
                }
                () = changed(&mut status) => {}
            }
            let believed = match &status {
                Some(status) => status.borrow().external,
                None => [false, true].map(|v6| self.own.address(v6)),
            };
            self.addresses.send_if_modified(|told| std::mem::replace(told, believed) != believed);
        }
    }

    /// In a private net there are other addresses, which nobody outside needs to know.
    fn hear(&mut self, sighting: Sighting) {
        if Scope::of(sighting.us) != Some(Scope::Global) {
            return;
        }
        match &self.dht {
            Some(dht) => dht.hear(sighting),
            None => _ = self.own.hear(self.clock.now(), sighting),
        }
    }
}

/// Returns when there is something new; never where there is nothing to watch, or nobody who could say more.
async fn changed<T>(watched: &mut Option<watch::Receiver<T>>) {
    if let Some(watch) = watched
        && watch.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

impl Shared {
    /// Under which addresses everybody sees us.
    pub(super) fn addresses(&self) -> Addresses {
        *self.external.addresses.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::Language;

    #[tokio::test]
    async fn without_a_dht_the_engine_judges_and_the_router_has_a_voice() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let (judge, mut ends) = Judge::new(Clock::start(), None);
        let (map, mapped) = watch::channel(None);
        let task = tokio::spawn(judge.run(Some(mapped)));
        let nearby = Sighting { by: ip("192.168.1.9"), us: ip("192.168.1.2") };
        ends.sightings.send(nearby).await.unwrap();
        map.send_replace(Some(Mapped {
            by: Language::Pcp,
            router: ip("192.168.1.1"),
            external: Some(ip("11.0.0.1")),
            tcp: None,
            udp: None,
        }));
        ends.addresses.changed().await.unwrap();
        assert_eq!(*ends.addresses.borrow_and_update(), [Some(ip("11.0.0.1")), None]);
        for by in ["9.9.9.9", "8.8.8.8"] {
            ends.sightings.send(Sighting { by: ip(by), us: ip("12.0.0.1") }).await.unwrap();
        }
        ends.addresses.changed().await.unwrap();
        assert_eq!(*ends.addresses.borrow(), [Some(ip("12.0.0.1")), None], "two against one");
        task.abort();
    }
}
