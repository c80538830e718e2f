//! The expositions of one read: each format is encoded once, and compressed once, for all scrapes that share the read.

use std::fmt;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use tokio::sync::OnceCell;

use crate::http::memory::{Memory, OverBudget};
use crate::render::encode::Format;

/// How many bytes are compressed before other connections get a turn on the event loop.
const TURN: usize = 64 * 1024;

/// Why a read has no exposition.
#[derive(Debug)]
pub enum EncodeError {
    /// Other expositions are being sent and use up the memory.
    OverBudget,
    /// The compressor failed.
    Compression(io::Error),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverBudget => f.write_str("the answers that are being sent use up the memory for scrapes"),
            Self::Compression(cause) => write!(f, "the exposition cannot be compressed: {cause}"),
        }
    }
}

impl From<OverBudget> for EncodeError {
    fn from(OverBudget: OverBudget) -> Self {
        Self::OverBudget
    }
}

/// The expositions of one read that scrapers asked for.
#[derive(Debug, Default)]
pub struct Expositions {
    text: Encodings,
    openmetrics: Encodings,
    protobuf: Encodings,
}

#[derive(Debug, Default)]
struct Encodings {
    plain: OnceCell<Bytes>,
    gzip: OnceCell<Bytes>,
}

impl Expositions {
    /// The exposition in this format. `encode` is called, with an empty buffer, if there is none yet.
    pub async fn get(
        &self,
        format: Format,
        gzip: bool,
        memory: &Memory,
        encode: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Result<Bytes, EncodeError> {
        let encodings = match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.openmetrics,
            Format::Protobuf => &self.protobuf,
        };
        let plain = async || {
            let encoded = encodings.plain.get_or_try_init(async || memory.charge(encode(memory.buffer())));
            encoded.await.cloned()
        };
        if !gzip {
            return Ok(plain().await?);
        }
        let compressed = encodings.gzip.get_or_try_init(async || {
            let compressed = compress(&plain().await?).await.map_err(EncodeError::Compression)?;
            Ok::<_, EncodeError>(memory.charge(compressed)?)
        });
        compressed.await.cloned()
    }
}

async fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    // Expositions are repetitive: the fastest level shrinks them to a twentieth, and slower levels to little less.
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 16), Compression::fast());
    for piece in plain.chunks(TURN) {
        encoder.write_all(piece)?;
        tokio::task::yield_now().await;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposition_is_encoded_and_compressed_once() {
        let (expositions, memory, mut encoded) = (Expositions::default(), Memory::default(), 0);
        let mut get = async |gzip| {
            let encode = |_| {
                encoded += 1;
                vec![b'a'; 1000]
            };
            expositions.get(Format::Text, gzip, &memory, encode).await.unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [one, other, plain] =
            runtime.block_on(async { [get(true).await, get(true).await, get(false).await] });
        assert_eq!((one.as_ptr(), plain.len(), encoded), (other.as_ptr(), 1000, 1));
    }
}
