//! Whatever a neighbour sends, in whatever state.

use super::*;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn attack_45_hostile_bytes_in_every_state(
        role in any::<bool>(), begin in 0usize..5, kinds in prop::collection::vec(
            (prop::sample::select(vec![0u8, 1, 2, 0x30, 0x31, 0x40, 0x80, 0x81, 0x55]), any::<(u8, u8)>(),
             prop::collection::vec(any::<u8>(), 0..80)), 0..20),
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut desk = Desk::of(if role { Role::Leaf } else { Role::Ultrapeer });
        let link = match begin {
            0 => desk.accept(),
            1 => desk.servent.connect(desk.now, "198.18.9.1:1".parse().unwrap()),
            2 => {
                let link = desk.accept();
                desk.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\n\r\n");
                link
            }
            _ => desk.join(true),
        };
        for (kind, (ttl, hops), payload) in kinds {
            let one = travelled(Descriptor::new(Guid([kind; 16]), Kind(kind), ttl, payload), hops);
            desk.give(link, &one);
        }
        desk.say(link, &junk);
        desk.pass(2);
        desk.sent();
        desk.events();
        prop_assert!(desk.servent.links().count() <= 1);
    }
}
