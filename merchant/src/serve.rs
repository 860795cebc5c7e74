//! `serve`: build everything, listen, ask about what was open, and on a signal finish what is running.

use std::{error::Error, path::Path, sync::Arc};

use mtls::{
    SharedTrust,
    identity::Identity,
    pem,
    server::{ClientAuth, Listener, ServerTls},
};
use protocol::{
    identifiers::Digest,
    names::Role,
    pki::{Usage, VerifiedCertificate},
    signing::SoftwareKey,
    time::Skew,
};
use rustls_pki_types::CertificateDer;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    catalogue::Catalogue,
    config::{ClientCertificates, Config},
    gateway::GatewayLink,
    http,
    merchant::{Asking, Merchant},
    service,
    store::Store,
};

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let trust = config.trust.load_shared(config.directory(), mtls::now())?;
    let tls_path = config.path(&config.tls.certificate);
    let identity = Identity::from_files(&tls_path, &config.path(&config.tls.key))?;
    // Payers meet it as a server's, the gateway as a client's.
    let tls_chain = pem::certificates(&tls_path)?;
    for usage in [Usage::TlsServer, Usage::TlsClient] {
        own_certificate(&config, &trust, &tls_path, &tls_chain, usage)?;
    }
    let (signing, signing_x5t) = signing_key(&config, &trust)?;
    let client_auth = match config.client_certificates {
        ClientCertificates::None => ClientAuth::None,
        ClientCertificates::Optional => ClientAuth::Optional(vec![Role::Client]),
    };
    let tls = ServerTls::new(&identity, SharedTrust::clone(&trust), client_auth)?;
    let merchant = Arc::new(Merchant {
        gateway: GatewayLink::new(
            config.gateway.name.clone(),
            config.gateway.url.clone(),
            identity,
            SharedTrust::clone(&trust),
        )?,
        catalogue: Catalogue::read(&config.path(&config.catalogue))?,
        store: Store::open(&config.path(&config.store.path))?,
        name: config.name,
        display_name: config.display_name,
        signing,
        signing_x5t,
        trust,
        capture: config.capture,
        session_seconds: config.session_seconds,
        skew: Skew::default(),
        asking: Asking::default(),
    });

    let listener = Listener::bind_tls(config.listen, tls, config.limits.of_listener()).await?;
    tracing::info!(listener = "payers", address = %listener.local_address(), "listening");
    let asking = tokio::spawn(service::settle_what_is_open(Arc::clone(&merchant)));
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
    tracing::info!("drained and stopped");
    Ok(())
}

/// The signing key, with the thumbprint of the certificate that belongs to it.
fn signing_key(
    config: &Config,
    trust: &SharedTrust,
) -> Result<(SoftwareKey, Digest), Box<dyn Error>> {
    let path = config.path(&config.signing.certificate);
    let chain = pem::certificates(&path)?;
    let certificate = own_certificate(config, trust, &path, &chain, Usage::MessageSigning)?;
    let key_path = config.path(&config.signing.key);
    let der = pem::private_key(&key_path)?;
    let key = SoftwareKey::from_pkcs8(der.secret_pkcs8_der(), chain).map_err(|error| {
        format!(
            "{}: {error}; configure the PKCS#8 key of {}",
            key_path.display(),
            path.display()
        )
    })?;
    if key.public_key() != certificate.public_key() {
        return Err(format!(
            "{} is not the key of {}; configure the two that belong together",
            key_path.display(),
            path.display()
        )
        .into());
    }
    Ok((key, certificate.thumbprint()))
}

/// A certificate of ours as the others will judge it: better now than at the first purchase.
fn own_certificate(
    config: &Config,
    trust: &SharedTrust,
    path: &Path,
    chain: &[CertificateDer<'_>],
    usage: Usage,
) -> Result<VerifiedCertificate, String> {
    let certificate = trust
        .load()
        .verify(chain, Role::Merchant, usage, mtls::now())
        .map_err(|refusal| {
            format!(
                "{} would be refused ({refusal}); renew it, or its CA's files under [trust]",
                path.display()
            )
        })?;
    if certificate.name() != config.name.party() {
        return Err(format!(
            "{} is the certificate of {}, and the configuration names {}; correct one of the two",
            path.display(),
            certificate.name(),
            config.name
        ));
    }
    Ok(certificate)
}
