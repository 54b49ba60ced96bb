use crate::program::{World, ended};

/// What `--help` lists today. A verb appears when it works, and then here.
const VERBS: [&str; 12] = [
    "config", "create", "demo", "dht", "get", "lab", "net", "seed", "share", "show", "tracker",
    "verify",
];

#[test]
fn help_goes_to_stdout_and_lists_the_verbs_that_work() {
    let help = World::new().run(["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    let listed: Vec<&str> = help
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, VERBS);
    for verb in listed {
        let help = World::new().run([verb, "--help"]);
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{verb}");
        let examples = help.out.lines().filter(|line| line.trim_start().starts_with("gaggle "));
        assert!(examples.count() >= 3, "{verb} has three examples");
    }
}

#[test]
fn an_unknown_verb_or_flag_is_a_usage_error_that_names_the_nearest() {
    let world = World::new();
    let typo = world.run(["shwo"]);
    assert_eq!((typo.code, typo.out.as_str()), (Some(2), ""));
    assert!(typo.err.contains("'show'"), "{}", typo.err);
    let typo = world.run(["show", "x", "--fils"]);
    assert_eq!(typo.code, Some(2));
    assert!(typo.err.contains("--files"), "{}", typo.err);
    // Not built yet, so not there.
    for args in [["create", "--v2"], ["daemon", ""], ["search", "x"]] {
        assert_eq!(world.run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn json_ends_with_the_exit_code_whatever_happens() {
    let world = World::new();
    for args in [
        &["show", "--json", "nothing.torrent"][..],
        &["show", "--json", "--nonsense"],
        &["show", "--json", "magnet:?dn=x"],
    ] {
        let ended = world.run(args);
        assert_eq!(ended.code, Some(2), "{args:?}");
        let last = ended.json().pop().unwrap();
        assert_eq!(last.to_string(), r#"{"code":2,"type":"exit"}"#, "{args:?}");
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
    }
    let by_variable = ended(world.command(["show", "--nonsense"]).env("GAGGLE_JSON", "1"));
    assert_eq!(by_variable.out, "{\"type\":\"exit\",\"code\":2}\n");
    world.write("config/gaggle/config.toml", "colour = 1");
    let ended = world.run(["config", "show", "--json"]);
    let kinds: Vec<_> = ended.json().iter().map(|event| event["type"].clone()).collect();
    assert_eq!((ended.code, kinds), (Some(2), vec!["error".into(), "exit".into()]));
}

#[test]
fn errors_speak_to_people() {
    let world = World::new();
    world.write("not.torrent", "<html>");
    world.write("folder/x", "x");
    for (args, words) in [
        (["show", "gone.torrent"], "cannot read gone.torrent: no such file or directory"),
        (["show", "not.torrent"], "cannot read not.torrent: not a torrent"),
        (["show", "folder"], "it is a folder"),
        (["create", "gone"], "cannot read gone: no such file or directory"),
        (["verify", "not.torrent"], "cannot read not.torrent"),
    ] {
        let ended = world.run(args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.err.contains(words), "{}", ended.err);
        for never in ["os error", "::", "panicked", "Err(", "stack backtrace"] {
            assert!(!ended.err.contains(never), "{}", ended.err);
        }
    }
}

#[test]
fn colours_only_when_asked_for() {
    let world = World::new();
    let plain = world.run(["show", "gone.torrent"]);
    assert!(!plain.err.contains('\x1b'));
    let always = world.run(["show", "gone.torrent", "--color", "always"]);
    assert!(always.err.contains('\x1b'));
    let mut from_env = world.command(["show", "gone.torrent"]);
    assert!(ended(from_env.env("GAGGLE_COLOR", "always")).err.contains('\x1b'));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let world = World::new();
    let path = world.path("");
    let exe = env!("CARGO_BIN_EXE_gaggle");
    let script = format!("'{exe}' config show | true; exit ${{PIPESTATUS[0]}}");
    for _ in 0..5 {
        let mut shell = std::process::Command::new("bash");
        let ended = ended(shell.args(["-c", &script]).current_dir(&path));
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    }
}
