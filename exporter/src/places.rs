//! How many connections there are at a time. Where all places are taken, a new connection gets that of the one that
//! has been silent for longest: those who connect and send nothing, or a byte now and then, keep nobody out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    taken: VecDeque<Arc<Seat>>,
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    /// A request is whole and its answer is not sent yet.
    is_busy: AtomicBool,
    has_ended: AtomicBool,
    leave: Notify,
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: VecDeque::new() }
    }

    /// A place, once there is one.
    pub(crate) async fn take(&mut self) -> Option<(Arc<Seat>, OwnedSemaphorePermit)> {
        self.taken.retain(|seat| !seat.has_ended.load(Ordering::Relaxed));
        if self.free.available_permits() == 0 {
            self.make_room();
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let seat = Arc::new(Seat {
            is_busy: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            leave: Notify::new(),
        });
        self.taken.push_back(Arc::clone(&seat));
        Some((seat, permit))
    }

    fn make_room(&mut self) {
        let silent = self.taken.iter().position(|seat| !seat.is_busy.load(Ordering::Relaxed));
        if let Some(seat) = silent.and_then(|position| self.taken.remove(position)) {
            seat.leave.notify_one();
        }
    }
}

impl Seat {
    /// From now on it is somebody who waits for an answer.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// Waits until the place is needed for somebody else.
    pub(crate) async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// The connection is over.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn the_place_of_the_silent_is_given_away_and_that_of_the_busy_is_not() {
        block_on(async {
            let mut places = Places::new(2);
            let (busy, _busy_permit) = places.take().await.unwrap();
            let (silent, silent_permit) = places.take().await.unwrap();
            busy.set_busy(true);
            let left = async {
                silent.must_leave().await;
                drop(silent_permit);
            };
            let (_, third) = tokio::join!(left, places.take());
            assert!(third.is_some());
        });
    }
}
