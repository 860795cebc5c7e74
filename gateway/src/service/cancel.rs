//! `POST /v1/cancellations`: the payer withdraws a signed purchase, or learns what was decided.

use std::time::Instant;

use protocol::{
    authorization::AuthorizationResponse,
    cancellation::VerifiedCancellation,
    identifiers::Jti,
    names::ClientName,
    problem::{Problem, Refusal},
    receipt::Action,
};

use super::{no_randomness, store_refusal};
use crate::{
    gateway::Gateway,
    receipts,
    store::commands::{Cancel, Evidence, SignedByPayer},
};

/// Withdraws the purchase for ever, unless it was decided; the receipt says which. The payer's two
/// signatures are its permit: nobody else has them over this purchase.
pub(crate) async fn cancel(
    gateway: &Gateway,
    body: &[u8],
    deadline: Instant,
) -> Result<AuthorizationResponse, Refusal> {
    let now = gateway.now();
    let verified =
        VerifiedCancellation::read(body, &gateway.name, &gateway.trust(), gateway.skew, now)?;
    let (cancellation, dual_signature) = (verified.cancellation(), verified.dual_signature());
    let signed = dual_signature.claims();
    tracing::Span::current().record("subject", tracing::field::display(signed.xid));
    let client = ClientName::try_from(dual_signature.signer().name().clone())
        .map_err(|error| Refusal::new(Problem::RoleMismatch, error.to_string()))?;
    if !gateway.cancellations.take(&client, Instant::now()) {
        return Err(Refusal::new(
            Problem::RateLimited,
            format!("{client} cancels too often"),
        ));
    }
    let receipt = gateway
        .store
        .cancel(
            Cancel {
                signed: SignedByPayer {
                    xid: signed.xid,
                    client,
                    client_x5t: dual_signature.signer().thumbprint(),
                    sid: signed.sid,
                    nc: signed.nc,
                    nm: signed.nm,
                    dsh: dual_signature.hash(),
                },
                merchant: signed.merchant.id.clone(),
                amount: signed.amount,
                reqh: cancellation.hash(),
                evidence: Evidence {
                    request: cancellation.compact().to_owned(),
                    dual_signature: Some(dual_signature.compact().to_owned()),
                    payment_information: None,
                },
                receipt_jti: Jti::at(now).map_err(no_randomness)?,
                now,
                subscribers: gateway.subscribers.clone(),
            },
            deadline,
        )
        .await
        .map_err(store_refusal)?
        .ok_or_else(|| {
            Refusal::new(
                Problem::UnknownAuthorization,
                "the transaction is another payer's",
            )
        })?;
    if receipt.action == Action::Cancellation {
        tracing::info!("withdrawn by its payer");
    } else {
        tracing::info!(code = receipt.code.digits(), "too late to withdraw");
    }
    Ok(AuthorizationResponse {
        receipt: receipts::sign(gateway, &receipt, deadline).await?,
    })
}
