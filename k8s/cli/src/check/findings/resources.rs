//! LimitRanges and ResourceQuotas that would reject pods with the sidecar, reported before the first one is created.

use serde_json::Value;

use super::View;
use crate::check::finding::Finding;
use crate::check::object::{kubectl, name};
use crate::check::resources::{Conflict, against_quotas, against_ranges, fitting};
use crate::check::snapshot::Kind;
use crate::check::subject::Subject;

/// A LimitRange that the sidecar violates.
pub(super) fn limit_range(view: &View<'_>) -> Vec<Finding> {
    found(view, Kind::LimitRanges, |pod, subject| against_ranges(pod, view.snapshot, subject.namespace()))
}

/// A quota that the roll-out of the sidecar would exceed.
pub(super) fn quota(view: &View<'_>) -> Vec<Finding> {
    found(view, Kind::Quotas, |pod, subject| against_quotas(pod, subject, view.snapshot))
}

fn found<'v>(
    view: &'v View<'_>,
    kind: Kind,
    judge: impl Fn(&Value, &Subject<'v>) -> Vec<Conflict>,
) -> Vec<Finding> {
    let injected = view.subjects.iter().filter_map(|subject| Some((subject, subject.injected()?)));
    let found = injected.filter_map(|(subject, pod)| {
        let conflicts = judge(pod, subject);
        let first = conflicts.first()?.object.clone();
        let whats: Vec<_> = conflicts.iter().map(|conflict| conflict.what.as_str()).collect();
        let why = format!("it refuses pods of {} with the sidecar: {}", subject.place(), whats.join("; "));
        Some(match fitting(subject, view.snapshot) {
            Some(annotations) => Finding::new(first, why, subject.annotate(&annotations)),
            None => {
                let limits = view.snapshot.within(kind, subject.namespace());
                let object = limits.into_iter().find(|object| first.ends_with(name(object)));
                let command = object.map(|object| kubectl("edit", object)).unwrap_or_default();
                let why =
                    format!("{why}. No annotation of the sidecar's resources is enough: raise the limit");
                Finding::new(first, why, command)
            }
        })
    });
    found.collect()
}
