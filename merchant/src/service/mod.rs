//! The operations, one function each, which read like the protocol's lists of checks.

mod inquiries;
mod orders;
mod purchases;
mod sessions;
mod settle;

pub(crate) use inquiries::inquire;
pub(crate) use orders::order;
pub(crate) use purchases::purchase;
pub(crate) use sessions::open_session;
pub(crate) use settle::settle_what_is_open;
