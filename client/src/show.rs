//! `show`, `list` and `catalogue`.

use protocol::{identifiers::Xid, money};
use serde_json::json;

use crate::{
    display::{Align, printable, table},
    failure::{Exit, Failure},
    gateway,
    outcome::{self, Outcome},
    output::{print, print_json, say},
    payer::Payer,
    purchases::Purchase,
    shop::Shop,
};

/// One purchase and what is known of its outcome; asks the gateway where the person wants it.
pub(crate) async fn one(
    payer: &Payer,
    xid: Xid,
    refresh: bool,
    json: bool,
) -> Result<Exit, Failure> {
    let mut purchase = payer.purchases.find(xid)?;
    let stored = purchase.outcome(&payer.trust.load());
    let outcome = if refresh {
        refreshed(payer, &mut purchase, stored).await?
    } else {
        stored
    };
    Ok(present(payer, &purchase, &outcome, json))
}

/// Asks the gateway. What it decided does not change any more, so a receipt that is there stays, and what came
/// after it is added.
async fn refreshed(
    payer: &Payer,
    purchase: &mut Purchase,
    stored: Outcome,
) -> Result<Outcome, Failure> {
    let key = payer.signing_key(mtls::now())?;
    match (gateway::ask(payer, &key, purchase).await, stored) {
        (Ok(told), _) => {
            purchase.note(&told, &payer.trust.load());
            payer.keep_told(purchase);
            Ok(purchase.outcome(&payer.trust.load()))
        }
        (Err(silence), Outcome::Unconfirmed(mut silences)) => {
            silences.push(silence);
            Ok(Outcome::Unconfirmed(silences))
        }
        (Err(silence), stored) => {
            say(&format!("{silence}; this is the receipt that is kept here"));
            Ok(stored)
        }
    }
}

/// Shows a purchase and its outcome, and gives the exit code that goes with it.
pub(crate) fn present(payer: &Payer, purchase: &Purchase, outcome: &Outcome, json: bool) -> Exit {
    let file = payer.purchases.path(purchase.xid());
    if json {
        print_json(&outcome::object(purchase, outcome, &file));
    } else {
        for line in outcome::lines(purchase, outcome, &file) {
            print(&line);
        }
    }
    outcome.exit()
}

/// Every purchase of this terminal, the oldest first.
pub(crate) fn all(payer: &Payer, json: bool) -> Result<Exit, Failure> {
    let trust = payer.trust.load();
    let mut purchases = Vec::new();
    for purchase in payer.purchases.all()? {
        match purchase {
            Ok(purchase) => purchases.push(purchase),
            Err(error) => say(&format!("left out: {error}")),
        }
    }
    if json {
        let list: Vec<_> = purchases
            .iter()
            .map(|purchase| {
                let file = payer.purchases.path(purchase.xid());
                outcome::object(purchase, &purchase.outcome(&trust), &file)
            })
            .collect();
        print_json(&json!({ "purchases": list }));
        return Ok(Exit::Done);
    }
    if purchases.is_empty() {
        say("nothing was bought with this terminal; see: twinseal-client buy --help");
    }
    let rows: Vec<_> = purchases
        .iter()
        .map(|purchase| {
            [
                purchase.dual_signature().iat.to_string(),
                purchase.dual_signature().amount.to_string(),
                purchase.outcome(&trust).word().to_owned(),
                purchase.xid().to_string(),
                printable(purchase.merchant_name()),
            ]
        })
        .collect();
    let columns = [
        Align::Left,
        Align::Right,
        Align::Left,
        Align::Left,
        Align::Left,
    ];
    for line in table(columns, &rows) {
        print(&line);
    }
    Ok(Exit::Done)
}

/// What a shop sells.
pub(crate) async fn catalogue(payer: &Payer, url: &str, json: bool) -> Result<Exit, Failure> {
    let catalogue = Shop::at(url, payer.trust.clone())?.catalogue().await?;
    if json {
        print_json(&json!(catalogue));
        return Ok(Exit::Done);
    }
    print(&format!(
        "{} ({})",
        printable(&catalogue.name),
        catalogue.merchant
    ));
    let rows: Vec<_> = catalogue
        .items
        .iter()
        .map(|item| {
            [
                printable(&item.sku),
                printable(&item.name),
                money::written(item.unit_price, catalogue.currency),
            ]
        })
        .collect();
    for line in table([Align::Left, Align::Left, Align::Right], &rows) {
        print(&format!("  {line}"));
    }
    Ok(Exit::Done)
}
