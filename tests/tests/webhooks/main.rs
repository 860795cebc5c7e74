//! What a merchant is told without asking, from the gateway's change to the merchant's records: real programs, a wire
//! between them that can be cut.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod receiving;
mod rotating;
mod stage;
mod telling;
