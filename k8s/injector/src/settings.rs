//! The operator's settings for all pods. A tenant cannot choose images or users.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::quantity::{Bound, NONE, Resource};
use crate::slots::{Part, Slot};

/// The maximum length of an image name.
const LONGEST_IMAGE: usize = 512;
const KNOWN: &str = "envoyImage, exporterImage, runAsUser, imagePullPolicy and resources";
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

/// The operator's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Image of Envoy.
    pub envoy_image: String,
    /// Image of the exporter, the module and `scoretap-sidecar`.
    pub exporter_image: String,
    /// User and group of the sidecar's containers. `None` if the platform assigns them, as OpenShift does.
    pub run_as_user: Option<i64>,
    /// The pull policy of both images. `None` means Kubernetes' default.
    pub image_pull_policy: Option<String>,
    /// Requests and limits of the sidecar's containers; a limit may be [`NONE`].
    resources: BTreeMap<(Part, Resource, Bound), String>,
}

/// CPU and memory of each container: the request, then the limit. CPU limits are ten times the requests, which passes a
/// LimitRange with `max: 1` and `maxLimitRequestRatio: 10`. A pod reserves the larger of setup's request and the sum of
/// the other two: 50m.
const DEFAULT_RESOURCES: [(Part, [[&str; 2]; 2]); 3] = [
    (Part::Setup, [["10m", "100m"], ["32Mi", "64Mi"]]),
    (Part::Envoy, [["40m", "400m"], ["96Mi", "256Mi"]]),
    (Part::Exporter, [["10m", "100m"], ["32Mi", "64Mi"]]),
];

/// The image of Envoy in the list of all images.
fn envoy_image() -> &'static str {
    let mut images = include_str!("../../images/bases.txt").lines();
    images.find(|image| image.starts_with("docker.io/envoyproxy/envoy:")).unwrap_or_default()
}

impl Default for Settings {
    fn default() -> Self {
        let mut resources = BTreeMap::new();
        for (part, by_resource) in DEFAULT_RESOURCES {
            for (resource, by_bound) in Resource::ALL.into_iter().zip(by_resource) {
                for (bound, text) in Bound::ALL.into_iter().zip(by_bound) {
                    resources.insert((part, resource, bound), text.to_owned());
                }
            }
        }
        Self {
            envoy_image: envoy_image().into(),
            exporter_image: concat!("scoretap-exporter:", env!("CARGO_PKG_VERSION")).into(),
            run_as_user: Some(65_532),
            image_pull_policy: None,
            resources,
        }
    }
}

impl Settings {
    /// Reads a settings file, YAML or JSON. A missing field keeps its default. Returns every fault at once.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let value: Value =
            serde_norway::from_str(text).map_err(|error| vec![format!("not YAML: {error}")])?;
        let mut reader = Reader { settings: Self::default(), faults: Vec::new() };
        match &value {
            Value::Null => {}
            Value::Object(fields) => reader.top(fields),
            other => reader.fault("settings", &shown(other), "write a map such as {envoyImage: IMAGE}"),
        }
        reader.check_limits();
        if reader.faults.is_empty() { Ok(reader.settings) } else { Err(reader.faults) }
    }

    /// The request or limit of a sidecar container.
    pub fn quantity(&self, part: Part, resource: Resource, bound: Bound) -> &str {
        self.resources.get(&(part, resource, bound)).map_or(NONE, String::as_str)
    }

    /// Sets the request or limit. A value that [`Bound::accepts`] rejects is an error.
    pub fn set_quantity(
        &mut self,
        part: Part,
        resource: Resource,
        bound: Bound,
        text: &str,
    ) -> Result<(), String> {
        if !bound.accepts(resource, text) {
            return Err(expected_quantity(resource, bound));
        }
        self.resources.insert((part, resource, bound), text.to_owned());
        Ok(())
    }
}

/// Checks an image name as a container runtime does. An invalid name would keep every injected pod from starting.
pub fn check_image(text: &str) -> Result<(), String> {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let is_part = |part: &str| {
        part.starts_with(|char: char| char.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
    };
    let is_digest = |digest: &str| {
        let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
        is_part(digest) && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if text.len() <= LONGEST_IMAGE && name.split('/').all(is_part) && digest.is_none_or(is_digest) {
        return Ok(());
    }
    Err("write NAME:TAG or NAME@sha256:DIGEST, such as registry.example/scoretap-exporter:0.1.0".into())
}

fn expected_quantity(resource: Resource, bound: Bound) -> String {
    let example = match resource {
        Resource::Cpu => "write 100m, 0.5 or 2",
        Resource::Memory => "write 64Mi or 1Gi",
    };
    match bound {
        Bound::Request => example.to_owned(),
        Bound::Limit => format!("{example}, or {NONE}"),
    }
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

struct Reader {
    settings: Settings,
    faults: Vec<String>,
}

impl Reader {
    fn fault(&mut self, place: &str, found: &str, expected: &str) {
        self.faults.push(format!("{place} is {found}; {expected}"));
    }

    fn top(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            match name.as_str() {
                "envoyImage" => self.image(name, value, |settings| &mut settings.envoy_image),
                "exporterImage" => self.image(name, value, |settings| &mut settings.exporter_image),
                "runAsUser" => self.run_as_user(value),
                "imagePullPolicy" => self.image_pull_policy(value),
                "resources" => self.resources(value),
                _ => self.unknown(name, KNOWN),
            }
        }
    }

    fn unknown(&mut self, place: &str, known: &str) {
        self.faults.push(format!("{place} is not a field; known are {known}"));
    }

    fn image(&mut self, name: &str, value: &Value, field: fn(&mut Settings) -> &mut String) {
        let text = value.as_str().unwrap_or_default();
        match check_image(text) {
            Ok(()) => text.clone_into(field(&mut self.settings)),
            Err(expected) => self.fault(name, &shown(value), &expected),
        }
    }

    fn run_as_user(&mut self, value: &Value) {
        match value.as_i64() {
            Some(user) if (1..=i64::from(i32::MAX)).contains(&user) => self.settings.run_as_user = Some(user),
            _ if value.is_null() => self.settings.run_as_user = None,
            _ => self.fault(
                "runAsUser",
                &shown(value),
                "write a user id from 1 on, or null if the platform assigns one",
            ),
        }
    }

    fn image_pull_policy(&mut self, value: &Value) {
        match value.as_str() {
            Some(policy) if PULL_POLICIES.contains(&policy) => {
                self.settings.image_pull_policy = Some(policy.to_owned());
            }
            _ if value.is_null() => self.settings.image_pull_policy = None,
            _ => self.fault("imagePullPolicy", &shown(value), "write Always, IfNotPresent or Never"),
        }
    }

    fn resources(&mut self, value: &Value) {
        for (name, value) in self.map("resources", value) {
            let place = format!("resources.{name}");
            match Part::ALL.into_iter().find(|part| part.as_str() == name) {
                Some(part) => self.part(&place, part, &value),
                None => self.unknown(&place, "setup, envoy and exporter"),
            }
        }
    }

    fn part(&mut self, place: &str, part: Part, value: &Value) {
        for (name, value) in self.map(place, value) {
            let place = format!("{place}.{name}");
            match Bound::ALL.into_iter().find(|bound| bound.field() == name) {
                Some(bound) => self.bound(&place, part, bound, &value),
                None => self.unknown(&place, "requests and limits"),
            }
        }
    }

    fn bound(&mut self, place: &str, part: Part, bound: Bound, value: &Value) {
        for (name, value) in self.map(place, value) {
            let place = format!("{place}.{name}");
            let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.as_str() == name) else {
                self.unknown(&place, "cpu and memory");
                continue;
            };
            let text = match &value {
                Value::Null if bound == Bound::Limit => NONE.to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if let Err(expected) = self.settings.set_quantity(part, resource, bound, &text) {
                self.fault(&place, &shown(&value), &expected);
            }
        }
    }

    fn map(&mut self, place: &str, value: &Value) -> Map<String, Value> {
        match value {
            Value::Null => Map::new(),
            Value::Object(fields) => fields.clone(),
            other => {
                self.fault(place, &shown(other), "write a map");
                Map::new()
            }
        }
    }

    /// The API server rejects a container that requests more than its limit.
    fn check_limits(&mut self) {
        for part in Part::ALL {
            for resource in Resource::ALL {
                let [request, limit] =
                    Bound::ALL.map(|bound| self.settings.quantity(part, resource, bound).to_owned());
                let pair = resource.parse(&request).zip(resource.parse(&limit));
                if pair.is_some_and(|(request, limit)| request > limit) {
                    let place = format!("resources.{}.requests.{}", part.as_str(), resource.as_str());
                    self.fault(&place, &request, &format!("write at most the limit, {limit}"));
                }
            }
        }
    }
}

impl Slot {
    /// The operator's value for this slot. `None` if the slot belongs to the pod or the operator set nothing.
    pub(crate) fn setting(self, settings: &Settings) -> Option<String> {
        match self {
            Self::EnvoyImage => Some(settings.envoy_image.clone()),
            Self::ExporterImage => Some(settings.exporter_image.clone()),
            Self::ImagePullPolicy => settings.image_pull_policy.clone(),
            Self::RunAsUser => settings.run_as_user.map(|user| user.to_string()),
            Self::Quantity(part, resource, bound) => {
                Some(settings.quantity(part, resource, bound).to_owned())
            }
            Self::EnvoyPort
            | Self::ReadyPort
            | Self::AppPort
            | Self::AppPortName
            | Self::Config
            | Self::ModelName
            | Self::ModelVersion
            | Self::ModelFramework
            | Self::Insight
            | Self::Dialect
            | Self::DialectConfig
            | Self::BaselineConfig
            | Self::Deployment => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_file_gives_the_defaults() {
        for text in ["", "{}", "# nothing\n", "resources: {}"] {
            assert_eq!(Settings::parse(text), Ok(Settings::default()), "{text}");
        }
    }

    #[test]
    fn file_changes_what_it_names() {
        let text = "
envoyImage: registry.example/envoy:1
runAsUser: null
imagePullPolicy: Always
resources:
  envoy: {requests: {cpu: 1}, limits: {cpu: none, memory: null}}
";
        let settings = Settings::parse(text).unwrap();
        let envoy = |resource, bound| settings.quantity(Part::Envoy, resource, bound);
        assert_eq!((settings.envoy_image.as_str(), settings.run_as_user), ("registry.example/envoy:1", None));
        assert_eq!(settings.image_pull_policy.as_deref(), Some("Always"));
        assert_eq!(envoy(Resource::Cpu, Bound::Request), "1");
        assert_eq!(envoy(Resource::Cpu, Bound::Limit), NONE);
        assert_eq!(envoy(Resource::Memory, Bound::Limit), NONE);
        assert_eq!(envoy(Resource::Memory, Bound::Request), "96Mi");
        assert_eq!(settings.exporter_image, Settings::default().exporter_image);
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let text = "
envoyImage: a b
exporterImage: 7
runAsUser: root
imagePullPolicy: Sometimes
insight: true
resources:
  app: {}
  setup: {request: {}}
  envoy: {requests: {cpu: none, gpu: 1}, limits: {memory: 10Mi}}
  exporter: 5
";
        let faults = Settings::parse(text).unwrap_err();
        let expected = [
            "envoyImage is \"a b\"; write NAME:TAG",
            "exporterImage is 7; write NAME:TAG",
            "runAsUser is \"root\"; write a user id",
            "imagePullPolicy is \"Sometimes\"; write Always, IfNotPresent or Never",
            "insight is not a field; known are envoyImage",
            "resources.app is not a field; known are setup, envoy and exporter",
            "resources.setup.request is not a field; known are requests and limits",
            "resources.envoy.requests.cpu is \"none\"; write 100m, 0.5 or 2",
            "resources.envoy.requests.gpu is not a field; known are cpu and memory",
            "resources.exporter is 5; write a map",
            "resources.envoy.requests.memory is 96Mi; write at most the limit, 10Mi",
        ];
        for expected in expected {
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {faults:#?}");
        }
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    }

    #[test]
    fn image_is_checked_as_a_runtime_does() {
        let digest = "a".repeat(64);
        for image in ["localhost:5000/a/b_c:v1.0-x", &format!("registry.example/a:1@sha256:{digest}")] {
            assert_eq!(check_image(image), Ok(()), "{image}");
        }
        for image in
            ["", "a b@@", " a", "a\n", "a//b", "/a", "a/", "-a", "a@", "a@sha256:", "a@sha256:xyz", "'a'"]
        {
            assert!(check_image(image).is_err(), "{image:?}");
        }
    }

    /// The defaults fit common LimitRanges and reserve what the docs promise.
    #[test]
    fn default_requests_reserve_at_most_50m() {
        let settings = Settings::default();
        let cpu = |part, bound| Resource::Cpu.parse(settings.quantity(part, Resource::Cpu, bound)).unwrap();
        let running = cpu(Part::Envoy, Bound::Request) + cpu(Part::Exporter, Bound::Request);
        assert!(running.max(cpu(Part::Setup, Bound::Request)) <= 50);
        for part in Part::ALL {
            let (request, limit) = (cpu(part, Bound::Request), cpu(part, Bound::Limit));
            assert!(limit <= 1000 && limit <= 10 * request, "{part:?}");
        }
    }
}
