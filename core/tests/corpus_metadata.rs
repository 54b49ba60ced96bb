//! Replays the corpus of the fuzz target `metadata`.

#[path = "../../tests/fuzz/metadata.rs"]
mod laws;

use std::path::Path;

#[test]
fn corpus_replays_without_a_finding() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/metadata");
    let mut inputs = 0;
    for file in std::fs::read_dir(&corpus).unwrap() {
        let path = file.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let early = std::panic::catch_unwind(|| laws::metadata(&data));
        let early = early.unwrap_or_else(|_| panic!("{} breaks a law", path.display()));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Some((what, _)) = name.split_once('_') {
            assert_eq!(early, what == "whole", "{name}");
        }
        (0..data.len()).for_each(|end| {
            laws::metadata(&data[..end]);
        });
        inputs += 1;
    }
    assert!(inputs >= 10, "only {inputs} inputs in {}", corpus.display());
}
