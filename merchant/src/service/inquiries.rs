//! `GET /v1/purchases/{xid}`: message 6 again, for the client that signed the purchase.

use protocol::{
    identifiers::Xid,
    inquiry::{self, Inquiry},
    jws::Received,
    problem::{Problem, Refusal},
    purchase::PurchaseResponse,
};

use crate::{
    merchant::{Merchant, store_refusal},
    store::PurchaseState,
};

/// What became of a purchase. Whoever is not its client learns as much as of one that never was.
pub(crate) async fn inquire(
    merchant: &Merchant,
    xid: Xid,
    proof: Option<&str>,
) -> Result<PurchaseResponse, Refusal> {
    // Not `session-unknown`, which asks for a new purchase: a 404 proves nothing.
    let unknown = |why: String| Refusal::new(Problem::UnknownAuthorization, why);
    let proof = proof.ok_or_else(|| unknown("no proof with the question".to_owned()))?;
    let now = merchant.now();
    let proof = Received::<Inquiry>::read(proof)
        .and_then(|proof| proof.verify(&merchant.trust(), now))
        .map_err(|refusal| unknown(refusal.to_string()))?;
    inquiry::check_proof(&proof, merchant.name.party(), xid, merchant.skew, now)
        .map_err(|refusal| unknown(refusal.to_string()))?;
    let purchase = merchant
        .store
        .purchase(xid)
        .await
        .map_err(store_refusal)?
        .filter(|purchase| purchase.client.party() == proof.signer().name())
        .ok_or_else(|| unknown("no such purchase of the asker's".to_owned()))?;
    match purchase.state {
        PurchaseState::Decided(_, response) => Ok(response),
        PurchaseState::Pending => Err(Refusal::new(Problem::InProgress, "pending")),
        PurchaseState::Failed(problem) => Err(Refusal::new(problem, "the gateway refused it")),
    }
}
