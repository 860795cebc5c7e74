//! The services' OpenAPI documents, made of what the services themselves work with.
//!
//! Paths and methods are those of the table that a service routes by ([`mtls::routes`]); bodies and answers are
//! the types that it reads and writes, whose schemas are derived beside them; problems and statuses are those of
//! [`protocol::problem`]. What is added by hand, a [`Described`] for each operation, is chosen by an exhaustive
//! `match` over the table's operations, so that an operation without it does not compile.
//!
//! Which problems an operation has can't be derived. A service holds each refusal against its operation's
//! description ([`Described::hold`]) and logs what is not in it; the end-to-end tests, which raise every problem,
//! fail on such a line.

mod described;
mod document;
mod published;

pub use described::{Described, Shape};
pub use document::{Access, Document, Listener, PATH};
pub use published::Published;
