//! Many calls at once: a number of callers, each with a connection of its own, take them from one queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::connection::{self, Connection};
use super::{Call, CallResult, Endpoint, Protocol, block_on};

/// Calls to one server.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How many calls are in flight at most, each on its own connection.
    pub callers: usize,
}

impl Load {
    /// Makes all calls. The results are in the order of the calls.
    pub fn run(&self, calls: Vec<Call>) -> Vec<CallResult> {
        let calls: Arc<[Call]> = calls.into();
        let next = Arc::new(AtomicUsize::new(0));
        let mut results: Vec<(usize, CallResult)> = block_on(async {
            let callers: Vec<_> = (0..self.callers.max(1))
                .map(|_| tokio::spawn(caller(self.clone(), Arc::clone(&calls), Arc::clone(&next))))
                .collect();
            let mut results = Vec::with_capacity(calls.len());
            for caller in callers {
                results.extend(caller.await.unwrap_or_else(|error| panic!("a caller died: {error}")));
            }
            results
        });
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

async fn caller(load: Load, calls: Arc<[Call]>, next: Arc<AtomicUsize>) -> Vec<(usize, CallResult)> {
    let mut results = Vec::new();
    let mut connection: Option<Connection> = None;
    while let Some((index, call)) = take(&calls, &next) {
        results.push((index, on_connection(&load, &mut connection, call).await));
    }
    results
}

async fn on_connection(load: &Load, connection: &mut Option<Connection>, call: Call) -> CallResult {
    if let Some(open) = connection
        && !open.is_open().await
    {
        *connection = None;
    }
    let mut open = match connection.take() {
        Some(open) => open,
        None => connection::open(&load.endpoint, load.protocol).await?,
    };
    let result = open.call(call).await;
    *connection = Some(open);
    result
}

fn take(calls: &[Call], next: &AtomicUsize) -> Option<(usize, Call)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    calls.get(index).map(|call| (index, call.clone()))
}
