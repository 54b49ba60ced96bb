//! Programs that nobody here wrote.

use super::*;
use tokio::process::Command;

/// Whether a program is here. If it must be, it is an error that it is not.
fn have(program: &str) -> bool {
    let found = harness::installed(program);
    assert!(found || !harness::clients_required(), "{program} is missing");
    if !found {
        eprintln!("SKIPPED: {program} is missing");
    }
    found
}

/// What it prints. No proxy is for this machine, and no configuration of whoever runs this.
async fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let output = tokio::time::timeout(LATE, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[tokio::test]
async fn aria2_fetches_ranges_on_several_connections() {
    if !have("aria2c") {
        return;
    }
    let song = content(5_000_000);
    let desk = Desk::new(&[("song.mp3", &song)]).await;
    let host = desk.gnutella(|_| ()).await;
    let url = format!("http://{}/uri-res/N2R?{}", host.addr, desk.sha1("song.mp3"));
    let folder = desk.dir.path().join("got");
    let dir = folder.display().to_string();
    let mut arguments = vec!["--no-conf", "--max-connection-per-server=4", "--split=4"];
    arguments.extend(["--min-split-size=1M", "--file-allocation=none", "--dir", &dir, &url]);
    run("aria2c", &arguments).await;
    // It takes the name that we say.
    assert!(fs::read(folder.join("song.mp3")).unwrap() == song);
}

#[tokio::test]
async fn curl_asks_in_its_ways() {
    if !have("curl") {
        return;
    }
    let song = content(300_000);
    let desk = Desk::new(&[("my song.mp3", &song)]).await;
    let (gnutella, fasttrack) = (desk.gnutella(|_| ()).await, desk.fasttrack(|_| ()).await);
    let uu = desk.item("my song.mp3").1.hashes.unwrap().uu;
    let n2r = format!("http://{}/uri-res/N2R?{}", gnutella.addr, desk.sha1("my song.mp3"));
    for url in [n2r, format!("http://{}/.hash={uu}", fasttrack.addr)] {
        for (options, want) in [
            (&[][..], &song[..]),
            (&["--http1.0"], &song[..]),
            (&["--range", "100-199999"], &song[100..200_000]),
            (&["--continue-at", "299990"], &song[299_990..]),
        ] {
            let got = run("curl", &[&["--silent", "--fail", &url][..], options].concat()).await;
            assert!(got == want, "{url} {options:?}");
        }
        // The second one on the connection of the first.
        let mut arguments = vec!["--silent", "--write-out", "%{http_code} %{num_connects}\n"];
        arguments.extend(["--output", "/dev/null", &url, "--output", "/dev/null", &url]);
        assert_eq!(run("curl", &arguments).await, b"200 1\n200 0\n", "{url}");
    }
}
