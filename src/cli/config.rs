//! `gaggle config`: what is set, and by whom.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use crate::config::{KEYS, Key, Shown};
use std::io::Write as _;

/// Show the settings and where they come from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle config show --origin
  gaggle config show --json
  gaggle config init

A setting comes from its flag, else from its GAGGLE_* variable, else from the file, else it has its
default. `gaggle config path` prints where the file is looked for.")]
pub(super) struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print every setting that counts, as TOML
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Print where the configuration file is looked for
    Path,
    /// Write a file that lists every setting with its default
    Init {
        /// Replace the file that is there
        #[arg(short, long)]
        force: bool,
    },
}

impl Config {
    /// Never touches the network.
    pub(super) fn run(self, env: &Env) -> anyhow::Result<Exit> {
        match self.what {
            What::Show { origin } => show(env, origin),
            What::Path => path(env),
            What::Init { force } => init(env, force),
        }
    }
}

fn show(env: &Env, origin: bool) -> anyhow::Result<Exit> {
    let mut section = "";
    for shown in KEYS.iter().map(|key| env.layers.show(key)) {
        env.emit(&Event::Setting {
            key: shown.key.path,
            value: shown.value.as_ref().map(json),
            origin: shown.origin.to_string(),
        })?;
        let (of, name) = split(shown.key);
        if of != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            env.result(format_args!("{gap}[{of}]"))?;
            section = of;
        }
        let line = line(name, &shown);
        if origin {
            env.result(format_args!("{line:<40} # {}", shown.origin))?;
        } else {
            env.result(line)?;
        }
    }
    Ok(Exit::Done)
}

fn line(name: &str, shown: &Shown) -> String {
    match &shown.value {
        Some(value) => format!("{name} = {value}"),
        None => format!("# {name} ="),
    }
}

fn json(value: &toml::Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn path(env: &Env) -> anyhow::Result<Exit> {
    let path = env.dirs.config_file();
    let text = path.display().to_string();
    env.emit(&Event::ConfigPath { path: &text, exists: path.exists() })?;
    env.result(text)?;
    Ok(Exit::Done)
}

fn init(env: &Env, force: bool) -> anyhow::Result<Exit> {
    let path = env.dirs.config_file();
    let shown = path.display();
    std::fs::create_dir_all(&env.dirs.config).map_err(|e| {
        Failure::io(format_args!("cannot create {}", env.dirs.config.display()), &e)
    })?;
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create(true);
    if force {
        open.truncate(true)
    } else {
        open.create_new(true)
    };
    let mut file = open.open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(Exit::Other, format!("{shown} exists"))
            .hint("`--force` replaces it; `gaggle config show --origin` says what it sets"),
        _ => Failure::io(format_args!("cannot write {shown}"), &e),
    })?;
    file.write_all(template().as_bytes())
        .map_err(|e| Failure::io(format_args!("cannot write {shown}"), &e))?;
    let text = shown.to_string();
    env.emit(&Event::ConfigPath { path: &text, exists: true })?;
    env.result(text)?;
    Ok(Exit::Done)
}

/// Every key, commented out, with its default and its explanation.
fn template() -> String {
    let mut text = String::from("# Settings of gaggle. A line without # counts.\n");
    let mut section = "";
    for key in KEYS {
        let (of, name) = split(key);
        if of != section {
            text.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        let default = if key.list { "[]".to_owned() } else { format!("{:?}", key.default) };
        text.push_str(&format!("# {} ({})\n# {name} = {default}\n", key.doc, key.env));
    }
    text
}

fn split(key: &'static Key) -> (&'static str, &'static str) {
    key.path.split_once('.').unwrap_or((key.path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn the_written_file_is_a_configuration_also_with_every_line_counting() {
        let template = template();
        assert!(Layers::new("/c".into(), &template, |_| None).is_ok());
        let all: String = template
            .lines()
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        assert_eq!(all.lines().filter(|line| line.contains(" = ")).count(), KEYS.len());
        Layers::new("/c".into(), &all, |_| None).unwrap();
    }
}
