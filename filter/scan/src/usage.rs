//! The tokens that a server reports.

use crate::record::Tokens;

/// What the last `usage` says, field by field: Anthropic's streams spread it over two events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cached: Option<u64>,
    pub(crate) reasoning: Option<u64>,
    /// Anthropic's, which its input tokens exclude.
    pub(crate) cache_read: Option<u64>,
    /// Anthropic's, which its input tokens exclude.
    pub(crate) cache_creation: Option<u64>,
}

impl Usage {
    /// The tokens in one convention: the input includes what was cached.
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
