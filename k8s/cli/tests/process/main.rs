//! The command as a process: its exit statuses, and what it does when a pipe or a Prometheus is not as usual.

mod console;
mod folder;
mod prometheus;
mod slow_prometheus;
mod statuses;
