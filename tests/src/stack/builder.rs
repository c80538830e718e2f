//! The parts of a stack, each with a default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::Stack;
use super::clock;
use super::folders::Folders;
use super::parts::{EnvoySpec, ExporterSpec, Row};
use crate::apps::{Scorer, local};
use crate::bootstrap::{Bootstrap, Places};
use crate::http::Endpoint;
use crate::tools::EnvoyVersion;
use crate::{ports, workspace};

/// How the module is installed in Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayIn {
    /// As an access logger.
    AccessLog,
    /// As an HTTP filter.
    HttpFilter,
}

impl WayIn {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AccessLog, Self::HttpFilter];

    /// For the names of tests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessLog => "access-log",
            Self::HttpFilter => "http-filter",
        }
    }
}

/// The model server behind Envoy.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// A scorer of the stack's own.
    Scorer,
    /// A scorer that other stacks use too.
    Shared(Arc<Scorer>),
    /// An address, reached by HTTP/1.1, whether or not something listens.
    Http1(SocketAddr),
    /// A gRPC server at this address, reached by HTTP/2.
    Http2(SocketAddr),
}

type Edit = Box<dyn FnOnce(&mut Bootstrap)>;

/// Builds a [`Stack`].
pub struct StackBuilder {
    name: String,
    envoy: EnvoyVersion,
    way_in: WayIn,
    upstream: Upstream,
    concurrency: u32,
    drain_seconds: u32,
    dynamic: bool,
    hot_restartable: bool,
    own_clock: bool,
    module: PathBuf,
    filter_config: String,
    edits: Vec<Edit>,
    cluster_edits: Vec<Edit>,
    exporter_args: Vec<String>,
    exporter_environment: Vec<(String, String)>,
    ports: Option<(u16, u16)>,
    with_exporter: bool,
    with_insight: bool,
}

impl StackBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            envoy: EnvoyVersion::Newest,
            way_in: WayIn::AccessLog,
            upstream: Upstream::Scorer,
            concurrency: 2,
            drain_seconds: 1,
            dynamic: false,
            hot_restartable: false,
            own_clock: false,
            module: workspace::module(),
            filter_config: "{}".to_owned(),
            edits: Vec::new(),
            cluster_edits: Vec::new(),
            exporter_args: Vec::new(),
            exporter_environment: Vec::new(),
            ports: None,
            with_exporter: true,
            with_insight: false,
        }
    }

    /// Which Envoy. Default: the newest.
    pub fn envoy(mut self, version: EnvoyVersion) -> Self {
        self.envoy = version;
        self
    }

    /// How the module is installed. Default: as an access logger.
    pub fn way_in(mut self, way_in: WayIn) -> Self {
        self.way_in = way_in;
        self
    }

    /// The upstream of Envoy. Default: a scorer of its own.
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// Envoy's worker threads. Default: 2.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// How long Envoy drains a listener that was replaced. Default: 1 s; Envoy's own: 600 s.
    pub fn drain_seconds(mut self, seconds: u32) -> Self {
        self.drain_seconds = seconds;
        self
    }

    /// Delivers the listener by LDS, so that [`Stack::reconfigure`] works.
    pub fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// Lets another Envoy take over from a running one, so that [`Stack::hot_restart`] works.
    pub fn hot_restartable(mut self) -> Self {
        self.hot_restartable = true;
        self
    }

    /// Gives Envoy a wall clock of its own, so that [`Stack::set_clock`] works.
    pub fn own_clock(mut self) -> Self {
        self.own_clock = true;
        self
    }

    /// Another module than the packaged one.
    pub fn module(mut self, path: &Path) -> Self {
        self.module = path.to_owned();
        self
    }

    /// The filter's configuration. Default: `{}`.
    pub fn filter_config(mut self, json: &str) -> Self {
        json.clone_into(&mut self.filter_config);
        self
    }

    /// Adds the module that reads bodies, with the same configuration as the other one.
    pub fn with_insight(mut self) -> Self {
        self.with_insight = true;
        self
    }

    /// Turns a knob of the shipped listener: a timeout of the route, …
    pub fn edit_listener(mut self, edit: impl FnOnce(&mut Bootstrap) + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Turns a knob of the shipped cluster: a circuit breaker, …
    pub fn edit_cluster(mut self, edit: impl FnOnce(&mut Bootstrap) + 'static) -> Self {
        self.cluster_edits.push(Box::new(edit));
        self
    }

    /// More arguments for the exporter.
    pub fn exporter_args(mut self, args: &[&str]) -> Self {
        self.exporter_args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// A variable in the exporter's environment: `MODEL_NAME`, …
    pub fn exporter_env(mut self, name: &str, value: &str) -> Self {
        self.exporter_environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Preferred ports for the listener and the exporter; others are taken where these are not free.
    pub fn prefer_ports(mut self, listener: u16, exporter: u16) -> Self {
        self.ports = Some((listener, exporter));
        self
    }

    /// Leaves the exporter out until [`Stack::start_exporter`].
    pub fn without_exporter(mut self) -> Self {
        self.with_exporter = false;
        self
    }

    /// Starts everything and waits until it is ready.
    pub fn start(mut self) -> Result<Stack> {
        ensure!(
            self.module.is_file(),
            "{} is not there: run `cargo xtask package` first",
            self.module.display()
        );
        let folders = Folders::create(&self.name)?;
        let (scorer, app) = self.start_upstream(&folders)?;
        let (listener, exporter_port) = match self.ports {
            Some((listener, exporter)) => (ports::preferred(listener), ports::preferred(exporter)),
            None => (ports::free(), ports::free()),
        };
        let exporter = local(exporter_port);
        let admin = self.admin(&folders);
        let envoy_spec = self.configure_envoy(&folders, listener, app.port(), &admin)?;
        let exporter_spec = ExporterSpec {
            address: exporter,
            admin: admin_url(&admin),
            args: self.exporter_args,
            environment: self.exporter_environment,
        };
        let mut stack = Stack {
            folders,
            address: local(listener),
            admin,
            exporter: Endpoint::Tcp(exporter),
            way_in: self.way_in,
            scorer,
            envoy_spec,
            exporter_spec,
            envoy_process: None,
            exporter_process: None,
        };
        stack.start_envoy()?;
        if self.with_exporter {
            stack.start_exporter()?;
        }
        Ok(stack)
    }

    fn start_upstream(&self, folders: &Folders) -> Result<(Option<Arc<Scorer>>, SocketAddr)> {
        Ok(match &self.upstream {
            Upstream::Scorer => {
                let scorer = Arc::new(Scorer::start(&folders.logs)?);
                let address = scorer.address;
                (Some(scorer), address)
            }
            Upstream::Shared(scorer) => (Some(Arc::clone(scorer)), scorer.address),
            Upstream::Http1(address) | Upstream::Http2(address) => (None, *address),
        })
    }

    fn admin(&self, folders: &Folders) -> Endpoint {
        match self.envoy {
            EnvoyVersion::Newest => Endpoint::Unix(folders.run.join("admin.sock")),
            EnvoyVersion::Oldest => Endpoint::Tcp(local(ports::free())),
        }
    }

    /// Puts the shipped files together as a person would who needs several of their differences at once.
    fn configure_envoy(
        &mut self,
        folders: &Folders,
        listener: u16,
        app: u16,
        admin: &Endpoint,
    ) -> Result<EnvoySpec> {
        let mut bootstrap = Bootstrap::shipped(if self.dynamic { "dynamic.yaml" } else { "sidecar.yaml" })?;
        if self.envoy == EnvoyVersion::Oldest {
            bootstrap.take("/admin", &mut Bootstrap::shipped("loopback-admin-1.36.yaml")?);
        }
        if matches!(self.upstream, Upstream::Http2(_)) {
            bootstrap.take("/static_resources/clusters", &mut Bootstrap::shipped("grpc.yaml")?);
        }
        if self.with_insight {
            let runtime = Bootstrap::shipped("insight.yaml")?.at("")["layered_runtime"].take();
            bootstrap.at("")["layered_runtime"] = runtime;
        }
        for edit in self.cluster_edits.drain(..) {
            edit(&mut bootstrap);
        }
        let mut lds = if self.dynamic { Some(Bootstrap::shipped("lds.yaml")?) } else { None };
        self.shape_listener(lds.as_mut().unwrap_or(&mut bootstrap))?;
        let (admin_port, admin_socket) = match admin {
            Endpoint::Tcp(address) => (address.port(), Path::new("")),
            Endpoint::Unix(path) => (0, path.as_path()),
        };
        let places =
            Places { listener, app, admin_port, admin_socket, module: &self.module, folder: &folders.run };
        let path = folders.run.join("bootstrap.json");
        bootstrap.place(&places);
        bootstrap.write(&path)?;
        let listener = match lds {
            Some(mut listener) => {
                listener.place(&places);
                listener.write(&folders.run.join("lds.yaml"))?;
                Some((folders.run.join("lds.yaml"), listener))
            }
            None => None,
        };
        Ok(EnvoySpec {
            version: self.envoy,
            concurrency: self.concurrency,
            drain_seconds: self.drain_seconds,
            bootstrap: path,
            listener,
            environment: if self.own_clock { clock::environment(folders)? } else { Vec::new() },
            row: self.hot_restartable.then(Row::default),
        })
    }

    fn shape_listener(&mut self, listener: &mut Bootstrap) -> Result<()> {
        if self.way_in == WayIn::HttpFilter {
            listener.take_filter_chain(&mut Bootstrap::shipped("http-filter.yaml")?);
        }
        if self.with_insight {
            listener.add_insight();
        }
        listener.set_filter_config(&self.filter_config);
        for edit in self.edits.drain(..) {
            edit(listener);
        }
        Ok(())
    }
}

fn admin_url(admin: &Endpoint) -> String {
    match admin {
        Endpoint::Tcp(address) => format!("http://{address}"),
        Endpoint::Unix(path) => format!("unix://{}", path.display()),
    }
}
