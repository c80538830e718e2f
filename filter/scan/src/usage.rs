//! The tokens that a server reports.

use crate::record::Tokens;

/// The last value of each field of `usage`. Anthropic's streams spread the fields over two events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    /// Tokens that Anthropic read from its cache. Its input tokens exclude them.
    pub(crate) cache_read: Option<u64>,
    /// Tokens that Anthropic wrote to its cache. Its input tokens exclude them.
    pub(crate) cache_creation: Option<u64>,
}

impl Usage {
    /// The tokens in one convention: the input includes cached tokens.
    pub(crate) fn tokens(&self) -> Tokens {
        let read = self.cache_read.unwrap_or(0);
        let excluded = read.saturating_add(self.cache_creation.unwrap_or(0));
        Tokens {
            input: self.input.map(|input| input.saturating_add(excluded)),
            output: self.output,
            cached: self.cached.or(self.cache_read),
            reasoning: self.reasoning,
        }
    }
}
