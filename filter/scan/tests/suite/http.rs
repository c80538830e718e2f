//! Recorded answers, without what HTTP put around them.

use std::path::Path;
use std::{fs, iter};

/// One recorded answer.
pub(crate) struct Answer {
    pub(crate) name: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn is_llm(&self) -> bool {
        self.name.starts_with("llama-") || self.name.starts_with("vllm-")
    }
}

/// All recorded answers over HTTP/1, by name.
pub(crate) fn answers() -> Vec<Answer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut answers: Vec<Answer> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "raw"))
        .filter_map(|file| answer(file.file_stem()?.to_str()?, &fs::read(&file).unwrap()))
        .collect();
    answers.sort_by(|one, other| one.name.cmp(&other.name));
    answers
}

pub(crate) fn capture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    fs::read(folder.join(name)).unwrap()
}

fn answer(name: &str, raw: &[u8]) -> Option<Answer> {
    let end =
        raw.windows(4).position(|window| window == b"\r\n\r\n").filter(|_| raw.starts_with(b"HTTP/1"))?;
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let header =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers = head.lines().filter_map(header).collect();
    let mut answer = Answer { name: name.to_owned(), headers, body: raw[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == "chunked" {
        answer.body = unchunked(&answer.body);
    }
    Some(answer)
}

/// The chunks as far as they came.
fn unchunked(body: &[u8]) -> Vec<u8> {
    let mut rest = body;
    let chunks = iter::from_fn(|| {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let chunk = &rest[end + 2..][..length];
        rest = rest.get(end + 2 + length + 2..).unwrap_or_default();
        (length > 0).then_some(chunk)
    });
    chunks.flatten().copied().collect()
}
