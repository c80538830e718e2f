//! The landing page: each route and model with its outcomes and latencies, and what is wrong.
//!
//! It needs no script, image, font or Prometheus.

use std::fmt::{self, Write};

use scoretap_core::outcome::{Outcome, Status};

use crate::as_float;
use crate::http::pages::{HEALTHY, READY};
use crate::reading::measured::{EnvoyRequests, Reading, VmReloads};
use crate::reading::summary::{self, Answers, Generations, Quantile, Quantiles, Row};
use crate::render::self_metrics::VERSION;

/// The page shows the busiest rows; nobody reads more.
const MOST_ROWS: usize = 100;

/// A smaller share of unseen calls is not reported: they may have ended between the two counts.
const BLIND_SHARE: f64 = 0.01;

const STYLE: &str = include_str!("landing.css");

/// The content of the page.
#[derive(Debug)]
pub struct Landing<'a> {
    /// Where the metrics are.
    pub telemetry_path: &'a str,
    /// The last read, or why Envoy cannot be read.
    pub read: Result<&'a Reading, String>,
    /// Families, and the bounds that each asks for but the filter does not have.
    pub missing_bounds: Vec<(&'a str, Vec<u64>)>,
    /// The reasons not to serve files of the environment.
    pub file_faults: &'a [String],
}

impl Landing<'_> {
    /// The whole document.
    pub fn html(&self) -> String {
        let Self { telemetry_path, .. } = self;
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Scoretap exporter</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><style>{STYLE}</style></head>\n\
             <body>\n<header><h1>Scoretap exporter</h1><p>Version {VERSION}</p>\n\
             <nav><a href=\"{telemetry_path}\">Metrics</a> <a href=\"{READY}\">Ready</a> \
             <a href=\"{HEALTHY}\">Healthy</a></nav></header>\n<main>\n"
        );
        let warnings = self.warnings();
        if !warnings.is_empty() {
            page.push_str("<ul class=\"warnings\">\n");
            warnings.iter().for_each(|warning| push(&mut page, format_args!("<li>{}</li>\n", Html(warning))));
            page.push_str("</ul>\n");
        }
        if let Ok(reading) = self.read {
            body(reading, &mut page);
        }
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    /// Everything that makes the numbers incomplete.
    fn warnings(&self) -> Vec<String> {
        let reading = match &self.read {
            Ok(reading) => reading,
            Err(fault) => return vec![format!("Envoy cannot be read: {fault}")],
        };
        let mut warnings = Vec::new();
        match reading.config_valid {
            None => warnings.push("Envoy has no statistics of the filter: it is not installed.".to_owned()),
            Some(false) => {
                warnings.push(
                    "The filter's configuration is not valid. Envoy's log names each error.".to_owned(),
                );
            }
            Some(true) => {}
        }
        let not_served = |fault| format!("A file of the pod's own is not served: {fault}");
        warnings.extend(self.file_faults.iter().map(not_served));
        warnings.extend(blind(reading));
        if reading.in_flight.is_none() {
            warnings.push("Calls in flight are unknown: no cluster matches --envoy.app-cluster.".to_owned());
        }
        if let Some(VmReloads { success, failure, backoff }) = reading.vm_reloads
            && success.saturating_add(failure).saturating_add(backoff) > 0
        {
            warnings.push(format!(
                "A VM of the filter crashed: Envoy restarted it {success} times, failed to {failure} times and \
                 postponed that {backoff} times."
            ));
        }
        if reading.overflow > 0 {
            let calls = reading.overflow;
            warnings.push(format!(
                "{calls} calls are counted as model \"other\": there are more models than max_series, a name cannot be \
                 a label, or no call showed that the model exists."
            ));
        }
        if reading.unknown > 0 {
            let unknown = reading.unknown;
            warnings
                .push(format!("{unknown} statistics are not understood: the filter is of another release."));
        }
        for (family, bounds) in &self.missing_bounds {
            let bounds: Vec<String> =
                bounds.iter().map(|bound| (as_float(*bound) / 1e9).to_string()).collect();
            let bounds = bounds.join(", ");
            warnings.push(format!(
                "{family} lacks the buckets of {bounds}: add them to the filter's bounds_seconds."
            ));
        }
        warnings
    }
}

/// A warning if Envoy finished requests that the filter did not see.
fn blind(reading: &Reading) -> Option<String> {
    let Some(EnvoyRequests { finished, .. }) = reading.envoy_requests else {
        return Some("Blind calls cannot be noticed: no listener matches --envoy.stat-prefix.".to_owned());
    };
    let seen = reading.matched.saturating_add(reading.unmatched);
    let missing = finished.saturating_sub(seen);
    (as_float(missing) > BLIND_SHARE * as_float(finished) && missing > 1).then(|| {
        format!("The filter is blind: Envoy finished {finished} requests, and the filter saw {seen} of them.")
    })
}

fn body(reading: &Reading, page: &mut String) {
    let in_flight = reading.in_flight.map_or_else(|| "unknown".to_owned(), |calls| calls.to_string());
    push(
        page,
        format_args!(
            "<dl><div><dt>In flight</dt><dd>{in_flight}</dd></div>\
             <div><dt>Matched a route</dt><dd>{}</dd></div>\
             <div><dt>No route matched</dt><dd>{}</dd></div></dl>\n",
            reading.matched, reading.unmatched
        ),
    );
    let (rows, all) = summary::rows(reading, MOST_ROWS);
    let count = rows.len();
    if count < all {
        push(page, format_args!("<p>Since Envoy started; the {count} busiest of {all}.</p>\n"));
    } else {
        page.push_str("<p>Since Envoy started.</p>\n");
    }
    rows.iter().for_each(|one| row(one, page));
}

fn row(row: &Row<'_>, page: &mut String) {
    let Row { route, model, version, requests, outcomes, cells, quantiles, answers } = row;
    let Quantiles { p50, p95, p99 } = quantiles;
    push(
        page,
        format_args!(
            "<section><h2><b>{}</b> <span>{} {}</span></h2>\n\
             <p>{requests} calls, p50 {}, p95 {}, p99 {}</p>\n",
            Html(route),
            Html(model),
            Html(version),
            Time(*p50),
            Time(*p95),
            Time(*p99)
        ),
    );
    if *requests > 0 {
        bar(*requests, outcomes, page);
        distribution(cells, page);
    }
    if let Some(answers) = answers {
        bodies(answers, page);
    }
    page.push_str("</section>\n");
}

/// The content of the bodies.
fn bodies(answers: &Answers, page: &mut String) {
    let Answers { rows, errors, generations } = answers;
    if let Some(rows) = rows {
        push(page, format_args!("<p>{rows} predictions</p>\n"));
    }
    if let Some(Generations { input, output, without_usage, first_token }) = generations {
        let Quantiles { p50, p95, p99 } = *first_token;
        push(
            page,
            format_args!(
                "<p>{input} input tokens, {output} output tokens, {without_usage} answers without a usage; first token \
                 p50 {}, p95 {}, p99 {}</p>\n",
                Time(p50),
                Time(p95),
                Time(p99)
            ),
        );
    }
    if *errors > 0 {
        push(page, format_args!("<p>{errors} successful responses report an error in their body</p>\n"));
    }
}

/// The shares of all outcomes as one bar, and their counts as text.
fn bar(requests: u64, outcomes: &[(Outcome, u64)], page: &mut String) {
    page.push_str(
        "<svg class=\"bar\" viewBox=\"0 0 1000 1\" preserveAspectRatio=\"none\" role=\"img\" \
                   aria-label=\"Outcomes\">",
    );
    let mut from = 0.0;
    for (outcome, count) in outcomes {
        let width = 1000.0 * as_float(*count) / as_float(requests);
        let (class, name) = (class(*outcome), outcome.as_str());
        push(
            page,
            format_args!(
                "<rect class=\"{class}\" x=\"{from:.1}\" width=\"{width:.1}\" height=\"1\"><title>{name}: {count}\
                 </title></rect>"
            ),
        );
        from += width;
    }
    page.push_str("</svg>\n<ul class=\"legend\">");
    for (outcome, count) in outcomes {
        let (class, name) = (class(*outcome), outcome.as_str());
        let share = 100.0 * as_float(*count) / as_float(requests);
        push(page, format_args!("<li class=\"{class}\">{name} {count} ({share:.1} %)</li>"));
    }
    page.push_str("</ul>\n");
}

fn class(outcome: Outcome) -> &'static str {
    match outcome.status() {
        Status::Success => "success",
        Status::Failure => "failure",
        Status::Cancelled => "cancelled",
    }
}

/// One column for each bucket from the first to the last that has calls.
fn distribution(cells: &[(Option<u64>, u64)], page: &mut String) {
    const COLUMN: usize = 40;
    const HEIGHT: f64 = 60.0;
    let is_used = |(_, count): &(Option<u64>, u64)| *count > 0;
    let (Some(first), Some(last)) = (cells.iter().position(is_used), cells.iter().rposition(is_used)) else {
        return;
    };
    let shown = cells.get(first..=last).unwrap_or_default();
    let most = shown.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let width = shown.len() * COLUMN;
    push(
        page,
        format_args!(
            "<svg class=\"latency\" viewBox=\"0 0 {width} 92\" style=\"max-width:{width}px\" role=\"img\" \
             aria-label=\"Latency distribution\">"
        ),
    );
    for (index, (bound, count)) in shown.iter().enumerate() {
        let x = index * COLUMN;
        let height = HEIGHT * as_float(*count) / as_float(most);
        let y = 14.0 + HEIGHT - height;
        let label = Bound(*bound);
        push(
            page,
            format_args!(
                "<g><title>{label}: {count} calls</title><rect x=\"{}\" y=\"{y:.1}\" width=\"36\" height=\"{height:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\">{count}</text><text x=\"{}\" y=\"88\">{label}</text></g>",
                x + 2,
                x + COLUMN / 2,
                y - 3.0,
                x + COLUMN / 2
            ),
        );
    }
    page.push_str("</svg>\n");
}

/// The upper bound of a bucket.
struct Bound(Option<u64>);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("more"),
            Some(bound) if bound < 1_000_000_000 => write!(f, "{} ms", as_float(bound) / 1e6),
            Some(bound) => write!(f, "{} s", as_float(bound) / 1e9),
        }
    }
}

struct Time(Quantile);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Quantile::None => f.write_str("–"),
            Quantile::About(seconds) if seconds < 1.0 => write!(f, "{:.1} ms", seconds * 1e3),
            Quantile::About(seconds) => write!(f, "{seconds:.2} s"),
            Quantile::Above(seconds) => write!(f, "&gt; {seconds} s"),
        }
    }
}

/// Displays text with HTML escapes, because callers choose some names.
struct Html<'a>(&'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                control if control.is_control() => f.write_char('\u{fffd}')?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

fn push(page: &mut String, text: fmt::Arguments<'_>) {
    let written = page.write_fmt(text);
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::decode::Decoder;
    use crate::reading::identity::Identity;

    /// The page for what Envoy reports.
    fn page(lines: &[&str]) -> String {
        let identity = Identity::default();
        let mut decoder = Decoder::new(&identity);
        lines.iter().for_each(|line| decoder.line(line).unwrap());
        let reading = decoder.finish(&[]);
        Landing {
            telemetry_path: "/metrics",
            read: Ok(&reading),
            missing_bounds: Vec::new(),
            file_faults: &[],
        }
        .html()
    }

    #[track_caller]
    fn check_warnings(lines: &[&str], expected: &[&str]) {
        let page = page(lines);
        assert_eq!(page.matches("<li>").count(), expected.len(), "{page}");
        expected.iter().for_each(|words| assert!(page.contains(words), "{words}: {page}"));
    }

    const SOUND: [&str; 5] = [
        "cluster.app.upstream_rq_active: 2",
        "http.inbound.downstream_rq_active: 0",
        "http.inbound.downstream_rq_total: 100",
        "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 100",
        "wasmcustom.scoretap.config: 1",
    ];

    #[test]
    fn names_cannot_become_tags() {
        let name = "%3Cscript%3E%22%26%0A";
        let page = page(&[&format!("wasmcustom.scoretap.call.score.{name}.~.POST./score.200.success: 3")]);
        assert!(page.contains("&lt;script&gt;&quot;&amp;\u{fffd}") && !page.contains("<script"), "{page}");
    }

    #[test]
    fn page_without_envoy_has_links_and_reason() {
        let read = Err("cannot <connect>".to_owned());
        let page =
            Landing { telemetry_path: "/m", read, missing_bounds: Vec::new(), file_faults: &[] }.html();
        let reason = "cannot be read: cannot &lt;connect&gt;";
        assert!(
            page.contains("href=\"/m\"") && page.contains(reason) && !page.contains("<section>"),
            "{page}"
        );
    }

    #[test]
    fn sound_pod_has_no_warning() {
        check_warnings(&SOUND, &[]);
    }

    #[test]
    fn each_fault_is_one_warning() {
        check_warnings(&[], &["not installed", "--envoy.app-cluster", "--envoy.stat-prefix"]);
        check_warnings(
            &[&SOUND[..2], &["http.inbound.downstream_rq_total: 300"], &SOUND[3..]].concat(),
            &["blind"],
        );
        check_warnings(&[&SOUND[..4], &["wasmcustom.scoretap.config: 0"]].concat(), &["is not valid"]);
        let crashed = ["wasm.scoretap.vm_reload_success: 3"];
        check_warnings(&[&SOUND[..], &crashed].concat(), &["restarted it 3 times"]);
        check_warnings(&[&SOUND[..], &["wasmcustom.scoretap.new: 1"]].concat(), &["another release"]);
        let other = ["wasmcustom.scoretap.call.score.*.*.POST./score.200.success: 3"];
        check_warnings(
            &[&SOUND[..], &other].concat(),
            &["3 calls are counted as model \"other\"".replace('"', "&quot;").as_str()],
        );
    }

    #[test]
    fn missing_bounds_are_a_warning() {
        let page = Landing {
            telemetry_path: "/m",
            read: Ok(&Reading::default()),
            missing_bounds: vec![("a_seconds", vec![250_000_000])],
            file_faults: &[],
        };
        assert!(page.html().contains("<li>a_seconds lacks the buckets of 0.25: "), "{}", page.html());
    }

    #[test]
    fn bodies_have_lines_only_where_read() {
        let call = "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 3";
        let row = "wasmcustom.scoretap.read.score.~.~";
        let page = page(&[call]);
        assert!(!page.contains("predictions") && !page.contains("tokens"), "{page}");
        let rows = [format!("{row}.rows.1: 3"), format!("{row}.rows_sum: 6"), format!("{row}.errors: 2")];
        let lines = [call, &rows[0], &rows[1], &rows[2]];
        let page = self::page(&lines);
        for part in ["<p>6 predictions</p>", "<p>2 successful responses report an error in their body</p>"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let usage = ["usage.absent: 1", "tokens.input: 20", "tokens.output: 9", "first_token.8: 2"];
        let usage = usage.map(|reading| format!("{row}.{reading}"));
        let page = self::page(&[call, &usage[0], &usage[1], &usage[2], &usage[3]]);
        let expected = "<p>20 input tokens, 9 output tokens, 1 answers without a usage; first token p50 175.0 ms, p95 \
                        242.5 ms, p99 248.5 ms</p>";
        assert!(page.contains(expected) && !page.contains("predictions"), "{page}");
    }

    #[test]
    fn bar_and_columns_show_every_call() {
        let page = page(&[
            "wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 3",
            "wasmcustom.scoretap.call.score.~.~.POST./score.500.model_error: 1",
            "wasmcustom.scoretap.cell.score.~.~.POST./score.duration.success.5000000: 3",
            "wasmcustom.scoretap.cell.score.~.~.POST./score.duration.failure.inf: 1",
        ]);
        for part in [
            "<rect class=\"success\" x=\"0.0\" width=\"750.0\" height=\"1\"><title>success: 3</title>",
            "<rect class=\"failure\" x=\"750.0\" width=\"250.0\"",
            "model_error 1 (25.0 %)",
            "<title>5 ms: 3 calls</title>",
            "<title>more: 1 calls</title>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
