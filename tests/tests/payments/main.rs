//! Payments through the real gateway: SoftHSM, sockets, mutual TLS, SQLite.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod access;
mod approvals;
mod declines;
mod full_disk;
mod inquiries;
mod keeping;
mod lifecycle;
mod operations;
mod problems;
mod secrecy;
