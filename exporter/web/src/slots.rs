//! Connection slots. When all are taken, a new connection evicts the one that has been idle for longest. So clients
//! that send nothing, or a byte now and then, cannot block others. A request that takes too long counts as idle.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How often a new connection looks for overdue requests.
const LOOK: Duration = Duration::from_secs(1);

/// The slots of one server.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    /// The time for a request, from its head to the end of its answer.
    overdue: Duration,
    /// Slots of connections that are open and not evicted.
    taken: Vec<Arc<Slot>>,
    /// Notified when a connection becomes idle.
    idle: Arc<Notify>,
}

/// The slot of one connection, with its state.
#[derive(Debug)]
pub(crate) struct Slot {
    state: Mutex<State>,
    evicted: Notify,
    idle: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not completely handed to the connection, by number, and when each began.
    pending: BTreeMap<u64, Instant>,
    requests: u64,
    /// How many answers were begun. Each has its own write deadline.
    answers: u64,
    /// When the last answer began. Its bytes may still be in the connection's buffer.
    unsent: Option<Instant>,
    idle_since: Instant,
    is_closed: bool,
}

/// A connection's hold on its slot. Dropping it frees the slot, even if the connection's task panics.
#[derive(Debug)]
pub(crate) struct Held {
    slot: Arc<Slot>,
    _permit: OwnedSemaphorePermit,
}

/// A request that waits for its answer. Dropped when the answer was handed to the connection.
#[derive(Debug)]
pub(crate) struct Pending {
    slot: Arc<Slot>,
    number: u64,
}

impl Slots {
    pub(crate) fn new(count: usize, overdue: Duration) -> Self {
        let free = Arc::new(Semaphore::new(count));
        Self { free, overdue, taken: Vec::new(), idle: Arc::default() }
    }

    /// Waits for a slot. The semaphore is never closed, so this never returns `None`.
    pub(crate) async fn take(&mut self) -> Option<Held> {
        let permit = self.permit().await?;
        let state = State {
            pending: BTreeMap::new(),
            requests: 0,
            answers: 0,
            unsent: None,
            idle_since: Instant::now(),
            is_closed: false,
        };
        let slot =
            Arc::new(Slot { state: Mutex::new(state), evicted: Notify::new(), idle: Arc::clone(&self.idle) });
        self.taken.retain(|slot| !slot.state().is_closed);
        self.taken.push(Arc::clone(&slot));
        Some(Held { slot, _permit: permit })
    }

    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Some(permit);
            }
            let free = Arc::clone(&self.free).acquire_owned();
            if self.evict() {
                return free.await.ok();
            }
            tokio::select! {
                permit = free => return permit.ok(),
                () = self.idle.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Evicts the connection that has been idle for longest, if one is idle.
    fn evict(&mut self) -> bool {
        let idle = self.taken.iter().enumerate();
        let idle = idle.filter_map(|(index, slot)| Some((slot.state().idle_since(self.overdue)?, index)));
        let Some((_, index)) = idle.min() else { return false };
        self.taken.swap_remove(index).evicted.notify_one();
        true
    }
}

impl State {
    /// `None` for a closed connection, and for one whose requests are in time.
    fn idle_since(&self, overdue: Duration) -> Option<Instant> {
        let oldest = self.pending.values().next().copied().or(self.unsent);
        let since =
            oldest.map_or(Some(self.idle_since), |began| (began.elapsed() > overdue).then_some(began));
        since.filter(|_| !self.is_closed)
    }
}

impl Slot {
    /// Notes a complete request.
    pub(crate) fn request(self: &Arc<Self>) -> Pending {
        let mut state = self.state();
        let number = state.requests;
        state.requests = number.wrapping_add(1);
        state.pending.insert(number, Instant::now());
        Pending { slot: Arc::clone(self), number }
    }

    /// Notes that an answer begins.
    pub(crate) fn answer(&self) {
        let mut state = self.state();
        state.answers = state.answers.wrapping_add(1);
        state.unsent = Some(Instant::now());
    }

    /// How many answers have begun.
    pub(crate) fn answers(&self) -> u64 {
        self.state().answers
    }

    /// Notes that the connection's buffer is empty, and returns whether all answers are sent.
    pub(crate) fn flushed(&self) -> bool {
        let mut state = self.state();
        if !state.pending.is_empty() {
            return false;
        }
        if state.unsent.take().is_some() {
            state.idle_since = Instant::now();
            self.idle.notify_one();
        }
        true
    }

    /// Waits until another connection needs the slot.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(crate) fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.slot)
    }
}

impl Deref for Held {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slot.state().is_closed = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = self.slot.state();
        state.pending.remove(&self.number);
        // A cancelled request has no answer, so no flush would make the connection idle.
        if state.pending.is_empty() && state.unsent.is_none() {
            state.idle_since = Instant::now();
            self.slot.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(5), future).await.expect("no slot within 5 s")
        })
    }

    async fn leave(held: Held) {
        held.evicted().await;
        drop(held);
    }

    fn answer(held: &Held) {
        let pending = held.slot().request();
        held.answer();
        drop(pending);
    }

    #[test]
    fn evicts_the_idle_and_never_the_busy() {
        block_on(async {
            let mut slots = Slots::new(3, LONG);
            let busy = slots.take().await.unwrap();
            let _pending = busy.slot().request();
            let sending = slots.take().await.unwrap();
            answer(&sending);
            let idle = slots.take().await.unwrap();
            let ((), taken) = tokio::join!(leave(idle), slots.take());
            assert!(taken.is_some());
        });
    }

    #[test]
    fn evicts_connections_that_never_sent_a_request() {
        block_on(async {
            let mut slots = Slots::new(3, LONG);
            let first = slots.take().await.unwrap();
            let second = slots.take().await.unwrap();
            let _third = slots.take().await.unwrap();
            answer(&first);
            assert!(first.flushed());
            let ((), taken) = tokio::join!(leave(second), slots.take());
            assert!(taken.is_some());
        });
    }

    #[test]
    fn connection_that_becomes_idle_is_evicted() {
        block_on(async {
            let mut slots = Slots::new(1, LONG);
            let held = slots.take().await.unwrap();
            let pending = held.slot().request();
            let becomes_idle = async {
                // The other task has found no idle connection.
                tokio::task::yield_now().await;
                held.answer();
                drop(pending);
                held.flushed();
                leave(held).await;
            };
            let (taken, ()) = tokio::join!(slots.take(), becomes_idle);
            assert!(taken.is_some());
        });
    }

    #[test]
    fn overdue_request_loses_its_connection() {
        block_on(async {
            let mut slots = Slots::new(2, Duration::from_millis(50));
            let stuck = slots.take().await.unwrap();
            let _pending = stuck.slot().request();
            let unsent = slots.take().await.unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
            let _newer = unsent.slot().request();
            let ((), taken) = tokio::join!(leave(stuck), slots.take());
            assert!(taken.is_some());
        });
    }

    #[test]
    fn one_new_connection_evicts_one() {
        block_on(async {
            let mut slots = Slots::new(2, LONG);
            let first = slots.take().await.unwrap();
            let second = slots.take().await.unwrap();
            let ((), third) = tokio::join!(leave(first), slots.take());
            assert!(third.is_some());
            assert!(tokio::time::timeout(Duration::ZERO, second.evicted()).await.is_err());
        });
    }

    #[test]
    fn panicked_connection_frees_its_slot() {
        block_on(async {
            let mut slots = Slots::new(1, LONG);
            let panicking = slots.take().await.unwrap();
            let task = tokio::spawn(async move {
                let _held = panicking;
                panic!("on purpose");
            });
            assert!(task.await.is_err());
            let second = slots.take().await.unwrap();
            // The slot of the panicked connection is older, but no longer taken.
            let ((), third) = tokio::join!(leave(second), slots.take());
            assert!(third.is_some());
        });
    }
}
