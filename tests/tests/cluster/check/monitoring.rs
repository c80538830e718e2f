//! From Prometheus' objects to alerts' receivers.
