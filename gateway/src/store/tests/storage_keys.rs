//! Storage keys: kept once, wrapped anew in their place.

use super::*;
use crate::store::storage_keys::WrappedKey;

conformance! {
    a_storage_key_is_kept_and_wrapped_anew_in_its_place,
}

fn key(id: u8, wrapped: &[u8], wrapped_by: &str, created_at: Timestamp) -> WrappedKey {
    WrappedKey {
        id: [id; 16],
        wrapped: wrapped.to_vec(),
        wrapped_by: wrapped_by.to_owned(),
        created_at,
    }
}

async fn a_storage_key_is_kept_and_wrapped_anew_in_its_place(place: Place) {
    let store = place.open().await;
    assert_eq!(store.storage_keys().await.unwrap(), []);
    let (older, younger) = (
        key(2, b"two", "data", NOW),
        key(1, b"one", "data", NOW.plus(1)),
    );
    for kept in [&younger, &older] {
        store.keep_storage_key(kept.clone(), soon()).await.unwrap();
    }
    assert_eq!(
        store.storage_keys().await.unwrap(),
        [older.clone(), younger.clone()]
    );
    // When it was made does not change.
    let anew = key(2, b"anew", "data-2", NOW.plus(9));
    store.keep_storage_key(anew.clone(), soon()).await.unwrap();
    let kept = WrappedKey {
        created_at: NOW,
        ..anew
    };
    assert_eq!(store.storage_keys().await.unwrap(), [kept, younger]);
}
