//! What two clients say to each other, and lists and addresses that have no frame.

use super::*;

#[test]
fn requests_of_clients() {
    let whole = |bytes: &[u8]| match PeerRequest::parse(bytes) {
        Ok(Request::Maybe(request) | Request::Whole(request, _)) => Some(request),
        _ => None,
    };
    let get = PeerRequest::Get { nick: nick("bob"), path: "d\\a b.mp3".into(), offset: 300 };
    assert_eq!(get.encode(), [b"GET".to_vec(), b"bob \"d\\a b.mp3\" 300".to_vec()]);
    let send = PeerRequest::Send { nick: nick("bob"), path: "d\\a b.mp3".into(), size: 5_000 };
    assert_eq!(send.encode(), [b"SEND".to_vec(), b"bob \"d\\a b.mp3\" 5000".to_vec()]);
    let (list, theirs) = (PeerRequest::GetList, PeerRequest::SendList { nick: nick("bob") });
    assert_eq!(list.encode(), [b"GETLIST".to_vec(), Vec::new()]);
    assert_eq!(theirs.encode(), [b"SENDLIST bob\n".to_vec(), Vec::new()]);
    for request in [get.clone(), send, list, theirs] {
        let bytes = request.encode().concat();
        assert_eq!(whole(&bytes), Some(request.clone()), "{request:?}");
        for end in 0..bytes.len() {
            let part = PeerRequest::parse(&bytes[..end]).unwrap();
            let shorter = match part {
                Request::More => true,
                // A number that was cut is a number.
                Request::Maybe(part) => part != request,
                Request::Whole(..) => false,
            };
            assert!(shorter, "{request:?} at {end}");
        }
    }
    let bytes = b"GETbob \"d\\a b.mp3\" 300\r\nrest";
    assert_eq!(PeerRequest::parse(bytes), Ok(Request::Whole(get, bytes.len() - 4)));
    // Users whose name is a command.
    let names = [&b"GETLIST \"x\" 5"[..], b"SENDLIST \"x\" 5"].map(|bytes| whole(bytes).unwrap());
    assert!(matches!(&names[0], PeerRequest::Get { nick, .. } if nick.as_str() == "LIST"));
    assert!(matches!(&names[1], PeerRequest::Send { nick, .. } if nick.as_str() == "LIST"));
    let long = [b"GET".to_vec(), vec![b'x'; REQUEST_MAX]].concat();
    for wrong in [&b"POST"[..], b"\x13BitTorrent protocol", b"GEX", b"SENT", &long] {
        assert_eq!(PeerRequest::parse(wrong), Err(NapsterError::Request));
    }
}

#[test]
fn the_size_runs_into_the_data() {
    use SizeAnswer::{Data, More, Refused};
    let cases: [(&[u8], u64, u64, SizeAnswer); 12] = [
        (b"", 1000, 0, More),
        (b"100", 1000, 0, More),
        (b"1000", 1000, 0, Data(4)),
        (b"10001234", 1000, 0, Data(4)),
        (b"1000", 1000, 400, Data(4)),
        (b"600", 1000, 400, Data(3)),
        (b"6009", 1000, 400, Data(3)),
        (b"10x", 1000, 990, Data(2)),
        (b"10", 1000, 990, More),
        (b"7", 1000, 400, Refused),
        (b"FILE NOT SHARED", 1000, 0, Refused),
        (b"INVALID REQUEST", 1000, 0, Refused),
    ];
    for (bytes, size, offset, want) in cases {
        assert_eq!(read_size(bytes, size, offset, false), want, "{}", bytes.escape_ascii());
    }
    assert_eq!(read_size(b"10", 1000, 990, true), Data(2));
    assert_eq!(read_size(b"10", 1000, 0, true), Refused);
}

#[test]
fn lists_and_redirectors() {
    let files = [file("d\\a.mp3", 1), file("d\\b c.mp3", 2)];
    let lines = list_lines(&nick("bob"), files.iter());
    let hash = "00112233445566778899aabbccddeeff";
    let want = format!(
        "bob\n\"d\\a.mp3\" {hash} 1 128 44100 61\n\"d\\b c.mp3\" {hash} 2 128 44100 61\n\n"
    );
    assert_eq!(String::from_utf8(lines).unwrap(), want);
    assert_eq!(parse_list_line(want.lines().nth(2).unwrap().as_bytes()), Ok(files[1].clone()));
    let addr = "10.1.2.3:8888".parse().unwrap();
    assert_eq!(write_server(addr), b"10.1.2.3:8888\n");
    assert_eq!(read_server(b"10.1.2.3:8888\n"), Some(addr));
    assert_eq!(read_server(b"10.1.2.3:8888"), Some(addr));
    for wrong in ["", "busy", "10.1.2.3:0\n", "10.1.2.3\n", "server:8888\n"] {
        assert_eq!(read_server(wrong.as_bytes()), None, "{wrong}");
    }
}
