//! The real gateway over a PKCS#11 module that misbehaves: what merchants see of it, and that nobody has to restart it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod hostile;
mod kryoptic;
mod rotation;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{HeaderMap, StatusCode};
use mtls::client::{Answer, ClientError, HttpClient};
use protocol::problem::Problem;
use serde_json::Value;
use tokio::task::JoinHandle;
use toml::Table;
use twinseal_misbehaving_module::{ModuleCopy, duplicate_token};
use twinseal_tests::{
    parties::{Parties, Purchase, authorize, euros, problem},
    place::Place,
    service::{Service, plain_get},
};

/// How long a token may take to be used again once it is back.
const BACK: Duration = Duration::from_secs(5);

/// The label that `softhsm-setup` gives the gateway's token.
const LABEL: &str = "twinseal-gateway";

/// A module of this place's own, with its copy of the configuration's `[token]`.
fn module(place: &Place, name: &str, label: &str) -> (ModuleCopy, Table) {
    let module = ModuleCopy::new(&place.path(""), name).unwrap();
    let mut token = Table::new();
    place.edit("gateway/gateway.toml", |config| {
        token = match &config["token"] {
            toml::Value::Array(tokens) => tokens[0].as_table().unwrap().clone(),
            one => one.as_table().unwrap().clone(),
        };
    });
    token.insert("module".into(), module.path().to_str().unwrap().into());
    token.insert("uri".into(), format!("pkcs11:token={label}").into());
    (module, token)
}

fn use_tokens(place: &Place, tokens: Vec<Table>) {
    place.edit("gateway/gateway.toml", |config| {
        config.insert("token".into(), tokens.into());
    });
}

/// One merchant that asks without a pause, each time for another purchase.
struct Shopping {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<String>>,
}

impl Shopping {
    fn start(parties: &Arc<Parties>, merchant: HttpClient) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (parties, stopped) = (Arc::clone(parties), Arc::clone(&stop));
        let asking = tokio::spawn(async move {
            let mut refusals = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let purchase = parties.purchase(euros(1), parties.card.clone());
                match ask(&merchant, &purchase).await {
                    Ok(answer) if answer.status == StatusCode::OK => {
                        parties.accept_receipt(&purchase, &answer.body);
                    }
                    Ok(answer) => {
                        let problem = problem(&answer);
                        let is_for_the_token =
                            matches!(problem, Problem::HsmUnavailable | Problem::Overloaded);
                        assert!(is_for_the_token, "{problem:?}");
                        refusals.push(problem.to_string());
                    }
                    // A handshake needs the token, too.
                    Err(error) => refusals.push(error.to_string()),
                }
            }
            refusals
        });
        Self { stop, asking }
    }

    /// What was refused, or not answered.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.await.unwrap()
    }
}

async fn ask(merchant: &HttpClient, purchase: &Purchase) -> Result<Answer, ClientError> {
    merchant
        .post_json(
            "/v1/authorizations",
            purchase.bytes().into(),
            HeaderMap::new(),
        )
        .await
}

async fn is_approved(parties: &Parties, merchant: &HttpClient) -> bool {
    let purchase = parties.purchase(euros(1), parties.card.clone());
    ask(merchant, &purchase)
        .await
        .is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// What the gateway says of itself.
fn readiness(service: &Service) -> (bool, Value) {
    let answer = plain_get(service.address("admin"), "/ready");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    (body["ready"].as_bool().unwrap(), body["parts"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_goes_away_and_comes_back_needs_no_restart() {
    let place = Place::new();
    let (token, table) = module(&place, "module", LABEL);
    use_tokens(&place, vec![table]);
    let parties = Arc::new(Parties::of(&place));
    let service = place.start_gateway();
    let merchant = parties.to_gateway(&service);
    assert!(is_approved(&parties, &merchant).await);
    for (fault, afterwards) in [
        ("silent-removal", ""),
        ("removed", ""),
        ("needs-initialize 1", "needs-initialize 1"),
        ("lose-sessions 1", "lose-sessions 1"),
        ("logout 1", "logout 1"),
    ] {
        let shopping = Shopping::start(&parties, parties.to_gateway(&service));
        token.does(fault).unwrap();
        // Refused, or done by a module that was brought back meanwhile: never anything else.
        is_approved(&parties, &merchant).await;
        token.does(afterwards).unwrap();
        let end = Instant::now() + BACK;
        while !is_approved(&parties, &merchant).await {
            assert!(Instant::now() < end, "{fault}");
        }
        shopping.stop().await;
        assert!(readiness(&service).0, "{fault}");
    }
    assert!(place.gateway_cli(&["ledger", "check"]).status.success());
    assert!(service.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_tokens_is_lost_and_no_purchase_fails() {
    let place = Place::new();
    duplicate_token(&place.path("gateway/tokens"), LABEL, "twinseal-second").unwrap();
    let (one, first) = module(&place, "one", LABEL);
    let (_other, second) = module(&place, "other", "twinseal-second");
    use_tokens(&place, vec![first, second]);
    let parties = Arc::new(Parties::of(&place));
    let service = place.start_gateway();
    let merchant = parties.to_gateway(&service);
    let shopping = Shopping::start(&parties, parties.to_gateway(&service));
    let state = || readiness(&service).1[format!("token {LABEL}")].clone();
    for lines in ["removed", "", "silent-removal", ""] {
        one.does(lines).unwrap();
        let end = Instant::now() + BACK;
        while (state() == "ok") != lines.is_empty() {
            assert!(Instant::now() < end, "{lines}: {}", state());
            assert!(is_approved(&parties, &merchant).await);
        }
        assert!(readiness(&service).0, "{lines}");
    }
    assert_eq!(shopping.stop().await, [] as [String; 0]);
    assert!(service.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_hangs_ends_the_gateway_which_answers_before() {
    let place = Place::new();
    let (token, table) = module(&place, "module", LABEL);
    use_tokens(&place, vec![table]);
    place.edit("gateway/gateway.toml", |config| {
        let mut limits = Table::new();
        limits.insert("token_call_seconds".into(), 1.into());
        config.insert("limits".into(), limits.into());
    });
    let parties = Parties::of(&place);
    let service = place.start_gateway();
    let merchant = parties.to_gateway(&service);
    assert!(is_approved(&parties, &merchant).await);
    token.does("hang C_DeriveKey").unwrap();
    let purchase = parties.purchase(euros(1), parties.card.clone());
    let answer = authorize(&merchant, purchase.bytes()).await;
    assert_eq!(problem(&answer), Problem::HsmUnavailable);
    // It ends by itself; its supervisor starts it anew, and the same request is decided.
    let (status, log) = service.wait_until_it_ends();
    assert!(!status.success());
    assert!(log.contains("does not come back"), "{log}");
    token.does("").unwrap();
    let service = place.start_gateway();
    let answer = authorize(&parties.to_gateway(&service), purchase.bytes()).await;
    parties.accept_receipt(&purchase, &answer.body);
    assert!(service.stop().0.success());
}
