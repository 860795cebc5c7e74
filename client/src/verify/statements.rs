//! What a receipt or a stored purchase states, each statement with what it rests on. Certificates are
//! judged at the time of the signature.

use protocol::{
    dual_signature::{DualSignature, split_merchant_half},
    json,
    jws::{Message, Received, Verified},
    order_information::OrderInformation,
    pki::Trust,
    problem::{Problem, Refusal},
    purchase::{PayersView, PurchaseAnswer, PurchaseRequest},
    receipt::{Action, Decision, Receipt},
    sd_jwt::Disclosure,
    sealed_payment::SealedPayment,
    session::Session,
    time::Timestamp,
};

use crate::{
    display::{printable, short},
    purchases::Record,
    told,
};

/// One thing that a file proves, or fails to.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) finding: Result<String, Refusal>,
}

/// What a receipt alone states.
pub(super) fn of_receipt(compact: &str, trust: &Trust) -> Statement {
    Statement {
        name: "decision",
        finding: verified_receipt(compact, trust).map(|receipt| decision(&receipt)),
    }
}

/// What a stored purchase states; without a receipt in it, nothing of a decision.
pub(super) fn of_purchase(record: &Record, trust: &Trust) -> Vec<Statement> {
    let signed = Signed::read(record, trust);
    let by_payer = || {
        signed
            .as_ref()
            .map_err(|_| rests_on("the payer's signature"))
    };
    let order = by_payer().and_then(signed_order);
    let mut statements = Vec::new();
    let mut state = |name, finding| statements.push(Statement { name, finding });

    state("payer", found(&signed, payers_statement));
    state("order", found(&order, order_statement));
    state("payment", by_payer().and_then(sealed_payment));
    state(
        "shop",
        by_payer().and_then(|signed| shops_session(record, signed, order.as_ref().ok(), trust)),
    );
    if let Some(receipt) = &record.receipt {
        let receipt = verified_receipt(receipt, trust);
        let by_gateway = || {
            receipt
                .as_ref()
                .map_err(|_| rests_on("the gateway's receipt"))
        };
        state("decision", found(&receipt, decision));
        state(
            "about",
            by_gateway().and_then(|receipt| about(receipt, by_payer()?)),
        );
        if let Some(answer) = &record.purchase_response {
            state(
                "answer",
                by_gateway().and_then(|receipt| {
                    let order = order.as_ref().map_err(|_| rests_on("the order"))?;
                    shops_answer(answer, receipt, by_payer()?, order, trust)
                }),
            );
        }
    }
    for told in record.withdrawn.iter().chain(&record.after) {
        let receipt = verified_receipt(told, trust);
        let name = receipt
            .as_ref()
            .map_or("after", |receipt| receipt.claims().action.as_str());
        state(
            name,
            receipt.and_then(|receipt| told_about(&receipt, by_payer()?)),
        );
    }
    statements
}

fn found<T>(
    part: &Result<T, Refusal>,
    statement: impl FnOnce(&T) -> String,
) -> Result<String, Refusal> {
    part.as_ref().map(statement).map_err(Clone::clone)
}

fn verified_receipt(compact: &str, trust: &Trust) -> Result<Verified<Receipt>, Refusal> {
    verified_at_its_iat(compact, trust, |receipt: &Receipt| receipt.iat)
}

/// Verifies a message by certificates as they were when it was made. Who could forge the time could
/// forge the whole message.
fn verified_at_its_iat<T: Message>(
    compact: &str,
    trust: &Trust,
    iat: impl FnOnce(&T) -> Timestamp,
) -> Result<Verified<T>, Refusal> {
    let received = Received::<T>::read(compact)?;
    let at = iat(received.unverified());
    received.verify(trust, at)
}

fn rests_on(what: &str) -> Refusal {
    Refusal::new(
        Problem::SignatureInvalid,
        format!("it rests on {what}, which does not hold"),
    )
}

/// What the payer signed, and the request that it is in.
struct Signed {
    request: PurchaseRequest,
    dual_signature: Verified<DualSignature>,
}

impl Signed {
    fn read(record: &Record, trust: &Trust) -> Result<Self, Refusal> {
        let request: PurchaseRequest = json::read(record.request.as_bytes())?;
        let (compact, _) = split_merchant_half(&request.dual_signature)?;
        Ok(Self {
            dual_signature: verified_at_its_iat(compact, trust, |signed: &DualSignature| {
                signed.iat
            })?,
            request,
        })
    }

    fn view(&self) -> PayersView<'_> {
        PayersView {
            dual_signature: self.dual_signature.claims(),
            dsh: self.dual_signature.hash(),
            client_x5t: self.dual_signature.signer().thumbprint(),
        }
    }
}

fn payers_statement(signed: &Signed) -> String {
    let signed = &signed.dual_signature;
    let claims = signed.claims();
    format!(
        "{} signed on {}: at most {} to {} through {}, transaction {}",
        signed.signer().name(),
        claims.iat,
        claims.amount,
        claims.merchant.id,
        claims.gateway.id,
        claims.xid
    )
}

fn signed_order(signed: &Signed) -> Result<OrderInformation, Refusal> {
    let (_, disclosure) = split_merchant_half(&signed.request.dual_signature)?;
    let disclosure = Disclosure::<OrderInformation>::read(disclosure)?;
    let claims = signed.dual_signature.claims();
    if !claims.digests.contains(disclosure.digest()) {
        return Err(Refusal::new(
            Problem::OrderMismatch,
            "its digest is not one of the two that were signed",
        ));
    }
    let (_, order) = disclosure.into_parts();
    if order.total != claims.amount {
        return Err(Refusal::new(
            Problem::AmountMismatch,
            "its total is not the signed amount",
        ));
    }
    Ok(order)
}

fn order_statement(order: &OrderInformation) -> String {
    let items: Vec<_> = order
        .items
        .iter()
        .map(|item| format!("{} × {}", item.quantity.get(), printable(&item.name)))
        .collect();
    format!(
        "{} for {}: this is the order that the payer signed, {}",
        items.join(", "),
        order.total,
        order.order
    )
}

fn sealed_payment(signed: &Signed) -> Result<String, Refusal> {
    let gateway = &signed.dual_signature.claims().gateway;
    SealedPayment::read(&signed.request.payment_information)?
        .check_fits(signed.dual_signature.hash(), gateway.x5t)?;
    Ok(format!(
        "sealed to a key of {} for this signature alone; what is in it only that gateway can say",
        gateway.id
    ))
}

fn shops_session(
    record: &Record,
    signed: &Signed,
    order: Option<&OrderInformation>,
    trust: &Trust,
) -> Result<String, Refusal> {
    let session = verified_at_its_iat(&record.session, trust, |session: &Session| session.iat)?;
    let offered = session.claims();
    let claims = signed.dual_signature.claims();
    let is_same = (offered.sid, offered.nc, offered.nm) == (claims.sid, claims.nc, claims.nm)
        && offered.merchant.id == claims.merchant.id
        && session.signer().thumbprint() == claims.merchant.x5t
        && offered.amount == claims.amount;
    if !is_same {
        return Err(Refusal::new(
            Problem::ChallengeMismatch,
            "the payer signed in another session",
        ));
    }
    if order.is_some_and(|order| order.order != offered.order) {
        return Err(Refusal::new(
            Problem::OrderMismatch,
            "the payer signed another order",
        ));
    }
    Ok(format!(
        "{} ({}), certified for {}, asked for {} for order {}",
        printable(&offered.merchant.name),
        offered.merchant.id,
        session.signer().dns_names().join(", "),
        offered.amount,
        offered.order
    ))
}

/// What a receipt says, by what it is about: the gateway takes a cancellation, and that approves nothing.
fn decision(receipt: &Verified<Receipt>) -> String {
    let claims = receipt.claims();
    let said = match (claims.action, claims.decision) {
        (Action::Authorization, Decision::Approved) => "approved",
        (Action::Authorization, Decision::Declined) => "declined",
        (action, _) => return done(receipt, action),
    };
    format!(
        "{} {said} {} to {} on {} ({} {}), transaction {}",
        receipt.signer().name(),
        claims.amount,
        claims.merchant,
        claims.iat,
        claims.code,
        claims.reason,
        claims.xid
    )
}

fn done(receipt: &Verified<Receipt>, action: Action) -> String {
    let claims = receipt.claims();
    let (signer, merchant) = (receipt.signer().name(), &claims.merchant);
    let (amount, iat, xid) = (claims.amount, claims.iat, claims.xid);
    let did = told::did(action);
    match action {
        Action::Cancellation => format!(
            "{signer} {did} {amount} to {merchant} on {iat}: transaction {xid} is never authorized after it"
        ),
        _ => format!("{signer}, asked by {merchant}, {did} {amount} on {iat}, transaction {xid}"),
    }
}

/// What came before or after the decision, about the same signature.
fn told_about(receipt: &Verified<Receipt>, signed: &Signed) -> Result<String, Refusal> {
    signed.view().check_about(receipt.claims())?;
    let action = receipt.claims().action;
    if action == Action::Authorization {
        return Err(Refusal::new(
            Problem::ChallengeMismatch,
            "a decision where what else was done is kept",
        ));
    }
    Ok(format!(
        "{}; about this very signature",
        done(receipt, action)
    ))
}

fn about(receipt: &Verified<Receipt>, signed: &Signed) -> Result<String, Refusal> {
    signed.view().check_receipt(receipt.claims())?;
    let asked = receipt.claims().amount;
    let amount = signed.dual_signature.claims().amount;
    Ok(format!(
        "the decision is about this very signature, {}{}",
        short(signed.dual_signature.hash()),
        if asked == amount {
            String::new()
        } else {
            format!(", of which the shop asked for {asked} instead of {amount}")
        }
    ))
}

fn shops_answer(
    answer: &str,
    receipt: &Verified<Receipt>,
    signed: &Signed,
    order: &OrderInformation,
    trust: &Trust,
) -> Result<String, Refusal> {
    // The answer has no time of its own; it was made when the receipt was there.
    let answer = Received::<PurchaseAnswer>::read(answer)?.verify(trust, receipt.claims().iat)?;
    signed.view().check_answer(&answer, order.order, receipt)?;
    Ok(format!(
        "{} told the payer the same, and passed on this receipt",
        answer.signer().name()
    ))
}

impl Statement {
    /// For people.
    pub(super) fn line(&self) -> String {
        match &self.finding {
            Ok(statement) => format!("holds    {:<10}{statement}", self.name),
            Err(refusal) => format!(
                "FAILS    {:<10}this no longer follows ({refusal})",
                self.name
            ),
        }
    }
}
