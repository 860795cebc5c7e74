//! The merchant's own certificates, renewed while payers buy.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use protocol::identifiers::Digest;
use twinseal_tests::{
    parties::{Parties, card},
    place::Place,
    shopper::{Shopper, accept},
};

use crate::{replace, said};

/// Has the merchant's key certified anew, or another key in its place.
fn certify(place: &Place, usage: &str) -> (Vec<u8>, Vec<u8>) {
    let mut issue = vec!["--role", "merchant", "--name", "bookshop", "--usage", usage];
    issue.extend(["--dns", "localhost"]);
    if usage == "tls" {
        issue.extend(["--ip", "127.0.0.1"]);
    }
    let directory = format!("renewed-{usage}");
    place.certify(&directory, &issue);
    let file = |name: &str| fs::read(place.path(&format!("{directory}/signing.{name}"))).unwrap();
    (file("pem"), file("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_certificates_of_a_merchant_are_renewed_while_payers_buy_and_no_purchase_fails() {
    let place = Place::new();
    // So much money that nobody is declined.
    place.add_account(
        "rich",
        "6011000000000004",
        "2031-12",
        "funds = 1000000000000\nstatus = \"active\"",
    );
    place.edit("merchant/merchant.toml", |config| {
        let limits = toml::toml! { openings_per_minute = 60000 };
        config.insert("limits".into(), limits.into());
    });
    let mut parties = Parties::of(&place);
    parties.card = card("6011000000000004", "2031-12");
    let parties = Arc::new(parties);
    let gateway = place.start_gateway();
    let merchant = Arc::new(place.start_merchant());
    let stop = Arc::<AtomicBool>::default();
    let bought = Arc::<AtomicUsize>::default();
    let buying = {
        let (parties, merchant) = (Arc::clone(&parties), Arc::clone(&merchant));
        let (stop, bought) = (Arc::clone(&stop), Arc::clone(&bought));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let shopper = Shopper::at(&parties, &merchant);
                let signed = shopper.shop(&parties).await.sign(&parties);
                accept(&parties, &signed, &shopper.send(&signed.request).await);
                bought.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let more = async |count: usize| {
        let wanted = bought.load(Ordering::Relaxed) + count;
        while bought.load(Ordering::Relaxed) < wanted {
            assert!(!buying.is_finished());
            tokio::task::yield_now().await;
        }
    };
    more(2).await;
    // Opened before, paid afterwards.
    let early = Shopper::at(&parties, &merchant);
    let opened = early.shop(&parties).await;
    for usage in ["signing", "tls"] {
        let (certificate, key) = certify(&place, usage);
        // Between the two the pair does not fit, and is not taken.
        replace(&place.path(&format!("merchant/{usage}.key")), &key);
        replace(&place.path(&format!("merchant/{usage}.pem")), &certificate);
        let times = if usage == "signing" { 1 } else { 2 };
        said(&merchant, "the configured keys are in use", times);
        more(3).await;
    }
    let signed = opened.sign(&parties);
    accept(&parties, &signed, &early.send(&signed.request).await);
    stop.store(true, Ordering::Relaxed);
    buying.await.unwrap();
    // The new key signs.
    let opened = early.shop(&parties).await;
    let signer = opened.accepted.session().signer().thumbprint();
    let chain = mtls::pem::certificates(&place.path("merchant/signing.pem")).unwrap();
    assert_eq!(signer, Digest::of(&chain[0]));
    let merchant = Arc::into_inner(merchant).unwrap();
    assert!(merchant.stop().0.success());
    assert!(gateway.stop().0.success());
}
