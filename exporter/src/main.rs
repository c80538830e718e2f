//! The process: flags in, exit code out.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use scoretap_exporter::cli::args::Args;
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::{log, server};

/// The command line or the environment is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    log::set(args.log_level, args.log_format);
    match Config::new(&args, |name| std::env::var_os(name)) {
        Ok(_) if args.check_config => {
            say("the configuration is valid");
            ExitCode::SUCCESS
        }
        Ok(config) => serve(config),
        Err(faults) => {
            for fault in &faults {
                log::error(fault);
            }
            if args.check_config { ExitCode::FAILURE } else { ExitCode::from(USAGE) }
        }
    }
}

fn serve(config: Config) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(server::run(config)).map_err(|fault| fault.to_string()),
        Err(cause) => Err(format!("cannot start: {cause}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            log::error(fault);
            ExitCode::FAILURE
        }
    }
}

fn say(message: &str) {
    // Nobody reading is no fault.
    drop(writeln!(std::io::stdout(), "{message}"));
}
