//! After the approval, over the wire: what a merchant asks for, what a payer withdraws, what ends by itself.

use std::{marker::PhantomData, time::Duration};

use hyper::{HeaderMap, header::HeaderValue};
use mtls::client::{Answer, HttpClient};
use protocol::{
    authorization::{AuthorizationResponse, Capture as When},
    identifiers::{Jti, Xid},
    inquiry::{HEADER, Inquiry, Receipts},
    json::Version,
    jws::{Message, Received, Verified},
    lifecycle::{
        BatchRequest, BatchResponse, Capture, CaptureReversal, ClosedBatch, LifecycleBody,
        LifecycleRequest, Operation, Refund, RefundReversal, Reversal,
    },
    money::Amount,
    problem::Problem,
    receipt::{Action, Decision, Receipt},
};
use twinseal_tests::{
    parties::{Parties, Purchase, authorize, currency, euros, problem},
    place::Place,
    service::Service,
};

/// How long a hold that is over may take to be ended: it is looked for every second.
const ENDED: Duration = Duration::from_secs(20);

/// A deployment with an approved purchase of 12.50.
struct Scene {
    place: Place,
    parties: Parties,
    gateway: Service,
    merchant: HttpClient,
    purchase: Purchase,
}

impl Scene {
    async fn new() -> Self {
        Self::of(Place::new()).await
    }

    async fn of(place: Place) -> Self {
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        let merchant = parties.to_gateway(&gateway);
        let purchase = parties.purchase(euros(1250), parties.card.clone());
        let answer = authorize(&merchant, purchase.bytes()).await;
        let receipt = parties.accept_receipt(&purchase, &answer.body);
        assert_eq!(receipt.claims().decision, Decision::Approved);
        Self {
            place,
            parties,
            gateway,
            merchant,
            purchase,
        }
    }

    fn xid(&self) -> Xid {
        self.purchase.request.xid
    }

    fn request<O>(&self, cents: u64, target: Option<Jti>) -> LifecycleRequest<O> {
        LifecycleRequest {
            version: Version,
            jti: Jti::random().unwrap(),
            iat: mtls::now(),
            merchant: self.parties.merchant.clone(),
            gateway: self.parties.gateway.clone(),
            xid: self.xid(),
            amount: euros(cents),
            target,
            operation: PhantomData,
        }
    }

    async fn send<T: Message>(&self, path: &str, claims: &T) -> Answer {
        self.send_signed(path, self.parties.merchant_key.sign(claims).unwrap())
            .await
    }

    async fn send_signed(&self, path: &str, request: String) -> Answer {
        let body = serde_json::to_vec(&LifecycleBody { request }).unwrap();
        self.merchant
            .post_json(path, body.into(), HeaderMap::new())
            .await
            .unwrap()
    }

    /// A receipt about this purchase, whatever was done.
    fn receipt(&self, answer: &Answer) -> Verified<Receipt> {
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let response: AuthorizationResponse = serde_json::from_slice(&answer.body).unwrap();
        let receipt = Received::<Receipt>::read(&response.receipt)
            .unwrap()
            .verify(&self.parties.trust.load(), mtls::now())
            .unwrap();
        self.purchase
            .payers_view()
            .check_about(receipt.claims())
            .unwrap();
        receipt
    }

    /// Does it, and gives the captured, reversed and refunded totals.
    async fn done<O: Operation>(
        &self,
        path: &str,
        request: &LifecycleRequest<O>,
    ) -> (u64, u64, u64) {
        let receipt = self.receipt(&self.send(path, request).await);
        let claims = receipt.claims();
        assert_eq!(claims.action, O::ACTION);
        assert_eq!(claims.amount, request.amount);
        assert_eq!(claims.target, request.target);
        let totals = claims.totals;
        (totals.captured, totals.reversed, totals.refunded)
    }

    async fn refused<T: Message>(&self, path: &str, claims: &T) -> Problem {
        problem(&self.send(path, claims).await)
    }

    async fn cancel(&self, body: Vec<u8>) -> Answer {
        self.parties
            .to_payer_listener(&self.gateway)
            .post_json("/v1/cancellations", body.into(), HeaderMap::new())
            .await
            .unwrap()
    }

    fn ledger_balances(&self) {
        self.place.gateway_cli(&["ledger", "check"]);
    }
}

#[tokio::test]
async fn a_payment_goes_through_all_that_can_be_done_with_it_and_the_ledger_balances() {
    let scene = Scene::new().await;
    let capture = scene.request::<Capture>(1000, None);
    assert_eq!(scene.done("/v1/captures", &capture).await, (1000, 0, 0));
    let undo = scene.request::<CaptureReversal>(300, Some(capture.jti));
    assert_eq!(
        scene.done("/v1/capture-reversals", &undo).await,
        (700, 0, 0)
    );
    let reversal = scene.request::<Reversal>(50, None);
    assert_eq!(scene.done("/v1/reversals", &reversal).await, (700, 50, 0));
    let refund = scene.request::<Refund>(600, None);
    assert_eq!(scene.done("/v1/refunds", &refund).await, (700, 50, 600));
    let undo = scene.request::<RefundReversal>(100, Some(refund.jti));
    assert_eq!(
        scene.done("/v1/refund-reversals", &undo).await,
        (700, 50, 500)
    );
    assert_eq!(scene.place.held("everyday"), 500);
    scene.ledger_balances();

    // The merchant reads all receipts, and so does the payer.
    let path = format!("/v1/authorizations/{}", scene.xid());
    let all = scene.merchant.get(&path, HeaderMap::new()).await.unwrap();
    let all: Receipts = serde_json::from_slice(&all.body).unwrap();
    assert_eq!(all.receipts.len(), 6);
    let inquiry = Inquiry {
        version: Version,
        jti: Jti::random().unwrap(),
        iat: mtls::now(),
        aud: scene.parties.gateway.party().clone(),
        xid: scene.xid(),
    };
    let proof = scene.parties.client_key.sign(&inquiry).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HEADER, HeaderValue::from_str(&proof).unwrap());
    let path = format!("/v1/receipts/{}", scene.xid());
    let listener = scene.parties.to_payer_listener(&scene.gateway);
    let theirs = listener.get(&path, headers).await.unwrap();
    let theirs: Receipts = serde_json::from_slice(&theirs.body).unwrap();
    let actions: Vec<Action> = theirs
        .receipts
        .iter()
        .map(|receipt| {
            Received::<Receipt>::read(receipt)
                .unwrap()
                .unverified()
                .action
        })
        .collect();
    assert_eq!(actions[0], Action::Authorization);
    assert_eq!(actions.len(), 6);
}

#[tokio::test]
async fn above_the_limits_nothing_is_done() {
    let scene = Scene::new().await;
    let limit = Problem::LimitExceeded;
    let capture = scene.request::<Capture>(1251, None);
    assert_eq!(scene.refused("/v1/captures", &capture).await, limit);
    let refund = scene.request::<Refund>(1, None);
    assert_eq!(scene.refused("/v1/refunds", &refund).await, limit);
    let capture = scene.request::<Capture>(1250, None);
    scene.done("/v1/captures", &capture).await;
    let reversal = scene.request::<Reversal>(1, None);
    assert_eq!(scene.refused("/v1/reversals", &reversal).await, limit);
    let undo = scene.request::<CaptureReversal>(1251, Some(capture.jti));
    assert_eq!(scene.refused("/v1/capture-reversals", &undo).await, limit);
    let stranger = scene.request::<CaptureReversal>(1, Some(Jti::random().unwrap()));
    assert_eq!(
        scene.refused("/v1/capture-reversals", &stranger).await,
        limit
    );
    scene.ledger_balances();
}

#[tokio::test]
async fn the_same_request_is_done_once_and_its_jti_is_good_for_no_other() {
    let scene = Scene::new().await;
    let request = scene.request::<Capture>(400, None);
    let signed = scene.parties.merchant_key.sign(&request).unwrap();
    let first = scene.receipt(&scene.send_signed("/v1/captures", signed.clone()).await);
    let second = scene.receipt(&scene.send_signed("/v1/captures", signed).await);
    assert_eq!(first.claims(), second.claims());
    let other = LifecycleRequest {
        jti: request.jti,
        ..scene.request::<Refund>(100, None)
    };
    assert_eq!(
        scene.refused("/v1/refunds", &other).await,
        Problem::IdempotencyConflict
    );
    let authorization_s = LifecycleRequest {
        jti: scene.purchase.request.jti,
        ..scene.request::<Capture>(100, None)
    };
    assert_eq!(
        scene.refused("/v1/captures", &authorization_s).await,
        Problem::IdempotencyConflict
    );
    scene.ledger_balances();
}

#[tokio::test]
async fn a_request_that_is_late_early_or_for_somebody_else_is_never_done() {
    let scene = Scene::new().await;
    let good = || scene.request::<Capture>(100, None);
    let now = mtls::now();
    for (request, expected) in [
        (
            LifecycleRequest {
                iat: now.minus(361),
                ..good()
            },
            Problem::Expired,
        ),
        (
            LifecycleRequest {
                iat: now.plus(120),
                ..good()
            },
            Problem::NotYetValid,
        ),
        (
            LifecycleRequest {
                gateway: "urn:twinseal:gateway:other".parse().unwrap(),
                ..good()
            },
            Problem::GatewayMismatch,
        ),
        (
            LifecycleRequest {
                merchant: "urn:twinseal:merchant:other".parse().unwrap(),
                ..good()
            },
            Problem::MerchantMismatch,
        ),
        (
            LifecycleRequest {
                xid: Xid::random().unwrap(),
                ..good()
            },
            Problem::UnknownAuthorization,
        ),
        (
            LifecycleRequest {
                amount: Amount::new(100, currency("USD")).unwrap(),
                ..good()
            },
            Problem::AmountMismatch,
        ),
        (
            LifecycleRequest {
                target: Some(Jti::random().unwrap()),
                ..good()
            },
            Problem::Malformed,
        ),
    ] {
        assert_eq!(scene.refused("/v1/captures", &request).await, expected);
    }
    // A capture is no refund, whatever it is sent to.
    assert_eq!(
        scene.refused("/v1/refunds", &good()).await,
        Problem::Malformed
    );
    let answer = scene
        .merchant
        .get("/v1/captures", HeaderMap::new())
        .await
        .unwrap();
    assert_eq!(answer.status, 405);
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn sixty_four_requests_at_once_never_go_above_the_limits() {
    let scene = Scene::new().await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (path, signed) = if number % 2 == 0 {
            let capture = scene.request::<Capture>(100, None);
            ("/v1/captures", scene.parties.merchant_key.sign(&capture))
        } else {
            let refund = scene.request::<Refund>(70, None);
            ("/v1/refunds", scene.parties.merchant_key.sign(&refund))
        };
        let request = signed.unwrap();
        let body = serde_json::to_vec(&LifecycleBody { request }).unwrap();
        let merchant = scene.merchant.clone();
        running.spawn(async move {
            let answer = merchant
                .post_json(path, body.into(), HeaderMap::new())
                .await;
            (path, answer.unwrap().status == 200)
        });
    }
    let done = running.join_all().await;
    let count = |path| {
        done.iter()
            .filter(|(of, is_done)| *of == path && *is_done)
            .count() as u64
    };
    assert_eq!(count("/v1/captures"), 12);
    assert!(count("/v1/refunds") * 70 <= 1200);
    assert_eq!(scene.place.held("everyday"), 50);
    scene.ledger_balances();
}

#[tokio::test]
async fn a_withdrawn_purchase_is_declined_and_one_that_was_decided_is_told() {
    let scene = Scene::new().await;
    let purchase = scene
        .parties
        .purchase(euros(700), scene.parties.card.clone());
    let body = scene.parties.cancellation(&purchase);
    let answer = scene.cancel(body.clone()).await;
    let response: AuthorizationResponse = serde_json::from_slice(&answer.body).unwrap();
    let receipt = Received::<Receipt>::read(&response.receipt)
        .unwrap()
        .verify(&scene.parties.trust.load(), mtls::now())
        .unwrap();
    assert_eq!(receipt.claims().action, Action::Cancellation);
    purchase
        .payers_view()
        .check_about(receipt.claims())
        .unwrap();
    // It decides no purchase, although it says approved.
    assert!(
        purchase
            .payers_view()
            .check_receipt(receipt.claims())
            .is_err()
    );

    let decided = authorize(&scene.merchant, purchase.bytes()).await;
    let decided = scene.parties.accept_receipt(&purchase, &decided.body);
    assert_eq!(decided.claims().code, "17");
    assert_eq!(scene.place.held("everyday"), 1250);

    // Too late for the first one: its decision.
    let too_late = scene
        .cancel(scene.parties.cancellation(&scene.purchase))
        .await;
    let told = scene
        .parties
        .accept_receipt(&scene.purchase, &too_late.body);
    assert_eq!(told.claims().decision, Decision::Approved);
    scene.ledger_balances();
}

#[tokio::test]
async fn nobody_but_the_payer_withdraws_and_a_foreign_cancellation_stops_nobody() {
    let place = Place::new();
    place.setup(&["client", "--out", "other"]);
    let other = Parties::with(&place, "other", "merchant");
    let scene = Scene::of(place).await;
    let purchase = scene
        .parties
        .purchase(euros(700), scene.parties.card.clone());
    // The other payer's cancellation of this payer's signature.
    let withdrawal = scene
        .parties
        .cancellation_signed_by(&other.client_key, &purchase);
    let answer = scene.cancel(withdrawal).await;
    assert_eq!(problem(&answer), Problem::SignatureInvalid);
    let answer = authorize(&scene.merchant, purchase.bytes()).await;
    let receipt = scene.parties.accept_receipt(&purchase, &answer.body);
    assert_eq!(receipt.claims().decision, Decision::Approved);
}

#[tokio::test]
async fn a_cancellation_and_an_authorization_at_once_have_one_winner() {
    let scene = Scene::new().await;
    let mut held = 1250;
    for _ in 0..8 {
        let purchase = scene
            .parties
            .purchase(euros(100), scene.parties.card.clone());
        let (decided, told) = tokio::join!(
            authorize(&scene.merchant, purchase.bytes()),
            scene.cancel(scene.parties.cancellation(&purchase))
        );
        let decided = scene.parties.accept_receipt(&purchase, &decided.body);
        let response: AuthorizationResponse = serde_json::from_slice(&told.body).unwrap();
        let told = Received::<Receipt>::read(&response.receipt).unwrap();
        let is_withdrawn = told.unverified().action == Action::Cancellation;
        let is_approved = decided.claims().decision == Decision::Approved;
        assert_ne!(is_withdrawn, is_approved);
        held += if is_approved { 100 } else { 0 };
    }
    assert_eq!(scene.place.held("everyday"), held);
    scene.ledger_balances();
}

#[tokio::test]
async fn a_hold_that_is_over_is_released_by_itself_and_nothing_can_be_captured() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["capture_days"] = 0.into();
    });
    let scene = Scene::of(place).await;
    scene
        .gateway
        .wait_for_log(ENDED, |line| line["fields"]["message"] == "hold ended");
    assert_eq!(scene.place.held("everyday"), 0);
    let capture = scene.request::<Capture>(1, None);
    assert_eq!(
        scene.refused("/v1/captures", &capture).await,
        Problem::LimitExceeded
    );
    scene.ledger_balances();
}

#[tokio::test]
async fn a_batch_is_closed_with_signed_totals_that_are_its_bookings() {
    let scene = Scene::new().await;
    let mut now = scene
        .parties
        .purchase(euros(200), scene.parties.card.clone());
    now.request.capture = When::Now;
    now.body = scene.parties.body(&now.request, &now.signed);
    authorize(&scene.merchant, now.bytes()).await;
    let capture = scene.request::<Capture>(1000, None);
    scene.done("/v1/captures", &capture).await;
    let refund = scene.request::<Refund>(300, None);
    scene.done("/v1/refunds", &refund).await;

    let request = BatchRequest {
        version: Version,
        jti: Jti::random().unwrap(),
        iat: mtls::now(),
        merchant: scene.parties.merchant.clone(),
        gateway: scene.parties.gateway.clone(),
        currency: currency("EUR"),
    };
    let closed = |answer: &Answer| {
        let response: BatchResponse = serde_json::from_slice(&answer.body).unwrap();
        Received::<ClosedBatch>::read(&response.batch)
            .unwrap()
            .verify(&scene.parties.trust.load(), mtls::now())
            .unwrap()
            .claims()
            .clone()
    };
    let first = closed(&scene.send("/v1/batches", &request).await);
    assert_eq!(first.batch, request.jti);
    assert_eq!(first.totals.captures.value, 1200);
    assert_eq!((first.totals.payable, first.totals.receivable), (900, 0));
    let path = format!("/v1/batches/{}", request.jti);
    let again = scene.merchant.get(&path, HeaderMap::new()).await.unwrap();
    assert_eq!(closed(&again), first);

    // Its bookings can't be undone any more.
    let undo = scene.request::<CaptureReversal>(1, Some(capture.jti));
    assert_eq!(
        scene.refused("/v1/capture-reversals", &undo).await,
        Problem::LimitExceeded
    );
    scene.ledger_balances();
}
