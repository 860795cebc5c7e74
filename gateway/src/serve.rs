//! `serve`: build everything, listen, and on a signal finish what is running.

use std::{
    error::Error,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mtls::server::{ClientAuth, Listener, ServerTls};
use protocol::names::Role;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    access::MerchantDirectory,
    admin,
    config::Config,
    delivery::{self, Delivery},
    evidence_key::{self, EvidenceKey},
    gateway::Gateway,
    http,
    keys::{self, GatewayKeys},
    monitoring,
    reload::{self, Reload},
    service, store,
};

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn serve(path: &Path, config: Config) -> Result<(), Box<dyn Error>> {
    let prometheus = monitoring::install()?;
    let limits = config.limits.of_listener();

    // From now on it ends nothing.
    let hang_up = signal(SignalKind::hangup())?;
    let files = reload::files(&config);
    let trust = config.trust.load_shared(config.directory(), mtls::now())?;
    let tokens = keys::open_tokens(&config)?;
    let died = tokens.died();
    let keys = GatewayKeys::open(&config, tokens, &trust.load(), mtls::now())?;
    let handshake = limits.handshake;
    let identity = keys.tls_identity(handshake)?;
    let tls = |client_auth| ServerTls::new(&identity, Arc::clone(&trust), client_auth);
    let merchants_tls = tls(ClientAuth::Required(vec![Role::Merchant]))?;
    let payers_tls = tls(ClientAuth::None)?;
    let store = store::open(&config).await?;
    evidence_key::wrap_anew(&*store, &keys).await?;
    let evidence = EvidenceKey::open(&*store, &keys, mtls::now()).await?;
    let endpoints = delivery::endpoints(&config, &trust)?;
    let policy = delivery::Policy::of(&config.webhooks);
    let directory = MerchantDirectory::new(
        config
            .merchants
            .iter()
            .map(|merchant| (merchant.name.clone(), merchant.active)),
    );
    let gateway = Arc::new(Gateway::new(
        config.name.clone(),
        (keys, evidence),
        Arc::clone(&trust),
        directory,
        store,
        endpoints.iter().map(delivery::Endpoint::merchant).collect(),
        &config.limits,
    ));

    let merchants =
        Listener::bind_tls(config.listen.merchants, merchants_tls, limits.clone()).await?;
    let payers = Listener::bind_tls(config.listen.payers, payers_tls, limits.clone()).await?;
    let operators = Listener::bind_plain(config.listen.admin, limits).await?;
    for (listener, bound) in [
        ("merchants", &merchants),
        ("payers", &payers),
        ("admin", &operators),
    ] {
        tracing::info!(listener, address = %bound.local_address(), "listening");
    }

    let (stopped, is_dead) = when_to_stop(died)?;
    let mut listeners = JoinSet::new();
    {
        let gateway = Arc::clone(&gateway);
        let handler = move |peer, request| http::merchants(Arc::clone(&gateway), peer, request);
        listeners.spawn(merchants.serve(handler, wait(stopped.clone())));
    }
    {
        let gateway = Arc::clone(&gateway);
        let handler = move |peer, request| http::payers(Arc::clone(&gateway), peer, request);
        listeners.spawn(payers.serve(handler, wait(stopped.clone())));
    }
    {
        let gateway = Arc::clone(&gateway);
        let handler =
            move |_, request| admin::answer(Arc::clone(&gateway), prometheus.clone(), request);
        listeners.spawn(operators.serve(handler, wait(stopped.clone())));
    }
    let reload = Reload {
        gateway: Arc::clone(&gateway),
        trust,
        identity,
        handshake,
        path: path.to_owned(),
        config: Arc::new(config),
        counted: Vec::new(),
    };
    let keeping_current = tokio::spawn(mtls::reload::keep_current(reload, files, hang_up));
    let keeping_young = tokio::spawn(evidence_key::keep_young(Arc::clone(&gateway)));
    let ending_holds = tokio::spawn(service::end_holds(Arc::clone(&gateway)));
    let delivery = Delivery::new(Arc::clone(&gateway), endpoints, policy);
    let delivering = tokio::spawn(delivery.run(wait(stopped)));
    while listeners.join_next().await.is_some() {}
    // It was told to stop as they were.
    let _ = delivering.await;
    keeping_young.abort();
    let _ = keeping_young.await;
    keeping_current.abort();
    let _ = keeping_current.await;
    ending_holds.abort();
    // It has ended once it is awaited, and the store is closed with the last who has it.
    let _ = ending_holds.await;
    drop(gateway);
    tracing::info!("drained and stopped");
    if is_dead.load(Ordering::Acquire) {
        hsm::leave_at_once();
    }
    Ok(())
}

/// Becomes true at the first SIGTERM or SIGINT, or when a call into a PKCS#11 module does not come back; the second one
/// tells whether it was that.
fn when_to_stop(
    died: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<(watch::Receiver<bool>, Arc<AtomicBool>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    let is_dead = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_dead);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = died => told.store(true, Ordering::Release),
        }
        tracing::info!("stopping: no new requests, running ones finish");
        let _ = stop.send(true);
        // Kept until the process ends, so that waiting never fails.
        std::future::pending::<()>().await;
    });
    Ok((stopped, is_dead))
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error is a stop, too: the sender is gone.
    let _ = stopped.wait_for(|&stop| stop).await;
}
