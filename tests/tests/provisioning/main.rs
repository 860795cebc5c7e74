//! Provisioning with the real program, SoftHSM and OpenSSL's opinion of what comes out.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod at_once;
mod ceremony;
mod certificates;
mod directory;
mod init;
mod interrupted;
mod issue;
mod lost;
mod odd_paths;
mod parties;
mod replacing;
mod revoke;
mod serving;
mod status;
