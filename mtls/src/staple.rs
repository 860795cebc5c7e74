//! What the CA says of our own certificate now, asked of the responder that the certificate names, and stapled to it in
//! handshakes (RFC 6066 section 8, RFC 8446 section 4.4.2.1).
//!
//! The address is the certificate's, which our own CA signed; certificates of others are not followed. What peers staple
//! is not looked at: CRLs decide whether their certificates were revoked.

use std::{future::pending, time::Duration};

use hyper::Uri;
use protocol::pki::{OcspError, ocsp_responders};
use rustls_pki_types::CertificateDer;
use tokio::time::sleep;

use crate::{
    SharedTrust,
    http_fetch::{self, BackOff, Bounds, FetchError, half_of},
    identity::Identity,
    now,
};

const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(10),
    bytes_max: 64 * 1024,
};

/// Why there is no newer answer.
#[derive(Debug, thiserror::Error)]
enum StapleError {
    /// Nothing came.
    #[error("{0}; see to the OCSP responder that the certificate names")]
    Fetch(#[from] FetchError),
    /// What came is not used.
    #[error(transparent)]
    Answer(#[from] OcspError),
}

/// Staples answers to an identity, whichever certificate it shows, until this is dropped. Does nothing while the
/// certificate names no responder.
pub(crate) async fn keep_stapled(identity: Identity, trust: SharedTrust) {
    let mut replacements = identity.replacements();
    loop {
        replacements.mark_unchanged();
        tokio::select! {
            () = keep(&identity, &trust) => {}
            // The identity has the sender, so there is no error.
            _ = replacements.changed() => {}
        }
    }
}

/// Works for one certificate until it is dropped.
async fn keep(identity: &Identity, trust: &SharedTrust) {
    let Some((leaf, url)) = identity
        .leaf()
        .and_then(|leaf| responder(&leaf).map(|url| (leaf, url)))
    else {
        return pending().await;
    };
    let mut back_off = BackOff::new();
    loop {
        let pause = match refresh(identity, trust, &leaf, &url).await {
            Ok(pause) => {
                back_off = BackOff::new();
                pause
            }
            Err(error) => {
                told(identity, &leaf, &url, &error);
                back_off.failed()
            }
        };
        sleep(pause).await;
    }
}

/// The first one that can be asked.
fn responder(leaf: &CertificateDer<'_>) -> Option<Uri> {
    ocsp_responders(leaf)
        .iter()
        .find_map(|address| http_fetch::http_url(address))
}

/// Asks once, and says when to do so again.
async fn refresh(
    identity: &Identity,
    trust: &SharedTrust,
    leaf: &CertificateDer<'_>,
    url: &Uri,
) -> Result<Duration, StapleError> {
    let trust = trust.load_full();
    let question = trust.ocsp_question(leaf)?;
    let body = question.to_der();
    let answer = http_fetch::post(url, "application/ocsp-request", body, BOUNDS).await?;
    let now = now();
    let answer = question.check(&answer, now)?;
    identity.staple(leaf, Some(&answer));
    tracing::info!(%url, until = %answer.end(), "an OCSP answer is stapled to the TLS certificate");
    Ok(half_of(answer.end().0.saturating_sub(now.0)))
}

/// What is bad news of the certificate itself ends what was stapled.
fn told(identity: &Identity, leaf: &CertificateDer<'_>, url: &Uri, error: &StapleError) {
    if let StapleError::Answer(OcspError::Revoked { .. }) = error {
        identity.staple(leaf, None);
        tracing::error!(%url, "nothing is stapled to the TLS certificate: {error}");
        return;
    }
    match identity.stapled_until(now()) {
        Some(until) => tracing::warn!(
            %url,
            %until,
            "the former OCSP answer stays stapled to the TLS certificate: {error}"
        ),
        None => tracing::warn!(%url, "nothing is stapled to the TLS certificate: {error}"),
    }
}
