//! Writes what was measured as metric families in one of the exposition formats.

pub mod encode;
pub mod families;
pub mod self_metrics;

use crate::cli::baseline::Baseline;
use crate::reading::identity::Identity;
use crate::reading::measured::Reading;
use crate::render::encode::{Encoder, Format, Protobuf, Syntax, Text};
use crate::render::self_metrics::{SelfMetrics, SelfState};
use scoretap_dialect::Family;

/// The settings for every exposition.
#[derive(Clone, Debug)]
pub struct RenderConfig {
    /// The families of all chosen dialects.
    pub families: Vec<Family>,
    /// The distribution of predictions to compare with.
    pub baseline: Baseline,
    /// The identity of the pod.
    pub identity: Identity,
    /// The labels of every series.
    pub constants: Vec<(String, String)>,
    /// Whether OpenMetrics has `_created` lines.
    pub created_samples: bool,
    /// Whether the dialect of the environment is served; `None` if there is none.
    pub dialect_valid: Option<bool>,
    /// Whether the baseline of the environment is served; `None` if there is none.
    pub baseline_valid: Option<bool>,
}

/// Renders one exposition into `buffer`, which must be empty. Without a reading it has only the self metrics.
pub fn exposition(
    config: &RenderConfig,
    reading: Option<&Reading>,
    state: &SelfState<'_>,
    format: Format,
    buffer: Vec<u8>,
) -> Vec<u8> {
    match format {
        Format::Text => encoded(config, reading, state, Text::new(Syntax::Prometheus, buffer)),
        Format::OpenMetrics => {
            let text = Text::new(Syntax::OpenMetrics, buffer).with_created(config.created_samples);
            encoded(config, reading, state, text)
        }
        Format::Protobuf => encoded(config, reading, state, Protobuf::new(buffer)),
    }
}

fn encoded(
    config: &RenderConfig,
    reading: Option<&Reading>,
    state: &SelfState<'_>,
    mut encoder: impl Encoder,
) -> Vec<u8> {
    if let Some(reading) = reading {
        families::write(config, reading, &mut encoder);
    }
    let mut self_metrics = SelfMetrics::new(&mut encoder, &config.constants);
    self_metrics.always(reading.is_some(), state);
    self_metrics.files(config.dialect_valid, config.baseline_valid);
    self_metrics.baseline(&config.baseline);
    if let Some(reading) = reading {
        self_metrics.of_reading(reading);
    }
    encoder.finish()
}
