//! What the harness measured, one JSON object a run, and the medians of it.

use super::super::median;
use super::table::{Bar, Bench, Figure, Limit};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

/// All runs of a bench.
pub(super) struct Records {
    /// In the order of the table.
    names: Vec<String>,
    figures: BTreeMap<Figure, Vec<f64>>,
    /// Measurements of which a run failed; `true` if gaggle took part.
    failed: BTreeMap<String, bool>,
}

impl Records {
    /// Reads to the end and says each record as it comes.
    ///
    /// # Errors
    /// A line that is no record.
    pub(super) fn read(bench: &Bench, from: impl Read) -> anyhow::Result<Self> {
        let names = bench.measurements.iter().map(|(name, _)| name.clone()).collect();
        let mut records = Self { names, figures: BTreeMap::new(), failed: BTreeMap::new() };
        for line in BufReader::new(from).lines() {
            let record: BTreeMap<String, Value> = serde_json::from_str(&line?)?;
            let name = record.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(error) = record.get("error") {
                let does = bench.measurements.iter().find(|(known, _)| *known == name);
                let ours = does.is_none_or(|(_, does)| does.contains("gaggle"));
                records.failed.insert(name.clone(), ours);
                println!("{name:<28} failed: {error}");
                continue;
            }
            let figures = record.into_iter().filter(|(key, _)| key != "name" && key != "run");
            let numbers = figures.filter_map(|(key, value)| Some((key, value.as_f64()?)));
            let mut said = String::new();
            for (key, value) in numbers {
                said += &format!("  {key} {value:.2}");
                records.figures.entry((key, name.clone())).or_default().push(value);
            }
            println!("{name:<28}{said}");
        }
        Ok(records)
    }

    /// Whether a run failed in which gaggle took part.
    pub(super) fn ours_failed(&self) -> bool {
        self.failed.values().any(|ours| *ours)
    }

    fn median(&self, figure: &Figure) -> Option<f64> {
        self.figures.get(figure).map(|values| median(&mut values.clone()))
    }

    /// What a bar judges: our median, or its ratio to the best of the others.
    pub(super) fn value(&self, bar: &Bar) -> Option<f64> {
        let ours = self.median(&bar.ours)?;
        let others: Option<Vec<f64>> =
            bar.beside.iter().map(|figure| self.median(figure)).collect();
        let best = match bar.limit {
            Limit::AtLeast(_) => others?.into_iter().reduce(f64::max),
            Limit::AtMost(_) => others?.into_iter().reduce(f64::min),
        };
        Some(ours / best.unwrap_or(1.0))
    }

    /// The most that anybody else used of the machine in the median run of a measurement, in cores.
    pub(super) fn foreign(&self) -> f64 {
        let noise =
            self.names.iter().filter_map(|name| self.median(&("foreign".into(), name.clone())));
        noise.fold(0.0, f64::max)
    }

    /// The medians with their range.
    pub(super) fn print(&self) {
        println!("\n{:<28} {:<20} {:>10} {:>22}  runs", "measurement", "figure", "median", "range");
        for name in &self.names {
            let keys: BTreeSet<&String> =
                self.figures.keys().filter(|(_, of)| of == name).map(|(key, _)| key).collect();
            for key in keys {
                let mut values = self.figures[&(key.clone(), name.clone())].clone();
                let middle = median(&mut values);
                let range = format!("{:.2}..{:.2}", values[0], values[values.len() - 1]);
                println!("{name:<28} {key:<20} {middle:>10.2} {range:>22}  {}", values.len());
            }
        }
        println!();
    }
}
