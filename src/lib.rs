//! Freshet serves records to very many clients at cache speed and keeps every screen that shows one up to date.

pub mod app;
pub mod changes;
pub mod config;
pub mod gateway;
pub mod hub;
pub mod protocol;
pub mod record;
pub mod resilience;
pub mod service;
pub mod session;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tiers;
