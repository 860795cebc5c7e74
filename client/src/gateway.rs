//! The gateway as a payer asks it: what it decided, with a proof of who asks (`Twinseal-Proof`), and to
//! withdraw what was signed.

use hyper::{HeaderMap, body::Bytes, header::HeaderName, http::HeaderValue};
use mtls::client::{HttpClient, Limits, Server};
use protocol::{
    authorization::AuthorizationResponse,
    identifiers::Jti,
    inquiry::{self, Inquiry, Receipts},
    json::Version,
    jws::Verified,
    names::Role,
    problem::{Problem, Refusal},
    receipt::{Action, Receipt},
    signing::SoftwareKey,
};

use crate::{
    exchange::{self, NoAnswer},
    outcome::Silence,
    payer::Payer,
    purchases::Purchase,
    told::Told,
};

const WHO: &str = "the gateway";

/// Asks the gateway itself about a purchase, on the listener that no merchant stands before, and holds
/// each of its receipts against everything that was signed.
pub(crate) async fn ask(
    payer: &Payer,
    key: &SoftwareKey,
    purchase: &Purchase,
) -> Result<Told, Silence> {
    let http = client(payer, purchase)?;
    let proof = proof(key, purchase)?;
    let path = format!("/v1/receipts/{}", purchase.xid());
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
    let mut told = Told::default();
    for receipt in &receipts {
        told.add(purchase.accept_told(receipt, &payer.trust.load(), mtls::now())?);
    }
    if told.decision.is_none() && told.withdrawn.is_none() {
        return Err(Silence::NotDecided);
    }
    Ok(told)
}

/// Sends the cancellation that is kept with a purchase, and gives the receipt of it, or of the decision that
/// came first.
pub(crate) async fn cancel(
    payer: &Payer,
    purchase: &Purchase,
) -> Result<Verified<Receipt>, Silence> {
    let http = client(payer, purchase)?;
    let body = purchase.record().cancellation.clone().unwrap_or_default();
    let response = exchange::patiently(async || {
        let answer = http
            .post_json(
                "/v1/cancellations",
                Bytes::from(body.clone()),
                HeaderMap::new(),
            )
            .await?;
        exchange::read::<AuthorizationResponse>(WHO, &answer)
    })
    .await?;
    let (trust, now) = (payer.trust.load(), mtls::now());
    let receipt = purchase.accept_told(&response.receipt, &trust, now)?;
    match receipt.claims().action {
        Action::Cancellation | Action::Authorization => Ok(receipt),
        action => Err(Refusal::new(
            Problem::ChallengeMismatch,
            format!("the receipt is about a {action}"),
        )
        .into()),
    }
}

/// The payers' listener of the gateway that a purchase went through.
fn client(payer: &Payer, purchase: &Purchase) -> Result<HttpClient, Silence> {
    let configured = &payer.config.gateway;
    let signed = purchase.dual_signature();
    if signed.gateway.id != configured.name {
        return Err(Silence::OtherGateway(signed.gateway.id.clone()));
    }
    let server = Server {
        url: configured.payer_url.clone(),
        role: Role::Gateway,
        name: Some(configured.name.party().clone()),
        trust: payer.trust.clone(),
        identity: None,
    };
    HttpClient::new(server, Limits::default()).map_err(Silence::Address)
}

/// Good for this gateway, this transaction, and a minute.
fn proof(key: &SoftwareKey, purchase: &Purchase) -> Result<HeaderMap, Refusal> {
    let internal = |detail: String| Refusal::new(Problem::Internal, detail);
    let signed = purchase.dual_signature();
    let now = mtls::now();
    let proof = key.sign(&Inquiry {
        version: Version,
        jti: Jti::at(now).map_err(|error| internal(error.to_string()))?,
        iat: now,
        aud: signed.gateway.id.party().clone(),
        xid: signed.xid,
    })?;
    let value = HeaderValue::try_from(proof).map_err(|error| internal(error.to_string()))?;
    Ok([(HeaderName::from_static(inquiry::HEADER), value)]
        .into_iter()
        .collect())
}
