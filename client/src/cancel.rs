//! `cancel`: the payer withdraws a signed purchase, or learns that it was decided.

use protocol::{
    cancellation::{Cancellation, CancellationBody},
    dual_signature::split_merchant_half,
    identifiers::{Jti, Xid},
    json::{self, Version},
    problem::{Problem, Refusal},
    purchase::PurchaseRequest,
    receipt::Decision,
    signing::SoftwareKey,
};

use crate::{
    display::{printable, short},
    failure::{Exit, Failure},
    gateway,
    outcome::Outcome,
    output::say,
    payer::Payer,
    purchases::Purchase,
    show, terminal,
    told::Told,
};

/// Withdraws a purchase that is unconfirmed. What was decided or withdrawn before is shown, and nobody is
/// asked.
pub(crate) async fn run(payer: &Payer, xid: Xid, yes: bool, json: bool) -> Result<Exit, Failure> {
    let mut purchase = payer.purchases.find(xid)?;
    let mut outcome = purchase.outcome(&payer.trust.load());
    if let Outcome::Unconfirmed(_) = outcome {
        if !yes {
            confirm(&purchase).await?;
        }
        if purchase.record().cancellation.is_none() {
            let key = payer.signing_key(mtls::now())?;
            sign_and_keep(payer, &key, &mut purchase)?;
        }
        outcome = send(payer, &mut purchase).await;
    }
    show::present(payer, &purchase, &outcome, json);
    Ok(exit(&outcome))
}

/// The exit code of `cancel`: it wants another outcome than `buy`.
fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Withdrawn(_) => Exit::Done,
        Outcome::Decided(decided) => match decided.receipt.claims().decision {
            Decision::Approved => Exit::TooLate,
            Decision::Declined => Exit::NotPaid,
        },
        Outcome::Unconfirmed(_) => Exit::Unconfirmed,
    }
}

async fn confirm(purchase: &Purchase) -> Result<(), Failure> {
    terminal::check()?;
    let question = format!(
        "withdraw the purchase of {} at {}",
        purchase.dual_signature().amount,
        printable(purchase.merchant_name())
    );
    if terminal::says_yes(question).await {
        Ok(())
    } else {
        Err(Failure::NotWithdrawn)
    }
}

/// The cancellation, made and on disk: the same one is sent as often as it takes.
fn sign_and_keep(payer: &Payer, key: &SoftwareKey, purchase: &mut Purchase) -> Result<(), Failure> {
    let body = body(key, purchase).map_err(Failure::CancellationNotSigned)?;
    purchase.set_cancellation(body);
    let file = payer.purchases.keep(purchase)?;
    say(&format!(
        "cancellation of {} signed, and kept in {} before it is sent",
        short(purchase.dsh()),
        file.display()
    ));
    Ok(())
}

fn body(key: &SoftwareKey, purchase: &Purchase) -> Result<String, Refusal> {
    let internal = |detail: String| Refusal::new(Problem::Internal, detail);
    let request: PurchaseRequest = json::read(purchase.record().request.as_bytes())?;
    let (compact, _) = split_merchant_half(&request.dual_signature)?;
    let signed = purchase.dual_signature();
    let now = mtls::now();
    let cancellation = key.sign(&Cancellation {
        version: Version,
        jti: Jti::at(now).map_err(|error| internal(error.to_string()))?,
        iat: now,
        gateway: signed.gateway.id.clone(),
        xid: signed.xid,
        dsh: purchase.dsh(),
    })?;
    let body = CancellationBody {
        cancellation,
        dual_signature: format!("{compact}~"),
    };
    serde_json::to_string(&body).map_err(|error| internal(error.to_string()))
}

async fn send(payer: &Payer, purchase: &mut Purchase) -> Outcome {
    let receipt = match gateway::cancel(payer, purchase).await {
        Ok(receipt) => receipt,
        Err(silence) => {
            say(&format!(
                "the cancellation is kept; send the same one again with: twinseal-client cancel {}",
                purchase.xid()
            ));
            return Outcome::Unconfirmed(vec![silence]);
        }
    };
    let mut told = Told::default();
    told.add(receipt);
    purchase.note(&told, &payer.trust.load());
    payer.keep_told(purchase);
    told.outcome()
        .unwrap_or_else(|| Outcome::Unconfirmed(Vec::new()))
}
