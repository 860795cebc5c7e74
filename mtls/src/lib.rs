//! TLS 1.3 connections whose peers are parties, and HTTP/1.1 over them.
//!
//! - [`trust`]: the root, issuing CAs and CRLs that a configuration names, as one [`SharedTrust`];
//! - [`reload`]: what is kept current while a program runs; [`watch`]: files that are replaced;
//! - [`identity`]: our own certificate, with its key in software or in a token;
//! - [`server`]: a listener that gives each request to a handler together with its [`server::Peer`];
//! - [`client`]: an HTTP client for one server, over kept connections;
//! - [`exchange`]: a request, its JSON body, its answer or its problem;
//! - [`rooted`]: who is known by the root alone, before there is more to judge by;
//! - [`database`]: TLS to a database server, which is no party;
//! - [`routes`]: which method at which path is which operation;
//! - [`body`]: bodies within a limit; [`rate_limit`]: how often somebody may ask;
//! - [`pem`]: certificates, CRLs and keys in files.
//!
//! Which certificate is good is decided by [`protocol::pki::Trust`] alone, but for [`rooted`]. There is no resumption:
//! it would skip that decision. This crate knows nothing of payments.

pub mod body;
pub mod client;
mod crl_fetch;
pub mod database;
pub mod exchange;
mod http_fetch;
pub mod identity;
pub mod pem;
pub mod rate_limit;
pub mod reload;
pub mod rooted;
pub mod routes;
pub mod server;
mod staple;
pub mod trust;
mod verifier;
pub mod watch;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use protocol::{pki::Trust, time::Timestamp};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The trust that servers and clients of this process judge by. To change it, store another: kept
/// connections are judged by it from their next request on.
pub type SharedTrust = Arc<ArcSwap<Trust>>;

/// The one application protocol (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// The time of this machine, at which certificates and CRLs are judged. The only place of this
/// crate that reads a clock for it.
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is broken; at 1970 every certificate is refused.
    Timestamp(since_1970.map_or(0, |duration| duration.as_secs()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
