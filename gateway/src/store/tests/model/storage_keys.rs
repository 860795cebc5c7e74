//! The model's storage keys.

use std::time::Instant;

use async_trait::async_trait;

use super::Model;
use crate::store::{
    StoreError,
    storage_keys::{StorageKeys, WrappedKey},
};

#[async_trait]
impl StorageKeys for Model {
    async fn storage_keys(&self) -> Result<Vec<WrappedKey>, StoreError> {
        let mut keys = self.rows().storage_keys.clone();
        keys.sort_by_key(|key| (key.created_at, key.id));
        Ok(keys)
    }

    async fn keep_storage_key(&self, key: WrappedKey, _: Instant) -> Result<(), StoreError> {
        let keys = &mut self.rows().storage_keys;
        match keys.iter_mut().find(|known| known.id == key.id) {
            Some(known) => {
                *known = WrappedKey {
                    created_at: known.created_at,
                    ..key
                };
            }
            None => keys.push(key),
        }
        Ok(())
    }
}
