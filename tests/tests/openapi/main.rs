//! The OpenAPI documents, held against the services that serve them: same paths and methods, and real requests and
//! answers that fit the schemas, by a JSON Schema library that knows nothing of ours.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod document;
mod gateway;
mod merchant;
mod router;
