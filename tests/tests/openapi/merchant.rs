//! Requests to the merchant and its answers are those of its document.

use mtls::client::Answer;
use protocol::{
    identifiers::{ClientNonce, OrderId, Xid},
    inquiry::HEADER,
    problem::Problem,
};
use serde_json::{Value, json};
use twinseal_tests::{
    parties::{Parties, problem},
    place::Place,
    service::Service,
    shopper::{Shopper, accept, proof},
};

use crate::document::Document;

struct Scene {
    place: Place,
    parties: Parties,
    /// Both run as long as the scene.
    _services: [Service; 2],
    shopper: Shopper,
    document: Document,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        let merchant = place.start_merchant();
        Self {
            shopper: Shopper::at(&parties, &merchant),
            _services: [gateway, merchant],
            place,
            parties,
            document: Document::of("merchant"),
        }
    }

    /// Posts what the document says, and gets what it says.
    async fn post(&self, path: &str, body: Vec<u8>) -> Answer {
        let operation = format!("POST {path}");
        self.document.takes(&operation, &body);
        let answer = self.shopper.post(path, body).await;
        self.document.says(&operation, &answer);
        answer
    }

    /// Asks what became of a purchase.
    async fn inquire(&self, xid: Xid, proof: Option<&str>) -> Answer {
        let operation = "GET /v1/purchases/{xid}";
        if let Some(proof) = proof {
            self.document.takes_header(operation, HEADER, proof);
        }
        let answer = self.shopper.inquire(xid, proof).await;
        self.document.says(operation, &answer);
        answer
    }
}

#[tokio::test]
async fn a_purchase_from_the_catalogue_to_the_inquiry_is_as_documented() {
    let scene = Scene::new();
    let answer = scene.shopper.get("/v1/catalogue").await;
    scene.document.says("GET /v1/catalogue", &answer);

    let wish = json!({ "items": [{ "sku": "book-1", "quantity": 1 }], "delivery": "12 Long Lane" });
    let answer = scene
        .post("/v1/orders", wish.to_string().into_bytes())
        .await;
    let placed: Value = serde_json::from_slice(&answer.body).unwrap();
    let nc = ClientNonce::random().unwrap();
    let request = json!({ "version": 1, "nc": nc, "order": placed["order"]["order"] });
    let answer = scene
        .post("/v1/sessions", request.to_string().into_bytes())
        .await;
    assert_eq!(answer.status, 200);

    let signed = scene
        .shopper
        .shop(&scene.parties)
        .await
        .sign(&scene.parties);
    let body = serde_json::to_vec(&signed.request).unwrap();
    let answer = scene.post("/v1/purchases", body).await;
    accept(&scene.parties, &signed, &answer);
    assert_eq!(scene.place.held("everyday"), 1250);

    let xid = signed.dual_signature.xid;
    let own = proof(&scene.parties, scene.parties.merchant.party(), xid);
    assert_eq!(scene.inquire(xid, Some(&own)).await.body, answer.body);
}

#[tokio::test]
async fn refusals_are_as_documented() {
    let scene = Scene::new();
    for (path, operation) in [
        ("/v1/orders", "POST /v1/orders"),
        ("/v1/sessions", "POST /v1/sessions"),
        ("/v1/purchases", "POST /v1/purchases"),
    ] {
        let answer = scene.shopper.post(path, "{}").await;
        assert_eq!(problem(&answer), Problem::Malformed);
        scene.document.says(operation, &answer);
    }
    let unknown = json!({
        "version": 1,
        "nc": ClientNonce::random().unwrap(),
        "order": OrderId::random().unwrap(),
    });
    let answer = scene
        .post("/v1/sessions", unknown.to_string().into_bytes())
        .await;
    assert_eq!(problem(&answer), Problem::OrderMismatch);

    let opened = scene.shopper.shop(&scene.parties).await;
    let signed = opened.sign(&scene.parties);
    let sealed = opened.seal_changed(&signed, scene.parties.card.clone(), |dsh, _| {
        *dsh = protocol::identifiers::Digest::of(b"another");
    });
    let body = serde_json::to_vec(&sealed).unwrap();
    let answer = scene.post("/v1/purchases", body).await;
    assert_eq!(problem(&answer), Problem::PaymentInformationInvalid);

    let xid = signed.dual_signature.xid;
    let answer = scene.inquire(xid, None).await;
    assert_eq!(problem(&answer), Problem::UnknownAuthorization);
}
