//! The one list of what can be set.

/// Something that file and environment can set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name` in the file.
    pub path: &'static str,
    /// The variable that sets it; the flag's variable has the same name.
    pub env: &'static str,
    /// As it would be written; empty when nothing is set by default.
    pub default: &'static str,
    /// Whether the value is a list: an array in the file, separated by spaces in the variable.
    pub list: bool,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
}

/// Every key, by section, in the order in which `config show` and `config init` print them.
pub const KEYS: &[Key] = &[
    one("output.color", "GAGGLE_COLOR", "auto", "Colours: auto, always or never."),
    one("output.progress", "GAGGLE_PROGRESS", "auto", "Progress: auto, bar, plain, json or none."),
    one(
        "paths.state_dir",
        "GAGGLE_STATE_DIR",
        "",
        "Folder of resume records. Default: $XDG_STATE_HOME/gaggle.",
    ),
    Key {
        path: "create.trackers",
        env: "GAGGLE_CREATE_TRACKER",
        default: "",
        list: true,
        doc: "Trackers of new torrents, one tier each; commas join trackers into one tier.",
    },
    one(
        "create.piece_length",
        "GAGGLE_PIECE_LENGTH",
        "auto",
        "Piece length of new torrents: auto or a power of two from 16KiB.",
    ),
    one("create.source", "GAGGLE_SOURCE", "", "Source tag of new torrents; changes the info hash."),
    one(
        "create.include_hidden",
        "GAGGLE_INCLUDE_HIDDEN",
        "false",
        "Whether new torrents hold files whose name starts with a dot.",
    ),
    one(
        "create.no_date",
        "GAGGLE_NO_DATE",
        "false",
        "Whether the creation date is left out of new torrents.",
    ),
    one(
        "tracker.listen",
        "GAGGLE_TRACKER_LISTEN",
        "[::]:6969",
        "Where the tracker listens, HTTP and UDP alike.",
    ),
    one(
        "tracker.interval",
        "GAGGLE_TRACKER_INTERVAL",
        "10m",
        "How often peers are told to announce.",
    ),
];

const fn one(
    path: &'static str,
    env: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { path, env, default, list: false, doc }
}
