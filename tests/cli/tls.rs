//! A tracker behind TLS: its certificate must be one that the system trusts.

use crate::create::noise;
use crate::program::{Running, World};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// Ends TLS and hands each connection on in the clear: what a web server in front of a tracker does.
const TERMINATOR: &str = r"
import socket, ssl, sys, threading
to = int(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(raw):
    try:
        outer = context.wrap_socket(raw, server_side=True)
    except OSError:
        return
    inner = socket.create_connection(('127.0.0.1', to))
    threading.Thread(target=copy, args=(outer, inner), daemon=True).start()
    copy(inner, outer)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
";

struct Terminator(Child);

impl Drop for Terminator {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Makes a certificate for 127.0.0.1 and ends TLS there in front of `port`.
fn terminate(world: &World, port: &str) -> (Terminator, String) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(world.path(""))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", TERMINATOR, port])
        .current_dir(world.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Terminator(child), line.trim().to_owned())
}

#[test]
fn a_tracker_behind_tls_is_asked_if_its_certificate_is_trusted() {
    if !harness::installed("openssl") {
        assert!(!harness::clients_required(), "openssl is missing");
        return eprintln!("SKIPPED: no openssl to make a certificate with");
    }
    let world = World::new();
    let mut tracker = world.start(["tracker", "--listen", "127.0.0.1:0", "--print-url", "--http"]);
    let clear = tracker.line().unwrap();
    let port = clear.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap();
    let (_terminator, port) = terminate(&world, port);
    let url = format!("https://127.0.0.1:{port}/announce");
    world.write("here/file", noise(200_000, 1));
    let made = world.run(["create", "here/file", "-o", "x.torrent", "-t", &url, "-q"]);
    assert_eq!(made.code, Some(0), "{}", made.err);

    // The seed goes by the clear road, so that the leech depends on the other.
    let seed = ["seed", "x.torrent", "--data", "here", "--tracker", &clear, "--state-dir", "s"];
    let _seed: Running = world.start(seed.iter().chain(&["--listen", "127.0.0.1:0", "-q"]));
    let get = ["get", "x.torrent", "-o", "out", "--listen", "127.0.0.1:0", "--seed", "never"];
    let mut trusting = world.command(get.iter().chain(&["--timeout", "40s"]));
    let got = crate::program::ended(trusting.env("SSL_CERT_FILE", world.path("cert.pem")));
    assert_eq!(got.code, Some(0), "{}", got.err);
    assert!(
        std::fs::read(world.path("out/file")).unwrap() == noise(200_000, 1),
        "the copy differs"
    );

    let get = ["get", "x.torrent", "-o", "other", "--listen", "127.0.0.1:0", "--timeout", "5s"];
    let refused = world.run(get.iter().chain(&["--state-dir", "other-state"]));
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    assert!(refused.err.contains("certificate"), "says what is wrong: {}", refused.err);
}
