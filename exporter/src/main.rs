//! The process: flags in, exit code out.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use scoretap_exporter::cli::args::{Cli, Command, Scrape};
use scoretap_exporter::cli::config::Config;
use scoretap_exporter::http::{scrape, server};

/// The command line or the environment is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let Cli { command, args } = Cli::parse();
    let (args, format) = match command {
        None => (args, None),
        Some(Command::Scrape(Scrape { args, format })) => (args, Some(format)),
    };
    scoretap_web::log::init(args.log);
    match Config::new(&args, |name| std::env::var_os(name)) {
        Ok(config) if args.check_config => checked(config.file_faults()),
        Ok(config) => match format {
            None => run(server::run(config)),
            Some(format) => run(scrape::print(config, format)),
        },
        Err(faults) if args.check_config => checked(&faults),
        Err(faults) => {
            report(&faults);
            ExitCode::from(USAGE)
        }
    }
}

fn checked(faults: &[String]) -> ExitCode {
    if faults.is_empty() {
        say("the configuration is valid");
        return ExitCode::SUCCESS;
    }
    report(faults);
    ExitCode::FAILURE
}

fn report(faults: &[String]) {
    for fault in faults {
        log::error!("{fault}");
    }
}

fn run<E: Display>(work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(work).map_err(|fault| fault.to_string()),
        Err(cause) => Err(format!("cannot start: {cause}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            log::error!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn say(message: &str) {
    // A closed standard output is not an error.
    drop(writeln!(std::io::stdout(), "{message}"));
}
