//! Settings from file and environment: what the user wrote, and what the program may rely on.
//!
//! Two stages. [`RawConfig`] holds text exactly as it was written, every key may be absent and an
//! unknown one is an error; [`Settings`] holds checked values with no `Option` where a default exists.
//! The order is default < `$XDG_CONFIG_HOME/gaggle/config.toml` < `GAGGLE_*`; flags come on top of
//! that in the verbs. [`KEYS`] is the one list of what can be set, with defaults and explanations.
//!
//! It never creates a file or a folder, and it never guesses: a value that cannot be read is an
//! error that names the key and where it was written.

mod dirs;
mod error;
mod keys;
mod layers;
mod raw;
mod settings;
mod values;

pub use dirs::Dirs;
pub use error::ConfigError;
pub use keys::{KEYS, Key};
pub use layers::{Layers, Origin, Shown};
pub use raw::{RawConfig, Text};
pub use settings::{
    Color, CreateSettings, GetSettings, NetworkSettings, OutputSettings, Progress, SearchSettings,
    Settings, TrackerSettings,
};
pub use values::{
    Every, Finish, PieceLength, Preallocation, Rate, Trust, Uploads, parse_nodes, parse_ratio,
};
