use crate::program::{World, ended};

#[test]
fn file_then_environment_then_flag() {
    let world = World::new();
    let file = world.write(
        "config/gaggle/config.toml",
        "[tracker]\ninterval = \"5m\"\nlisten = \"127.0.0.1:1\"\n",
    );
    let mut command = world.command(["config", "show", "--origin"]);
    let shown = ended(command.env("GAGGLE_TRACKER_LISTEN", "127.0.0.1:2"));
    let tracker = shown.out.split("[tracker]").nth(1).unwrap();
    let line = |name: &str| tracker.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(
        line("interval").contains("\"5m\"") && line("interval").ends_with(file.to_str().unwrap())
    );
    assert!(line("listen").contains(":2") && line("listen").ends_with("# GAGGLE_TRACKER_LISTEN"));
    assert!(shown.out.lines().nth(1).unwrap().ends_with("# default"));
    // The flag is above all: only this port is free to be asked for.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = busy.local_addr().unwrap().to_string();
    let mut command = world.command(["tracker", "--listen", &addr]);
    let tracker = ended(command.env("GAGGLE_TRACKER_LISTEN", "127.0.0.1:2"));
    assert!(tracker.err.contains(&addr), "{}", tracker.err);
}

#[test]
fn switches_in_the_environment_are_1_or_0_and_an_empty_variable_says_nothing() {
    let world = World::new();
    for (value, json) in [("1", true), ("true", true), ("0", false), ("", false)] {
        let shown = ended(world.command(["config", "path"]).env("GAGGLE_JSON", value));
        assert_eq!(shown.code, Some(0), "{value:?}: {}", shown.err);
        assert_eq!(shown.out.starts_with('{'), json, "{value:?}: {}", shown.out);
    }
    let got = ended(world.command(["get", "x.torrent"]).env("GAGGLE_PEER", ""));
    assert!(got.err.contains("cannot read x.torrent"), "{}", got.err);
}

#[test]
fn show_prints_toml_and_json() {
    let world = World::new();
    let shown = world.run(["config", "show"]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    let table: toml::Table = shown.out.parse().unwrap();
    assert_eq!(table["create"]["piece_length"].as_str(), Some("auto"));
    let json = world.run(["config", "show", "--json"]);
    let setting = json.event("setting");
    assert_eq!(setting["key"], "output.color");
    assert_eq!(setting["origin"], "default");
}

#[test]
fn init_writes_once_and_what_it_writes_is_accepted() {
    let world = World::new();
    let path = world.run(["config", "path"]).out.trim().to_owned();
    assert_eq!(path, world.path("config/gaggle/config.toml").to_str().unwrap());
    assert_eq!(world.run(["config", "init"]).code, Some(0));
    assert_eq!(world.run(["config", "show"]).code, Some(0));
    std::fs::write(&path, "[output]\ncolor = \"never\"\n").unwrap();
    assert_eq!(world.run(["config", "init"]).code, Some(1));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("[output]"), "it was kept");
    assert_eq!(world.run(["config", "init", "--force"]).code, Some(0));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("# Settings"));
}

#[test]
fn mistakes_are_usage_errors_that_say_where() {
    let world = World::new();
    let file = world.write("config/gaggle/config.toml", "[tracker]\nlisten = \"nowhere\"\n");
    let shown = world.run(["config", "show"]);
    assert_eq!(shown.code, Some(2));
    assert!(shown.err.contains("tracker.listen") && shown.err.contains(file.to_str().unwrap()));
    std::fs::write(&file, "[trakcer]\n").unwrap();
    let shown = world.run(["config", "show"]);
    assert_eq!(shown.code, Some(2));
    assert!(shown.err.contains("trakcer"), "{}", shown.err);
}
