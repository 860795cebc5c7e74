//! What each command does, once for all stores.

mod accounts;
mod authorize;
mod batch;
mod cancel;
mod expire;
mod operate;
mod stamp;
