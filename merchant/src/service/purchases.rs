//! `POST /v1/purchases`: message 3 in, message 6 out, with messages 4 and 5 between them.

use std::{sync::Arc, time::Duration};

use protocol::{
    authorization::AuthorizationRequest,
    identifiers::{Digest, Jti, Sid, Xid},
    json::Version,
    names::ClientName,
    problem::{Problem, Refusal, Retry},
    purchase::{OpenSession, PurchaseResponse, ReceivedPurchase, VerifiedPurchase},
    time::Timestamp,
};

use tracing::Instrument as _;

use super::settle::{Attempt, settle};
use crate::{
    merchant::{Merchant, no_randomness, store_refusal},
    own::Signing,
    store::{Consumed, NewPurchase, PurchaseState},
};

/// How long a payer is kept waiting for the gateway; the asking goes on after it.
const PATIENCE: Duration = Duration::from_secs(12);

/// Checks a purchase in the protocol's order, consumes session and order, and asks the gateway. What
/// fails before that consumes nothing.
pub(crate) async fn purchase(
    merchant: &Arc<Merchant>,
    body: &[u8],
) -> Result<PurchaseResponse, Refusal> {
    let now = merchant.now();
    let (received, request) = ReceivedPurchase::read(body)?;

    // The session is known, and was used by this very request or by none.
    let (sid, hashes) = (received.sid(), received.hashes());
    let session = merchant
        .store
        .session(sid)
        .await
        .map_err(store_refusal)?
        .ok_or_else(|| Refusal::new(Problem::SessionUnknown, "no such session"))?;
    if let Some(answer) = earlier_answer(merchant, sid, hashes).await? {
        return Ok(answer);
    }
    merchant
        .skew
        .check_window(session.session.iat, session.session.exp, now)?;
    // The gateway takes the request only from the key that opened the session.
    let signing = merchant.signing.of(session.merchant_x5t).ok_or_else(|| {
        Refusal::new(
            Problem::SessionUnknown,
            "opened with a signing key that was replaced before the last start",
        )
    })?;

    // The payer signed this order in this session, for this merchant and a gateway that can open it.
    let open = OpenSession {
        session: &session.session,
        merchant_x5t: session.merchant_x5t,
        gateway_x5t: session.gateway_x5t,
        order: &session.order,
    };
    let verified = received.verify(&open, &merchant.trust(), merchant.skew, now)?;

    // Session and order are consumed together, with the very bytes that will be sent. The right to ask
    // is taken first, so that nobody who looks for open purchases comes in between.
    let new = new_purchase(
        merchant,
        &signing,
        &verified,
        request.payment_information,
        now,
    )?;
    let (xid, order) = (new.xid, new.order);
    tracing::Span::current().record("subject", tracing::field::display(xid));
    let Some(permit) = merchant.asking.begin(xid) else {
        return Err(Refusal::new(
            Problem::InProgress,
            "the same transaction is being consumed",
        ));
    };
    match merchant.store.consume(new).await.map_err(store_refusal)? {
        Consumed::Done => tracing::info!(%sid, %order, "purchase accepted"),
        Consumed::SessionUsed => {
            let answer = earlier_answer(merchant, sid, hashes).await?;
            return answer.ok_or_else(|| Refusal::new(Problem::Internal, "used by nobody"));
        }
        Consumed::Taken => {
            return Err(Refusal::new(
                Problem::Replayed,
                "the order has a pending or approved purchase, or the transaction is known",
            ));
        }
    }

    // The gateway decides. A payer that goes away does not stop the asking.
    let asking = tokio::spawn({
        let merchant = Arc::clone(merchant);
        async move { settle(&merchant, permit, Attempt::First).await }.in_current_span()
    });
    // A gateway that says why it does not decide now is relayed by that name; of silence nobody knows.
    let told = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(Err(refusal))) if refusal.problem.retry() == Retry::SameRequest => refusal.problem,
        _ => Problem::OutcomeUnknown,
    };
    outcome(merchant, xid, told).await
}

/// The answer to a purchase request whose session was used: the same request gets the first answer,
/// another one none. `None` when nobody used it.
async fn earlier_answer(
    merchant: &Merchant,
    sid: Sid,
    hashes: (Digest, Digest),
) -> Result<Option<PurchaseResponse>, Refusal> {
    let Some(used) = merchant
        .store
        .purchase_in(sid)
        .await
        .map_err(store_refusal)?
    else {
        return Ok(None);
    };
    if (used.dsh, used.pih) != hashes {
        return Err(Refusal::new(
            Problem::SessionUsed,
            "used by another purchase request",
        ));
    }
    answer(&used.state, Problem::InProgress).map(Some)
}

/// What became of a purchase that the gateway was asked about.
async fn outcome(
    merchant: &Merchant,
    xid: Xid,
    while_pending: Problem,
) -> Result<PurchaseResponse, Refusal> {
    let purchase = merchant
        .store
        .purchase(xid)
        .await
        .map_err(store_refusal)?
        .ok_or_else(|| Refusal::new(Problem::Internal, "the purchase is gone"))?;
    answer(&purchase.state, while_pending)
}

fn answer(state: &PurchaseState, while_pending: Problem) -> Result<PurchaseResponse, Refusal> {
    match state {
        PurchaseState::Decided(_, response) => Ok(response.clone()),
        PurchaseState::Failed(problem) => Err(Refusal::new(*problem, "the gateway refused it")),
        PurchaseState::Pending => Err(Refusal::new(while_pending, "the gateway is being asked")),
    }
}

fn new_purchase(
    merchant: &Merchant,
    signing: &Signing,
    verified: &VerifiedPurchase,
    payment_information: String,
    now: Timestamp,
) -> Result<NewPurchase, Refusal> {
    let dual_signature = verified.dual_signature();
    let signed = dual_signature.claims();
    let client = ClientName::try_from(dual_signature.signer().name().clone())
        .map_err(|error| Refusal::new(Problem::RoleMismatch, error.to_string()))?;
    let request = AuthorizationRequest {
        version: Version,
        jti: Jti::at(now).map_err(no_randomness)?,
        iat: now,
        xid: signed.xid,
        sid: signed.sid,
        merchant: merchant.name.clone(),
        gateway: signed.gateway.id.clone(),
        dsh: dual_signature.hash(),
        pih: verified.pih(),
        oid: verified.oid(),
        amount: signed.amount,
        capture: merchant.capture,
    };
    Ok(NewPurchase {
        xid: signed.xid,
        sid: signed.sid,
        order: verified.order().order,
        client,
        client_x5t: dual_signature.signer().thumbprint(),
        nc: signed.nc,
        nm: signed.nm,
        dsh: dual_signature.hash(),
        pih: verified.pih(),
        amount: signed.amount,
        dual_signature: dual_signature.compact().to_owned(),
        order_disclosure: verified.order_disclosure().to_owned(),
        payment_information,
        authorization_request: signing.key.sign(&request)?,
        now,
    })
}
