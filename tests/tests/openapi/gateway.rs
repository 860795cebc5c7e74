//! Requests to the gateway and its answers are those of its document.

use std::marker::PhantomData;

use hyper::{HeaderMap, header::HeaderValue};
use mtls::client::{Answer, HttpClient};
use protocol::{
    authorization::AuthorizationResponse,
    identifiers::{Jti, Xid},
    inquiry::HEADER,
    json::Version,
    jws::{Message, Received},
    lifecycle::{
        BatchRequest, Capture, CaptureReversal, LifecycleBody, LifecycleRequest, Refund,
        RefundReversal, Reversal,
    },
    problem::Problem,
    receipt::{Decision, Receipt},
};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, Purchase, authorize, card, currency, euros, problem},
    place::Place,
    service::{Service, plain_get},
    shopper::proof,
};

use crate::document::Document;

struct Scene {
    place: Place,
    parties: Parties,
    gateway: Service,
    merchant: HttpClient,
    payer: HttpClient,
    document: Document,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        Self {
            merchant: parties.to_gateway(&gateway),
            payer: parties.to_payer_listener(&gateway),
            place,
            parties,
            gateway,
            document: Document::of("gateway"),
        }
    }

    fn purchase(&self) -> Purchase {
        self.parties
            .purchase(euros(1250), self.parties.card.clone())
    }

    /// Authorizes, as the document says.
    async fn authorize(&self, purchase: &Purchase) -> Answer {
        let operation = "POST /v1/authorizations";
        self.document.takes(operation, &purchase.bytes());
        let answer = authorize(&self.merchant, purchase.bytes()).await;
        self.document.says(operation, &answer);
        answer
    }

    fn request<O>(&self, xid: Xid, cents: u64, target: Option<Jti>) -> LifecycleRequest<O> {
        LifecycleRequest {
            version: Version,
            jti: Jti::random().unwrap(),
            iat: mtls::now(),
            merchant: self.parties.merchant.clone(),
            gateway: self.parties.gateway.clone(),
            xid,
            amount: euros(cents),
            target,
            operation: PhantomData,
        }
    }

    /// Sends a signed request, and holds it and its answer against the document.
    async fn send<T: Message>(&self, path: &str, claims: &T) -> Answer {
        let request = self.parties.merchant_key.sign(claims).unwrap();
        let body = serde_json::to_vec(&LifecycleBody { request }).unwrap();
        let operation = format!("POST {path}");
        self.document.takes(&operation, &body);
        let answer = self
            .merchant
            .post_json(path, body.into(), HeaderMap::new())
            .await
            .unwrap();
        self.document.says(&operation, &answer);
        answer
    }

    async fn get(&self, path: &str, argument: &str) -> Answer {
        let concrete = match path.split_once('{') {
            Some((before, _)) => format!("{before}{argument}"),
            None => path.to_owned(),
        };
        let answer = self.merchant.get(&concrete, HeaderMap::new()).await;
        let answer = answer.unwrap();
        self.document.says(&format!("GET {path}"), &answer);
        answer
    }

    /// Asks the payers' listener, and holds proof and answer against the document.
    async fn receipts(&self, xid: Xid, proof: Option<&str>) -> Answer {
        let operation = "GET /v1/receipts/{xid}";
        let mut headers = HeaderMap::new();
        if let Some(proof) = proof {
            self.document.takes_header(operation, HEADER, proof);
            headers.insert(HEADER, HeaderValue::from_str(proof).unwrap());
        }
        let path = format!("/v1/receipts/{xid}");
        let answer = self.payer.get(&path, headers).await.unwrap();
        self.document.says(operation, &answer);
        answer
    }

    async fn cancel(&self, purchase: &Purchase) -> Answer {
        let body = self.parties.cancellation(purchase);
        let operation = "POST /v1/cancellations";
        self.document.takes(operation, &body);
        let answer = self
            .payer
            .post_json("/v1/cancellations", body.into(), HeaderMap::new())
            .await
            .unwrap();
        self.document.says(operation, &answer);
        answer
    }
}

fn receipt(answer: &Answer) -> Receipt {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let response: AuthorizationResponse = serde_json::from_slice(&answer.body).unwrap();
    let receipt = Received::<Receipt>::read(&response.receipt).unwrap();
    receipt.unverified().clone()
}

#[tokio::test]
async fn a_purchase_its_whole_life_and_its_batch_are_as_documented() {
    let scene = Scene::new();
    let purchase = scene.purchase();
    let xid = purchase.request.xid;
    assert_eq!(
        receipt(&scene.authorize(&purchase).await).decision,
        Decision::Approved
    );
    let capture = scene.request::<Capture>(xid, 1000, None);
    receipt(&scene.send("/v1/captures", &capture).await);
    let undone = scene.request::<CaptureReversal>(xid, 100, Some(capture.jti));
    receipt(&scene.send("/v1/capture-reversals", &undone).await);
    let released = scene.request::<Reversal>(xid, 50, None);
    receipt(&scene.send("/v1/reversals", &released).await);
    let refund = scene.request::<Refund>(xid, 300, None);
    receipt(&scene.send("/v1/refunds", &refund).await);
    let undone = scene.request::<RefundReversal>(xid, 300, Some(refund.jti));
    receipt(&scene.send("/v1/refund-reversals", &undone).await);

    let batch = BatchRequest {
        version: Version,
        jti: Jti::random().unwrap(),
        iat: mtls::now(),
        merchant: scene.parties.merchant.clone(),
        gateway: scene.parties.gateway.clone(),
        currency: currency("EUR"),
    };
    assert_eq!(scene.send("/v1/batches", &batch).await.status, 200);
    let closed = scene.get("/v1/batches/{jti}", &batch.jti.to_string()).await;
    assert_eq!(closed.status, 200);

    let found = scene
        .get("/v1/authorizations/{xid}", &xid.to_string())
        .await;
    let found: Value = serde_json::from_slice(&found.body).unwrap();
    assert_eq!(found["receipts"].as_array().unwrap().len(), 6);
    let proof = proof(&scene.parties, scene.parties.gateway.party(), xid);
    let answer = scene.receipts(xid, Some(&proof)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_decline_and_a_cancellation_are_as_documented() {
    let scene = Scene::new();
    let thin = scene
        .parties
        .purchase(euros(1250), card("5555555555554444", "2031-12"));
    assert_eq!(
        receipt(&scene.authorize(&thin).await).decision,
        Decision::Declined
    );
    let withdrawn = scene.purchase();
    receipt(&scene.cancel(&withdrawn).await);
    // The dual signature's own path is held, too: it is in both bodies.
    assert_eq!(receipt(&scene.authorize(&withdrawn).await).code, "17");
}

#[tokio::test]
async fn refusals_are_as_documented() {
    let scene = Scene::new();
    let purchase = scene.purchase();
    let xid = purchase.request.xid;
    let operation = "POST /v1/authorizations";
    for (body, expected) in [
        (b"{}".to_vec(), Problem::Malformed),
        (vec![b' '; 64 * 1024 + 1], Problem::TooLarge),
    ] {
        let answer = authorize(&scene.merchant, body).await;
        assert_eq!(problem(&answer), expected);
        scene.document.says(operation, &answer);
    }
    let early = scene.request::<Capture>(xid, 1, None);
    let answer = scene.send("/v1/captures", &early).await;
    assert_eq!(problem(&answer), Problem::UnknownAuthorization);
    scene.authorize(&purchase).await;
    let above = scene.request::<Capture>(xid, 1251, None);
    let answer = scene.send("/v1/captures", &above).await;
    assert_eq!(problem(&answer), Problem::LimitExceeded);

    let nobodys = Jti::random().unwrap().to_string();
    for path in ["/v1/batches/{jti}", "/v1/authorizations/{xid}"] {
        let answer = scene.get(path, &nobodys).await;
        assert_eq!(problem(&answer), Problem::UnknownAuthorization);
        // No id at all: HTTP says it.
        assert_eq!(scene.get(path, "x").await.status, 404);
    }
    let answer = scene.receipts(xid, None).await;
    assert_eq!(problem(&answer), Problem::UnknownAuthorization);
}

#[tokio::test]
async fn a_busy_and_a_late_gateway_say_when_to_ask_again_as_documented() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["inquiries_per_minute"] = 1.into();
        config["limits"]["operation_seconds"] = 0.into();
    });
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let scene = Scene {
        merchant: parties.to_gateway(&gateway),
        payer: parties.to_payer_listener(&gateway),
        place,
        parties,
        gateway,
        document: Document::of("gateway"),
    };
    let purchase = scene.purchase();
    let late = scene.authorize(&purchase).await;
    assert_eq!(problem(&late), Problem::HsmUnavailable);
    let xid = purchase.request.xid;
    let proof = proof(&scene.parties, scene.parties.gateway.party(), xid);
    scene.receipts(xid, Some(&proof)).await;
    let limited = scene.receipts(xid, Some(&proof)).await;
    assert_eq!(problem(&limited), Problem::RateLimited);
    assert_eq!(scene.place.held("everyday"), 0);
}

#[tokio::test]
async fn certificates_and_what_operators_ask_are_as_documented() {
    let scene = Scene::new();
    assert_eq!(scene.get("/v1/certificates", "").await.status, 200);
    for path in ["/health", "/ready", "/metrics"] {
        let answer = plain_get(scene.gateway.address("admin"), path);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let content_type = head
            .lines()
            .find_map(|line| line.strip_prefix("content-type: "))
            .unwrap();
        scene
            .document
            .says_of(&format!("GET {path}"), 200, content_type, body.as_bytes());
    }
}

#[test]
fn what_the_gateway_refuses_is_refused_by_the_schemas_too() {
    let document = Document::of("gateway");
    let schema = |name: &str| serde_json::json!({ "$ref": format!("#/components/schemas/{name}") });
    let is_refused = |name: &str, instance: Value| {
        let faults = document.faults(&schema(name), &instance);
        assert!(!faults.is_empty(), "{name} takes {instance}");
    };
    for bad in [
        "_____________________x",
        "____________________",
        "_____________________w==",
        "",
    ] {
        is_refused("Xid", bad.into());
    }
    let id = Xid::random().unwrap().to_string();
    assert!(document.faults(&schema("Xid"), &id.into()).is_empty());
    is_refused("MerchantName", "urn:twinseal:client:a".into());
    is_refused("Version", 2.into());
    for (value, currency) in [(0, "EUR"), (1_000_000_000_001_u64, "EUR"), (1, "eur")] {
        is_refused(
            "Amount",
            serde_json::json!({ "value": value, "currency": currency }),
        );
    }
    let more = serde_json::json!({ "value": 1, "currency": "EUR", "exponent": 2 });
    is_refused("Amount", more);
    is_refused("CaptureBody", serde_json::json!({ "request": "x.y" }));
}
