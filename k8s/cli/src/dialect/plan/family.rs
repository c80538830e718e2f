//! A family with its help text, and the configuration that it needs.

use scoretap_core::histogram::{DEFAULT_TIME_BOUNDS, Histogram};
use scoretap_core::outcome::Status;
use scoretap_dialect::{Family, Measure};

use crate::dialect::measure::Chosen;
use crate::dialect::model::Needs;

pub(super) fn family(name: &str, chosen: Chosen) -> Family {
    let Chosen { measure, kind, unit, only, values, questions: _ } = chosen;
    let help = help(measure, &only).to_owned();
    Family {
        name: name.to_owned(),
        help,
        measure,
        kind,
        unit,
        only,
        templates: Vec::new(),
        values,
        bounds: None,
        labels: Vec::new(),
    }
}

fn help(measure: Measure, only: &[Status]) -> &'static str {
    match (measure, only) {
        (Measure::Calls, [Status::Failure]) => "Calls that failed.",
        (Measure::Calls, [Status::Success]) => "Calls that succeeded.",
        (Measure::Calls, [Status::Cancelled]) => "Calls that the caller cancelled.",
        (Measure::Calls, _) => "Finished calls.",
        (Measure::Distribution(histogram), _) => match histogram {
            Histogram::Duration => "Time that a call took.",
            Histogram::BackendDuration => "Time that the app took.",
            Histogram::RequestBytes => "Size of the request's body.",
            Histogram::ResponseBytes => "Size of the response's body.",
        },
        (Measure::InFlight, _) => "Calls that the app is working on.",
        (Measure::Models, _) => "The models that this pod serves or was asked for.",
        (Measure::Bodies(_) | Measure::BodyDistribution(_) | Measure::ValueCells, _) => {
            "Read from bodies by Insight."
        }
    }
}

/// The configuration that a family needs and the filter has not by default.
pub(in crate::dialect) fn needs_of(family: &Family) -> Needs {
    let bounds = match family.measure {
        Measure::Distribution(histogram) if histogram.is_time() => family.bounds.clone().unwrap_or_default(),
        _ => Vec::new(),
    };
    let missing = bounds.into_iter().filter(|bound| !DEFAULT_TIME_BOUNDS.contains(bound));
    #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
    let mut needs =
        Needs { bounds_seconds: missing.map(|bound| bound as f64 / 1e9).collect(), ..Needs::default() };
    needs.routes.extend(family.templates.iter().map(|template| format!("POST {template}")));
    match family.measure {
        Measure::Bodies(_) | Measure::BodyDistribution(_) | Measure::ValueCells => needs.insight = true,
        Measure::Distribution(Histogram::Duration) => needs.duration_codes = family.is_by_code(),
        Measure::Distribution(histogram) => drop(needs.extra.insert(histogram.as_str())),
        Measure::Calls | Measure::InFlight | Measure::Models => {}
    }
    needs
}
