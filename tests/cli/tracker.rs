use crate::program::{Running, World};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

fn start(world: &World, more: &[&str]) -> (Running, Vec<String>) {
    let args = ["tracker", "--listen", "127.0.0.1:0", "--print-url", "-q"];
    let mut running = world.start(args.iter().chain(more));
    let urls = if more.is_empty() { 2 } else { 1 };
    let urls = (0..urls).map(|_| running.line().unwrap()).collect();
    (running, urls)
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap()
}

#[test]
fn serves_http_and_udp_on_one_port_until_a_signal() {
    let world = World::new();
    let (running, urls) = start(&world, &[]);
    assert!(urls[0].starts_with("http://127.0.0.1:") && urls[0].ends_with("/announce"), "{urls:?}");
    assert!(urls[1].starts_with("udp://127.0.0.1:"), "{urls:?}");
    assert_eq!(port(&urls[0]), port(&urls[1]));
    let mut http = TcpStream::connect(("127.0.0.1", port(&urls[0]))).unwrap();
    let ask = "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-GG0100-aaaaaaaaaaaa&port=7&left=1&compact=1 HTTP/1.1\r\n\
               Host: x\r\nConnection: close\r\n\r\n";
    http.write_all(ask.as_bytes()).unwrap();
    let mut reply = Vec::new();
    http.read_to_end(&mut reply).unwrap();
    let reply = String::from_utf8_lossy(&reply);
    assert!(reply.contains("8:intervali"), "{reply}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let connect = [&0x0417_2710_1980u64.to_be_bytes()[..], &[0; 4], &[1, 2, 3, 4]].concat();
    udp.send_to(&connect, ("127.0.0.1", port(&urls[1]))).unwrap();
    let mut answer = [0; 100];
    assert_eq!(udp.recv(&mut answer).unwrap(), 16);
    assert_eq!(answer[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
    running.signal("TERM");
    assert_eq!(running.wait(), (Some(0), String::new()));
}

#[test]
fn one_protocol_alone() {
    let world = World::new();
    let (running, urls) = start(&world, &["--udp"]);
    assert!(urls[0].starts_with("udp://"), "{urls:?}");
    assert!(TcpStream::connect(("127.0.0.1", port(&urls[0]))).is_err());
    running.signal("INT");
    assert_eq!(running.wait().0, Some(0));
}

#[test]
fn says_where_it_listens_and_who_can_reach_it() {
    let world = World::new();
    let mut running =
        world.start(["tracker", "--listen", "127.0.0.1:0", "--json", "--interval", "90s"]);
    let event: serde_json::Value = serde_json::from_str(&running.line().unwrap()).unwrap();
    assert_eq!(event["type"], "tracker");
    assert!(event["listen"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(event["urls"].as_array().unwrap().len(), 2);
    running.signal("INT");
    assert_eq!(running.wait(), (Some(0), "{\"type\":\"exit\",\"code\":0}\n".to_owned()));
}

#[test]
fn a_port_that_is_taken_is_exit_6() {
    let world = World::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = busy.local_addr().unwrap().to_string();
    let tracker = world.run(["tracker", "--listen", &addr]);
    assert_eq!((tracker.code, tracker.out.as_str()), (Some(6), ""));
    assert!(tracker.err.contains(&addr) && tracker.err.contains("hint:"), "{}", tracker.err);
    assert_eq!(world.run(["tracker", "--interval", "0s"]).code, Some(2));
}

#[test]
fn questions_to_a_tracker() {
    let world = World::new();
    let (_running, urls) = start(&world, &[]);
    for url in &urls {
        let check = world.run(["tracker", "check", url, "--json"]);
        assert_eq!(check.code, Some(0), "{}", check.err);
        assert_eq!(check.event("tracker_answers")["url"], url.as_str());
        let scrape = world.run(["tracker", "scrape", url, &"ab".repeat(20)]);
        assert_eq!(
            (scrape.code, scrape.out.as_str()),
            (Some(0), "seeds 0  leeches 0  completed 0\n")
        );
    }
    for (url, code) in [("http://127.0.0.1:1/announce", 6), ("gopher://x", 2), ("nothing", 2)] {
        let check = world.run(["tracker", "check", url]);
        assert_eq!((check.code, check.out.as_str()), (Some(code), ""), "{url} {}", check.err);
        assert!(check.err.contains(url), "{}", check.err);
    }
}
