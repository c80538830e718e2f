//! The windows of gzip, which each take about 44 KB.

use std::cell::Cell;

/// The maximum number of answers that a VM inflates at the same time.
const MOST: u32 = 64;

thread_local! {
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}

/// The permission to inflate one answer, given back when dropped.
#[derive(Debug)]
pub(crate) struct Window(());

impl Window {
    /// `None` if as many answers as allowed are being inflated.
    pub(crate) fn take() -> Option<Self> {
        let taken = TAKEN.get();
        (taken < MOST).then(|| {
            TAKEN.set(taken.saturating_add(1));
            Self(())
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get().saturating_sub(1));
    }
}
