//! The house rules that a compiler cannot check, as ordinary tests over the source text.
//!
//! Who may import whom, how large a file may grow, what never stays behind in a commit. The tables below are the
//! rules; `ARCHITECTURE.md` says the same in words. Nothing here reads the network or changes a file.

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;

use source::{Source, repository, rust_files, text_files};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where Rust is written.
const WRITTEN: &[&str] = &["core", "src", "tracker", "tests", "benches"];
/// Lines of code that a file may hold before its inline tests; beyond it the file is split by what it decides.
const FILE_LINES_MAX: usize = 600;
/// Lines of `ARCHITECTURE.md`: a page that nobody reads guides nobody.
const ARCHITECTURE_LINES_MAX: usize = 199;

/// Text that never stays in a commit. In two halves, so that this table does not find itself.
const LEFTOVERS: &[(&str, &str)] = &[
    ("tod", "o!("),
    ("unimpl", "emented!("),
    ("db", "g!("),
    ("FIX", "ME"),
    ("XX", "X"),
    ("TO", "DO"),
    ("#[ign", "ore"),
    ("should_", "panic"),
];

/// Clocks, dice and queues without a bound, and the only product files that may name them.
const BANS: &[(&str, &[&str])] = &[
    ("Instant::now", &["src/net/clock.rs", "tracker/src/clock.rs"]),
    ("SystemTime::now", &["src/net/clock.rs"]),
    ("thread_rng", &[]),
    ("rand::rng", &[]),
    ("OsRng", &["src/net/dice.rs"]),
    ("getrandom", &["src/net/dice.rs", "tracker/src/dice.rs"]),
    ("RandomState", &["src/net/dice.rs"]),
    ("unbounded_channel", &[]),
    ("mpsc::channel()", &[]),
    ("allow(clippy::disallowed", &["src/net/clock.rs"]),
    ("expect(clippy::disallowed", &["src/net/clock.rs"]),
];

/// What `core` must not name: the package decides and never touches the world.
const NOT_IN_CORE: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::io",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::time::Instant",
    "SystemTime",
    "tokio::",
    "async fn",
    ".await",
    "HashMap",
    "HashSet",
];

/// Dependencies that would let `core` await, open, read a clock or roll a die.
const NOT_CORE_DEPENDENCIES: &[&str] =
    &["tokio", "reqwest", "axum", "hyper", "socket2", "rustix", "libc", "rand", "getrandom"];

/// Where somebody's machine shows through.
const MACHINE_PATHS: &[(&str, &str)] = &[
    ("/wo", "rk/wt"),
    ("/wo", "rk/plan"),
    ("/wo", "rk/shared"),
    ("/wo", "rk/venv"),
    ("/ro", "ot/"),
    ("~/anc", "hors"),
    ("../sha", "red/"),
];

/// Rows of the table of attacks that the program must already withstand, in the words of the table.
const ATTACKS: &[(u8, &str)] = &[
    (1, "path that leaves the folder"),
    (2, "symlinks and overlapping files"),
    (3, "hostile file names"),
    (4, "same path twice, file used as directory"),
    (5, "deep nesting"),
    (6, "huge counts and strange integers in bencode"),
    (7, "duplicate and unordered keys, trailing bytes"),
    (8, "piece length out of range"),
    (9, "pieces that do not fit the sizes"),
    (10, "sizes that overflow"),
    (11, "hybrid with two layouts"),
    (12, "wrong piece layers"),
    (13, "private torrent asked for elsewhere"),
    (14, "magnet with thousands of everything"),
    (15, "message announced with 4 GiB, drip-fed"),
    (16, "bitfield twice, late, of a wrong size"),
    (17, "index and offset out of range"),
    (18, "flood of requests"),
    (19, "blocks that nobody asked for"),
    (20, "corrupt pieces"),
    (21, "has everything, sends nothing"),
    (22, "fake seed, suggestions without end"),
    (23, "lies in the extension handshake"),
    (30, "strange and forged DHT messages, replayed tokens"),
    (31, "sybils, one subnet in a bucket, nodes that point inside"),
    (32, "the DHT as an amplifier"),
    (33, "floods of announces"),
    (24, "wrong metadata"),
    (25, "peer exchange with thousands, with foreign nets, in a flood"),
    (26, "addresses of a victim, from every source"),
    (34, "hostile tracker answers"),
    (35, "tracker URLs that point inside"),
    (36, "hostile web seeds"),
    (37, "spoofed UDP tracker answers"),
    (38, "hostile announces"),
    (39, "tracker memory"),
    (40, "tracker as an amplifier"),
    (41, "spoofed words of neighbours"),
    (45, "floods, fake hits and hostile names in search networks"),
];

fn judge(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}\n", found.join("\n  "));
}

#[test]
fn modules_import_lower_rows_only() {
    let mut files: Vec<Source> = rust_files(&["core/src", "src", "tracker/src"]);
    // A test may stand on anything: a tracker client is tried on our own tracker.
    files.retain(|file| !file.path.contains("/tests/") && !file.path.ends_with("/tests.rs"));
    judge(
        "a module may import from lower rows only (ARCHITECTURE.md)",
        &layers::violations(&files),
    );
}

#[test]
fn locators_do_not_know_each_other() {
    let files = rust_files(&["src/locate"]);
    let networks: Vec<&Source> =
        files.iter().filter(|file| file.code.contains("Locator for ")).collect();
    let mut found = Vec::new();
    for file in &networks {
        for other in networks.iter().filter(|other| other.path != file.path) {
            let name = other.module.last().expect("a module has a name");
            if file.imports().iter().any(|import| import.path.iter().any(|part| part == name)) {
                found.push(format!("{} imports {}", file.path, other.path));
            }
        }
    }
    judge("two locators never import each other", &found);
}

#[test]
fn core_touches_nothing() {
    let mut found = Vec::new();
    for file in rust_files(&["core/src"]).iter().filter(|file| !file.is_test()) {
        for (number, line) in file.product_lines() {
            for word in NOT_IN_CORE.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", file.path));
            }
        }
    }
    let manifest = read("core/Cargo.toml").expect("core has a manifest");
    let table: toml::Table = manifest.parse().expect("a manifest is TOML");
    for (name, _) in table["dependencies"].as_table().expect("core has dependencies") {
        if NOT_CORE_DEPENDENCIES.contains(&name.as_str()) {
            found.push(format!("core/Cargo.toml: depends on {name}"));
        }
    }
    judge("core decides and never touches the world", &found);
}

#[test]
fn files_stay_small() {
    let found: Vec<String> = rust_files(WRITTEN)
        .iter()
        .filter(|file| file.code_lines() > FILE_LINES_MAX)
        .map(|file| format!("{}: {} lines of code", file.path, file.code_lines()))
        .collect();
    judge("split these by what they decide (600 lines)", &found);
}

#[test]
fn crate_roots_only_declare() {
    let mut found = Vec::new();
    for root in ["core/src/lib.rs", "src/lib.rs", "tracker/src/lib.rs"] {
        let Some(text) = read(root) else { continue };
        for (number, line) in Source::new(root.into(), text).product_lines() {
            let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            if ["fn ", "struct ", "enum ", "impl ", "trait "]
                .iter()
                .any(|item| line.starts_with(item))
            {
                found.push(format!("{root}:{number}: {line}"));
            }
        }
    }
    judge("a crate root declares and re-exports, nothing else", &found);
}

#[test]
fn every_file_belongs_to_a_module() {
    let files = rust_files(&["core/src", "src", "tracker/src"]);
    let mut found = Vec::new();
    for file in &files {
        let stem = file.module.last().map_or("", String::as_str);
        let root = file.path.ends_with("/lib.rs") || file.path.ends_with("/main.rs");
        if root || file.path.contains("/bin/") {
            continue;
        }
        let folder = file.path.strip_suffix("/mod.rs").unwrap_or(file.path.trim_end_matches(".rs"));
        let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        let candidates = ["mod.rs", "lib.rs", "main.rs"].map(|name| format!("{parent}/{name}"));
        let declared = files
            .iter()
            .filter(|other| {
                candidates.contains(&other.path) || other.path == format!("{parent}.rs")
            })
            .any(|other| other.code.contains(&format!("mod {stem};")));
        if !declared {
            found.push(format!("{}: nobody says `mod {stem};`", file.path));
        }
    }
    judge("orphan files", &found);
}

#[test]
fn nothing_is_left_behind() {
    let mut found = Vec::new();
    for file in rust_files(WRITTEN) {
        for (number, line) in file.text.lines().enumerate() {
            for (head, tail) in LEFTOVERS {
                if has_word(line, &format!("{head}{tail}")) {
                    found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
                }
            }
        }
    }
    judge("finish it, or open an issue", &found);
}

/// Whether `needle` stands in `line` and is not the tail of a longer word.
fn has_word(line: &str, needle: &str) -> bool {
    let joins = |letter: Option<char>| letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let open_end = needle.ends_with(char::is_alphanumeric);
    line.match_indices(needle).any(|(at, _)| {
        let longer_before = joins(line[..at].chars().next_back());
        let longer_after = open_end && joins(line[at + needle.len()..].chars().next());
        !longer_before && !longer_after
    })
}

#[test]
fn unsafe_lives_in_hash_only() {
    let mut found = Vec::new();
    for file in rust_files(WRITTEN) {
        if file.path == "core/src/hash/lanes.rs" {
            continue;
        }
        for (number, line) in file.code.lines().enumerate() {
            let lint = line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code");
            if lint || has_word(line, concat!("unsa", "fe")) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    judge("only core/src/hash/lanes.rs may hold unsafe code", &found);
}

#[test]
fn clocks_dice_and_bounds() {
    let mut found = Vec::new();
    for file in rust_files(&["core/src", "src", "tracker/src"]) {
        if file.is_test() {
            continue;
        }
        for (number, line) in file.product_lines() {
            for (word, allowed) in BANS {
                if line.contains(word) && !allowed.contains(&file.path.as_str()) {
                    found.push(format!("{}:{number}: {word}", file.path));
                }
            }
        }
    }
    judge("time, chance and unbounded queues enter in named files only (table BANS)", &found);
}

/// The public nodes of the DHT stand in the table of defaults and nowhere else: whoever starts the program in a test, a
/// bench, the demo or the lab says `GAGGLE_DHT_BOOTSTRAP=none`, and so nothing asks them. In the same places the router
/// of whoever runs it is left alone.
#[test]
fn public_nodes_are_named_once_and_no_router_is_asked() {
    const NAMES: [(&str, &str); 3] =
        [("dht.libtorrent", ".org"), ("router.bittorrent", ".com"), ("dht.transmissionbt", ".com")];
    const STARTERS: [&str; 3] =
        ["tests/cli/program.rs", "tests/xtask/src/harness/gaggle.rs", "src/lab/process.rs"];
    let mut found = Vec::new();
    for file in rust_files(WRITTEN) {
        let named = NAMES.iter().any(|(head, tail)| file.text.contains(&format!("{head}{tail}")));
        if named && file.path != "src/config/keys.rs" {
            found.push(format!("{} names a public node", file.path));
        }
        for switch in [
            concat!("\"GAGGLE_DHT_", "BOOTSTRAP\", \"none\""),
            concat!("\"GAGGLE_NO_", "UPNP\", \"1\""),
        ] {
            if STARTERS.contains(&file.path.as_str()) && !file.text.contains(switch) {
                found.push(format!("{} starts the program without {switch}", file.path));
            }
        }
    }
    judge("nothing here may ask a public node, or a router", &found);
}

#[test]
fn citations_name_a_bep() {
    let mut found = Vec::new();
    for file in rust_files(&["core", "src", "tracker"]) {
        for (number, line) in file.text.lines().enumerate() {
            let Some((_, cited)) = line.split_once("//= ") else { continue };
            let known = cited
                .strip_prefix("BEP ")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                || cited.starts_with("RFC ");
            if !known {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    judge("a citation reads `//= BEP n §heading`", &found);
}

#[test]
fn architecture_fits_its_page() {
    let page = read("ARCHITECTURE.md").expect("the repository has ARCHITECTURE.md");
    let lines = page.lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}

/// Every verb and flag in the README's sessions is one that the program knows.
#[test]
fn readme_promises_nothing() {
    let page = read("README.md").expect("the repository has README.md");
    let mut found = Vec::new();
    for line in page.lines() {
        let line = line.trim_start().trim_start_matches("$ ");
        let Some(session) = line.strip_prefix("gaggle ") else { continue };
        let session = session.split(" # ").next().unwrap_or(session);
        let mut words = session.split_whitespace();
        let verb = words.next().unwrap_or("");
        let help = Command::new(env!("CARGO_BIN_EXE_gaggle")).args([verb, "--help"]).output();
        let help = help.expect("the program can be run");
        if !help.status.success() {
            found.push(format!("there is no `gaggle {verb}`"));
            continue;
        }
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let flags = words.filter(|word| word.starts_with('-'));
        for flag in flags.filter(|flag| !has_word(&help, flag)) {
            found.push(format!("`gaggle {verb}` has no {flag}"));
        }
    }
    judge("README.md promises what is not there", &found);
}

#[test]
fn no_machine_shows_through() {
    let mut found = Vec::new();
    for (path, text) in text_files() {
        for (number, line) in text.lines().enumerate() {
            for (head, tail) in MACHINE_PATHS {
                if line.contains(&format!("{head}{tail}")) {
                    found.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    judge("paths of somebody's machine", &found);
}

#[test]
fn every_fixture_has_an_origin() {
    let Some(manifest) = read("fixtures/MANIFEST.toml") else {
        assert!(!repository().join("fixtures").exists(), "fixtures/ has no MANIFEST.toml");
        return;
    };
    let table: toml::Table = manifest.parse().expect("fixtures/MANIFEST.toml is TOML");
    let mut found = Vec::new();
    let mut unused: BTreeSet<String> = files_below(&repository().join("fixtures"))
        .into_iter()
        .filter(|path| path != "MANIFEST.toml")
        .collect();
    let known = unused.clone();
    for fixture in table.get("fixture").and_then(toml::Value::as_array).into_iter().flatten() {
        let field = |name: &str| fixture.get(name).and_then(toml::Value::as_str).unwrap_or("");
        let path = field("path");
        let covers: Vec<&String> = known.iter().filter(|file| covers(path, file)).collect();
        if covers.is_empty() {
            found.push(format!("{path:?} is listed and covers no file"));
        }
        for name in ["path", "origin", "expect"] {
            if field(name).is_empty() {
                found.push(format!("{path:?} does not say its {name}"));
            }
        }
        for file in covers {
            unused.remove(file);
        }
    }
    found.extend(unused.into_iter().map(|file| format!("{file} is not listed")));
    judge("fixtures/MANIFEST.toml", &found);
}

/// Whether an entry of the manifest covers a file: by name, or by one `*` in its last component.
fn covers(entry: &str, file: &str) -> bool {
    let (entry_folder, entry_name) = entry.rsplit_once('/').unwrap_or(("", entry));
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let matches = match entry_name.split_once('*') {
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
        None => name == entry_name,
    };
    folder == entry_folder && matches
}

/// Prints, and does not fail: which attacks have no test of their own yet.
#[test]
fn attacks_without_a_test() {
    let mut have = BTreeSet::new();
    for file in rust_files(WRITTEN) {
        for (_, rest) in file
            .code
            .match_indices("fn attack_")
            .map(|(at, name)| (at, &file.code[at + name.len()..]))
        {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            have.extend(digits.parse::<u8>().ok());
        }
    }
    let missing: Vec<_> = ATTACKS.iter().filter(|(row, _)| !have.contains(row)).collect();
    println!("attack rows with a test: {} of {}", ATTACKS.len() - missing.len(), ATTACKS.len());
    for (row, what) in missing {
        println!("  no test yet: attack_{row:02}  {what}");
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(repository().join(path)).ok()
}

/// Paths of all files below a folder, relative to it, with `/`.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("fixtures are readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("found below it");
                files.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    files
}
