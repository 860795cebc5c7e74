//! Payments through the real programs: SoftHSM, sockets, TLS, SQLite.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod approvals;
