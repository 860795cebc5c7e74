//! Tokens, keys and workers with the real SoftHSM. Each test is a process and a token directory of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod directory;
mod metering;
mod misbehaving;
mod one_use;
mod opening;
mod pins;
mod policy;
mod provisioning;
mod recovery;
mod reports;
mod secrecy;
mod storage_keys;
mod templates;
mod workers;
