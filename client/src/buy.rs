//! `buy`: the purchase as the payer makes it.

use protocol::{
    identifiers::{ClientNonce, Digest},
    json::Version,
    jws::{Received, Verified},
    order_information::OrderInformation,
    purchase,
    receipt::Receipt,
    session::{AcceptedSession, Expected, Session, SessionRequest},
    signing::SoftwareKey,
    time::Skew,
};

use crate::{
    basket::Basket,
    cli::Wanted,
    display::{self, printable, short},
    failure::{Exit, Failure},
    gateway,
    instruments::OwnInstrument,
    outcome::{Outcome, Silence},
    output::{say, step},
    payer::Payer,
    purchases::Purchase,
    shop::Shop,
    show, terminal,
    told::Told,
};

const MESSAGE_2: &str = "the shop's answer to the temporary authentication request";

/// Agrees on an order, sees who the shop is, asks the person, signs, keeps, sends, and comes to an
/// outcome.
pub(crate) async fn run(payer: &Payer, wanted: &Wanted, json: bool) -> Result<Exit, Failure> {
    if !wanted.yes {
        terminal::check()?;
    }
    let key = payer.signing_key(mtls::now())?;
    let instruments = payer.instruments()?;
    let instrument = instruments.choose(wanted.instrument.as_deref())?;
    let shop = Shop::at(&wanted.shop, payer.trust.clone())?;
    let basket = Basket::of(wanted)?;
    refuse_open_purchase_of_same_things(payer, &shop, &basket, wanted.again)?;

    let order = agree_on_order(&shop, &basket).await?;
    refuse_paying_again(payer, &order)?;
    let session = open_session(payer, &shop, instrument, &order).await?;
    confirm(wanted, &session, instrument, &order).await?;
    let mut purchase = sign_and_keep(payer, &key, &shop, instrument, &session, order)?;
    let outcome = settle(payer, &key, &shop, &mut purchase).await;
    Ok(show::present(payer, &purchase, &outcome, json))
}

/// Somebody who runs the same command again after an unconfirmed outcome would pay twice: the shop
/// makes a new order of it.
fn refuse_open_purchase_of_same_things(
    payer: &Payer,
    shop: &Shop,
    basket: &Basket,
    again: bool,
) -> Result<(), Failure> {
    if again {
        return Ok(());
    }
    for earlier in payer.purchases.all()? {
        let earlier = earlier?;
        let is_same = earlier.record().shop == shop.url() && basket.is_of(earlier.order());
        if is_same && let Outcome::Unconfirmed(_) = earlier.outcome(&payer.trust.load()) {
            return Err(Failure::SameThingsOpen { xid: earlier.xid() });
        }
    }
    Ok(())
}

/// An order is paid again only after a receipt that says that it was declined or withdrawn.
fn refuse_paying_again(payer: &Payer, order: &OrderInformation) -> Result<(), Failure> {
    for earlier in payer.purchases.all()? {
        let earlier = earlier?;
        if earlier.order().order != order.order {
            continue;
        }
        let xid = earlier.xid();
        match earlier.outcome(&payer.trust.load()).exit() {
            Exit::NotPaid => {}
            Exit::Done => {
                let order = order.order;
                return Err(Failure::AlreadyPaid { order, xid });
            }
            _ => return Err(Failure::StillOpen { xid }),
        }
    }
    Ok(())
}

/// Shopping: before the protocol begins, an order that is what was asked for.
async fn agree_on_order(shop: &Shop, basket: &Basket) -> Result<OrderInformation, Failure> {
    let catalogue = shop.catalogue().await?;
    basket.check_sold(&catalogue)?;
    let order = shop.place_order(basket).await?;
    basket.check_order(&order, &catalogue)?;
    say(&format!("order {} at {}", short(order.order), shop.url()));
    for line in display::order(&order) {
        say(&format!("  {line}"));
    }
    if let Some(delivery) = &order.delivery {
        say(&format!("  to {}", printable(delivery)));
    }
    Ok(order)
}

/// Messages 1 and 2: who the shop is, and whom the payment is sealed to.
async fn open_session(
    payer: &Payer,
    shop: &Shop,
    instrument: &OwnInstrument,
    order: &OrderInformation,
) -> Result<AcceptedSession, Failure> {
    let request = SessionRequest {
        version: Version,
        nc: ClientNonce::random()?,
        order: order.order,
    };
    step(
        1,
        "temporary authentication request",
        &[format!(
            "to {}: a nonce of ours, {}, and the order",
            shop.host(),
            short(request.nc)
        )],
    );
    let compact = shop.open_session(&request).await?;
    let now = mtls::now();
    let expected = Expected {
        nc: request.nc,
        host: shop.host(),
        order: order.order,
        amount: order.total,
        gateways: &instrument.gateways,
    };
    let trust = payer.trust.load();
    let accepted = Received::<Session>::read(&compact)
        .and_then(|received| received.verify(&trust, now))
        .and_then(|session| {
            AcceptedSession::check(session, &expected, &trust, Skew::default(), now)
        })
        .map_err(|refusal| Failure::Check {
            message: MESSAGE_2,
            refusal,
            advice: "check the shop's address, the instrument's gateways and this machine's clock",
        })?;
    let session = accepted.session();
    let claims = session.claims();
    step(
        2,
        "temporary authentication response",
        &[
            format!(
                "signed by {}, certified for {}",
                claims.merchant.id,
                shop.host()
            ),
            format!(
                "session {} until {}, its nonce {}, the same order, {}",
                short(claims.sid),
                claims.exp,
                short(claims.nm),
                claims.amount
            ),
            format!(
                "payment to be sealed to {}, its certificate {} checked here",
                claims.gateway.id,
                short(accepted.encryption_certificate().thumbprint())
            ),
        ],
    );
    Ok(accepted)
}

/// The person sees who is paid, how much and with what, and says yes; `--yes` says it for a total that
/// the catalogue's prices explain.
async fn confirm(
    wanted: &Wanted,
    session: &AcceptedSession,
    instrument: &OwnInstrument,
    order: &OrderInformation,
) -> Result<(), Failure> {
    let merchant = &session.session().claims().merchant;
    let question = format!(
        "pay {} to {} ({}) with {}",
        order.total,
        printable(&merchant.name),
        merchant.id,
        instrument.shown()
    );
    if wanted.yes && u128::from(order.total.value()) <= display::sum_of_items(order) {
        say(&format!("       {question}: yes, as --yes says"));
        return Ok(());
    }
    terminal::check().map_err(|nobody| {
        if wanted.yes {
            Failure::TotalAboveCatalogue
        } else {
            nobody
        }
    })?;
    if terminal::says_yes(question).await {
        Ok(())
    } else {
        Err(Failure::NotConfirmed)
    }
}

/// Message 3, made and on disk: from here on the purchase may happen.
fn sign_and_keep(
    payer: &Payer,
    key: &SoftwareKey,
    shop: &Shop,
    instrument: &OwnInstrument,
    session: &AcceptedSession,
    order: OrderInformation,
) -> Result<Purchase, Failure> {
    let signed = purchase::sign(
        session,
        order,
        instrument.instrument.clone(),
        key,
        mtls::now(),
    )
    .map_err(Failure::Signing)?;
    let pih = Digest::of(signed.request.payment_information.as_bytes());
    let purchase = Purchase::new(
        shop.url(),
        &instrument.label,
        session.session().compact(),
        signed,
    )
    .map_err(Failure::Signing)?;
    let file = payer.purchases.keep(&purchase)?;
    step(
        3,
        "purchase request",
        &[
            format!(
                "dual signature {} by {}",
                short(purchase.dsh()),
                payer.config.name
            ),
            "over a salted digest of the order and one of the payment".to_owned(),
            format!(
                "the payment sealed to {} ({}): the shop can't open it",
                purchase.dual_signature().gateway.id,
                short(pih)
            ),
            format!("kept in {} before it is sent", file.display()),
        ],
    );
    Ok(purchase)
}

/// Messages 3 to 6, and where they give no certainty, the gateway itself.
async fn settle(payer: &Payer, key: &SoftwareKey, shop: &Shop, purchase: &mut Purchase) -> Outcome {
    let told = match send(payer, shop, purchase).await {
        Ok(receipt) => {
            let mut told = Told::default();
            told.add(receipt);
            told
        }
        Err(from_shop) => {
            say(&format!("       {from_shop}"));
            say("       asking the gateway itself");
            match gateway::ask(payer, key, purchase).await {
                Ok(told) => {
                    purchase.note(&told, &payer.trust.load());
                    told
                }
                Err(from_gateway) => return Outcome::Unconfirmed(vec![from_shop, from_gateway]),
            }
        }
    };
    payer.keep_told(purchase);
    told.outcome()
        .unwrap_or_else(|| Outcome::Unconfirmed(vec![Silence::NotDecided]))
}

async fn send(
    payer: &Payer,
    shop: &Shop,
    purchase: &mut Purchase,
) -> Result<Verified<Receipt>, Silence> {
    let request = purchase.record().request.clone();
    let response = shop.purchase(&request).await?;
    let (trust, now) = (payer.trust.load(), mtls::now());
    let receipt = purchase.accept_receipt(&response.receipt, &trust, now)?;
    let claims = receipt.claims();
    step(
        4,
        "authorization request",
        &[format!(
            "the shop asked the gateway for {}: {}",
            claims.amount,
            short(claims.reqh)
        )],
    );
    step(
        5,
        "authorization response",
        &[format!(
            "the gateway decided: {} {}; receipt {} signed by {}",
            claims.code,
            claims.reason,
            short(claims.jti),
            receipt.signer().name()
        )],
    );
    let answer = purchase.accept_answer(&response.purchase_response, &receipt, &trust, now);
    let said = match &answer {
        Ok(answer) => format!(
            "signed by {}; the receipt is about exactly what we signed",
            answer.signer().name()
        ),
        // The gateway decides, whatever the shop says of it.
        Err(refusal) => format!("the shop's answer does not hold ({refusal}), the receipt does"),
    };
    step(6, "purchase response", &[said]);
    purchase.set_decided(&receipt, answer.as_ref().ok());
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use mtls::SharedTrust;

    use super::*;
    use crate::{
        config::Config,
        purchases::{Purchases, Record},
        vectors,
    };

    /// A payer that has the vectors' purchase on disk, with or without a receipt.
    fn payer(receipt: Option<String>) -> (tempfile::TempDir, Payer) {
        payer_with(receipt, None)
    }

    fn payer_with(
        receipt: Option<String>,
        withdrawn: Option<String>,
    ) -> (tempfile::TempDir, Payer) {
        let directory = tempfile::tempdir().unwrap();
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/client.sample.toml");
        let payer = Payer {
            config: Config::read(Path::new(sample)).unwrap(),
            trust: SharedTrust::new(Arc::new(vectors::trust("usual")).into()),
            purchases: Purchases::in_directory(directory.path().to_owned()),
        };
        let purchase = Purchase::of(Record {
            receipt,
            purchase_response: None,
            withdrawn,
            ..vectors::record()
        });
        payer.purchases.keep(&purchase.unwrap()).unwrap();
        (directory, payer)
    }

    #[test]
    fn an_order_is_paid_again_only_after_it_was_declined_or_withdrawn() {
        let order = vectors::purchase().order;
        let refused = |receipt: Option<String>| {
            let (_directory, payer) = payer(receipt);
            refuse_paying_again(&payer, &order).err()
        };
        assert!(matches!(refused(None), Some(Failure::StillOpen { .. })));
        assert!(matches!(
            refused(Some("no receipt".to_owned())),
            Some(Failure::StillOpen { .. })
        ));
        assert!(matches!(
            refused(Some(vectors::purchase().message_5.jws)),
            Some(Failure::AlreadyPaid { .. })
        ));
        assert!(refused(Some(vectors::declined())).is_none());
        // The shop's attempt after the cancellation was declined, or there was none.
        for receipt in [None, Some(vectors::declined())] {
            let (_directory, payer) = payer_with(receipt, Some(vectors::withdrawn()));
            assert!(refuse_paying_again(&payer, &order).is_ok());
        }
        // A cancellation receipt where the decision's should be says nothing of a payment.
        let in_its_place = refused(Some(vectors::withdrawn()));
        assert!(in_its_place.is_none());
        // An approval holds money, whatever lies beside it.
        let approval = vectors::purchase().message_5.jws;
        let (_directory, payer) = payer_with(Some(approval), Some(vectors::withdrawn()));
        assert!(matches!(
            refuse_paying_again(&payer, &order),
            Err(Failure::AlreadyPaid { .. })
        ));
    }

    #[test]
    fn the_same_things_are_not_bought_again_while_it_is_open_whether_they_were_paid() {
        let refused = |url: &str, items: &[&str], again: bool, receipt: Option<String>| {
            let (_directory, payer) = payer(receipt);
            let shop = Shop::at(url, payer.trust.clone()).unwrap();
            let basket = Basket::of(&Wanted {
                shop: url.to_owned(),
                items: items.iter().map(|item| item.parse().unwrap()).collect(),
                delivery: None,
                instrument: None,
                yes: true,
                again,
            });
            refuse_open_purchase_of_same_things(&payer, &shop, &basket.unwrap(), again).is_err()
        };
        let shop = "https://bookshop.example/";
        let same = ["BAG-1", "978-0-14-143951-8=2"];
        assert!(refused(shop, &same, false, None));
        assert!(!refused(shop, &same, true, None));
        assert!(!refused(shop, &same[..1], false, None));
        assert!(!refused("https://another.example", &same, false, None));
        let decided = Some(vectors::purchase().message_5.jws);
        assert!(!refused(shop, &same, false, decided));
    }
}
