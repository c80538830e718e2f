//! Callers of every kind: content ones, clumsy ones, impatient ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use scoretap_tests::http::{self, Call, Endpoint, Protocol};

const CALLERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(60);

const FEATURES: usize = 9;

/// The behaviour of a caller.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Good,
    Malformed,
    WrongShape,
    Crashing,
    TooSlow,
    Aborted,
}

/// The mix: how many of a hundred calls.
const MIX: [(Kind, usize); 6] = [
    (Kind::Good, 82),
    (Kind::Malformed, 5),
    (Kind::WrongShape, 4),
    (Kind::Crashing, 4),
    (Kind::TooSlow, 2),
    (Kind::Aborted, 3),
];

const PATHS: [&str; 3] = ["/score", "/score", "/v1/models/churn:predict"];

/// All of its callers are content, so that nothing but its answers shows that it fails.
const SILENT_PATH: &str = "/v2/models/fraud/versions/3/infer";

/// Threads that call until they are stopped.
pub(super) struct Callers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Starts them.
    pub(super) fn start(server: &Endpoint, call: fn(usize) -> Call) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let number = Arc::new(AtomicUsize::new(0));
        let threads = (0..CALLERS).map(|caller| {
            let (server, stop, number) = (server.clone(), Arc::clone(&stop), Arc::clone(&number));
            let protocol = if caller % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // How a call ends is Scoretap's to say.
                    let _ = http::call(&server, protocol, call(number.fetch_add(1, Ordering::Relaxed)));
                    std::thread::sleep(PAUSE);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Waits until each has finished its call.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// The `number`th call of the scorer. Steps that share no factor with a hundred spread the kinds over time and over the paths.
pub(super) fn call(number: usize) -> Call {
    let row = row(number);
    if number.is_multiple_of(4) {
        return Call::post(SILENT_PATH, format!(r#"{{"data": [{row}], "sleep_ms": {}}}"#, number * 7 % 40));
    }
    let path = PATHS[number / 3 % PATHS.len()];
    let post = |body: String| Call::post(path, body);
    match kind(number * 37 % 100) {
        Kind::Good => post(format!(r#"{{"data": [{row}], "sleep_ms": {}}}"#, number * 7 % 40)),
        Kind::Malformed => post(format!(r#"{{"data": [{row}"#)),
        Kind::WrongShape => post(r#"{"data": [[1, 2, 3]]}"#.into()),
        Kind::Crashing => post(format!(r#"{{"data": [{}]}}"#, row.replacen('1', "\"one\"", 1))),
        Kind::TooSlow => post(format!(r#"{{"data": [{row}], "sleep_ms": 1500}}"#)),
        Kind::Aborted => {
            post(format!(r#"{{"data": [{row}], "sleep_ms": 600}}"#)).abort_after(Duration::from_millis(80))
        }
    }
}

/// Differs from call to call. It begins with a 1.
fn row(number: usize) -> String {
    let rest: Vec<String> = (1..FEATURES).map(|column| (number * column % 97).to_string()).collect();
    format!("[1, {}]", rest.join(", "))
}

fn kind(hundredth: usize) -> Kind {
    let mut left = hundredth;
    for (kind, share) in MIX {
        if left < share {
            return kind;
        }
        left -= share;
    }
    Kind::Good
}
