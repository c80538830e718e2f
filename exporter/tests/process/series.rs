//! The number of samples that a pod exports is the cost of a fleet in Prometheus.

use crate::envoy::{self, Fake};
use crate::exporter::Exporter;
use crate::web::Folder;

/// Envoy's statistics of a pod whose listener has the filter, with reloads.
const POD: &str = "\
    cluster.app.upstream_rq_active: 0\n\
    http.inbound.downstream_rq_active: 0\n\
    http.inbound.downstream_rq_total: 16\n\
    wasm.scoretap.vm_reload_backoff: 0\n\
    wasm.scoretap.vm_reload_failure: 0\n\
    wasm.scoretap.vm_reload_success: 0\n\
    wasmcustom.scoretap.config: 1\n";

const SUCCESSES: &str = "\
    wasmcustom.scoretap.call.score.~.~.POST./score.200.success: 12\n\
    wasmcustom.scoretap.cell.score.~.~.POST./score.duration.success.10000000: 12\n\
    wasmcustom.scoretap.sum.score.~.~.POST./score.duration.success: 60000000\n";

const FAILURES: &str = "\
    wasmcustom.scoretap.call.score.~.~.POST./score.500.model_error: 4\n\
    wasmcustom.scoretap.cell.score.~.~.POST./score.duration.failure.10000000: 4\n\
    wasmcustom.scoretap.sum.score.~.~.POST./score.duration.failure: 20000000\n";

/// Scrapes twice, so that the exporter's own counters have all been used. A web configuration adds metrics.
#[track_caller]
fn check_samples(stats: &[&str], most: usize) {
    let stats = stats.concat();
    let envoy = Fake::unix(move |stream| envoy::answer(stream, "200 OK", stats.as_bytes()));
    let folder = Folder::new();
    let web = folder.write("web.yaml", "http_server_config: {headers: {X-Frame-Options: deny}}\n");
    let exporter = Exporter::start(&["--envoy.admin", envoy.url(), "--web.config.file", &web]);
    exporter.get("/metrics", &[]);
    let body = exporter.get("/metrics", &[]).body;
    let samples = body.lines().filter(|line| !line.starts_with('#')).count();
    assert!(samples <= most, "{samples} samples, more than {most}:\n{body}");
}

#[test]
fn pod_with_successes_exports_at_most_60_samples() {
    check_samples(&[POD, SUCCESSES], 60);
}

#[test]
fn pod_with_failures_exports_at_most_80_samples() {
    check_samples(&[POD, SUCCESSES, FAILURES], 80);
}
