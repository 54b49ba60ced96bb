//! Reads `--select`: indices, ranges and globs, separated by commas.

use super::exit::Failure;
use crate::engine::Selection;
use std::ops::RangeInclusive;

/// `1`, `4-6`, `7-` and globs such as `*.json` or `{a,b}/*`. Without the flag everything is selected.
pub(super) fn parse(texts: &[String]) -> Result<Selection, Failure> {
    let (mut ranges, mut globs) = (Vec::new(), Vec::new());
    for part in texts.iter().flat_map(|text| parts(text)).filter(|part| !part.is_empty()) {
        match range(part) {
            Some(Ok(range)) => ranges.push(range),
            Some(Err(why)) => return Err(Failure::usage(format!("--select {part}: {why}"))),
            None => globs.push(part.to_owned()),
        }
    }
    if texts.is_empty() {
        return Ok(Selection::All);
    }
    if ranges.is_empty() && globs.is_empty() {
        let failure = Failure::usage("--select names no file".to_owned());
        return Err(
            failure.hint("leave it out to take all files; `gaggle show --files` lists them")
        );
    }
    Ok(Selection::Some { ranges, globs })
}

/// Splits at commas, but not inside of braces or brackets.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0u32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// `None` if it is no range but a glob.
fn range(part: &str) -> Option<Result<RangeInclusive<usize>, &'static str>> {
    let number = |text: &str| text.parse::<usize>().ok();
    let (first, last) = match part.split_once('-') {
        None => (number(part)?, number(part)?),
        Some((first, "")) => (number(first)?, usize::MAX),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    Some(match (first, last) {
        (0, _) => Err("files are counted from 1"),
        (first, last) if first > last => Err("the range runs backwards"),
        _ => Ok(first..=last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_ranges_and_globs() {
        let parse = |text: &str| parse(&[text.to_owned()]);
        assert_eq!(super::parse(&[]).unwrap(), Selection::All);
        assert!(parse("").is_err() && parse(" , ").is_err(), "nothing is not everything");
        let Selection::Some { ranges, globs } = parse("1, 4-6,*.json,{a,b}/*,9-").unwrap() else {
            panic!("a selection")
        };
        assert_eq!(ranges, [1..=1, 4..=6, 9..=usize::MAX]);
        assert_eq!(globs, ["*.json", "{a,b}/*"]);
        assert!(parse("0").is_err());
        assert!(parse("6-4").is_err());
        assert!(
            matches!(parse("2020-q1.csv"), Ok(Selection::Some { globs, .. }) if globs.len() == 1)
        );
    }
}
