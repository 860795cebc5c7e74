//! Enrolment and renewal with the real programs, and with clients of other makers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod crashes;
mod foreign;
mod journal;
mod office;
mod programs;
mod refused;
mod renewing;
mod renewing_programs;
mod secrets;
