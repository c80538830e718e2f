//! Prometheus and Alertmanager with the shipped rules, for tests and for the demo.

mod alertmanager;
mod page;
mod prometheus;
mod receiver;
mod relocated;
mod shortened;

pub use alertmanager::Alertmanager;
pub use page::serve;
pub use prometheus::{Prometheus, Target};
pub use receiver::{Notification, Receiver};
pub use relocated::relocated;
pub use shortened::{alertmanager_config, duration, rules};
