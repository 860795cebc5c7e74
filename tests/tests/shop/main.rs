//! Purchases through all three programs, and through the real merchant with payers and shops made by hand.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod after_purchase;
mod buying;
mod cancelling;
mod fake_shop;
mod forged;
mod lies;
mod outages;
mod own_root;
mod pending;
mod problems;
mod repeated;
mod scene;
mod secrecy;
mod starting;
mod stopping;
