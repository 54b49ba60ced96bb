//! Dialogues about who can be connected to.

use super::*;

fn vendor(message: &Vendor) -> Descriptor {
    Descriptor::new(Guid([1; 16]), Kind::VENDOR, 1, message.encode())
}

impl Desk {
    /// Messages of vendors to every link.
    fn told(&mut self) -> Vec<(LinkId, Vendor)> {
        let sent = self.sent_of(Kind::VENDOR).into_iter();
        sent.map(|(link, one)| (link, Vendor::parse(&one.payload).unwrap())).collect()
    }
}

#[test]
fn attack_45_who_asks_whether_others_can_connect_is_connected_to_once_a_minute() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (leaf, other) = (desk.join(false), desk.join(true));
    let ask = |desk: &mut Desk, link, port| {
        desk.give(link, &vendor(&Vendor::ConnectBack(port)));
        desk.events()
    };
    // To where he is himself, and to no port of nobody.
    assert_eq!(ask(&mut desk, leaf, 0), []);
    assert_eq!(ask(&mut desk, leaf, 77), [Event::ConnectBack(v4("198.18.1.1:77"))]);
    assert_eq!(ask(&mut desk, leaf, 78), [], "the next port");
    assert_eq!(ask(&mut desk, other, 77), [Event::ConnectBack(v4("198.18.2.1:77"))]);
    assert_eq!(desk.servent.counters().refused, 2);
    desk.pass(59);
    assert_eq!(ask(&mut desk, leaf, 78), []);
    desk.pass(1);
    assert_eq!(ask(&mut desk, leaf, 78), [Event::ConnectBack(v4("198.18.1.1:78"))]);
    // So many in all, whoever asks.
    let links: Vec<LinkId> = (0..20).map(|_| desk.join(false)).collect();
    let heard = links.into_iter().filter(|&link| !ask(&mut desk, link, 1).is_empty()).count();
    assert_eq!(heard, 15);
    // A leaf does it for nobody.
    let mut desk = Desk::of(Role::Leaf);
    let link = desk.join(true);
    assert_eq!(ask(&mut desk, link, 77), []);
}

#[test]
fn a_few_neighbours_out_there_are_asked_to_connect() {
    let mut config = Config::of(Role::Leaf, v4("192.168.1.2:6346"));
    config.links_max = 10;
    let mut desk = Desk::new(config, &[]);
    // Who is near cannot know.
    let near = desk.servent.accept(desk.now, SocketAddr::from(([192, 168, 1, 3], 4000)));
    desk.say(near, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nVendor-Message: 0.2\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n");
    desk.give(near, &vendor(&Vendor::Supported(vec![(*b"BEAR", 7, 1)])));
    let links: Vec<LinkId> = (0..5).map(|_| desk.join(true)).collect();
    desk.servent.ask_back(desk.now);
    assert_eq!(desk.told(), [], "nobody has said that he does so");
    for &link in &links {
        desk.give(link, &vendor(&Vendor::Supported(vec![(*b"BEAR", 7, 1)])));
    }
    let asked = |links: &[LinkId]| -> Vec<_> {
        links.iter().map(|&link| (link, Vendor::ConnectBack(6346))).collect()
    };
    for wait in [0, 1, 599] {
        desk.now += Duration::from_secs(wait);
        desk.servent.ask_back(desk.now);
        let want = match wait {
            0 => asked(&links[..3]),
            1 => Vec::new(),
            // Others have their turn, and one for the second time.
            _ => asked(&[links[0], links[3], links[4]]),
        };
        assert_eq!(desk.told(), want, "{wait}");
    }
}

#[test]
fn a_wall_that_is_found_later_makes_ultrapeers_proxies_as_well() {
    let mut desk = Desk::of(Role::Leaf);
    let link = desk.join(true);
    desk.servent.set_firewalled(desk.now, true);
    assert_eq!(desk.told(), [(link, Vendor::ProxyPlease)]);
    desk.servent.set_firewalled(desk.now, true);
    assert_eq!(desk.told(), [], "once is enough");
}
