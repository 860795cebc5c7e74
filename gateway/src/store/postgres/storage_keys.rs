//! Storage keys in PostgreSQL: one statement for each command, on its own.

use std::time::Instant;

use async_trait::async_trait;

use super::PostgresStore;
use crate::store::{
    StoreError,
    columns::signed,
    storage_keys::{self, ALL, StorageKeys, WrappedKey},
};

#[async_trait]
impl StorageKeys for PostgresStore {
    async fn storage_keys(&self) -> Result<Vec<WrappedKey>, StoreError> {
        self.statement(ALL, &[], None, storage_keys::wrapped).await
    }

    async fn keep_storage_key(&self, key: WrappedKey, deadline: Instant) -> Result<(), StoreError> {
        self.statement(
            "INSERT INTO storage_key (id, wrapped, wrapped_by, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET wrapped = $2, wrapped_by = $3",
            &[
                &&key.id[..],
                &key.wrapped,
                &key.wrapped_by,
                &signed(key.created_at.0)?,
            ],
            Some(deadline),
            |_| Ok(()),
        )
        .await
        .map(drop)
    }
}
