//! `POST /v1/authorizations`: confirms the client, has the card issuer decide, answers with a receipt.

use std::time::Instant;

use hsm::{Opening, P256Point, Sealed};
use protocol::{
    authorization::{
        AuthorizationRequest, AuthorizationResponse, BoundAuthorization, GatewayContext,
        OpenedAuthorization, ReceivedAuthorization,
    },
    identifiers::{AuthorizationId, Digest, Jti},
    jws::Verified,
    names::ClientName,
    problem::{Problem, Refusal},
    receipt::Decision,
    time::Timestamp,
};

use super::{hsm_refusal, idempotency_conflict, no_randomness, store_refusal};
use crate::{
    access::MerchantPermit,
    gateway::Gateway,
    keys::GatewayKeys,
    receipts,
    store::commands::{Authorize, Authorized, Evidence, SignedByPayer},
};

/// Decides one authorization request, or answers as it was answered before.
///
/// The order of the checks is the protocol's, and nothing is stored before the last of them.
pub(crate) async fn authorize(
    gateway: &Gateway,
    permit: MerchantPermit,
    body: &[u8],
    deadline: Instant,
) -> Result<AuthorizationResponse, Refusal> {
    let now = gateway.now();
    let trust = gateway.trust();

    // One merchant: peer, signer and named.
    let requested = ReceivedAuthorization::read(body)?.verify_request(
        permit.merchant().party(),
        &trust,
        now,
    )?;

    let xid = requested.request().claims().xid;
    tracing::Span::current().record("subject", tracing::field::display(xid));

    // The same request gets the same answer, however late.
    if let Some(answer) = earlier_answer(gateway, requested.request(), deadline).await? {
        return Ok(answer);
    }

    let keys = gateway.keys();

    // Payer, order, payment and gateway belong together; the payer signed.
    let bound = requested.verify_binding(&GatewayContext {
        name: &gateway.name,
        encryption_x5ts: &keys.live_encryption_x5ts(),
        trust: &trust,
        skew: gateway.skew,
        now,
    })?;

    // One signed purchase is decided once; the store says so again when it commits.
    if gateway.store.is_decided(xid).await.map_err(store_refusal)? {
        // By a copy of this very request, perhaps, since its answer was looked for.
        return earlier_answer(gateway, bound.request(), deadline)
            .await?
            .ok_or_else(replayed);
    }
    let client = ClientName::try_from(bound.dual_signature().signer().name().clone())
        .map_err(|error| Refusal::new(Problem::RoleMismatch, error.to_string()))?;
    // Taken before it is known that it is a decline, so that many at once are counted, too.
    let decline = gateway
        .declines
        .reserve(&client, Instant::now())
        .ok_or_else(|| {
            Refusal::new(
                Problem::RateLimited,
                format!("{client} was declined too often"),
            )
        })?;

    // PI opens, in the token or with the secret that the token agrees on; its digest is one of the two signed.
    let sealed_to = bound.dual_signature().claims().gateway.x5t;
    let opening = keys
        .encryption_key(sealed_to)
        .ok_or_else(|| {
            Refusal::new(
                Problem::PaymentInformationInvalid,
                "it is sealed to a key that is not in use",
            )
        })?
        .open(sealed(&bound)?, deadline)
        .await
        .map_err(hsm_refusal)?;
    let opened = match opening {
        Opening::Secret(secret) => bound.open(secret.expose())?,
        Opening::Plaintext(padded) => bound.opened(&padded)?,
    };

    // The client is confirmed and the card issuer asked in one durable transaction.
    let command = command(gateway, &keys, opened, client, now, deadline).await?;
    let decision = match gateway
        .store
        .authorize(command, deadline)
        .await
        .map_err(store_refusal)?
    {
        Authorized::Decided(decision) => {
            if decision.code.decision() == Decision::Declined {
                decline.spend();
            }
            metrics::counter!("twinseal_decisions_total", "code" => decision.code.digits())
                .increment(1);
            decision
        }
        Authorized::Answered(decision) => decision,
        Authorized::IdempotencyConflict => return Err(idempotency_conflict()),
        Authorized::Replayed => return Err(replayed()),
    };
    tracing::info!(code = decision.code.digits(), amount = %decision.amount, "decided");
    Ok(AuthorizationResponse {
        receipt: receipts::sign(gateway, &decision, deadline).await?,
    })
}

/// PI as the token takes it.
fn sealed(bound: &BoundAuthorization) -> Result<Sealed, Refusal> {
    let sealed = bound.sealed();
    Ok(Sealed {
        ephemeral: P256Point::from_uncompressed(bound.ephemeral()).map_err(hsm_refusal)?,
        key_derivation_info: sealed.key_derivation_info(),
        nonce: *sealed.nonce(),
        additional_data: sealed.additional_data().to_vec(),
        ciphertext_and_tag: sealed.ciphertext_and_tag().to_vec(),
    })
}

/// The stored answer to a request with this `jti`, if there is one.
async fn earlier_answer(
    gateway: &Gateway,
    request: &Verified<AuthorizationRequest>,
    deadline: Instant,
) -> Result<Option<AuthorizationResponse>, Refusal> {
    let claims = request.claims();
    let Some(decision) = gateway
        .store
        .find_by_request(&claims.merchant, claims.jti)
        .await
        .map_err(store_refusal)?
    else {
        return Ok(None);
    };
    if decision.reqh != request.hash() {
        return Err(idempotency_conflict());
    }
    tracing::info!("answered again");
    Ok(Some(AuthorizationResponse {
        receipt: receipts::sign(gateway, &decision, deadline).await?,
    }))
}

/// What the store is to do: the instrument only as its keyed hash, PI only as a ciphertext.
async fn command(
    gateway: &Gateway,
    keys: &GatewayKeys,
    opened: OpenedAuthorization,
    client: ClientName,
    now: Timestamp,
    deadline: Instant,
) -> Result<Authorize, Refusal> {
    let request = opened.request();
    let asked = request.claims();
    let dual_signature = opened.dual_signature();
    let signed = dual_signature.claims();
    let instrument = &opened.payment().information().instrument;
    let look_up_bytes = instrument.look_up_bytes();
    let instrument_index = keys
        .index
        .mac(&look_up_bytes, deadline)
        .await
        .map_err(hsm_refusal)?;
    let payment_information = gateway
        .evidence
        .seal(asked.xid, opened.payment().disclosure_text().as_bytes())
        .map_err(hsm_refusal)?;
    Ok(Authorize {
        merchant: asked.merchant.clone(),
        jti: asked.jti,
        reqh: request.hash(),
        signed: SignedByPayer {
            xid: asked.xid,
            client,
            client_x5t: dual_signature.signer().thumbprint(),
            sid: asked.sid,
            nc: signed.nc,
            nm: signed.nm,
            dsh: dual_signature.hash(),
        },
        client_key: Digest::of(dual_signature.signer().public_key()),
        amount: asked.amount,
        capture: asked.capture,
        instrument_index,
        instrument_expiry: instrument.expiry(),
        instrument_last_four: instrument.last_four().to_owned(),
        evidence: Evidence {
            request: request.compact().to_owned(),
            dual_signature: Some(dual_signature.compact().to_owned()),
            payment_information: Some(payment_information),
        },
        receipt_jti: Jti::at(now).map_err(no_randomness)?,
        authorization: AuthorizationId::random().map_err(no_randomness)?,
        now,
        capture_before: gateway.capture_before(now),
    })
}

fn replayed() -> Refusal {
    Refusal::new(Problem::Replayed, "this xid was decided")
}
