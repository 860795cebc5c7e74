//! Mutual TLS as a table: each certificate that a peer could show, at each place of the real programs where one is
//! judged. [`cases`] is the table; a module for each place tries all of it there.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[macro_use]
mod cases;

mod certificates;
mod gateway;
mod gateway_to_merchant;
mod kept_alive;
mod merchant_to_gateway;
mod merchant_to_payers;
mod openssl;
mod payer;
mod peer;
mod pki;
mod stage;
