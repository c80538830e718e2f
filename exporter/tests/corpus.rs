//! Runs the fuzz targets over the committed corpus and a bounded number of mutations of it.
//! `cargo fuzz run TARGET` in `fuzz/` runs the same targets with libFuzzer.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Mutations of each file of the corpus.
const VARIANTS: usize = 200;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

/// Changes, removes, repeats or moves a few bytes of the input.
fn variant(input: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(5) {
            0 if !bytes.is_empty() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            3 => bytes.truncate(end),
            _ => {
                let piece = [
                    &b"%00"[..],
                    b": ",
                    b"\n",
                    b"\"",
                    b"{}",
                    b"[",
                    b"&a ",
                    b"18446744073709551616",
                    b"-1",
                    b"~",
                ];
                bytes.splice(at..at, piece[random.below(piece.len())].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn parsers_never_panic_on_corpus_mutations() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut random = Random(11);
    for (name, target) in targets::ALL {
        let mut files: Vec<_> =
            std::fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            let input = std::fs::read(file).unwrap();
            target(&input);
            for _ in 0..VARIANTS {
                target(&variant(&input, &mut random));
            }
        }
    }
}
