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
    one(
        "network.listen",
        "GAGGLE_LISTEN",
        "[::]:0",
        "Where get, seed and share listen for peers; port 0 is any free one.",
    ),
    Key {
        path: "network.trackers",
        env: "GAGGLE_TRACKER",
        default: "",
        list: true,
        doc: "Trackers to ask beside those that a torrent names.",
    },
    one("network.max_peers", "GAGGLE_MAX_PEERS", "200", "Most peers of one torrent at a time."),
    one(
        "network.max_uploads",
        "GAGGLE_MAX_UPLOADS",
        "auto",
        "Most peers of one torrent to send to at a time: auto or a number.",
    ),
    one("network.down", "GAGGLE_DOWN", "", "Most bytes per second to fetch, such as 10M."),
    one("network.up", "GAGGLE_UP", "", "Most bytes per second to send, such as 500K."),
    one(
        "network.congestion",
        "GAGGLE_CONGESTION",
        "",
        "TCP congestion control of connections to peers, such as bbr; empty for the system's.",
    ),
    one(
        "network.no_pex",
        "GAGGLE_NO_PEX",
        "false",
        "Whether peers are not told of each other (BEP 11).",
    ),
    one(
        "network.no_lsd",
        "GAGGLE_NO_LSD",
        "false",
        "Whether no peers are looked for among the neighbours on the wire (BEP 14).",
    ),
    one(
        "network.no_dht",
        "GAGGLE_NO_DHT",
        "false",
        "Whether no peers are looked for in the DHT (BEP 5).",
    ),
    one(
        "network.no_upnp",
        "GAGGLE_NO_UPNP",
        "false",
        "Whether the router is asked for no port, by PCP, NAT-PMP or UPnP.",
    ),
    Key {
        path: "network.dht_bootstrap",
        env: "GAGGLE_DHT_BOOTSTRAP",
        default: "dht.libtorrent.org:25401 router.bittorrent.com:6881 dht.transmissionbt.com:6881",
        list: true,
        doc: "Nodes of the DHT to begin with, HOST:PORT; `none` for none.",
    },
    one(
        "network.lan",
        "GAGGLE_LAN",
        "false",
        "Peers of this network only: no public node of the DHT is asked, nor the router for a port.",
    ),
    one("get.output", "GAGGLE_OUTPUT", ".", "Folder that downloads go to."),
    one("get.jobs", "GAGGLE_JOBS", "3", "How many downloads run at a time."),
    one(
        "get.seed",
        "GAGGLE_SEEDING",
        "linger",
        "After a download: never, linger, ratio=R, time=D or forever.",
    ),
    one("get.timeout", "GAGGLE_TIMEOUT", "", "Give up when a download has taken so long."),
    one(
        "get.stall_timeout",
        "GAGGLE_STALL_TIMEOUT",
        "",
        "Give up when nothing has arrived for so long.",
    ),
    one(
        "get.metadata_timeout",
        "GAGGLE_METADATA_TIMEOUT",
        "",
        "Give up when nobody sent the metadata of a magnet. Default: 1m, on a terminal never.",
    ),
    one(
        "get.verify",
        "GAGGLE_VERIFY",
        "auto",
        "What to hash of data that is there: auto, always or trust.",
    ),
    one(
        "get.preallocate",
        "GAGGLE_PREALLOCATE",
        "full",
        "How to make room for files: none, sparse or full.",
    ),
    one("get.on_complete", "GAGGLE_ON_COMPLETE", "", "Command to run after each download."),
    servers(
        "search.napster",
        "GAGGLE_SEARCH_NAPSTER",
        "Directories of Napster to search, HOST:PORT.",
    ),
    servers(
        "search.gnutella",
        "GAGGLE_SEARCH_GNUTELLA",
        "Servents of Gnutella to begin a search with, HOST:PORT.",
    ),
    servers(
        "search.fasttrack",
        "GAGGLE_SEARCH_FASTTRACK",
        "Supernodes of FastTrack to begin a search with, HOST:PORT.",
    ),
    one("search.limit", "GAGGLE_SEARCH_LIMIT", "100", "Results after which a search is over."),
    one("search.wait", "GAGGLE_SEARCH_WAIT", "15s", "How long a search goes on at most."),
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

const fn servers(path: &'static str, env: &'static str, doc: &'static str) -> Key {
    Key { path, env, default: "", list: true, doc }
}

const fn one(
    path: &'static str,
    env: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { path, env, default, list: false, doc }
}
