//! A router by bytes, and whoever would like to be taken for one, in a network with nobody else in it.

use super::*;
use crate::locate::portmap::upnp::UpnpError;
use harness::namespace;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FORGER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
const ROUTE: Route = Route { router: ROUTER, us: Ipv4Addr::new(198, 18, 0, 2) };
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test in a namespace of its own, and not for ever.
fn alone(name: &str, body: impl Future<Output = ()>) {
    namespace::test(&format!("locate::portmap::tests::{name}"), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, body).await.expect("it ends") });
    });
}

fn ports() -> Ports {
    let port = NonZeroU16::new;
    Ports { listen: Ipv4Addr::UNSPECIFIED.into(), tcp: port(7000), udp: port(7001) }
}

// ── PCP and NAT-PMP ──

/// Answers every datagram to a router's port of control by `answer`, until it is dropped.
async fn router_says(
    from: Ipv4Addr,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> JoinSet<()> {
    let asked = UdpSocket::bind((ROUTER, crab_nat::GATEWAY_PORT)).await.unwrap();
    let other = UdpSocket::bind((from, 0)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut question = [0; 1100];
        loop {
            let (len, who) = asked.recv_from(&mut question).await.unwrap();
            if let Some(answer) = answer(&question[..len]) {
                let socket = if from == ROUTER { &asked } else { &other };
                socket.send_to(&answer, who).await.unwrap();
            }
        }
    });
    tasks
}

/// PCP: granted as asked, for `lease` seconds, at 11.0.0.1.
//= RFC 6887 §11.1
fn pcp_grants(question: &[u8], lease: u32) -> Option<Vec<u8>> {
    if question.first() != Some(&2) {
        return None;
    }
    let mut answer = question.to_vec();
    answer[1] |= 0x80; // a response
    answer[2..4].fill(0); // success
    answer[4..8].copy_from_slice(&lease.to_be_bytes());
    answer[8..24].fill(0);
    let external = Ipv4Addr::new(11, 0, 0, 1).to_ipv6_mapped();
    answer[44..60].copy_from_slice(&external.octets());
    Some(answer)
}

/// NAT-PMP: another port than asked for, and 11.0.0.2; what is newer it does not know.
//= RFC 6886 §3
fn nat_pmp_grants(question: &[u8]) -> Option<Vec<u8>> {
    match *question {
        [0, 0] => Some(vec![0, 128, 0, 0, 0, 0, 0, 9, 11, 0, 0, 2]),
        [0, op @ (1 | 2), _, _, high, low, _, _, a, b, c, d] => {
            let outside = if [a, b, c, d] == [0; 4] { [0, 0] } else { [high, low + 50] };
            let mut answer = vec![0, op | 0x80, 0, 0, 0, 0, 0, 9, high, low];
            answer.extend(outside.into_iter().chain([a, b, c, d]));
            Some(answer)
        }
        [version, ..] if version != 0 => Some(vec![0, 0x81, 0, 1, 0, 0, 0, 9]),
        _ => None,
    }
}

#[test]
fn pcp_gives_both_ports_and_takes_them_back() {
    alone("pcp_gives_both_ports_and_takes_them_back", async {
        let returned = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&returned);
        let router = router_says(ROUTER, move |question| {
            let lease = u32::from_be_bytes(question[4..8].try_into().unwrap());
            count.fetch_add(usize::from(lease == 0), Ordering::Relaxed);
            pcp_grants(question, lease.min(600))
        });
        let _router = router.await;
        let mut pcp = Pcp::default();
        assert_eq!(pcp.map(ROUTE, &ports()).await.unwrap(), Duration::from_secs(600));
        let mapped = Mapped {
            by: Language::Pcp,
            router: ROUTER.into(),
            external: Some("11.0.0.1".parse().unwrap()),
            tcp: NonZeroU16::new(7000),
            udp: NonZeroU16::new(7001),
        };
        assert_eq!((pcp.mapped(), pcp.router()), (Some(mapped), Some(ROUTER)));
        assert_eq!(pcp.renew().await.unwrap(), Duration::from_secs(600));
        assert_eq!(returned.load(Ordering::Relaxed), 0);
        pcp.give_back().await;
        assert_eq!(returned.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn nat_pmp_is_spoken_to_who_knows_no_pcp_and_may_give_other_ports() {
    alone("nat_pmp_is_spoken_to_who_knows_no_pcp_and_may_give_other_ports", async {
        let _router = router_says(ROUTER, nat_pmp_grants).await;
        let mut pcp = Pcp::default();
        assert_eq!(pcp.map(ROUTE, &ports()).await.unwrap(), LEASE);
        let mapped = Mapped {
            by: Language::NatPmp,
            router: ROUTER.into(),
            external: Some("11.0.0.2".parse().unwrap()),
            tcp: NonZeroU16::new(7050),
            udp: NonZeroU16::new(7051),
        };
        assert_eq!(pcp.mapped(), Some(mapped));
        pcp.give_back().await;
    });
}

#[test]
fn attack_41_pcp_answers_without_our_number_or_from_elsewhere_grant_nothing() {
    alone("attack_41_pcp_answers_without_our_number_or_from_elsewhere_grant_nothing", async {
        let mut pcp = Pcp::default();
        let wrong = router_says(ROUTER, |question| {
            let mut answer = pcp_grants(question, 600)?;
            answer[24] ^= 1; // the nonce
            Some(answer)
        });
        let wrong = wrong.await;
        assert!(pcp.map(ROUTE, &ports()).await.is_err());
        assert_eq!(pcp.mapped(), None);
        drop(wrong);
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        let _elsewhere = router_says(FORGER, |question| pcp_grants(question, 600)).await;
        assert!(pcp.map(ROUTE, &ports()).await.is_err());
        assert_eq!(pcp.mapped(), None);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    });
}

// ── UPnP ──

/// An HTTP server that says the same to everybody, in as many bytes as are taken.
async fn serves(
    ip: Ipv4Addr,
    body: impl Fn(&str) -> Vec<u8> + Send + 'static,
) -> (u16, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, mut tasks) = (Arc::clone(&asked), JoinSet::new());
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let mut request = vec![0; 8192];
            let len = stream.read(&mut request).await.unwrap_or(0);
            let body = body(&String::from_utf8_lossy(&request[..len]));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (port, asked, tasks)
}

fn answer(location: &str) -> Vec<u8> {
    let st = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
    format!(
        "HTTP/1.1 200 OK\r\nST: {st}\r\nUSN: uuid:1::{st}\r\nEXT:\r\nLOCATION: {location}\r\n\r\n"
    )
    .into()
}

/// A device with one connection, whose orders go to `control`.
fn description(control: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device>\
        <deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>\
        <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
        <controlURL>{control}</controlURL><SCPDURL>/scpd.xml</SCPDURL></service></serviceList></device></root>"
    )
    .into()
}

/// What such a device says that it can do.
const SCPD: &[u8] = b"<?xml version=\"1.0\"?><scpd xmlns=\"urn:schemas-upnp-org:service-1-0\"><actionList>\
    <action><name>AddPortMapping</name><argumentList>\
    <argument><name>NewExternalPort</name><direction>in</direction></argument></argumentList></action>\
    </actionList></scpd>";

/// Whoever hears the search sends these answers, each from its address; the address that asked is told first.
async fn neighbours(answers: Vec<(Ipv4Addr, Vec<u8>)>) -> JoinSet<()> {
    let asked = UdpSocket::bind((ROUTER, 1900)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut question = [0; 1500];
        let (len, who) = asked.recv_from(&mut question).await.unwrap();
        let text = String::from_utf8_lossy(&question[..len]).to_lowercase();
        assert!(text.contains("host:239.255.255.250:1900"), "{text}");
        for (from, answer) in answers {
            if from == ROUTER {
                asked.send_to(&answer, who).await.unwrap();
            } else {
                let other = UdpSocket::bind((from, 0)).await.unwrap();
                other.send_to(&answer, who).await.unwrap();
            }
        }
        std::future::pending::<()>().await;
    });
    tasks
}

#[test]
fn attack_41_a_search_is_answered_by_the_router_about_the_router() {
    alone("attack_41_a_search_is_answered_by_the_router_about_the_router", async {
        // The last is of the router, but only the forger names it.
        let traps = [FORGER, Ipv4Addr::LOCALHOST, ROUTE.us, ROUTER].map(async |ip| {
            let trap = serves(ip, |_| description("/control")).await;
            (format!("http://{ip}:{}/", trap.0), trap)
        });
        let traps = futures_util::future::join_all(traps).await;
        let (port, asked, _http) = serves(ROUTER, |request| {
            if request.contains("scpd") { SCPD.to_vec() } else { description("/control") }
        })
        .await;
        let right = format!("http://{ROUTER}:{port}/description.xml");
        let mut answers = vec![(FORGER, answer(&traps[3].0)), (FORGER, answer(&traps[0].0))];
        answers.extend(traps[..3].iter().map(|(url, _)| (ROUTER, answer(url))));
        let long = format!("{right}{}", "x".repeat(1400));
        let named = format!("http://localhost:{}/", traps[1].1.0);
        let login = format!("http://{ROUTER}:{port}@{FORGER}:{}/", traps[0].1.0);
        let ftp = right.replace("http", "ftp");
        for location in [long, named, login, ftp, "http://8.8.8.8/".to_owned(), String::new()] {
            answers.push((ROUTER, answer(&location)));
        }
        answers.push((ROUTER, vec![0xff; 500]));
        answers.push((ROUTER, answer(&right)));
        let _neighbours = neighbours(answers).await;
        let found = upnp::find(ROUTE).await;
        assert!(found.is_ok(), "{:?}", found.err());
        for (url, (_, touched, _)) in &traps {
            assert_eq!(touched.load(Ordering::Relaxed), 0, "{url} was asked");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "its description, and what it can do");
    });
}

#[test]
fn attack_41_a_description_leads_nowhere_else_and_has_an_end() {
    const ENDLESS: usize = 64 << 20;
    alone("attack_41_a_description_leads_nowhere_else_and_has_an_end", async {
        let (trap, touched, _trap) = serves(FORGER, |_| SCPD.to_vec()).await;
        let elsewhere = description(&format!("http://{FORGER}:{trap}/control"));
        let loopback = description(&format!("http://127.0.0.1:{trap}/control"));
        let by_base = String::from_utf8(description("/control")).unwrap();
        let by_base = by_base
            .replace("<device>", &format!("<URLBase>http://{FORGER}:{trap}/</URLBase><device>"));
        let bomb: String = (1..12)
            .map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10)))
            .collect();
        let bomb = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE root [<!ENTITY e0 \"ha\">{bomb}]><root>&e11;</root>"
        );
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let endless = vec![b' '; ENDLESS];
        let hostile: Vec<Vec<u8>> =
            vec![elsewhere, loopback, by_base.into(), bomb.into(), deep.into(), endless];
        let count = hostile.len();
        let serve = move |request: &str| match request.split(' ').nth(1).unwrap_or_default() {
            "/scpd.xml" => SCPD.to_vec(),
            "/right" => description("/control"),
            path => hostile[path[1..].parse::<usize>().unwrap()].clone(),
        };
        let (port, asked, _http) = serves(ROUTER, serve).await;
        let at = |path: &str| (ROUTER, answer(&format!("http://{ROUTER}:{port}/{path}")));
        let mut answers: Vec<_> = (0..count).map(|nth| at(&nth.to_string())).collect();
        let bad = neighbours(answers.clone()).await;
        assert!(matches!(upnp::find(ROUTE).await, Err(UpnpError::Search(_))));
        assert_eq!(asked.swap(0, Ordering::Relaxed), count, "each was looked at");
        drop(bad);
        tokio::task::yield_now().await;
        answers.push(at("right"));
        let _good = neighbours(answers).await;
        assert!(upnp::find(ROUTE).await.is_ok(), "they are in nobody's way");
        assert_eq!(asked.load(Ordering::Relaxed), count + 2);
        assert_eq!(touched.load(Ordering::Relaxed), 0);
        let peak = peak_memory();
        // The server has it twice; whoever reads has hardly any of it, and does not unfold the bomb.
        assert!(peak < 2 * ENDLESS as u64 + (64 << 20), "{peak} bytes at the peak");
    });
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

// ── for the whole life ──

#[test]
fn nobody_is_asked_for_an_address_that_is_good_by_itself_or_that_does_not_listen() {
    let of = |us: &str, router: &str, listen: &str| {
        let route = Route { us: us.parse().unwrap(), router: router.parse().unwrap() };
        route.serves(listen.parse().unwrap())
    };
    for listen in ["::", "0.0.0.0", "192.168.1.2"] {
        assert!(of("192.168.1.2", "192.168.1.1", listen), "{listen}");
    }
    for listen in ["192.168.1.3", "127.0.0.1", "2001:db8::1"] {
        assert!(!of("192.168.1.2", "192.168.1.1", listen), "{listen}");
    }
    assert!(!of("198.18.0.2", "198.18.0.1", "::"));
    assert!(!of("192.168.1.2", "198.18.0.1", "::"));
    assert!(!of("192.168.1.2", "127.0.0.1", "::"));
}

#[test]
fn a_silent_router_keeps_nobody_waiting() {
    alone("a_silent_router_keeps_nobody_waiting", async {
        let run = |line: &str| {
            let mut words = line.split(' ');
            let status = std::process::Command::new(words.next().unwrap()).args(words).status();
            assert!(status.unwrap().success(), "{line}");
        };
        run("ip link add wire type veth peer name other");
        run("ip addr add 10.9.0.2/24 dev wire");
        run("ip link set wire up");
        run("ip link set other up");
        run("ip route add default via 10.9.0.1");
        let route = Route::of_machine().unwrap();
        assert_eq!(route, Route { router: [10, 9, 0, 1].into(), us: [10, 9, 0, 2].into() });
        let any = SocketAddr::from(([0, 0, 0, 0], 0)).ip();
        let began = tokio::time::Instant::now();
        let ports = PortMap::start(Ports { listen: any, ..ports() }, Clock::start());
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(300)).await; // in the middle of its questions
        let began = tokio::time::Instant::now();
        ports.stop().await;
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        assert_eq!(ports.mapped(), None);
    });
}
