//! The harness itself: what every other test here stands on.

use harness::namespace;
use std::net::{TcpListener, TcpStream};

#[test]
fn a_namespace_has_hosts_and_no_way_out() {
    namespace::test("house::a_namespace_has_hosts_and_no_way_out", || {
        let listener = TcpListener::bind((namespace::host(3), 0)).expect("host 3 is local");
        let address = listener.local_addr().expect("a bound listener has an address");
        TcpStream::connect(address).expect("hosts reach each other");
        let outside = TcpStream::connect_timeout(
            &([192, 0, 2, 1], 80).into(),
            std::time::Duration::from_secs(2),
        );
        assert!(outside.is_err(), "a packet left the namespace");
    });
}
