//! The identity of this pod: the model of calls that do not name one.

use scoretap_core::name::Model;

/// The value of a label whose value is not known.
pub const UNKNOWN: &str = "unknown";

/// The model name and version of all calls beyond the filter's limit of series.
pub const OTHER: &str = "other";

/// The pod's environment. The injector fills it through the downward API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `MODEL_NAME`
    pub model: Option<String>,
    /// `MODEL_VERSION`
    pub version: Option<String>,
    /// `DEPLOYMENT_NAME`
    pub deployment: Option<String>,
    /// `MODEL_FRAMEWORK`
    pub framework: Option<String>,
}

impl Identity {
    /// The name and version to show for the model of a call.
    ///
    /// The names in the call come first, unless they are empty. The pod's version applies to the pod's model only, so it
    /// is not used for a call that names another model.
    pub fn resolve<'a>(&'a self, model: &'a Model<'_>) -> (&'a str, &'a str) {
        let (name, version) = match model {
            Model::Other => return (OTHER, OTHER),
            Model::Named { model, version } => (said(model.as_deref()), said(version.as_deref())),
        };
        let is_ours = match (name, self.model.as_deref()) {
            (Some(called), Some(ours)) => called == ours,
            (None, _) | (_, None) => true,
        };
        let our_version = self.version.as_deref().filter(|_| is_ours);
        (name.or(self.model.as_deref()).unwrap_or(UNKNOWN), version.or(our_version).unwrap_or(UNKNOWN))
    }

    /// The pod's own name and version.
    pub fn own(&self) -> (&str, &str) {
        (known(self.model.as_deref()), known(self.version.as_deref()))
    }

    /// The pod's deployment.
    pub fn deployment(&self) -> &str {
        known(self.deployment.as_deref())
    }

    /// The model's framework.
    pub fn framework(&self) -> &str {
        known(self.framework.as_deref())
    }
}

fn said(word: Option<&str>) -> Option<&str> {
    word.filter(|word| !word.is_empty())
}

fn known(word: Option<&str>) -> &str {
    word.unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(model: Option<&str>, version: Option<&str>) -> Identity {
        Identity {
            model: model.map(str::to_owned),
            version: version.map(str::to_owned),
            ..Identity::default()
        }
    }

    #[track_caller]
    fn check(identity: &Identity, model: Option<&str>, version: Option<&str>, expected: (&str, &str)) {
        let model = Model::Named { model: model.map(Into::into), version: version.map(Into::into) };
        assert_eq!(identity.resolve(&model), expected);
    }

    #[test]
    fn names_in_the_call_come_first() {
        check(&pod(Some("iris"), Some("3")), Some("wine"), Some("1"), ("wine", "1"));
    }

    #[test]
    fn pod_fills_in_missing_names() {
        check(&pod(Some("iris"), Some("3")), None, None, ("iris", "3"));
        check(&pod(Some("iris"), Some("3")), Some("iris"), None, ("iris", "3"));
        check(&pod(Some("iris"), Some("3")), None, Some("4"), ("iris", "4"));
        check(&pod(None, Some("3")), Some("wine"), None, ("wine", "3"));
    }

    #[test]
    fn pods_version_is_not_used_for_another_model() {
        check(&pod(Some("iris"), Some("3")), Some("wine"), None, ("wine", UNKNOWN));
    }

    #[test]
    fn missing_names_are_unknown() {
        check(&pod(None, None), None, None, (UNKNOWN, UNKNOWN));
        check(&pod(None, None), Some(""), Some(""), (UNKNOWN, UNKNOWN));
        assert_eq!(pod(None, None).own(), (UNKNOWN, UNKNOWN));
    }

    #[test]
    fn calls_beyond_the_limit_are_other() {
        assert_eq!(pod(Some("iris"), Some("3")).resolve(&Model::Other), (OTHER, OTHER));
    }
}
