//! Clients that send rubbish as fast as they can.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hyper::{HeaderMap, body::Bytes};
use protocol::{authorization::AuthorizationBody, identifiers::Digest};
use tokio::task::JoinSet;
use twinseal_tests::{
    parties::{Parties, euros},
    place::Place,
    service::Service,
};

use crate::{is_approved, readiness};

/// What the hostile clients send.
#[derive(Clone, Copy)]
enum Rubbish {
    /// No JSON at all.
    Noise,
    /// A purchase whose ephemeral key is not on the curve.
    OffTheCurve,
    /// A purchase whose sealed part was changed, by a merchant who signs what it sends: it reaches the token.
    Changed,
    /// New TLS connections: each costs the token a signature.
    Handshakes,
}

/// A purchase that is right but for its sealed part.
fn bad_purchase(parties: &Parties, rubbish: Rubbish) -> Bytes {
    let purchase = parties.purchase(euros(1), parties.card.clone());
    let mut body: serde_json::Value = serde_json::from_slice(&purchase.bytes()).unwrap();
    let sealed = body["payment_information"].as_str().unwrap();
    let mut parts: Vec<String> = sealed.split('.').map(str::to_owned).collect();
    if let Rubbish::OffTheCurve = rubbish {
        let header = protocol::encoding::base64url_decode(&parts[0]).unwrap();
        let mut header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        header["epk"]["y"] = protocol::encoding::base64url(&[7; 32]).into();
        parts[0] = protocol::encoding::base64url(header.to_string().as_bytes());
    } else {
        let last = parts.last_mut().unwrap();
        *last = protocol::encoding::base64url(&[7; 16]);
    }
    let sealed = parts.join(".");
    if let Rubbish::Changed = rubbish {
        let mut request = purchase.request.clone();
        request.pih = Digest::of(sealed.as_bytes());
        let signed = AuthorizationBody {
            payment_information: sealed,
            ..parties.body(&request, &purchase.signed)
        };
        return serde_json::to_vec(&signed).unwrap().into();
    }
    body["payment_information"] = sealed.into();
    serde_json::to_vec(&body).unwrap().into()
}

async fn sends(parties: Arc<Parties>, service: Arc<Service>, rubbish: Rubbish) {
    match rubbish {
        Rubbish::Handshakes => {
            let payers = parties.to_payer_listener(&service);
            // Refused by a limit, or answered that there is no such path.
            let _ = payers.get("/nothing", HeaderMap::new()).await;
        }
        _ => {
            let body = match rubbish {
                Rubbish::Noise => Bytes::from_static(&[0xff; 4096]),
                _ => bad_purchase(&parties, rubbish),
            };
            let merchant = parties.to_gateway(&service);
            for _ in 0..20 {
                let answer = merchant
                    .post_json("/v1/authorizations", body.clone(), HeaderMap::new())
                    .await;
                assert!(!answer.is_ok_and(|answer| answer.status.is_success()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_at_full_rate_takes_no_token_away_and_fails_no_honest_purchase() {
    rubbish_harms_nobody(&Place::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_where_the_token_itself_opens_it() {
    rubbish_harms_nobody(&Place::in_kryoptic()).await;
}

async fn rubbish_harms_nobody(place: &Place) {
    let honest = Parties::of(place);
    let parties = Arc::new(Parties::of(place));
    let service = Arc::new(place.start_gateway());
    let merchant = honest.to_gateway(&service);
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut hostile = JoinSet::new();
    for number in 0..8 {
        let rubbish = [
            Rubbish::Noise,
            Rubbish::OffTheCurve,
            Rubbish::Changed,
            Rubbish::Handshakes,
        ][number % 4];
        let (parties, service) = (Arc::clone(&parties), Arc::clone(&service));
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        hostile.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                sends(Arc::clone(&parties), Arc::clone(&service), rubbish).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for number in 0..60 {
        assert!(is_approved(&honest, &merchant).await, "{number}");
        if number % 10 == 0 {
            let (is_ready, parts) = readiness(&service);
            assert!(is_ready, "{parts}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(outcome) = hostile.join_next().await {
        outcome.unwrap();
    }
    assert!(sent.load(Ordering::Relaxed) > 8);
    let log = service.log();
    assert!(!log.contains("the token is away"), "{log}");
}
