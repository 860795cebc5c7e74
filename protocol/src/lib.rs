//! The Twinseal messages, their encodings and their checks.
//!
//! No I/O, no async, no clock: every check takes the moment it judges at. Start reading at
//! [`purchase`], the exchange from the payer's side to the gateway's.

pub mod encoding;
pub mod identifiers;
pub mod money;
pub mod names;
pub mod problem;
pub mod time;
