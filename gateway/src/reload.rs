//! SIGHUP: the keys of the configuration are taken over while requests go on. What else changed in the file waits for a
//! restart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use mtls::identity::Identity;
use tokio::{signal::unix::Signal, task::spawn_blocking};

use crate::{config::Config, evidence_key, gateway::Gateway, keys::GatewayKeys};

/// What is replaced, and where from.
pub(crate) struct Reload {
    pub(crate) gateway: Arc<Gateway>,
    /// What the TLS listeners show.
    pub(crate) identity: Identity,
    pub(crate) handshake: Duration,
    pub(crate) config: PathBuf,
}

impl Reload {
    /// Takes the keys over at each SIGHUP.
    pub(crate) async fn run(self, mut hang_up: Signal) {
        let reload = Arc::new(self);
        while hang_up.recv().await.is_some() {
            let once = Arc::clone(&reload);
            // Keys are found and used on threads that may block.
            match spawn_blocking(move || once.take_over()).await {
                Ok(Ok(())) => {
                    reload.wrap_anew().await;
                    tracing::info!("the configured keys are in use");
                }
                Ok(Err(error)) => tracing::error!("{error}; the keys stay as they were"),
                Err(_) => tracing::error!("the keys stay as they were"),
            }
        }
    }

    /// What a former data key wrapped. The former one stays until that is done.
    async fn wrap_anew(&self) {
        match evidence_key::wrap_anew(&*self.gateway.store, &self.gateway.keys()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "keys for evidence are under the active data key"),
            Err(error) => tracing::error!("{error}; it is tried again at the next SIGHUP"),
        }
    }

    /// All of them, or none.
    fn take_over(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let config = Config::read(&self.config)?;
        let tokens = self.gateway.keys().tokens.clone();
        let keys = GatewayKeys::open(&config, tokens, &self.gateway.trust(), mtls::now())?;
        let identity = keys.tls_identity(self.handshake)?;
        self.gateway.replace_keys(keys);
        self.identity.replace(&identity);
        Ok(())
    }
}
