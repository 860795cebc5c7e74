//! Each problem that the gateway names, raised at the real one; and that a refused request consumes and
//! holds nothing: the good purchase succeeds after it.

use hyper::{HeaderMap, body::Bytes};
use mtls::client::{Answer, HttpClient};
use protocol::{
    authorization::{AuthorizationBody, AuthorizationRequest},
    identifiers::{Digest, Jti, Sid, Xid},
    jws::Message,
    money::Amount,
    names::{GatewayName, Role},
    problem::Problem,
};
use serde_json::Value;
use twinseal_tests::{
    parties::{Parties, Purchase, authorize, currency, euros, problem},
    place::Place,
    service::Service,
};

struct Scene {
    place: Place,
    parties: Parties,
    gateway: Service,
    merchant: HttpClient,
}

impl Scene {
    fn new() -> Self {
        Self::of(Place::new())
    }

    fn of(place: Place) -> Self {
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        let merchant = parties.to_gateway(&gateway);
        Self {
            place,
            parties,
            gateway,
            merchant,
        }
    }

    fn purchase(&self) -> Purchase {
        self.parties
            .purchase(euros(1250), self.parties.card.clone())
    }

    /// The body for a changed request.
    fn asking(&self, change: impl FnOnce(&mut AuthorizationRequest)) -> Vec<u8> {
        let mut purchase = self.purchase();
        change(&mut purchase.request);
        serde_json::to_vec(&self.parties.body(&purchase.request, &purchase.signed)).unwrap()
    }

    async fn refused(&self, body: Vec<u8>) -> Problem {
        problem(&authorize(&self.merchant, body).await)
    }

    /// Nothing was consumed or held: the good purchase is the first.
    async fn is_unharmed(&self) {
        let purchase = self.purchase();
        let answer = authorize(&self.merchant, purchase.bytes()).await;
        assert_eq!(answer.status, 200, "{}", self.gateway.log());
        self.parties.accept_receipt(&purchase, &answer.body);
        assert_eq!(self.place.held("everyday"), 1250);
    }
}

/// A change to a good request.
type Change = fn(&mut AuthorizationRequest);

/// An authorization request with whatever members.
#[derive(serde::Serialize, serde::Deserialize)]
struct AnyRequest(Value);

impl Message for AnyRequest {
    const TYP: &'static str = AuthorizationRequest::TYP;
    const SIGNER: Role = Role::Merchant;
}

#[tokio::test]
async fn form_is_judged_first() {
    let scene = Scene::new();
    let purchase = scene.purchase();
    let good = String::from_utf8(purchase.bytes()).unwrap();
    for bad in [
        "".to_owned(),
        "{}".to_owned(),
        "\u{feff}".to_owned() + &good,
        good.replacen('{', r#"{"dual_signature":"x","#, 1),
        good.replacen('{', r#"{"more":1,"#, 1),
        good.replacen(r#""dual_signature":""#, r#""dual_signature":"~"#, 1),
    ] {
        assert_eq!(
            scene.refused(bad.clone().into()).await,
            Problem::Malformed,
            "{bad}"
        );
    }

    let mut members = serde_json::to_value(&purchase.request).unwrap();
    members["version"] = 2.into();
    members["new"] = true.into();
    let body = AuthorizationBody {
        authorization_request: scene
            .parties
            .merchant_key
            .sign(&AnyRequest(members))
            .unwrap(),
        ..purchase.body.clone()
    };
    assert_eq!(
        scene.refused(serde_json::to_vec(&body).unwrap()).await,
        Problem::UnsupportedVersion
    );

    let large = vec![b' '; 64 * 1024 + 1];
    assert_eq!(scene.refused(large).await, Problem::TooLarge);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_whoever_s_it_is() {
    let scene = Scene::new();
    let purchase = scene.purchase();
    let tampered = |text: &str| {
        // The last but one character of a signature is not where the unused bits are.
        let at = text.trim_end_matches('~').len() - 2;
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    let merchants = AuthorizationBody {
        authorization_request: tampered(&purchase.body.authorization_request),
        ..purchase.body.clone()
    };
    assert_eq!(
        scene.refused(serde_json::to_vec(&merchants).unwrap()).await,
        Problem::SignatureInvalid
    );

    // The payer's, with everything else made to fit it.
    let dual_signature = tampered(&purchase.body.dual_signature);
    let mut request = purchase.request.clone();
    request.dsh = Digest::of(dual_signature.trim_end_matches('~').as_bytes());
    let payers = AuthorizationBody {
        dual_signature,
        ..scene.parties.body(&request, &purchase.signed)
    };
    // apv is of the untampered signature.
    assert_eq!(
        scene.refused(serde_json::to_vec(&payers).unwrap()).await,
        Problem::PaymentInformationInvalid
    );

    for change in [
        (|request| request.dsh = Digest::of(b"other")) as Change,
        |request| request.oid = Digest::of(b"other"),
    ] {
        assert_eq!(
            scene.refused(scene.asking(change)).await,
            Problem::SignatureInvalid
        );
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused_by_its_name() {
    let scene = Scene::new();
    let cases: [(Change, Problem); 9] = [
        (
            |request| request.sid = Sid::random().unwrap(),
            Problem::ChallengeMismatch,
        ),
        (
            |request| request.xid = Xid::random().unwrap(),
            Problem::ChallengeMismatch,
        ),
        (
            |request| request.amount = euros(1251),
            Problem::AmountMismatch,
        ),
        (
            |request| request.amount = Amount::new(1250, currency("USD")).unwrap(),
            Problem::AmountMismatch,
        ),
        (
            |request| request.amount = Amount::new(1250, currency("KWD")).unwrap(),
            Problem::AmountMismatch,
        ),
        (
            |request| request.gateway = GatewayName::new("other").unwrap(),
            Problem::GatewayMismatch,
        ),
        (
            |request| request.merchant = "urn:twinseal:merchant:other".parse().unwrap(),
            Problem::MerchantMismatch,
        ),
        (
            |request| request.pih = Digest::of(b"other"),
            Problem::PaymentInformationInvalid,
        ),
        (
            |request| request.iat = request.iat.plus(120),
            Problem::NotYetValid,
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(scene.refused(scene.asking(change)).await, expected);
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_sealed_payment_of_another_purchase_is_refused_before_the_token_is_used() {
    let scene = Scene::new();
    let (one, other) = (scene.purchase(), scene.purchase());
    let mut request = one.request.clone();
    request.pih = other.request.pih;
    let body = AuthorizationBody {
        payment_information: other.body.payment_information.clone(),
        ..scene.parties.body(&request, &one.signed)
    };
    assert_eq!(
        scene.refused(serde_json::to_vec(&body).unwrap()).await,
        Problem::PaymentInformationInvalid
    );
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_purchase_signed_too_long_ago_or_too_far_ahead_is_refused() {
    let scene = Scene::new();
    let now = mtls::now();
    // Certificates begin five minutes before they are issued: no purchase can be older here.
    for (moment, expected) in [
        (now.minus(200), Problem::Expired),
        (now.plus(120), Problem::NotYetValid),
    ] {
        let parties = &scene.parties;
        let mut session = parties.session(euros(1250), moment);
        session.exp = moment.plus(100);
        let signed = parties.sign(session, parties.card.clone(), moment);
        let request = parties.request(&signed, now);
        let body = serde_json::to_vec(&parties.body(&request, &signed)).unwrap();
        assert_eq!(scene.refused(body).await, expected);
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_signer_of_another_role_or_of_no_known_ca_is_refused() {
    let place = Place::new();
    let strangers = Place::new();
    let mut parties = Parties::of(&place);
    parties.client_key = Parties::of(&place).merchant_key;
    let scene = Scene::of(place);
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    assert_eq!(scene.refused(purchase.bytes()).await, Problem::RoleMismatch);

    parties.client_key = Parties::of(&strangers).client_key;
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    assert_eq!(
        scene.refused(purchase.bytes()).await,
        Problem::CertificateUntrusted
    );
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_revoked_payer_is_refused() {
    let place = Place::new();
    place.setup(&["client", "--out", "other"]);
    place.setup(&["revoke", "--certificate", &place.text("other/signing.pem")]);
    let mut parties = Parties::of(&place);
    let revoked = Parties::with(&place, "other", "merchant");
    parties.client_key = revoked.client_key;
    let scene = Scene::of(place);
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    assert_eq!(
        scene.refused(purchase.bytes()).await,
        Problem::CertificateRevoked
    );
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_decided_transaction_and_a_used_jti_are_not_decided_again() {
    let scene = Scene::new();
    let purchase = scene.purchase();
    let first = authorize(&scene.merchant, purchase.bytes()).await;
    assert_eq!(first.status, 200);

    let mut replay = purchase.request.clone();
    replay.jti = Jti::random().unwrap();
    let body = scene.parties.body(&replay, &purchase.signed);
    assert_eq!(
        scene.refused(serde_json::to_vec(&body).unwrap()).await,
        Problem::Replayed
    );

    let mut other = purchase.request.clone();
    other.amount = euros(1);
    let body = scene.parties.body(&other, &purchase.signed);
    assert_eq!(
        scene.refused(serde_json::to_vec(&body).unwrap()).await,
        Problem::IdempotencyConflict
    );
    assert_eq!(scene.place.held("everyday"), 1250);
}

#[tokio::test]
async fn a_merchant_above_its_rate_is_told_to_wait() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["requests_per_second"] = 1.into();
    });
    let scene = Scene::of(place);
    let (first, second) = (scene.purchase(), scene.purchase());
    let (first, second) = tokio::join!(
        authorize(&scene.merchant, first.bytes()),
        authorize(&scene.merchant, second.bytes())
    );
    let limited: Vec<&Answer> = [&first, &second]
        .into_iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert_eq!(limited.len(), 1);
    assert_eq!(problem(limited[0]), Problem::RateLimited);
}

#[tokio::test]
async fn a_token_that_is_too_late_is_unavailable_and_nothing_is_held() {
    let place = Place::new();
    place.edit("gateway/gateway.toml", |config| {
        config["limits"]["operation_seconds"] = 0.into();
    });
    let scene = Scene::of(place);
    let purchase = scene.purchase();
    let answer = authorize(&scene.merchant, purchase.bytes()).await;
    assert_eq!(problem(&answer), Problem::HsmUnavailable);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(scene.place.held("everyday"), 0);
}

#[tokio::test]
async fn a_store_that_can_t_be_written_is_unavailable_and_the_same_request_succeeds_later() {
    let scene = Scene::new();
    let lock = rusqlite::Connection::open(scene.place.path("gateway/gateway.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let purchase = scene.purchase();
    let answer = authorize(&scene.merchant, purchase.bytes()).await;
    assert_eq!(problem(&answer), Problem::StoreUnavailable);
    lock.execute_batch("ROLLBACK").unwrap();
    let answer = authorize(&scene.merchant, purchase.bytes()).await;
    assert_eq!(answer.status, 200);
    scene.parties.accept_receipt(&purchase, &answer.body);
}

#[tokio::test]
async fn plain_http_mistakes_get_plain_http_answers() {
    let scene = Scene::new();
    let status = async |method: &str, path: &str| {
        let answer = match method {
            "GET" => scene.merchant.get(path, HeaderMap::new()).await,
            _ => {
                scene
                    .merchant
                    .post_json(path, Bytes::from_static(b"{}"), HeaderMap::new())
                    .await
            }
        };
        let answer = answer.unwrap();
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["type"], "about:blank");
        answer.status.as_u16()
    };
    assert_eq!(status("GET", "/").await, 404);
    assert_eq!(status("GET", "/v1/receipts/x").await, 404);
    assert_eq!(status("GET", "/v1/authorizations").await, 405);
    assert_eq!(status("GET", "/v1/authorizations/x").await, 404);
    assert_eq!(status("POST", "/v1/certificates").await, 405);
    scene.is_unharmed().await;
}
