//! `cargo xtask soak`: every fault, one after the other under load, on one stack, for as long as there is time.

use std::time::{Duration, Instant};

use anyhow::Result;
use scoretap_tests::faults::{FAULTS, stack};

use crate::package;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    package::build()?;
    package::test_modules()?;
    let mut stack = stack("soak").start()?;
    let (start, limit) = (Instant::now(), Duration::from_secs(60 * args.minutes));
    let mut survived: usize = 0;
    for fault in FAULTS.iter().cycle() {
        if start.elapsed() > limit {
            break;
        }
        fault.happens_to(&mut stack)?;
        survived += 1;
        println!("{:>6.0} s  {}: as it has to be", start.elapsed().as_secs_f64(), fault.name);
    }
    println!("{survived} faults survived, {} calls reached the app", stack.app_calls().len());
    Ok(())
}
