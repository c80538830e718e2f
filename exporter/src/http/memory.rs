//! The memory of expositions: a budget for those that are being sent, and one spare buffer for the next.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit for all expositions being sent, in bytes. Together with another exposition being encoded, the
/// reads and the program itself, they fit in the 64Mi that the manifests grant.
pub(crate) const BUDGET: usize = 32 * 1024 * 1024;

/// The most that one exposition is charged, so that its compressed form always has room beside it.
const LARGEST_CHARGE: usize = BUDGET - 4 * 1024 * 1024;

/// A larger buffer goes back to the system instead of becoming the spare one.
const LARGEST_SPARE: usize = 16 * 1024 * 1024;

/// Lends buffers and counts their bytes until the last reader is done with them.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The buffer of an earlier exposition, reused because allocating some megabytes takes as long as filling them.
    spare: Arc<Mutex<Vec<u8>>>,
    budget: Arc<Semaphore>,
}

/// The expositions that are being sent use up the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

impl Default for Memory {
    fn default() -> Self {
        Self { spare: Arc::default(), budget: Arc::new(Semaphore::new(BUDGET)) }
    }
}

impl Memory {
    /// An empty buffer.
    pub fn buffer(&self) -> Vec<u8> {
        std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Charges an exposition to the budget until all its clones and slices are dropped. One that is larger than
    /// the budget is accepted if it is the only one.
    pub fn charge(&self, mut exposition: Vec<u8>) -> Result<Bytes, OverBudget> {
        // Otherwise a small exposition could hold a large buffer. A quarter is left, so that the next exposition fits
        // into the same buffer.
        exposition.shrink_to(exposition.len() + exposition.len() / 4);
        let bytes = u32::try_from(exposition.capacity().min(LARGEST_CHARGE)).unwrap_or(u32::MAX);
        match Arc::clone(&self.budget).try_acquire_many_owned(bytes) {
            Ok(permit) => {
                Ok(Bytes::from_owner(Charged { exposition, spare: Arc::clone(&self.spare), _permit: permit }))
            }
            Err(_) => {
                keep(&self.spare, exposition);
                Err(OverBudget)
            }
        }
    }
}

/// Bytes and their part of the budget, which is held as long as the bytes.
struct Charged {
    exposition: Vec<u8>,
    spare: Arc<Mutex<Vec<u8>>>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.exposition
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        keep(&self.spare, std::mem::take(&mut self.exposition));
    }
}

fn keep(spare: &Mutex<Vec<u8>>, mut buffer: Vec<u8>) {
    let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
    if (spare.capacity()..=LARGEST_SPARE).contains(&buffer.capacity()) {
        buffer.clear();
        *spare = buffer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_holds_the_budget_of_its_exposition() {
        let memory = Memory::default();
        let half = BUDGET / 2;
        let last = memory.charge(vec![0; half]).unwrap().split_off(half - 1);
        assert_eq!(memory.charge(vec![0; half + 1]).unwrap_err(), OverBudget);
        assert!(memory.charge(vec![0; half]).is_ok());
        drop(last);
        assert!(memory.charge(vec![0; half + 1]).is_ok());
    }

    #[test]
    fn oversized_exposition_is_accepted_alone() {
        let memory = Memory::default();
        let other = memory.charge(vec![0; BUDGET / 2]).unwrap();
        assert_eq!(memory.charge(vec![0; 2 * BUDGET]).unwrap_err(), OverBudget);
        drop(other);
        let plain = memory.charge(vec![0; 2 * BUDGET]).unwrap();
        let compressed = memory.charge(vec![0; BUDGET / 16]);
        assert!(compressed.is_ok() && plain.len() == 2 * BUDGET);
    }

    #[test]
    fn small_exposition_does_not_hold_a_large_buffer() {
        let memory = Memory::default();
        let mut buffer = Vec::with_capacity(BUDGET);
        buffer.push(0);
        let _small = memory.charge(buffer).unwrap();
        assert!(memory.charge(vec![0; BUDGET - 1]).is_ok());
    }

    #[test]
    fn sent_buffer_is_used_again() {
        let memory = Memory::default();
        drop(memory.charge(vec![0; 1000]).unwrap());
        assert_eq!(memory.buffer().capacity(), 1000);
        assert_eq!(memory.buffer().capacity(), 0);
    }
}
