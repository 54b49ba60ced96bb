//! Replays the corpus of the fuzz target `peer_wire`.

#[path = "../../tests/fuzz/peer_wire.rs"]
mod laws;

use std::path::Path;

#[test]
fn corpus_replays_without_a_finding() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/corpus/peer_wire");
    let mut inputs = 0;
    for file in std::fs::read_dir(&corpus).unwrap() {
        let path = file.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let (frames, legal) = laws::peer_wire(&data);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Conversations, most of them captured from other clients, must be understood to the end.
        if name.starts_with("talk_") {
            assert!(frames > 1 && legal, "{name}: {frames} frames, legal: {legal}");
        }
        (0..data.len().min(2_000)).for_each(|end| {
            laws::peer_wire(&data[..end]);
        });
        inputs += 1;
    }
    assert!(inputs >= 10, "only {inputs} inputs in {}", corpus.display());
}
