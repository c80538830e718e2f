//! The series of kube-state-metrics and cAdvisor for the pods of the proof, served from text.

use std::net::SocketAddr;

use scoretap_tests::monitoring;

/// Serves the page until the process ends. Both sources at once: rules and panels cannot tell the difference.
pub(crate) fn serve() -> SocketAddr {
    let mut scrapes = 0..;
    monitoring::serve(move || page(scrapes.next().unwrap())).unwrap()
}

fn page(scrapes: usize) -> String {
    let mut page = String::new();
    for (namespace, pod, deployment) in [("tenant-a", "app-1", "app"), ("tenant-b", "broken-1", "broken")] {
        let own = format!(r#"namespace="{namespace}",pod="{pod}""#);
        let container = format!(r#"{own},container="app""#);
        let deployment = format!(r#"namespace="{namespace}",deployment="{deployment}""#);
        let seconds = scrapes as f64 / 4.0;
        for line in [
            format!(r#"kube_pod_status_phase{{{own},phase="Running"}} 1"#),
            format!(r#"kube_pod_status_ready{{{own},condition="true"}} 1"#),
            format!("kube_pod_container_status_restarts_total{{{container}}} 1"),
            format!(r#"kube_pod_container_status_waiting_reason{{{container},reason="CrashLoopBackOff"}} 0"#),
            format!(r#"kube_pod_container_resource_limits{{{container},resource="cpu",unit="core"}} 1"#),
            format!(
                r#"kube_pod_container_resource_limits{{{container},resource="memory",unit="byte"}} 1e+09"#
            ),
            format!(r#"container_cpu_usage_seconds_total{{{container},cpu="total",id="/a"}} {seconds}"#),
            format!(r#"container_memory_working_set_bytes{{{container},id="/a"}} 4e+08"#),
            format!(
                r#"container_cpu_usage_seconds_total{{{own},container="scoretap",id="/b"}} {}"#,
                seconds / 9.0
            ),
            format!(r#"container_memory_working_set_bytes{{{own},container="scoretap",id="/b"}} 5e+07"#),
            format!("kube_deployment_status_replicas_available{{{deployment}}} 1"),
            format!("kube_deployment_spec_replicas{{{deployment}}} 1"),
            // The values set no capacity by default.
            format!(r#"scoretap_pod_calls_limit{{namespace="{namespace}"}} 8"#),
        ] {
            page.push_str(&line);
            page.push('\n');
        }
    }
    page
}
