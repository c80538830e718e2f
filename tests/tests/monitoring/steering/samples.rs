//! Eighty minutes of scrapes up to now, one namespace for each situation. Rates are per scrape.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

const SCRAPE: u64 = 15;
const MINUTE: u64 = 60;

/// A pod, and for how many seconds before now it was scraped.
#[derive(Clone, Copy)]
struct Pod {
    namespace: &'static str,
    name: &'static str,
    deployment: &'static str,
    model: &'static str,
    version: &'static str,
    route: &'static str,
    from: u64,
    to: u64,
}

/// Calls in one scrape: fast ones take up to half a second, slow ones more than one.
#[derive(Clone, Copy, Default)]
struct Calls {
    fast: f64,
    slow: f64,
    failed: f64,
}

struct Samples {
    now: u64,
    /// By name, because an exposition lists a family's samples together.
    families: BTreeMap<&'static str, String>,
}

impl Samples {
    fn add(&mut self, pod: &Pod, name: &'static str, labels: &str, value: impl Fn(f64) -> f64) {
        let Pod { namespace, name: pod_name, model, version, .. } = pod;
        let own = format!(r#"namespace="{namespace}",model_name="{model}",model_version="{version}""#);
        let start = self.now - pod.from;
        let lines = self.families.entry(name).or_default();
        for (scrape, time) in (start..=self.now - pod.to).step_by(SCRAPE as usize).enumerate() {
            let value = value(scrape as f64);
            writeln!(lines, "{name}{{{own},pod=\"{pod_name}\"{labels}}} {value} {time}").unwrap();
        }
    }

    fn pod(&mut self, pod: &Pod, in_flight: f64) {
        self.add(pod, "model_info", &format!(",deployment=\"{}\"", pod.deployment), |_| 1.0);
        self.add(pod, "prediction_requests_in_flight", "", |_| in_flight);
    }

    fn calls(&mut self, pod: &Pod, calls: Calls) {
        let Calls { fast, slow, failed } = calls;
        let route = format!(",route=\"{}\"", pod.route);
        for (status, rate) in [("success", fast + slow), ("failure", failed)] {
            let labels = format!("{route},status=\"{status}\"");
            self.add(pod, "prediction_requests_total", &labels, |scrape| scrape * rate);
        }
        let labels = format!("{route},error_type=\"model_error\"");
        self.add(pod, "prediction_errors_total", &labels, |scrape| scrape * failed);
        let all = fast + slow;
        for (le, rate) in [("0.25", 0.0), ("0.5", fast), ("1.0", fast), ("2.5", all), ("+Inf", all)] {
            let labels = format!("{route},status=\"success\",le=\"{le}\"");
            self.add(pod, "prediction_duration_seconds_bucket", &labels, |scrape| scrape * rate);
        }
    }

    /// All between 0.5 and 1 s.
    fn first_tokens(&mut self, pod: &Pod, rate: f64) {
        let route = format!(",route=\"{}\"", pod.route);
        for (le, rate) in [("0.5", 0.0), ("1.0", rate), ("+Inf", rate)] {
            let labels = format!("{route},le=\"{le}\"");
            self.add(pod, "prediction_time_to_first_token_seconds_bucket", &labels, |scrape| scrape * rate);
        }
        self.add(pod, "prediction_time_to_first_token_seconds_count", &route, |scrape| scrape * rate);
    }

    fn predictions(&mut self, pod: &Pod, first: f64, second: f64) {
        for (bin, rate) in [("a", first), ("b", second)] {
            let labels = format!(",route=\"{}\",bin=\"{bin}\"", pod.route);
            self.add(pod, "prediction_value_cells_total", &labels, |scrape| scrape * rate);
        }
    }

    /// A model and an LLM in two pods each, with so many calls in flight.
    fn workload(&mut self, namespace: &'static str, to: u64, in_flight: [f64; 2]) -> Vec<Pod> {
        let mut pods = Vec::new();
        for (model, route, names) in
            [("churn", "score", ["churn-1", "churn-2"]), ("llm", "openai", ["llm-1", "llm-2"])]
        {
            for (name, in_flight) in names.into_iter().zip(in_flight) {
                let (deployment, version, from) = (model, "1", 80 * MINUTE);
                let pod = Pod { namespace, name, deployment, model, version, route, from, to };
                self.pod(&pod, in_flight);
                pods.push(pod);
            }
        }
        pods
    }

    fn busy(&mut self, namespace: &'static str, to: u64) {
        for pod in self.workload(namespace, to, [3.0, 5.0]) {
            self.calls(&pod, Calls { fast: 30.0, ..Calls::default() });
            if pod.model == "llm" {
                self.first_tokens(&pod, 30.0);
            }
        }
    }

    /// Less than one call a minute.
    fn idle(&mut self, namespace: &'static str) {
        for pod in self.workload(namespace, 0, [0.0, 0.0]) {
            self.calls(&pod, Calls { fast: 0.1, ..Calls::default() });
            if pod.model == "llm" {
                self.first_tokens(&pod, 0.1);
            }
        }
    }

    /// No call of one model succeeds, and Insight does not see those of the other.
    fn blind(&mut self, namespace: &'static str) {
        for pod in self.workload(namespace, 0, [3.0, 5.0]) {
            let succeeds = pod.model == "llm";
            let (fast, failed) = if succeeds { (30.0, 0.0) } else { (0.0, 30.0) };
            self.calls(&pod, Calls { fast, slow: 0.0, failed });
        }
    }

    /// A new version, for half an hour before `to`, with these shares of 10 calls and predictions in a scrape.
    fn canary(&mut self, namespace: &'static str, to: u64, calls: f64, predictions: f64, is_worse: bool) {
        let (model, route) = ("churn", "score");
        let (name, deployment) = ("churn-old-1", "churn-primary");
        let old = Pod { namespace, name, deployment, model, version: "1", route, from: 80 * MINUTE, to };
        let (name, deployment, from) = ("churn-new-1", "churn", 30 * MINUTE + to);
        let new = Pod { name, deployment, version: "2", from, ..old };
        let good = Calls { fast: 40.0, ..Calls::default() };
        let worse = Calls { fast: 6.0 * calls, slow: 2.0 * calls, failed: 2.0 * calls };
        let equal = Calls { fast: 10.0 * calls, ..Calls::default() };
        for (pod, calls, first_seen) in [(old, good, 1.0), (new, if is_worse { worse } else { equal }, 2.0)] {
            self.pod(&pod, 1.0);
            self.calls(&pod, calls);
            self.add(&pod, "namespace_model_version:first_seen:timestamp_seconds", "", |_| first_seen);
        }
        self.predictions(&old, 20.0, 20.0);
        let (first, second) = if is_worse { (8.0, 2.0) } else { (5.0, 5.0) };
        self.predictions(&new, first * predictions, second * predictions);
    }
}

/// The namespaces of the tests in OpenMetrics' format.
pub(super) fn exposition() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut samples = Samples { now, families: BTreeMap::new() };
    samples.busy("busy", 0);
    samples.idle("idle");
    samples.busy("gone", 10 * MINUTE);
    samples.blind("blind");
    samples.canary("worse", 0, 1.0, 1.0, true);
    samples.canary("equal", 0, 1.0, 1.0, false);
    // Longer ago than the rules look.
    samples.canary("over", 65 * MINUTE, 1.0, 1.0, true);
    // 72 calls, where the rules need 100.
    samples.canary("few", 0, 0.06, 1.0, true);
    // 72 predictions, where chance alone could reach the limit.
    samples.canary("vague", 0, 1.0, 0.06, true);
    samples.families.into_values().collect::<String>() + "# EOF\n"
}
