//! What people see: the landing page and the answers to questions that are none of ours.

use std::fmt::Write;

use crate::reading::measured::Reading;
use crate::reading::summary::{self, Quantile, Quantiles, Row};
use crate::render::self_metrics::VERSION;

/// The page with the links and the table.
pub const LANDING: &str = "/";

/// 200 while the process serves.
pub const HEALTHY: &str = "/-/healthy";

/// 200 where Envoy can be read.
pub const READY: &str = "/-/ready";

/// Paths that nothing else can have.
pub const FIXED: [&str; 3] = [LANDING, HEALTHY, READY];

/// More rows than anybody reads.
const MOST_ROWS: usize = 100;

/// No script, no image, no font, nothing from elsewhere: it is to be read in a terminal, too.
const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}\
th,td{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums}caption{text-align:left;color:#666}.bad{color:#a00}";

/// The page with the links and the table; `read` is what Envoy said, or why it did not.
pub fn landing(telemetry_path: &str, read: Result<&Reading, String>) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Scoretap exporter</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n\
         <body>\n<h1>Scoretap exporter</h1>\n<p>Version {VERSION}</p>\n<ul>\n\
         <li><a href=\"{telemetry_path}\">Metrics</a></li>\n\
         <li><a href=\"{READY}\">Ready</a>: whether Envoy can be read</li>\n\
         <li><a href=\"{HEALTHY}\">Healthy</a>: whether this exporter runs</li>\n\
         </ul>\n"
    );
    match read {
        Ok(reading) => body(reading, &mut page),
        Err(fault) => {
            push(&mut page, format_args!("<p class=\"bad\">Envoy cannot be read: {}</p>\n", Html(&fault)));
        }
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// The answer where there is nothing.
pub fn not_found(telemetry_path: &str) -> String {
    format!("There is nothing here. There are {telemetry_path}, {HEALTHY}, {READY} and {LANDING}.\n")
}

fn body(reading: &Reading, page: &mut String) {
    match reading.config_valid {
        None => page
            .push_str("<p class=\"bad\">Envoy has no statistics of the filter: it is not installed.</p>\n"),
        Some(false) => page.push_str(
            "<p class=\"bad\">The filter's configuration is not valid; Envoy's log says why.</p>\n",
        ),
        Some(true) => {}
    }
    let in_flight = reading.in_flight.map_or_else(|| "unknown".to_owned(), |calls| calls.to_string());
    push(
        page,
        format_args!("<p>In flight: {in_flight}. Calls that no route matched: {}.</p>\n", reading.unmatched),
    );
    let (rows, all) = summary::rows(reading, MOST_ROWS);
    let caption = if rows.len() < all {
        format!("Since Envoy started; the {} busiest of {all}", rows.len())
    } else {
        "Since Envoy started".to_owned()
    };
    push(
        page,
        format_args!(
            "<table>\n<caption>{caption}</caption>\n<tr><th>Route</th><th>Model</th><th>Version</th>\
             <th class=\"n\">Requests</th><th class=\"n\">p50</th><th class=\"n\">p95</th><th class=\"n\">p99</th>\
             <th>Errors by type</th></tr>\n"
        ),
    );
    rows.iter().for_each(|one| row(one, page));
    page.push_str("</table>\n");
}

fn row(row: &Row<'_>, page: &mut String) {
    let Row { route, model, version, requests, errors, quantiles } = row;
    let Quantiles { p50, p95, p99 } = quantiles;
    let errors: Vec<String> = errors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    push(
        page,
        format_args!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{requests}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            Html(route),
            Html(model),
            Html(version),
            time(*p50),
            time(*p95),
            time(*p99),
            errors.join(", ")
        ),
    );
}

fn time(quantile: Quantile) -> String {
    match quantile {
        Quantile::None => "–".to_owned(),
        Quantile::About(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Quantile::About(seconds) => format!("{seconds:.2} s"),
        Quantile::Above(seconds) => format!("&gt; {seconds} s"),
    }
}

/// Text between tags: names come from paths that callers chose.
struct Html<'a>(&'a str);

impl std::fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// Writing to a `String` has no way to fail.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    let written = page.write_fmt(text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::decode::Decoder;
    use crate::reading::identity::Identity;

    #[test]
    fn names_cannot_become_tags() {
        let identity = Identity::default();
        let mut decoder = Decoder::new(&identity);
        let name = "%3Cscript%3E%22%26%0A";
        decoder.line(&format!("wasmcustom.scoretap.call.score.{name}.~.POST./score.200.success: 3")).unwrap();
        let page = landing("/metrics", Ok(&decoder.finish(&[])));
        assert!(
            page.contains("<td>&lt;script&gt;&quot;&amp;\u{fffd}</td>") && !page.contains("<script"),
            "{page}"
        );
    }

    #[test]
    fn without_envoy_the_links_are_there_and_the_reason() {
        let page = landing("/m", Err("cannot <connect>".to_owned()));
        assert!(
            page.contains("href=\"/m\"") && page.contains("cannot be read: cannot &lt;connect&gt;"),
            "{page}"
        );
        assert!(!page.contains("<table>"));
    }
}
