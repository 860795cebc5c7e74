//! Storage keys in the file.

use std::time::Instant;

use async_trait::async_trait;

use super::{SqliteStore, rows::all};
use crate::store::{
    StoreError,
    columns::signed,
    storage_keys::{self, ALL, StorageKeys, WrappedKey},
};

#[async_trait]
impl StorageKeys for SqliteStore {
    async fn storage_keys(&self) -> Result<Vec<WrappedKey>, StoreError> {
        self.readers
            .read(|connection| all(connection, ALL, [], |row| storage_keys::wrapped(row)))
    }

    async fn keep_storage_key(&self, key: WrappedKey, deadline: Instant) -> Result<(), StoreError> {
        self.writer
            .run(deadline, move |connection| {
                connection.execute(
                    "INSERT INTO storage_key (id, wrapped, wrapped_by, created_at)
                     VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET wrapped = ?2, wrapped_by = ?3",
                    (
                        key.id,
                        key.wrapped,
                        key.wrapped_by,
                        signed(key.created_at.0)?,
                    ),
                )?;
                Ok(())
            })
            .await
    }
}
