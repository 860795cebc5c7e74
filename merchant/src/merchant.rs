//! The running merchant: what every operation works with.

use std::{
    collections::HashSet,
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mtls::{SharedTrust, rate_limit::RateLimit, server::Source};
use protocol::{
    authorization::Capture,
    identifiers::Xid,
    names::MerchantName,
    pki::Trust,
    problem::{Problem, Refusal},
    time::{Skew, Timestamp},
    webhook::Secret,
};

use crate::{
    catalogue::Catalogue,
    config::Config,
    gateway::GatewayLink,
    own::{Own, Signing, SigningKeys},
    store::Store,
    turn::Turns,
};

/// Keys, trust, shop and records of one merchant. `serve` works with one, and so does each command that
/// asks the gateway.
pub(crate) struct Merchant {
    pub(crate) name: MerchantName,
    pub(crate) display_name: String,
    pub(crate) signing: SigningKeys,
    pub(crate) trust: SharedTrust,
    pub(crate) catalogue: Catalogue,
    pub(crate) capture: Capture,
    pub(crate) session_seconds: u64,
    pub(crate) gateway: GatewayLink,
    pub(crate) store: Store,
    pub(crate) skew: Skew,
    /// The purchases that the gateway is being asked about at this moment.
    pub(crate) asking: Asking,
    /// Whose turn it is to ask for something after a purchase.
    pub(crate) turns: Turns,
    /// Orders and client sessions that anybody may have opened, by address.
    openings: RateLimit<Source>,
    /// By which the gateway's webhooks are signed; none where it does not tell.
    pub(crate) webhook_secrets: Vec<Secret>,
    /// How long an order that nobody paid is kept, in seconds.
    pub(crate) order_seconds: u64,
}

impl Merchant {
    /// A merchant of its own files and records.
    pub(crate) fn new(config: &Config, own: Own, store: Store) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            gateway: GatewayLink::new(
                config.gateway.name.clone(),
                config.gateway.url.clone(),
                own.keys.identity,
                SharedTrust::clone(&own.trust),
            )?,
            catalogue: Catalogue::read(&config.path(&config.catalogue))?,
            store,
            name: config.name.clone(),
            display_name: config.display_name.clone(),
            signing: SigningKeys::new(own.keys.signing),
            trust: own.trust,
            capture: config.capture,
            session_seconds: config.session_seconds,
            skew: Skew::default(),
            asking: Asking::default(),
            turns: Turns::at(&config.path(&config.store.path)),
            openings: RateLimit::new(config.limits.openings_per_minute(), Duration::from_secs(60)),
            webhook_secrets: webhook_secrets(config)?,
            order_seconds: config.limits.order_seconds(),
        })
    }

    /// Takes note that somebody is about to have something kept: anybody may, so nobody too often.
    ///
    /// # Errors
    /// `rate-limited`.
    pub(crate) fn opening(&self, source: Source) -> Result<(), Refusal> {
        if self.openings.take(&source, Instant::now()) {
            return Ok(());
        }
        Err(Refusal::new(
            Problem::RateLimited,
            "too many orders and sessions of one address",
        ))
    }

    /// Signs with another key from now on. Client sessions that are open go on with the one that opened them.
    pub(crate) fn replace_signing(&self, signing: Signing) {
        self.signing.replace(signing, self.now());
    }

    /// Whether the gateway's webhooks are taken.
    pub(crate) fn is_told(&self) -> bool {
        !self.webhook_secrets.is_empty()
    }

    /// Local time.
    pub(crate) fn now(&self) -> Timestamp {
        mtls::now()
    }

    /// The trust in force at this moment.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }
}

/// Reads the secrets of the configured webhook.
fn webhook_secrets(config: &Config) -> Result<Vec<Secret>, Box<dyn Error>> {
    let Some(webhook) = &config.webhook else {
        return Ok(Vec::new());
    };
    if webhook.secret_files.is_empty() {
        return Err("the webhook has no secret; name a file in its secret_files".into());
    }
    let secret = |file: &PathBuf| -> Result<Secret, Box<dyn Error>> {
        let path = config.path(file);
        Secret::read(&secret_file::read(&path)?).map_err(|error| {
            let path = path.display();
            format!("{path} holds no secret of a webhook: {error}; put the gateway's there").into()
        })
    };
    webhook.secret_files.iter().map(secret).collect()
}

/// Who is asking the gateway about what: one at a time for each purchase.
#[derive(Clone, Default)]
pub(crate) struct Asking(Arc<Mutex<HashSet<Xid>>>);

/// The right to ask about one purchase; given back when dropped.
pub(crate) struct AskingPermit {
    asking: Asking,
    xid: Xid,
}

impl Asking {
    /// The right to ask, unless somebody has it.
    pub(crate) fn begin(&self, xid: Xid) -> Option<AskingPermit> {
        self.asked_about().insert(xid).then(|| AskingPermit {
            asking: self.clone(),
            xid,
        })
    }

    fn asked_about(&self) -> MutexGuard<'_, HashSet<Xid>> {
        // Inserting and removing leave nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AskingPermit {
    /// What may be asked about.
    pub(crate) fn xid(&self) -> Xid {
        self.xid
    }
}

impl Drop for AskingPermit {
    fn drop(&mut self) {
        self.asking.asked_about().remove(&self.xid);
    }
}

/// What a payer is told when a record can't be kept or read.
pub(crate) fn store_refusal(error: crate::store::StoreError) -> Refusal {
    Refusal::new(Problem::StoreUnavailable, error.to_string())
}

pub(crate) fn no_randomness(error: protocol::identifiers::NoRandomness) -> Refusal {
    Refusal::new(Problem::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_about_a_purchase_until_the_permit_is_given_back() {
        let asking = Asking::default();
        let xid = Xid::random().unwrap();
        let permit = asking.begin(xid).unwrap();
        assert!(asking.begin(xid).is_none());
        assert!(asking.begin(Xid::random().unwrap()).is_some());
        drop(permit);
        assert!(asking.begin(xid).is_some());
    }
}
