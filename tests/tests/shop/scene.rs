//! A gateway and a merchant that run, a payer made by hand, and the payer's terminal.

use std::process::Output;

use mtls::client::Answer;
use protocol::{
    problem::Problem,
    purchase::{PurchaseRequest, SignedPurchase},
};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, problem},
    place::Place,
    service::Service,
    shopper::{Opened, Shopper, accept},
    wire::Wire,
};

/// Everything that runs.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) parties: Parties,
    pub(crate) gateway: Service,
    pub(crate) wire: Wire,
    pub(crate) merchant: Service,
    pub(crate) shopper: Shopper,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(Place::new())
    }

    /// Starts gateway and merchant of a place, with a wire between them.
    pub(crate) fn of(place: Place) -> Self {
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        let wire = place.wire(&gateway);
        let merchant = place.start_merchant();
        let shopper = Shopper::at(&parties, &merchant);
        Self {
            place,
            parties,
            gateway,
            wire,
            merchant,
            shopper,
        }
    }

    /// An order and a session for it.
    pub(crate) async fn shop(&self) -> Opened {
        self.shopper.shop(&self.parties).await
    }

    /// The problem that a purchase request is refused with.
    pub(crate) async fn refused(&self, request: &PurchaseRequest) -> Problem {
        problem(&self.shopper.send(request).await)
    }

    /// A good purchase is approved, as the first one that holds anything.
    pub(crate) async fn approves(&self, signed: &SignedPurchase) -> Answer {
        let answer = self.shopper.send(&signed.request).await;
        let receipt = accept(&self.parties, signed, &answer);
        assert_eq!(receipt.claims().code, "00");
        assert_eq!(self.place.held("everyday"), 1250);
        answer
    }

    /// The payer's terminal buys a book, 12.50 EUR, and the transaction is approved.
    pub(crate) fn bought(&self) -> String {
        let bought = self.buy(&[]);
        assert_eq!(bought.exit, 0, "{}", bought.said);
        bought.object["xid"].as_str().unwrap().to_owned()
    }

    /// A command of the merchant.
    pub(crate) fn desk(&self, arguments: &[&str]) -> Shown {
        desk(&self.place, arguments)
    }

    /// The payer's terminal buys at the merchant.
    pub(crate) fn buy(&self, arguments: &[&str]) -> Shown {
        buy_at(&self.place, &self.merchant.url("payers"), arguments)
    }
}

/// What the payer's terminal came to.
pub(crate) struct Shown {
    pub(crate) exit: i32,
    pub(crate) object: Value,
    pub(crate) said: String,
}

/// The payer's terminal buys a book with `--yes --json`.
pub(crate) fn buy_at(place: &Place, shop: &str, arguments: &[&str]) -> Shown {
    let mut all = vec!["--json", "buy", "--yes", "--shop", shop];
    if !arguments.contains(&"--item") {
        all.extend(["--item", "book-1"]);
    }
    all.extend(arguments);
    shown(&place.client(&all))
}

/// A command of the payer's terminal with `--json`.
pub(crate) fn terminal(place: &Place, arguments: &[&str]) -> Shown {
    let mut all = vec!["--json"];
    all.extend(arguments);
    shown(&place.client(&all))
}

/// A command of the merchant with `--json`.
pub(crate) fn desk(place: &Place, arguments: &[&str]) -> Shown {
    let mut all = arguments.to_vec();
    all.push("--json");
    shown(&place.merchant_command(&all).output().unwrap())
}

/// What the gateway has of a payment.
pub(crate) fn payment(place: &Place, xid: &str) -> Value {
    let shown = place.gateway_cli(&["payments", "show", xid, "--json"]);
    serde_json::from_slice(&shown.stdout).unwrap()
}

fn shown(output: &Output) -> Shown {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Shown {
        exit: output.status.code().unwrap(),
        object: if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {:?}\n{said}", output.stdout))
        },
        said,
    }
}

/// The purchase files of the payer's terminal.
pub(crate) fn purchase_files(place: &Place) -> usize {
    if place.path("client/purchases").is_dir() {
        place.files("client/purchases").len()
    } else {
        0
    }
}
