//! Answers requests: negotiation, the shared scrape, pages.

pub mod body;
pub mod handler;
pub mod negotiate;
pub mod pages;
pub mod requests;
pub mod scrape;
