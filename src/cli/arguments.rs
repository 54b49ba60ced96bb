//! Reads the arguments: `gaggle TARGET` means `gaggle get TARGET`, an unknown verb names the nearest.

use super::Cli;
use super::event::Event;
use super::exit::Exit;
use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, ArgAction, ColorChoice, Command, CommandFactory as _, FromArgMatches as _};
use std::ffi::{OsStr, OsString};

/// The parsed arguments, or how to end when there is nothing to run: help was asked for, or the
/// usage is wrong and has been complained about.
pub(super) fn parse(args: Vec<OsString>) -> Result<Cli, Exit> {
    let json = args.iter().skip(1).any(|arg| arg == "--json") || is_on("GAGGLE_JSON");
    let command = with_env(Cli::command()).color(color(&args));
    let args = with_verb(&command, args);
    let parsed = command
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| {
            // Help and version go to stdout with 0, complaints to stderr with 2.
            _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        });
    if let Err(exit) = &parsed
        && json
        && *exit != Exit::Done
    {
        println!(
            "{}",
            serde_json::to_string(&Event::Exit { code: exit.code(), trace_hash: None })
                .unwrap_or_default()
        );
    }
    parsed
}

/// Whether a variable switches something on, read as clap will read it.
fn is_on(name: &str) -> bool {
    let value = std::env::var(name).unwrap_or_default().to_ascii_lowercase();
    !matches!(value.as_str(), "" | "0" | "f" | "false" | "n" | "no" | "off")
}

/// Lets variables be what people write: `GAGGLE_JSON=1` switches on, an empty one says nothing. Help
/// does not show their values.
fn with_env(command: Command) -> Command {
    fn tame(arg: Arg) -> Arg {
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let name = arg.get_env().map(OsStr::to_owned);
        let arg = arg.hide_env_values(true);
        let arg = if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg };
        match name.and_then(std::env::var_os) {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg,
        }
    }
    command.mut_args(tame).mut_subcommands(with_env)
}

/// Puts `get` before a first word that is no verb but looks like a target.
fn with_verb(command: &Command, mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(get) = command.find_subcommand("get") else { return args };
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        match arg.to_str() {
            Some("--help" | "-h" | "--version" | "-V") => return args,
            Some(flag) if flag.starts_with('-') && flag != "-" => {
                let takes_next = takes_value(command, flag).or_else(|| takes_value(get, flag));
                at += if takes_next == Some(true) { 2 } else { 1 };
            }
            word => {
                let verb = word.is_some_and(|word| command.find_subcommand(word).is_some());
                if !verb && word != Some("help") && looks_like_target(arg) {
                    args.insert(1, OsString::from("get"));
                }
                return args;
            }
        }
    }
    args
}

/// Whether the flag takes the next argument as its value; `None` if it is unknown here.
fn takes_value(command: &Command, flag: &str) -> Option<bool> {
    let name = flag.trim_start_matches('-');
    if flag.starts_with("--") {
        let (name, value) = name.split_once('=').map_or((name, false), |(name, _)| (name, true));
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name))?;
        return Some(arg.get_action().takes_values() && !value);
    }
    // In a cluster such as `-vo DIR` only the last letter can take the next argument.
    let mut letters = name.chars();
    let first = letters.next()?;
    let arg = command.get_arguments().find(|arg| arg.get_short() == Some(first))?;
    Some(match (arg.get_action().takes_values(), letters.as_str()) {
        (takes, "") => takes,
        (true, _) => false,
        (false, rest) => takes_value(command, &format!("-{rest}"))?,
    })
}

fn looks_like_target(arg: &OsStr) -> bool {
    let Some(text) = arg.to_str() else { return true };
    let hash =
        matches!(text.len(), 32 | 40 | 64) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    text == "-" || hash || text.contains([':', '/', '.']) || std::path::Path::new(text).is_file()
}

/// Clap colours its own texts; it must hear `--color` before it has parsed it.
fn color(args: &[OsString]) -> ColorChoice {
    let mut when = std::env::var("GAGGLE_COLOR").ok();
    for (at, arg) in args.iter().enumerate() {
        match arg.to_str() {
            Some("--color") => when = args.get(at + 1).and_then(|a| a.to_str()).map(str::to_owned),
            Some(arg) if arg.starts_with("--color=") => when = Some(arg[8..].to_owned()),
            _ => {}
        }
    }
    match when.as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_explains_itself_with_three_examples() {
        fn check(command: &Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().filter(|line| line.trim_start().starts_with("gaggle "));
            assert_eq!(examples.count(), 3, "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
        let command = Cli::command();
        check(&command);
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn every_long_flag_can_come_from_the_environment() {
        // What stands for one run only.
        const ONE_RUN: [&str; 20] = [
            "bencode", "browse", "cas", "dry-run", "files", "force", "list", "magnet", "max-size",
            "min-size", "network", "new-key", "origin", "register", "salt", "seq", "text", "type",
            "verbose", "whois",
        ];
        fn check(command: &Command) {
            if command.is_hide_set() {
                return; // for the program's own use
            }
            for arg in command.get_arguments() {
                let Some(long) = arg.get_long() else { continue };
                let one_run = ONE_RUN.contains(&long);
                let env = arg.get_env().and_then(OsStr::to_str);
                assert!(one_run || env.is_some(), "{} --{long}", command.get_name());
                assert!(env.is_none_or(|env| env.starts_with("GAGGLE_")), "--{long}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn a_target_is_told_from_a_verb() {
        for target in ["-", "magnet:?xt=x", "a.torrent", "dir/x", &"a".repeat(40)] {
            assert!(looks_like_target(OsStr::new(target)), "{target}");
        }
        for word in ["shwo", "gte", "tracker"] {
            assert!(!looks_like_target(OsStr::new(word)), "{word}");
        }
    }
}
