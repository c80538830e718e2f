//! The plot: a bar for each variant, with the quartiles as a line across its end.

use std::fmt::Write;

use super::kind::{Kind, Path};
use super::samples::{Cell, Samples, Spread};
use super::variant::Variant;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 320.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 14.0;
const GROUP: f64 = 44.0;
const TOP: f64 = 64.0;

const COLOURS: [(Path, &str); 2] = [(Path::Matched, "#3b6ea5"), (Path::Unmatched, "#a9c4de")];

/// The figures of one worker and POST of 1 KB, for light and dark pages.
pub(super) fn svg(samples: &Samples) -> String {
    let variants: Vec<Variant> =
        Variant::ALL.into_iter().filter(|variant| *variant != Variant::Nothing).collect();
    let spread = |variant, path| {
        let cell = Cell { workers: 1, kind: Kind::Post1K, path };
        samples.added(variant, cell, |sample| sample.cpu)
    };
    let all = variants.iter().flat_map(|variant| Path::ALL.map(|path| spread(*variant, path).high));
    let scale = (WIDTH - LEFT - RIGHT) / all.fold(1.0, f64::max);
    let height = TOP + GROUP * variants.len() as f64 + 10.0;
    let mut out = head(height);
    for (row, variant) in variants.iter().enumerate() {
        let top = TOP + GROUP * row as f64;
        text(&mut out, LEFT - 10.0, top + BAR + 4.0, "end", variant.title());
        for (position, (path, colour)) in COLOURS.into_iter().enumerate() {
            bar(&mut out, top + (BAR + 2.0) * position as f64, scale, spread(*variant, path), colour);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn head(height: f64) -> String {
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        ),
    );
    text(
        &mut out,
        16.0,
        24.0,
        "start",
        "CPU that Envoy spends more on a call, in microseconds (POST of 1 KB, one worker)",
    );
    for (position, (path, colour)) in COLOURS.into_iter().enumerate() {
        let x = LEFT + 110.0 * position as f64;
        put(
            &mut out,
            format_args!("<rect x=\"{x}\" y=\"38\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n"),
        );
        text(&mut out, x + 18.0, 49.0, "start", path.title());
    }
    out
}

fn bar(out: &mut String, top: f64, scale: f64, spread: Spread, colour: &str) {
    let [median, low, high] = [spread.median, spread.low, spread.high].map(|value| value.max(0.0) * scale);
    let (middle, from, to) = (top + BAR / 2.0, LEFT + low, LEFT + high);
    put(
        out,
        format_args!(
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{median:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"#222\" stroke-width=\"1.5\"/>\n"
        ),
    );
    text(out, to.max(LEFT + median) + 8.0, middle + 4.5, "start", &format!("{:.1}", spread.median));
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    put(
        out,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{text}</text>\n"
        ),
    );
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` has no way to fail.
    let _ = out.write_fmt(text);
}
