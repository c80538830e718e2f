//! How many connections there are at a time. Where all places are taken, a new connection gets that of the one that
//! has been silent for longest: those who connect and send nothing, or a byte now and then, keep nobody out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// Those whose connections are not over and were not asked to leave.
    taken: Vec<Arc<Seat>>,
    /// One of them has fallen silent.
    silence: Arc<Notify>,
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    stage: Mutex<Stage>,
    leave: Notify,
    silence: Arc<Notify>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Since then there has been no whole request.
    Silent(Instant),
    /// A request is whole, and its answer is not.
    Busy,
    /// The answer is whole, and not sent yet.
    Sending,
    Over,
}

/// Somebody waits for an answer. Dropped when all of it was handed to the connection.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Seat>);

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Vec::new(), silence: Arc::default() }
    }

    /// A place, once there is one.
    pub(crate) async fn take(&mut self) -> Option<(Arc<Seat>, OwnedSemaphorePermit)> {
        let permit = self.permit().await?;
        let seat = Arc::new(Seat {
            stage: Mutex::new(Stage::Silent(Instant::now())),
            leave: Notify::new(),
            silence: Arc::clone(&self.silence),
        });
        self.taken.retain(|seat| !matches!(*seat.stage(), Stage::Over));
        self.taken.push(Arc::clone(&seat));
        Some((seat, permit))
    }

    /// The semaphore is never closed.
    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(permit);
            }
            let free = Arc::clone(&self.free).acquire_owned();
            if self.make_room() {
                return free.await.ok();
            }
            tokio::select! {
                permit = free => return permit.ok(),
                () = self.silence.notified() => {}
            }
        }
    }

    /// Asks one to leave, if there is one that nobody would miss.
    fn make_room(&mut self) -> bool {
        let silent = self.taken.iter().enumerate().filter_map(|(position, seat)| match *seat.stage() {
            Stage::Silent(since) => Some((since, position)),
            Stage::Busy | Stage::Sending | Stage::Over => None,
        });
        let Some((_, position)) = silent.min() else { return false };
        self.taken.swap_remove(position).leave.notify_one();
        true
    }
}

impl Seat {
    /// A request is whole: somebody waits for an answer.
    pub(crate) fn request(self: &Arc<Self>) -> Busy {
        *self.stage() = Stage::Busy;
        Busy(Arc::clone(self))
    }

    /// All that was handed to the connection is sent.
    pub(crate) fn sent(&self) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Sending) {
            *stage = Stage::Silent(Instant::now());
            self.silence.notify_one();
        }
    }

    /// Waits until the place is needed for somebody else.
    pub(crate) async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// The connection is over.
    pub(crate) fn end(&self) {
        *self.stage() = Stage::Over;
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.stage() = Stage::Sending;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), future).await.expect("it hangs")
        })
    }

    /// Leaves when it is asked to.
    async fn leave((seat, permit): (Arc<Seat>, OwnedSemaphorePermit)) {
        seat.must_leave().await;
        drop(permit);
    }

    #[test]
    fn the_place_of_the_silent_is_given_away_and_that_of_the_busy_is_not() {
        block_on(async {
            let mut places = Places::new(3);
            let (busy, _permit) = places.take().await.unwrap();
            let _answer = busy.request();
            let (sending, _other_permit) = places.take().await.unwrap();
            drop(sending.request());
            let silent = places.take().await.unwrap();
            let ((), taken) = tokio::join!(leave(silent), places.take());
            assert!(taken.is_some());
        });
    }

    #[test]
    fn who_has_just_had_an_answer_has_been_silent_for_less_than_who_never_asked() {
        block_on(async {
            let mut places = Places::new(3);
            let (first, _permit) = places.take().await.unwrap();
            let second = places.take().await.unwrap();
            let _third = places.take().await.unwrap();
            drop(first.request());
            first.sent();
            let ((), taken) = tokio::join!(leave(second), places.take());
            assert!(taken.is_some());
        });
    }

    #[test]
    fn who_falls_silent_while_somebody_waits_gives_the_place() {
        block_on(async {
            let mut places = Places::new(1);
            let (seat, permit) = places.take().await.unwrap();
            let answer = seat.request();
            let falls_silent = async {
                // The other has looked around in vain.
                tokio::task::yield_now().await;
                drop(answer);
                seat.sent();
                leave((Arc::clone(&seat), permit)).await;
            };
            let (taken, ()) = tokio::join!(places.take(), falls_silent);
            assert!(taken.is_some());
        });
    }

    #[test]
    fn one_that_waits_sends_one_away() {
        block_on(async {
            let mut places = Places::new(2);
            let first = places.take().await.unwrap();
            let (second, _permit) = places.take().await.unwrap();
            let ((), third) = tokio::join!(leave(first), places.take());
            assert!(third.is_some());
            assert!(tokio::time::timeout(Duration::ZERO, second.must_leave()).await.is_err());
        });
    }
}
