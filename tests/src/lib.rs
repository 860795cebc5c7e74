//! The harness: a provisioned directory of its own, the real programs running in it, and parties that
//! make messages by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness that can't go on has found a failure"
)]

pub mod canary;
pub mod crash;
pub mod parties;
pub mod place;
pub mod raw;
pub mod service;
pub mod shopper;
pub mod wire;
