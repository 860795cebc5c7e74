//! What payment information is kept under: a key of this process's own, wrapped by the token's data key and kept in the
//! store. So the token is asked once for a key and not for each payment, and a new data key wraps a few keys anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hsm::{HsmError, StorageKey, StorageKeyId};
use protocol::{identifiers::Xid, time::Timestamp};

use crate::{
    gateway::Gateway,
    keys::GatewayKeys,
    store::{Store, StoreError, storage_keys::WrappedKey},
};

/// How a ciphertext begins, before the id of its key. Those of earlier versions are under the data key itself.
const FORM: [u8; 4] = *b"TwK1";

/// How old a key grows, in seconds, and how often it is used, before another one takes its place. Random nonces are good
/// for 2^32 times (NIST SP 800-38D section 8.3).
const AGE_MAX: u64 = 24 * 60 * 60;
const USES_MAX: u64 = 1 << 28;

/// How often it is looked whether it is time for another one.
const LOOK: Duration = Duration::from_secs(60);

/// How long making or wrapping one may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The key in use.
pub(crate) struct EvidenceKey(ArcSwap<Current>);

struct Current {
    id: StorageKeyId,
    key: StorageKey,
    created_at: Timestamp,
    uses: AtomicU64,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoEvidenceKey {
    #[error("a key for evidence: {0}")]
    Token(#[from] HsmError),
    #[error("a key for evidence: {0}")]
    Store(#[from] StoreError),
}

impl EvidenceKey {
    /// The youngest one of the store, or a new one.
    pub(crate) async fn open(
        store: &dyn Store,
        keys: &GatewayKeys,
        now: Timestamp,
    ) -> Result<Self, NoEvidenceKey> {
        let kept = store.storage_keys().await?;
        let youngest = kept
            .iter()
            .rev()
            .find(|key| key.wrapped_by == keys.data.label() && !is_old(key.created_at, now));
        if let Some(kept) = youngest {
            match StorageKey::unwrapped(&keys.data, &kept.id, &kept.wrapped, deadline()).await {
                Ok(key) => return Ok(Self::of(kept.id, key, kept.created_at)),
                Err(HsmError::InvalidInput) => {
                    tracing::error!(
                        "a key for evidence was changed in the store; another one is made"
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        make(store, keys, now)
            .await
            .map(|current| Self(ArcSwap::from_pointee(current)))
    }

    fn of(id: StorageKeyId, key: StorageKey, created_at: Timestamp) -> Self {
        Self(ArcSwap::from_pointee(Current {
            id,
            key,
            created_at,
            uses: AtomicU64::new(0),
        }))
    }

    /// Encrypts a payment's information: form, id of the key, nonce, ciphertext, tag.
    pub(crate) fn seal(&self, xid: Xid, plaintext: &[u8]) -> Result<Vec<u8>, HsmError> {
        let current = self.0.load();
        current.uses.fetch_add(1, Ordering::Relaxed);
        let sealed = current.key.seal(xid.as_bytes(), plaintext)?;
        Ok([&FORM[..], &current.id, &sealed].concat())
    }

    async fn renew_if_old(
        &self,
        store: &dyn Store,
        keys: &GatewayKeys,
        now: Timestamp,
    ) -> Result<(), NoEvidenceKey> {
        let current = self.0.load();
        if is_old(current.created_at, now) || current.uses.load(Ordering::Relaxed) > USES_MAX {
            self.0.store(Arc::new(make(store, keys, now).await?));
            tracing::info!("another key for evidence is in use");
        }
        Ok(())
    }
}

fn is_old(created_at: Timestamp, now: Timestamp) -> bool {
    created_at.plus(AGE_MAX) <= now
}

fn deadline() -> Instant {
    Instant::now() + TIME_MAX
}

/// Makes a key. It is durable before it is used.
async fn make(
    store: &dyn Store,
    keys: &GatewayKeys,
    now: Timestamp,
) -> Result<Current, NoEvidenceKey> {
    let (id, key, wrapped) = StorageKey::new_under(&keys.data, deadline()).await?;
    let kept = WrappedKey {
        id,
        wrapped,
        wrapped_by: keys.data.label().to_owned(),
        created_at: now,
    };
    store.keep_storage_key(kept, deadline()).await?;
    Ok(Current {
        id,
        key,
        created_at: now,
        uses: AtomicU64::new(0),
    })
}

/// Wraps all keys that a former data key wrapped by the active one, and tells how many. Then the former one can be
/// retired.
pub(crate) async fn wrap_anew(
    store: &dyn Store,
    keys: &GatewayKeys,
) -> Result<usize, NoEvidenceKey> {
    let mut wrapped_anew = 0;
    for kept in store.storage_keys().await? {
        if kept.wrapped_by == keys.data.label() {
            continue;
        }
        let Some(former) = keys.former_data_key(&kept.wrapped_by) else {
            tracing::error!(
                key = kept.wrapped_by,
                "evidence is under a data key that is not configured; enter it as decrypt-only"
            );
            continue;
        };
        let bytes = former.decrypt(&kept.id, &kept.wrapped, deadline()).await?;
        let wrapped = keys.data.encrypt(&kept.id, &bytes, deadline()).await?;
        let kept = WrappedKey {
            wrapped,
            wrapped_by: keys.data.label().to_owned(),
            ..kept
        };
        store.keep_storage_key(kept, deadline()).await?;
        wrapped_anew += 1;
    }
    Ok(wrapped_anew)
}

/// Has another key take the place of one that is old, for as long as the gateway runs.
pub(crate) async fn keep_young(gateway: Arc<Gateway>) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let keys = gateway.keys();
        let renewed = gateway
            .evidence
            .renew_if_old(&*gateway.store, &keys, gateway.now());
        if let Err(error) = renewed.await {
            tracing::error!("{error}; it is tried again in a minute");
        }
    }
}
