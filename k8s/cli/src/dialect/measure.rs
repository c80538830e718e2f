//! Decides what a metric counts, by the words of its name, its type and its labels.

use std::collections::BTreeSet;

use scoretap_core::histogram::Histogram;
use scoretap_core::outcome::Status;
use scoretap_dialect::bodies::{BodyCount, BodyHistogram};
use scoretap_dialect::{Kind, Measure, Unit};

use super::map;

/// The type of a metric, as far as queries and expositions tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Has `_bucket`.
    Histogram,
    /// Has `_sum` and `_count` only.
    Summary,
    Counter,
    Gauge,
}

/// The measure of a family, and its choices.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chosen {
    pub(super) measure: Measure,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) only: Vec<Status>,
    pub(super) values: Vec<String>,
    /// Decisions that the user may want to change.
    pub(super) questions: Vec<String>,
}

/// Why nothing fills it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Declined {
    /// It cannot be known from outside.
    Unknowable(String),
    /// The user may know that it is calls.
    Undecided(String),
}

/// Facts beside the name on which the choice depends.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Labels that tell how a call ended.
    pub(super) has_ending: bool,
    /// A label with predicted classes.
    pub(super) has_class: bool,
    /// A label with the model or its version.
    pub(super) has_model: bool,
    /// The bounds of an exposition and of `le`.
    pub(super) bounds: Vec<f64>,
    /// Whether an exposition tells the type.
    pub(super) is_exposed: bool,
}

struct Name {
    text: String,
    words: Vec<String>,
}

impl Name {
    fn has(&self, list: &[&str]) -> bool {
        self.words.iter().any(|word| list.contains(&word.as_str()))
    }

    fn follows(&self, first: &str, second: &str) -> bool {
        self.words.windows(2).any(|pair| pair == [first, second])
    }
}

pub(super) fn choose(name: &str, shape: Shape, hints: &Hints) -> Result<Chosen, Declined> {
    let name = Name { text: name.to_owned(), words: map::words(name) };
    if let Some(measure) = token_time(&name) {
        return timed(&name, shape, measure, hints);
    }
    refuse(&name, shape)?;
    match shape {
        Shape::Histogram | Shape::Summary => distribution(&name, shape, hints),
        Shape::Counter => counter(&name, hints),
        Shape::Gauge => gauge(&name, hints),
    }
}

fn token_time(name: &Name) -> Option<Measure> {
    let body = Measure::BodyDistribution;
    if name.has(&["ttft"]) || name.follows("first", "token") {
        Some(body(BodyHistogram::FirstToken))
    } else if name.has(&["tpot"]) || (name.has(&["per"]) && name.follows("output", "token")) {
        Some(body(BodyHistogram::TokenTime))
    } else if name.has(&["itl"]) || name.follows("inter", "token") || name.follows("between", "tokens") {
        Some(body(BodyHistogram::Gap))
    } else {
        None
    }
}

/// Names that say themselves that only the app knows.
fn refuse(name: &Name, shape: Shape) -> Result<(), Declined> {
    let unknowable = |why: String| Err(Declined::Unknowable(why));
    if name.text.ends_with("_created") {
        return unknowable("prometheus_client's time of creation; no query needs it for calls".to_owned());
    }
    if name.has(&map::NANOSECONDS) {
        return unknowable(
            "a time in nanoseconds; a dialect has seconds, milliseconds and microseconds".to_owned(),
        );
    }
    if map::INSIDE_SERVERS.iter().any(|server| name.text.starts_with(server)) {
        return unknowable("it is about the inside of the server".to_owned());
    }
    let kind = map::KINDS_OF_CALL.iter().find(|(word, _)| name.has(&[*word]));
    let is_flight = shape == Shape::Gauge && name.has(&map::IN_FLIGHT) && name.has(&map::CALLS);
    let is_tokens = name.has(&["tokens", "token"]);
    for (what, words) in &map::ONLY_THE_APP {
        let is_kind = |word: &str| kind.is_some_and(|(kind, _)| *kind == word);
        let mut rest = name.words.iter().filter(|word| !is_kind(word));
        let found = rest.find(|word| words.split(' ').any(|known| known == *word));
        if let Some(found) = found.filter(|_| !is_flight && !is_tokens) {
            return unknowable(format!("only the app knows it: {found:?} is about {what}"));
        }
    }
    if let Some((_, instead)) = kind {
        return unknowable(format!("one kind of call has no family of its own; write {instead}"));
    }
    let calls = [&map::CALLS[..], &map::TIMES, &map::VALUES, &map::FAILURES, &map::SUCCESSES];
    if name.has(&map::BUSINESS) && !calls.iter().any(|words| name.has(words)) {
        return Err(Declined::Undecided(
            "its name does not tell whether each call counts once; only the app may know".to_owned(),
        ));
    }
    Ok(())
}

fn distribution(name: &Name, shape: Shape, hints: &Hints) -> Result<Chosen, Declined> {
    let body = Measure::BodyDistribution;
    if name.has(&["tokens", "token"]) {
        return Ok(Chosen {
            values: tokens(name),
            ..chosen(body(BodyHistogram::CallTokens), histogram(shape))
        });
    }
    if name.has(&map::SIZES) && !name.has(&["batch"]) {
        return size(name, histogram(shape));
    }
    if name.has(&map::TIMES) {
        return duration(name, shape, hints);
    }
    if name.has(&map::ROWS) {
        return Ok(chosen(body(BodyHistogram::Rows), histogram(shape)));
    }
    if name.has(&map::VALUES) {
        let mut chosen = chosen(body(BodyHistogram::Value), Kind::Histogram);
        chosen.questions.push(
            "shows the numbers that answers hold as predictions; leave this family out if the app observed another number"
                .to_owned(),
        );
        return Ok(chosen);
    }
    undecided()
}

fn duration(name: &Name, shape: Shape, hints: &Hints) -> Result<Chosen, Declined> {
    let rest: Vec<&String> = name.words.iter().filter(|word| !map::TIMES.contains(&word.as_str())).collect();
    let is_of_calls = rest.is_empty() || name.has(&map::CALLS) || name.has(&map::SERVICES);
    if !is_of_calls && !name.has(&["processing"]) {
        return undecided();
    }
    let mut chosen = timed(name, shape, Measure::Distribution(Histogram::Duration), hints)?;
    if !is_of_calls {
        chosen.questions.push(
            "shows the time of a whole call; leave this family out if the app measured a part of it"
                .to_owned(),
        );
    }
    Ok(chosen)
}

/// A time, with its unit.
fn timed(name: &Name, shape: Shape, measure: Measure, hints: &Hints) -> Result<Chosen, Declined> {
    let kind = match shape {
        Shape::Histogram => Kind::Histogram,
        Shape::Summary => Kind::Summary,
        Shape::Counter if name.text.ends_with("_total") || hints.is_exposed => Kind::Counter,
        Shape::Counter => {
            return Err(Declined::Unknowable(
                "a histogram has no series of this name; add _count for calls or _sum for their time"
                    .to_owned(),
            ));
        }
        Shape::Gauge => {
            return Err(Declined::Unknowable(format!(
                "a gauge holds the last call's time only; write rate({0}_sum[5m]) / rate({0}_count[5m])",
                name.text
            )));
        }
    };
    let mut chosen = Chosen { unit: unit(name), ..chosen(measure, kind) };
    let names_unit = name.has(&["seconds", "second", "secs", "sec"]) || chosen.unit != Unit::Seconds;
    if !names_unit && hints.bounds.iter().any(|bound| *bound > 60.0) {
        chosen.unit = Unit::Milliseconds;
        chosen
            .questions
            .push("the bounds look like milliseconds; write `unit: seconds` if they are not".to_owned());
    }
    Ok(chosen)
}

fn unit(name: &Name) -> Unit {
    if name.has(&map::MILLISECONDS) {
        Unit::Milliseconds
    } else if name.has(&map::MICROSECONDS) {
        Unit::Microseconds
    } else {
        Unit::Seconds
    }
}

fn size(name: &Name, kind: Kind) -> Result<Chosen, Declined> {
    let measure = match (name.has(&map::RESPONSES), name.has(&map::REQUESTS)) {
        (true, _) => Histogram::ResponseBytes,
        (false, true) => Histogram::RequestBytes,
        (false, false) => return undecided(),
    };
    Ok(chosen(Measure::Distribution(measure), kind))
}

fn counter(name: &Name, hints: &Hints) -> Result<Chosen, Declined> {
    if name.has(&["tokens", "token"]) {
        return Ok(Chosen {
            values: tokens(name),
            ..chosen(Measure::Bodies(BodyCount::Tokens), Kind::Counter)
        });
    }
    if name.has(&["bytes"]) {
        return size(name, Kind::Counter);
    }
    let unnamed = name.text.replace("real_time", "").replace("time_series", "");
    if name.has(&map::TIMES) && map::words(&unnamed).iter().any(|word| map::TIMES.contains(&word.as_str())) {
        return duration(name, Shape::Counter, hints);
    }
    if hints.has_class && !hints.has_ending {
        let mut chosen = chosen(Measure::Bodies(BodyCount::Classes), Kind::Counter);
        chosen.questions.push("counts the classes that answers hold as strings".to_owned());
        return Ok(chosen);
    }
    let mut chosen = chosen(Measure::Calls, Kind::Counter);
    if name.has(&map::FAILURES) {
        chosen.only = vec![Status::Failure];
        if !name.has(&map::CALLS) && !name.has(&map::SERVICES) {
            let question =
                "counts every call that failed; leave this family out if the app counted other errors";
            chosen.questions.push(question.to_owned());
        }
    } else if name.has(&map::SUCCESSES) {
        chosen.only = vec![Status::Success];
    } else if name.has(&map::CANCELLED) {
        chosen.only = vec![Status::Cancelled];
    } else if !name.has(&map::CALLS) {
        return undecided();
    } else if name.has(&map::PREDICTIONS) && !name.has(&["request", "requests", "calls"]) && !hints.has_ending
    {
        chosen.only = vec![Status::Success];
        chosen.questions.push("counts calls that succeeded; leave out `only` to count all".to_owned());
    }
    Ok(chosen)
}

fn gauge(name: &Name, hints: &Hints) -> Result<Chosen, Declined> {
    if name.has(&map::IN_FLIGHT) && name.has(&map::CALLS) {
        return Ok(chosen(Measure::InFlight, Kind::Gauge));
    }
    if name.text.ends_with("_info") && name.has(&["model", "app", "service", "api"]) {
        return Ok(chosen(Measure::Models, Kind::Info));
    }
    if name.follows("model", "version") && hints.has_model {
        return Ok(chosen(Measure::Models, Kind::Gauge));
    }
    if name.has(&map::TIMES) {
        return timed(name, Shape::Gauge, Measure::Distribution(Histogram::Duration), hints);
    }
    if name.has(&map::CALLS) && (hints.has_class || name.has(&map::COUNTS)) {
        let mut chosen = counter(name, hints)?;
        chosen.questions.push(
            "counts since Envoy started; leave this family out if the app set another value".to_owned(),
        );
        return Ok(chosen);
    }
    if name.has(&map::VALUES) {
        return Err(Declined::Unknowable(
            "a gauge holds the last prediction only; insight has prediction_value_bucket".to_owned(),
        ));
    }
    undecided()
}

fn chosen(measure: Measure, kind: Kind) -> Chosen {
    Chosen { measure, kind, unit: Unit::Seconds, only: Vec::new(), values: Vec::new(), questions: Vec::new() }
}

fn histogram(shape: Shape) -> Kind {
    if shape == Shape::Summary { Kind::Summary } else { Kind::Histogram }
}

fn undecided<T>() -> Result<T, Declined> {
    Err(Declined::Undecided("its name does not tell what it counts; only the app may know".to_owned()))
}

fn tokens(name: &Name) -> Vec<String> {
    let all = [("input", &map::INPUT_TOKENS[..]), ("output", &map::OUTPUT_TOKENS)];
    let named: BTreeSet<&str> =
        all.iter().filter(|(_, words)| name.has(words)).map(|(value, _)| *value).collect();
    if named.len() == 1 { named.into_iter().map(str::to_owned).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `measure kind only`, or `-`.
    #[track_caller]
    fn check(name: &str, shape: Shape, expected: &str) {
        let shown = match choose(name, shape, &Hints::default()) {
            Ok(chosen) => {
                let only: Vec<&str> = chosen.only.iter().map(|status| status.as_str()).collect();
                let values = chosen.values.join(",");
                let parts = [chosen.measure.as_str(), chosen.unit.as_str(), &only.join(","), &values];
                parts
                    .into_iter()
                    .filter(|part| !part.is_empty() && *part != "seconds")
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            Err(Declined::Undecided(_)) => "?".to_owned(),
            Err(Declined::Unknowable(_)) => "-".to_owned(),
        };
        assert_eq!(shown, expected, "{name}");
    }

    #[test]
    fn counters_of_calls_follow_their_words() {
        for name in
            ["http_requests_total", "churn_api_requests_total", "request_count", "ml_predict_calls_total"]
        {
            check(name, Shape::Counter, "calls");
        }
        check("ml_model_predictions_total", Shape::Counter, "calls success");
        check("house_price_predictions_total", Shape::Counter, "calls success");
        check("prediction_requests_total", Shape::Counter, "calls");
        check("model_prediction_errors_total", Shape::Counter, "calls failure");
        check("churn_errors_total", Shape::Counter, "calls failure");
        check("fastapi_exceptions_total", Shape::Counter, "calls failure");
        check("requests_success_total", Shape::Counter, "calls success");
        check("llm_prompt_tokens_total", Shape::Counter, "tokens input");
        check("request_duration_seconds_total", Shape::Counter, "duration");
        check("http_response_bytes_total", Shape::Counter, "response_bytes");
    }

    #[test]
    fn distributions_follow_their_words() {
        for name in
            ["prediction_latency_seconds", "model_inference_duration_seconds", "latency", "api_latency"]
        {
            check(name, Shape::Histogram, "duration");
        }
        check("fraud_processing_seconds", Shape::Histogram, "duration");
        check("inference_latency_ms", Shape::Histogram, "duration milliseconds");
        check("http_request_size_bytes", Shape::Summary, "request_bytes");
        check("prediction_confidence", Shape::Histogram, "value");
        check("prediction_batch_size", Shape::Histogram, "rows");
        check("llm_ttft_seconds", Shape::Histogram, "time_to_first_token");
        check("request_output_tokens", Shape::Histogram, "call_tokens output");
    }

    #[test]
    fn gauges_are_calls_in_flight_or_models() {
        check("http_requests_in_progress", Shape::Gauge, "in_flight");
        check("active_requests", Shape::Gauge, "in_flight");
        check("model_info", Shape::Gauge, "models");
        check("prediction_latency_seconds", Shape::Gauge, "-");
        check("prediction_score", Shape::Gauge, "-");
        check("active_users", Shape::Gauge, "?");
        check("request_count", Shape::Gauge, "calls");
        check("predictions_per_minute", Shape::Gauge, "?");
    }

    #[test]
    fn only_the_app_knows_the_rest() {
        for name in
            ["model_accuracy", "data_drift_score", "psi", "gpu_memory_used", "model_load_time_seconds"]
        {
            check(name, Shape::Gauge, "-");
        }
        check("db_query_duration_seconds", Shape::Histogram, "-");
        check("preprocessing_duration_seconds", Shape::Histogram, "-");
        check("batch_training_duration_seconds", Shape::Histogram, "-");
        check("cache_hits_total", Shape::Counter, "-");
        check("api_hits_total", Shape::Counter, "calls");
        check("forecast_squared_error_total", Shape::Counter, "-");
        check("tracking_logging_errors_total", Shape::Counter, "-");
        check("vllm:request_max_num_generation_tokens", Shape::Histogram, "-");
        check("vllm:iteration_tokens_total", Shape::Histogram, "-");
        check("tgi_request_input_length", Shape::Histogram, "-");
        check("nv_inference_compute_duration_us", Shape::Counter, "-");
        check("invalid_feedback_total", Shape::Counter, "-");
        check("positive_predictions_total", Shape::Counter, "-");
        check("timeout_errors_total", Shape::Counter, "-");
        check("fraud_total", Shape::Counter, "?");
        check("churn_seconds", Shape::Histogram, "?");
    }
}
