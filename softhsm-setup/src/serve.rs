//! `serve`: the enrolment service, EST (RFC 7030) over TLS 1.3.
//!
//! [`http`] hears and answers, [`guard`] stops who guesses, [`request`] reads what is asked, [`desk`] decides and has the
//! CA sign, one at a time.

mod desk;
mod guard;
mod http;
mod request;

use std::{io::IsTerminal as _, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use enrolment::label::Label;
use mtls::{
    SharedTrust,
    identity::Identity,
    pem,
    server::{ClientAuth, Limits, Listener, ServerTls},
    trust::TrustFiles,
};
use protocol::{names::Role, pki::Trust};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Mutex,
    time::{MissedTickBehavior, interval},
};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    Failure,
    cli::LogFormat,
    enrolment_identity,
    layout::Layout,
    serve::{desk::Desk, http::Service},
};

/// How often CRLs are read anew. What is asked for is held against them as they are in any case: this is for who is let
/// in.
const TRUST_PERIOD: Duration = Duration::from_secs(30);

/// How often it is looked whether the service's own certificate is to be renewed.
const IDENTITY_PERIOD: Duration = Duration::from_secs(3600);

/// What the operator chose.
pub(crate) struct Chosen {
    pub(crate) listen: SocketAddr,
    /// How long an enrolled certificate is good.
    pub(crate) days: i64,
    pub(crate) log: LogFormat,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn serve(layout: &Layout, module: &Path, chosen: &Chosen) -> Result<(), Failure> {
    log_to_stderr(chosen.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime could not be started: {error}")))?;
    runtime.block_on(run(layout, module, chosen))
}

async fn run(layout: &Layout, module: &Path, chosen: &Chosen) -> Result<(), Failure> {
    let mut desk = Desk::open(layout, module, chosen.days)?;
    desk.renew_identity()?;
    let identity = identity(layout)?;
    let trust: SharedTrust = Arc::new(ArcSwap::from_pointee(trust(layout)?));
    let uses = Label::ALL.map(|label| (label.role(), label.usage()));
    let tls = ServerTls::new(
        &identity,
        SharedTrust::clone(&trust),
        ClientAuth::OptionalFor(uses.to_vec()),
    )
    .map_err(|error| Failure::new(format!("TLS can't be set up: {error}")))?;
    let cas = layout
        .cas()
        .into_iter()
        .map(|ca| pem::certificate(&layout.certificate_of(ca)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::new(error.to_string()))?;
    let desk = Arc::new(Mutex::new(desk));
    let service = Arc::new(Service::new(Arc::clone(&desk), &cas));

    let listener = Listener::bind_tls(chosen.listen, tls, Limits::default())
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
    tracing::info!(listener = "enrolment", address = %listener.local_address(), "listening");
    let reading = tokio::spawn(keep_trust(layout.clone(), trust));
    let renewing = tokio::spawn(keep_identity(layout.clone(), identity, desk));
    let failed = |error| Failure::new(format!("signals can't be heard: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new requests, running ones finish");
    };
    let handler = move |peer, request| http::answer(Arc::clone(&service), peer, request);
    listener.serve(handler, stop).await;
    reading.abort();
    renewing.abort();
    tracing::info!("drained and stopped");
    Ok(())
}

/// The service's certificate, with its issuing CA: who asks for the first time knows the root alone.
fn identity(layout: &Layout) -> Result<Identity, Failure> {
    let read = || -> Result<Identity, Box<dyn std::error::Error>> {
        let mut chain = pem::certificates(&enrolment_identity::certificate_path(layout))?;
        chain.push(pem::certificate(
            &layout.ca_certificate(Some(Role::Gateway)),
        )?);
        let key = pem::private_key(&enrolment_identity::key_path(layout))?;
        Ok(Identity::software(chain, key)?)
    };
    read().map_err(|error| {
        Failure::new(format!(
            "{error}; `softhsm-setup init` makes what is missing"
        ))
    })
}

/// Whose certificates are renewed: those of the CAs here, by the CRLs here.
fn trust(layout: &Layout) -> Result<Trust, Failure> {
    let of = |role| {
        let cas = layout.issuing_cas(role).into_iter();
        cas.map(|ca| (layout.certificate_of(ca), layout.crl_of(ca)))
            .unzip()
    };
    let (client_ca, client_crl) = of(Role::Client);
    let (merchant_ca, merchant_crl) = of(Role::Merchant);
    let (gateway_ca, gateway_crl) = of(Role::Gateway);
    let files = TrustFiles {
        fetch: Vec::new(),
        root: layout.ca_certificate(None),
        root_crl: layout.ca_crl(None),
        client_ca,
        client_crl,
        merchant_ca,
        merchant_crl,
        gateway_ca,
        gateway_crl,
    };
    files
        .load(layout.root(), mtls::now())
        .map_err(|error| Failure::new(error.to_string()))
}

async fn keep_trust(layout: Layout, shared: SharedTrust) {
    let mut ticks = interval(TRUST_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once, and all was read just now.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match trust(&layout) {
            Ok(trust) => shared.store(Arc::new(trust)),
            Err(failure) => tracing::warn!(%failure, "the CRLs stay as they were"),
        }
    }
}

async fn keep_identity(layout: Layout, shown: Identity, desk: Arc<Mutex<Desk>>) {
    let mut ticks = interval(IDENTITY_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let mut desk = Arc::clone(&desk).lock_owned().await;
        let renewed = tokio::task::spawn_blocking(move || desk.renew_identity()).await;
        match renewed {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => match identity(&layout) {
                Ok(identity) => shown.replace(&identity),
                Err(failure) => {
                    tracing::warn!(%failure, "our certificate was renewed, and can't be used")
                }
            },
            Ok(Err(failure)) => tracing::warn!(%failure, "our certificate was not renewed"),
            Err(error) => tracing::error!(%error, "renewing our certificate broke off"),
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .init(),
        LogFormat::Json => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .init(),
    }
}
