//! The command line: one file per verb, and what all verbs share.
//!
//! Verbs only translate: arguments into calls, answers into text, JSON and exit codes. They never
//! speak a protocol, and nothing below this folder knows that it exists.

mod arguments;
mod cache;
mod config;
mod content;
mod create;
mod demo;
mod dht;
mod dht_ask;
mod dht_item;
mod download;
mod env;
mod event;
mod exit;
mod get;
mod giving;
mod here;
mod lab;
mod net;
mod network;
mod progress;
mod publish;
mod search;
mod seed;
mod select;
mod share;
mod show;
mod signal;
mod target;
mod tracker;
mod verify;
mod waiting;
mod watched;
mod ways;

use crate::config::{Color, Progress};
use clap::{Args, Parser, Subcommand};
use env::Env;
use event::Event;
use exit::{Exit, Failure};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// Move files between many machines: torrents, tracker and swarms in one binary
#[derive(Debug, Parser)]
#[command(
    name = "gaggle",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  gaggle share ./llama-70b
  gaggle get 'magnet:?xt=urn:btih:3f9c...' -o /data
  gaggle demo

`gaggle TARGET` means `gaggle get TARGET`. `gaggle VERB --help` has examples for each verb."
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb takes.
#[derive(Args, Debug)]
pub struct GlobalArgs {
    /// Write JSON Lines to stdout: one object per event or result
    #[arg(long, global = true, env = "GAGGLE_JSON", help_heading = "Output")]
    pub json: bool,
    /// How to show progress [default: auto]
    #[arg(long, global = true, env = "GAGGLE_PROGRESS", value_enum, value_name = "HOW")]
    #[arg(help_heading = "Output", hide_possible_values = true)]
    #[arg(help = "Show progress: auto, bar, plain, json or none")]
    pub progress: Option<Progress>,
    /// Show neither progress nor remarks
    #[arg(short, long, global = true, env = "GAGGLE_QUIET", help_heading = "Output")]
    pub quiet: bool,
    /// Say more on stderr (repeat for more; RUST_LOG is finer)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Use colours: auto, always or never
    #[arg(long, global = true, env = "GAGGLE_COLOR", value_enum, value_name = "WHEN")]
    #[arg(help_heading = "Output", hide_possible_values = true)]
    pub color: Option<Color>,
    /// Keep resume records here instead of $XDG_STATE_HOME/gaggle
    #[arg(long, global = true, env = "GAGGLE_STATE_DIR", value_name = "DIR")]
    #[arg(help_heading = "Output")]
    pub state_dir: Option<PathBuf>,
}

/// What there is to do. A verb stands here only when it works.
#[derive(Debug, Subcommand)]
enum Verb {
    Get(get::Get),
    Share(share::Share),
    Seed(seed::Seed),
    Create(create::Create),
    Show(show::Show),
    Verify(verify::Verify),
    Tracker(tracker::Tracker),
    Dht(dht::Dht),
    Net(net::Net),
    Search(search::Search),
    Lab(lab::Lab),
    Demo(demo::Demo),
    Config(config::Config),
}

impl Verb {
    async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        match self {
            Self::Config(verb) => verb.run(env),
            Self::Create(verb) => verb.run(env).await,
            Self::Demo(verb) => verb.run(env).await,
            Self::Dht(verb) => verb.run(env).await,
            Self::Get(verb) => verb.run(env).await,
            Self::Lab(verb) => verb.run(env).await,
            Self::Net(verb) => verb.run(env).await,
            Self::Search(verb) => verb.run(env).await,
            Self::Seed(verb) => verb.run(env).await,
            Self::Share(verb) => verb.run(env).await,
            Self::Show(verb) => verb.run(env).await,
            Self::Tracker(verb) => verb.run(env).await,
            Self::Verify(verb) => verb.run(env).await,
        }
    }
}

/// Runs the program with the process's arguments; returns the exit code.
pub fn main() -> i32 {
    let args: Vec<OsString> = std::env::args_os().collect();
    let exit = match arguments::parse(args) {
        Ok(cli) => run(cli),
        Err(exit) => exit,
    };
    i32::from(exit.code())
}

/// Takes as many file descriptors as the system grants: the customary 1024 are fewer than the peers and files of a few
/// torrents, or the connections of a tracker, and a file that cannot be opened ends its torrent.
fn allow_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    _ = setrlimit(Resource::Nofile, limit); // what is refused stays as it was
}

fn run(cli: Cli) -> Exit {
    // The process's only TLS user is reqwest, which was built without a provider of its own.
    _ = rustls::crypto::ring::default_provider().install_default();
    allow_descriptors();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start threads: {}", exit::plain(&e));
            return Exit::Other;
        }
    };
    let exit = runtime.block_on(async {
        match Env::new(&cli.global) {
            Ok(env) => {
                let env = Arc::new(env);
                log_to_stderr(&cli.global, &env);
                let ended = cli.verb.run(&env).await;
                finish(&env, ended)
            }
            Err(error) => complain_early(&cli.global, &error),
        }
    });
    // Abandoned work, such as hashing after Ctrl-C, must not delay the end.
    runtime.shutdown_background();
    exit
}

/// Reports an error, closes the JSON, and says how the program ends.
fn finish(env: &Env, ended: anyhow::Result<Exit>) -> Exit {
    let exit = ended.unwrap_or_else(|error| {
        let failure = Failure::of(&error);
        env.stderr(exit::text(&failure, env.style));
        _ = env.emit(&exit::event(&failure));
        failure.exit
    });
    let trace_hash = env.trace_hash.get().map(String::as_str);
    _ = env.emit(&Event::Exit { code: exit.code(), trace_hash });
    exit
}

/// As [`finish`], when even the settings could not be read.
fn complain_early(args: &GlobalArgs, error: &anyhow::Error) -> Exit {
    let failure = Failure::of(error);
    let style = env::Style::of_stderr(args.color.unwrap_or(Color::Auto));
    eprintln!("{}", exit::text(&failure, style));
    if args.json {
        for event in
            [exit::event(&failure), Event::Exit { code: failure.exit.code(), trace_hash: None }]
        {
            println!("{}", serde_json::to_string(&event).unwrap_or_default());
        }
    }
    failure.exit
}

/// Sends the log to stderr, above the bars. `RUST_LOG` wins over `-v`.
fn log_to_stderr(args: &GlobalArgs, env: &Env) {
    use tracing_subscriber::EnvFilter;
    let level = match args.verbose {
        0 if args.quiet => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let ours = format!("warn,gaggle={level},gaggle_core={level},gaggle_tracker={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours));
    let bars = env.bars.clone();
    _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(env.style.colored())
        .with_writer(move || env::AboveBars(bars.clone()))
        .try_init();
}
