//! `cargo xtask soak`: every fault, one after the other under load, in both ways in, for as long as there is time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use scoretap_tests::faults::{FAULTS, GROWTH, Memory, stack};
use scoretap_tests::stack::{Stack, WayIn};

use crate::package;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long; each way in has all faults at least once
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    package::build_if_stale()?;
    let mut soaked = WayIn::ALL.iter().map(|way_in| Soaked::start(*way_in)).collect::<Result<Vec<_>>>()?;
    let (start, limit) = (Instant::now(), Duration::from_secs(60 * args.minutes));
    let mut rounds: usize = 0;
    while rounds == 0 || start.elapsed() < limit {
        rounds += 1;
        for soaked in &mut soaked {
            soaked.round(start)?;
        }
    }
    let calls: usize = soaked.iter().map(|soaked| soaked.stack.app_calls().len()).sum();
    let faults = rounds * soaked.len() * FAULTS.len();
    println!("{faults} faults in {rounds} rounds survived, {calls} calls reached the apps");
    Ok(())
}

/// One stack through all of it.
struct Soaked {
    way_in: WayIn,
    stack: Stack,
    /// After the first round: what grows with each would soon be more.
    settled: Option<Memory>,
}

impl Soaked {
    fn start(way_in: WayIn) -> Result<Self> {
        let stack = stack(&format!("soak-{}", way_in.as_str()), way_in).start()?;
        Ok(Self { way_in, stack, settled: None })
    }

    /// Every fault once.
    fn round(&mut self, start: Instant) -> Result<()> {
        for fault in FAULTS {
            let survived = fault.happens_to(&mut self.stack);
            survived.with_context(|| format!("{}\n{}", self.way_in.as_str(), self.stack.diagnosis()))?;
            let (seconds, memory) = (start.elapsed().as_secs(), Memory::of(&self.stack)?);
            let Memory { envoy, exporter } = memory;
            println!(
                "{seconds:>6} s  {:<11}  {:<42}  as it has to be; Envoy {envoy} KB, the exporter {exporter} KB",
                self.way_in.as_str(),
                fault.name,
            );
        }
        let memory = Memory::of(&self.stack)?;
        memory.has_not_grown(*self.settled.get_or_insert(memory), GROWTH)
    }
}
