//! The gateway as a payer asks it: what it decided, with a proof of who asks (`Twinseal-Proof`).

use hyper::{HeaderMap, header::HeaderName, http::HeaderValue};
use mtls::client::{HttpClient, Limits, Server};
use protocol::{
    identifiers::Jti,
    inquiry::{self, Inquiry, Receipts},
    json::Version,
    jws::Verified,
    names::Role,
    problem::{Problem, Refusal},
    receipt::Receipt,
    signing::SoftwareKey,
};

use crate::{
    exchange::{self, NoAnswer},
    outcome::Silence,
    payer::Payer,
    purchases::Purchase,
};

const WHO: &str = "the gateway";

/// Asks the gateway itself about a purchase, on the listener that no merchant stands before, and holds
/// its receipt against everything that was signed.
pub(crate) async fn ask(
    payer: &Payer,
    key: &SoftwareKey,
    purchase: &Purchase,
) -> Result<Verified<Receipt>, Silence> {
    let configured = &payer.config.gateway;
    let signed = purchase.dual_signature();
    if signed.gateway.id != configured.name {
        return Err(Silence::OtherGateway(signed.gateway.id.clone()));
    }
    let proof = proof(key, purchase)?;
    let server = Server {
        url: configured.payer_url.clone(),
        role: Role::Gateway,
        name: Some(configured.name.party().clone()),
        trust: payer.trust.clone(),
        identity: None,
    };
    let http = HttpClient::new(server, Limits::default()).map_err(Silence::Address)?;
    let path = format!("/v1/receipts/{}", signed.xid);
    let answered = exchange::patiently(async || {
        let answer = http.get(&path, proof.clone()).await?;
        exchange::read::<Receipts>(WHO, &answer)
    })
    .await;
    let receipts = match answered {
        Err(NoAnswer::Problem { ref name, .. })
            if *name == Problem::UnknownAuthorization.name() =>
        {
            return Err(Silence::NotDecided);
        }
        other => other?.receipts,
    };
    // The oldest is the decision; each has to hold.
    let mut accepted = receipts
        .iter()
        .map(|receipt| purchase.accept_receipt(receipt, &payer.trust.load(), mtls::now()))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    accepted.next().ok_or(Silence::NotDecided)
}

/// Good for this gateway, this transaction, and a minute.
fn proof(key: &SoftwareKey, purchase: &Purchase) -> Result<HeaderMap, Refusal> {
    let internal = |detail: String| Refusal::new(Problem::Internal, detail);
    let signed = purchase.dual_signature();
    let proof = key.sign(&Inquiry {
        version: Version,
        jti: Jti::random().map_err(|error| internal(error.to_string()))?,
        iat: mtls::now(),
        aud: signed.gateway.id.party().clone(),
        xid: signed.xid,
    })?;
    let value = HeaderValue::try_from(proof).map_err(|error| internal(error.to_string()))?;
    Ok([(HeaderName::from_static(inquiry::HEADER), value)]
        .into_iter()
        .collect())
}
