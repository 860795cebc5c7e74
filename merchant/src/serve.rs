//! `serve`: build everything, listen, ask about what was open, and on a signal finish what is running.

use std::{error::Error, path::Path, sync::Arc};

use mtls::{
    SharedTrust,
    server::{ClientAuth, Listener, ServerTls},
};
use protocol::names::Role;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{ClientCertificates, Config},
    enrolment::Renewals,
    http,
    merchant::Merchant,
    own::Own,
    reload::{self, Reload},
    service,
    store::Store,
};

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn serve(path: &Path, config: Config) -> Result<(), Box<dyn Error>> {
    // From now on it ends nothing.
    let hang_up = signal(SignalKind::hangup())?;
    let files = reload::files(&config);
    let own = Own::read(&config)?;
    let client_auth = match config.client_certificates {
        ClientCertificates::None => ClientAuth::None,
        ClientCertificates::Optional => ClientAuth::Optional(vec![Role::Client]),
    };
    let tls = ServerTls::new(
        &own.keys.identity,
        SharedTrust::clone(&own.trust),
        client_auth,
    )?;
    let renewals = Renewals::of(&config, &own.trust)?;
    let store = Store::open(&config.path(&config.store.path))?;
    let (identity, terms) = (own.keys.identity.clone(), own.keys.terms.clone());
    let merchant = Arc::new(Merchant::new(&config, own, store)?);

    let listener = Listener::bind_tls(config.listen, tls, config.limits.of_listener()).await?;
    tracing::info!(listener = "payers", address = %listener.local_address(), "listening");
    let asking = tokio::spawn(service::settle_what_is_open(Arc::clone(&merchant)));
    let renewing = renewals.map(|renewals| tokio::spawn(renewals.keep()));
    let forgetting = tokio::spawn(service::forget_what_is_unused(Arc::clone(&merchant)));
    let reload = Reload {
        merchant: Arc::clone(&merchant),
        identity,
        path: path.to_owned(),
        config: Arc::new(config),
        terms,
    };
    let keeping_current = tokio::spawn(mtls::reload::keep_current(reload, files, hang_up));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new requests, running ones finish");
    };
    let handler = move |peer, request| http::payers(Arc::clone(&merchant), peer, request);
    listener.serve(handler, stop).await;
    // What is asked at this moment is asked again after the next start.
    asking.abort();
    forgetting.abort();
    keeping_current.abort();
    if let Some(renewing) = renewing {
        // A renewal that is cut off here is completed after the next start.
        renewing.abort();
    }
    tracing::info!("drained and stopped");
    Ok(())
}
