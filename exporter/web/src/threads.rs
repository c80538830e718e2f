//! Blocking work away from the event loop.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// The stack size in bytes: enough for bcrypt, and for reading and parsing a file.
pub const STACK: usize = 512 * 1024;

/// Runs `work` on a thread of its own. Fails if `work` panics or if the system cannot start a thread. In the latter
/// case `tokio::task::spawn_blocking` would panic.
pub async fn run<T: Send + 'static>(
    stack: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().stack_size(stack).spawn(move || drop(sender.send(work())))?;
    receiver.await.map_err(|_| io::Error::other("the thread panicked"))
}
