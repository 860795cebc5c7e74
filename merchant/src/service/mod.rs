//! The operations, one function each, which read like the protocol's lists of checks.

mod batches;
mod inquiries;
mod notices;
mod operate;
mod orders;
mod purchases;
mod sessions;
mod settle;
mod tidy;

pub(crate) use batches::{Closing, close_batch};
pub(crate) use inquiries::inquire;
pub(crate) use notices::notice;
pub(crate) use operate::{NotAsked, Operated, Outcome, Wish, operate};
pub(crate) use orders::order;
pub(crate) use purchases::purchase;
pub(crate) use sessions::open_session;
pub(crate) use settle::settle_what_is_open;
pub(crate) use tidy::forget_what_is_unused;
