//! PKCS#11: tokens, sessions, keys and workers. The only crate that speaks to a module; it knows nothing of
//! payments.
//!
//! [`Token::open`] loads a module, logs in once and starts workers, each with a session of its own. A
//! key is then found by its [`uri`], held against the [`policy`] of its use, and used: [`SigningKey`],
//! [`AgreementKey`], [`DataKey`], [`IndexKey`]. [`provision`] makes tokens and keys.

mod error;
mod keys;
mod module;
pub mod pin;
mod point;
pub mod policy;
pub mod provision;
pub mod report;
pub mod signature;
mod token;
pub mod uri;
pub mod waiver;
mod worker;

pub use error::{HsmError, StartError};
pub use keys::{AgreementKey, DataKey, IndexKey, SharedSecret, SigningKey};
pub use point::P256Point;
pub use token::{Token, TokenConfig};
