//! The keys that what is stored is encrypted with: each wrapped by the token's data key.

use std::time::Instant;

use async_trait::async_trait;
use hsm::StorageKeyId;
use protocol::time::Timestamp;

use super::{
    StoreError,
    columns::{self, Columns},
    tables::Fault,
};

/// A wrapped key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedKey {
    pub(crate) id: StorageKeyId,
    /// Nonce, ciphertext, tag.
    pub(crate) wrapped: Vec<u8>,
    /// The label of the data key that wrapped it.
    pub(crate) wrapped_by: String,
    pub(crate) created_at: Timestamp,
}

/// All of them, as both databases have them.
pub(super) const ALL: &str =
    "SELECT id, wrapped, wrapped_by, created_at FROM storage_key ORDER BY created_at, id";

/// Reads an [`ALL`] row.
pub(super) fn wrapped(row: &impl Columns) -> Result<WrappedKey, Fault> {
    let strange = || Fault::strange("a storage key");
    Ok(WrappedKey {
        id: row
            .bytes("id")?
            .and_then(|id| id.try_into().ok())
            .ok_or_else(strange)?,
        wrapped: row.bytes("wrapped")?.ok_or_else(strange)?,
        wrapped_by: row.text("wrapped_by")?.ok_or_else(strange)?,
        created_at: Timestamp(columns::unsigned(row, "created_at")?),
    })
}

/// Where they are kept.
#[async_trait]
pub(crate) trait StorageKeys: Send + Sync {
    /// All, the oldest first.
    async fn storage_keys(&self) -> Result<Vec<WrappedKey>, StoreError>;

    /// Keeps a new one, or one that is wrapped anew in the place of what it was.
    async fn keep_storage_key(&self, key: WrappedKey, deadline: Instant) -> Result<(), StoreError>;
}
