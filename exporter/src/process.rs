//! The resources of this process, as `process_*` of the client libraries.

use std::sync::OnceLock;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};

/// The resources of this process, as the kernel reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Resident memory.
    pub resident_bytes: u64,
    /// User and system CPU time.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The soft limit of open file descriptors; `None` without a limit.
    pub max_fds: Option<u64>,
    /// When the process started, since the Unix epoch.
    pub start_seconds: f64,
}

impl Resources {
    /// The resources now; `None` if `/proc` cannot be read.
    pub fn now() -> Option<Self> {
        read().ok()
    }
}

fn read() -> ProcResult<Resources> {
    // `/proc/stat` has a line for each core, so it is read once.
    static BOOT: OnceLock<u64> = OnceLock::new();
    let boot = match BOOT.get() {
        Some(boot) => *boot,
        None => *BOOT.get_or_init({
            let boot = boot_time_secs()?;
            move || boot
        }),
    };
    let process = Process::myself()?;
    let stat = process.stat()?;
    let max_fds = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    Ok(Resources {
        resident_bytes: stat.rss.saturating_mul(page_size()),
        cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
        open_fds: process.fd_count()?.try_into().unwrap_or(u64::MAX),
        max_fds,
        start_seconds: crate::as_float(boot) + seconds(stat.starttime),
    })
}

fn seconds(ticks: u64) -> f64 {
    crate::as_float(ticks) / crate::as_float(ticks_per_second())
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn start_time_is_within_the_last_hour() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - Resources::now().unwrap().start_seconds;
        assert!((-1.0..3600.0).contains(&age), "{age}");
    }

    /// User and system time, in ticks.
    fn ticks() -> [u64; 2] {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        [11, 12].map(|index| fields[index].parse().unwrap())
    }

    #[test]
    fn cpu_time_is_user_and_system_time() {
        let begun = std::time::Instant::now();
        // Reading the times uses both.
        while ticks().contains(&0) {
            assert!(begun.elapsed().as_secs() < 20, "{:?}", ticks());
        }
        let [before, found, after] = [
            seconds(ticks().into_iter().sum()),
            Resources::now().unwrap().cpu_seconds,
            seconds(ticks().into_iter().sum()),
        ];
        assert!((before..=after).contains(&found), "{before} {found} {after}");
    }

    #[test]
    fn open_files_are_counted() {
        let before = Resources::now().unwrap();
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let after = Resources::now().unwrap();
        // Other tests of this process may close files meanwhile.
        assert!(after.open_fds > before.open_fds + 10, "{before:?} {after:?}");
        assert!(after.resident_bytes > 1 << 20 && after.max_fds.is_none_or(|max| max > after.open_fds));
        drop(files);
    }
}
