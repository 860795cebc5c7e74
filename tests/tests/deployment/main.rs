//! What is below deploy/: checked by the programs that would read it, and tried with the real services.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod balancer;
mod certificates;
mod container;
mod files;
mod haproxy;
mod kubernetes;
mod systemd;
