//! Each directive of the control file does what it says, over the real SoftHSM. Each test is a process and a token
//! directory of its own.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod control;
mod directory;
mod events;
mod faults;
mod handles;
mod latency;
mod removal;
mod report;
mod threads;
