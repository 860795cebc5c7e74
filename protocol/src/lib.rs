//! The Twinseal messages, their encodings and their checks.
//!
//! No I/O, no async, no clock: every check takes the moment that it judges at. The way of a
//! purchase through it:
//!
//! 1. [`session`]: the client's nonce, the merchant's signed answer (messages 1 and 2);
//! 2. [`purchase`]: the payer signs, the merchant checks (messages 3 and 6);
//! 3. [`authorization`]: the merchant asks, the gateway checks and opens PI (message 4);
//! 4. [`receipt`]: the gateway's answer (message 5).
//!
//! After it: [`lifecycle`] (what a merchant asks of an authorization), [`cancellation`] (the payer
//! withdraws), [`inquiry`]. What a merchant is told without asking: [`notice`], sent as a [`webhook`].
//!
//! They stand on [`jws`] (signed messages), [`sd_jwt`] and [`dual_signature`] (one signature over two
//! parts), [`sealed_payment`] (the JWE), [`pki`] (who a signer is) and [`json`] (what is read at all).
//! [`schema`] describes them for OpenAPI documents.
//! A thing that was checked has a type of its own, and the check is what makes it.

pub mod authorization;
pub mod cancellation;
pub mod dual_signature;
pub mod encoding;
pub mod identifiers;
pub mod inquiry;
pub mod json;
pub mod jws;
pub mod lifecycle;
pub mod money;
pub mod names;
pub mod notice;
pub mod order_information;
pub mod payment_information;
pub mod pki;
pub mod problem;
pub mod purchase;
pub mod receipt;
pub mod schema;
pub mod sd_jwt;
pub mod sealed_payment;
pub mod session;
pub mod signing;
pub mod time;
pub mod webhook;
