//! The sidecar's program beside Envoy and the exporter: `setup` runs before Envoy starts, `drain` before it stops.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use scoretap_injector::bootstrap::{self, FOLDER, Wanted};
use scoretap_injector::drain;

const USAGE: &str = "Usage: scoretap-sidecar setup | drain

  setup  writes envoy.json, the modules and scoretap-sidecar into /run/scoretap
  drain  makes Envoy close its connections, and waits until the app has stopped and the last call is over

Environment:
  SCORETAP_APP_PORT       the app's port
  SCORETAP_APP_PORT_NAME  its name; grpc…, h2c… and http2… mean HTTP/2
  SCORETAP_LISTEN_PORT    Envoy's port if it is not 15100
  SCORETAP_CONFIG         the filter's configuration
  SCORETAP_INSIGHT        true adds scoretap-insight.wasm, which lies beside the module
  SCORETAP_FOLDER         a folder other than /run/scoretap
  SCORETAP_MODULE         a module other than /scoretap.wasm";

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("setup") => set_up(),
        Some("drain") => drain_envoy(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn set_up() -> Result<()> {
    // A kernel without IPv6 has no such file.
    let addresses = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let wanted = Wanted::from_env(variable, &addresses)?;
    let module = variable("SCORETAP_MODULE").unwrap_or_else(|| "/scoretap.wasm".into());
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    bootstrap::set_up(&wanted, Path::new(&module), &program, Path::new(&folder()))
}

fn drain_envoy() -> Result<()> {
    let folder = folder();
    let port = bootstrap::app_port_of(&Path::new(&folder).join("envoy.json"))?;
    let in_time = drain::drain(&Path::new(&folder).join("admin.sock"), port, drain::AT_MOST)?;
    if !in_time {
        bail!("the app or calls were still there after {} s", drain::AT_MOST.as_secs());
    }
    Ok(())
}

fn folder() -> String {
    variable("SCORETAP_FOLDER").unwrap_or_else(|| FOLDER.into())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
