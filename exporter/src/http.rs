//! Answers requests: negotiation, the shared scrape, pages.

pub mod body;
pub mod exposition;
pub mod handler;
pub mod landing;
pub mod memory;
pub mod negotiate;
pub mod pages;
pub mod scrape;
pub mod server;
