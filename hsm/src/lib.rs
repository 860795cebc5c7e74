//! PKCS#11: tokens, sessions, keys and workers. The only crate that speaks to a module; it knows nothing of
//! payments.
//!
//! [`Tokens::open`] loads modules, logs in once to each token and starts workers, each with a session of its own. A key
//! is then found by its [`uri`], held against the [`policy`] of its use, and used: [`SigningKey`], [`AgreementKey`],
//! [`DataKey`], [`IndexKey`]. An operation goes to the token with the least to do; one that fails is blamed on the token
//! or on its input by a canary, and a token that is away is brought back without a restart. [`provision`] makes tokens
//! and keys.

mod error;
mod key;
mod keyring;
mod keys;
mod metering;
mod module;
mod object;
mod operations;
pub mod pin;
mod point;
pub mod policy;
pub mod provision;
mod queue;
mod recovery;
pub mod report;
mod sealed;
pub mod signature;
mod storage_key;
mod token;
mod tokens;
pub mod uri;
pub mod waiver;
mod watchdog;
mod worker;

pub use error::{HsmError, StartError};
pub use keys::{AgreementKey, DataKey, IndexKey, SharedSecret, SigningKey};
pub use point::P256Point;
pub use queue::WorkClass;
pub use sealed::{Opening, OpeningWay, Sealed};
pub use storage_key::{StorageKey, StorageKeyId};
pub use token::{Condition, TokenConfig};
pub use tokens::{TokenStatus, Tokens};
pub use watchdog::leave_at_once;
