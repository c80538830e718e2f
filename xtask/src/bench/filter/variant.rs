//! The variants that are compared.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use scoretap_tests::bootstrap::Bootstrap;
use scoretap_tests::stack::{Stack, StackBuilder, Upstream, WayIn};
use scoretap_tests::tools::EnvoyVersion;
use scoretap_tests::workspace::{self, TestModule};
use serde_json::json;

use crate::package;

/// The work of Envoy for each call besides forwarding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    Nothing,
    NoOpLogger,
    NoOpFilter,
    SameQuestions,
    Logger,
    SparedLogger,
    Filter,
    AllCallbacks,
    LuaReadsOnly,
    LuaSameJob,
    StatsLogger,
}

impl Variant {
    pub(super) const ALL: [Self; 11] = [
        Self::Nothing,
        Self::NoOpLogger,
        Self::NoOpFilter,
        Self::SameQuestions,
        Self::Logger,
        Self::SparedLogger,
        Self::Filter,
        Self::AllCallbacks,
        Self::LuaReadsOnly,
        Self::LuaSameJob,
        Self::StatsLogger,
    ];

    /// For a table.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NoOpLogger => "no-op module, access logger",
            Self::NoOpFilter => "no-op module, HTTP filter",
            Self::SameQuestions => "module that asks the same and looks at nothing, access logger",
            Self::Logger => "Scoretap, access logger",
            Self::SparedLogger => "Scoretap, access logger, with `envoy/other-paths.yaml`",
            Self::Filter => "Scoretap, HTTP filter",
            Self::AllCallbacks => "Scoretap, HTTP filter, all callbacks exported",
            Self::LuaReadsOnly => "Lua that reads path, clock and status",
            Self::LuaSameJob => "Lua that does the same job",
            Self::StatsLogger => "Envoy's stats logger",
        }
    }

    /// The module, where it is one.
    pub(super) fn module(self) -> Option<PathBuf> {
        let folder = workspace::target().join("test-modules");
        match self {
            Self::Nothing | Self::LuaReadsOnly | Self::LuaSameJob | Self::StatsLogger => None,
            Self::NoOpLogger => Some(folder.join("no-op-log.wasm")),
            Self::NoOpFilter => Some(folder.join("no-op.wasm")),
            Self::SameQuestions => Some(folder.join("same-questions.wasm")),
            Self::Logger | Self::SparedLogger | Self::Filter => Some(workspace::module()),
            Self::AllCallbacks => Some(TestModule::AllCallbacks.path()),
        }
    }

    /// Whether this Envoy has what the variant needs.
    pub(super) fn runs_on(self, envoy: EnvoyVersion) -> bool {
        match self {
            Self::SparedLogger | Self::StatsLogger => envoy == EnvoyVersion::Newest,
            Self::Nothing
            | Self::NoOpLogger
            | Self::NoOpFilter
            | Self::SameQuestions
            | Self::Logger
            | Self::Filter
            | Self::AllCallbacks
            | Self::LuaReadsOnly
            | Self::LuaSameJob => true,
        }
    }

    /// An Envoy with this, in front of the app.
    pub(super) fn start(
        self,
        name: &str,
        envoy: EnvoyVersion,
        app: SocketAddr,
        workers: u32,
    ) -> Result<Stack> {
        let builder = Stack::builder(name).envoy(envoy).upstream(Upstream::Http1(app)).without_exporter();
        let builder = builder.concurrency(workers).filter_config(&configuration());
        let builder = match self.module() {
            Some(module) => builder.module(&module).way_in(self.way_in()),
            None => builder,
        };
        let stack = match self {
            Self::NoOpLogger
            | Self::NoOpFilter
            | Self::SameQuestions
            | Self::Logger
            | Self::Filter
            | Self::AllCallbacks => builder,
            Self::SparedLogger => builder.edit_listener(Bootstrap::spare_other_paths),
            Self::Nothing => without_module(builder),
            Self::LuaReadsOnly => with_lua(builder, include_str!("reads-only.lua")),
            Self::LuaSameJob => with_lua(builder, include_str!("same-job.lua")),
            Self::StatsLogger => with_stats_logger(builder),
        };
        stack.start().with_context(|| format!("Envoy with: {}", self.title()))
    }

    const fn way_in(self) -> WayIn {
        match self {
            Self::NoOpFilter | Self::Filter | Self::AllCallbacks => WayIn::HttpFilter,
            Self::Nothing
            | Self::NoOpLogger
            | Self::SameQuestions
            | Self::Logger
            | Self::SparedLogger
            | Self::LuaReadsOnly
            | Self::LuaSameJob
            | Self::StatsLogger => WayIn::AccessLog,
        }
    }
}

/// Builds every module that is needed.
pub(super) fn build() -> Result<()> {
    package::build_if_stale()?;
    for (variant, text) in [
        (Variant::NoOpLogger, include_str!("no-op-log.wat")),
        (Variant::NoOpFilter, include_str!("no-op.wat")),
        (Variant::SameQuestions, include_str!("same-questions.wat")),
    ] {
        let path = variant.module().context("a module")?;
        fs::write(&path, wat::parse_str(text)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The defaults, and one route more, so that a GET can be matched: no preset has one.
fn configuration() -> String {
    let presets = scoretap_core::route::PRESETS.iter().map(|preset| json!({"preset": preset.name}));
    let own = json!({"name": "get", "method": "GET", "path": "/v1/models/{model}:predict"});
    json!({"routes": presets.chain([own]).collect::<Vec<_>>()}).to_string()
}

fn without_module(builder: StackBuilder) -> StackBuilder {
    builder.edit_listener(|listener| {
        if let Some(manager) = listener.manager().as_object_mut() {
            manager.remove("access_log");
        }
    })
}

fn with_lua(builder: StackBuilder, code: &'static str) -> StackBuilder {
    without_module(builder).edit_listener(move |listener| {
        let filter = json!({
            "name": "lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": code},
            },
        });
        if let Some(filters) = listener.manager()["http_filters"].as_array_mut() {
            filters.insert(0, filter);
        }
    })
}

/// Counts the matched calls as far as Envoy's own logger can: each path is a series, because the logger has no templates,
/// and durations go to Envoy's histograms. Its filter spares all other calls.
fn with_stats_logger(builder: StackBuilder) -> StackBuilder {
    let tag = |name: &str, format: &str| json!({"name": name, "value_format": format});
    let path = tag("path", "%PATH(NQ)%");
    let calls = json!({
        "name": "calls",
        "tags": [path, tag("method", "%REQ(:METHOD)%"), tag("code", "%RESPONSE_CODE%"), tag("flags", "%RESPONSE_FLAGS%")],
    });
    let logger = json!({
        "name": "stats",
        "filter": {"header_filter": {"header": {
            "name": ":path",
            "string_match": {"safe_regex": {"regex": "/v1/models/[^/]+:predict|/score"}},
        }}},
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": "rival"},
            "counters": [{"stat": calls, "value_fixed": 1}],
            "histograms": [{
                "stat": {"name": "duration", "tags": [path]},
                "unit": "Milliseconds",
                "value_format": "%DURATION%",
            }],
        },
    });
    builder.edit_listener(move |listener| listener.manager()["access_log"] = json!([logger]))
}
