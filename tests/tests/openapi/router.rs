//! The document and the router know the same paths and methods, and every listener serves the document.

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use hyper::HeaderMap;
use protocol::{identifiers::Xid, problem::Problem};
use serde_json::Value;
use twinseal_tests::{
    parties::Parties, place::Place, raw::RawTls, service::plain_get, shopper::Shopper,
};

use crate::document::Document;

const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "options", "trace"];

/// The status of a request without a body, and the methods in `Allow`.
fn asked(listener: &Listener, method: &str, path: &str) -> (u16, BTreeSet<String>) {
    let request = format!(
        "{} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        method.to_uppercase()
    );
    let head = if listener.name == "admin" {
        twinseal_tests::service::plain(listener.address, &request)
    } else {
        let mut raw = RawTls::connect(listener.address, listener.identity.as_deref());
        raw.write(request.as_bytes());
        raw.read_head()
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let allowed = head
        .lines()
        .find_map(|line| line.strip_prefix("allow: "))
        .map(|methods| methods.to_lowercase())
        .unwrap_or_default();
    let allowed = allowed.split(", ").filter(|method| !method.is_empty());
    (status, allowed.map(str::to_owned).collect())
}

fn status(listener: &Listener, method: &str, path: &str) -> u16 {
    asked(listener, method, path).0
}

struct Listener {
    name: &'static str,
    address: SocketAddr,
    identity: Option<Box<Path>>,
}

/// Each documented path answers each method as documented, and paths beside it are unknown.
fn is_routed_as_documented(document: &Document, listener: &Listener) {
    let here = || {
        document
            .operations()
            .filter(|operation| operation.listeners.contains(&listener.name))
    };
    let paths: BTreeSet<&str> = here().map(|operation| operation.path).collect();
    assert!(!paths.is_empty(), "{}", listener.name);
    // Whatever the argument is: an id that nobody has.
    let id = Xid::random().unwrap().to_string();
    for path in paths {
        let (before, has_argument) = match path.split_once('{') {
            Some((before, _)) => (before, true),
            None => (path, false),
        };
        let concrete = if has_argument {
            format!("{before}{id}")
        } else {
            path.to_owned()
        };
        let documented: BTreeSet<String> = here()
            .filter(|operation| operation.path == path)
            .map(|operation| operation.method.to_owned())
            .collect();
        for method in METHODS {
            let is_documented = documented.contains(method);
            let (answered, allowed) = asked(listener, method, &concrete);
            assert_eq!(
                answered != 405,
                is_documented,
                "{} {method} {concrete}: {answered}",
                listener.name
            );
            if !is_documented {
                assert_eq!(allowed, documented, "{} {concrete}", listener.name);
            }
            if is_documented && !has_argument {
                assert_ne!(answered, 404, "{} {method} {concrete}", listener.name);
            }
        }
        for beside in [format!("{concrete}/x"), format!("{concrete}x/x")] {
            assert_eq!(status(listener, "get", &beside), 404, "{beside}");
        }
    }
    // What another listener has is unknown here.
    for operation in document.operations() {
        if !operation.listeners.contains(&listener.name) && !operation.path.contains('{') {
            let known = here().any(|here| here.path == operation.path);
            let answered = status(listener, operation.method, operation.path);
            assert_eq!(answered == 404, !known, "{}", operation.path);
        }
    }
    for unknown in ["/", "/v1", "/v2/purchases", "/openapi.yaml"] {
        assert_eq!(status(listener, "get", unknown), 404, "{unknown}");
    }
}

#[test]
fn the_gateway_routes_what_its_document_says_and_nothing_else() {
    let place = Place::new();
    let gateway = place.start_gateway();
    let document = Document::of("gateway");
    for name in ["merchants", "payers", "admin"] {
        let listener = Listener {
            name,
            address: gateway.address(name),
            identity: (name == "merchants").then(|| place.path("merchant").into()),
        };
        is_routed_as_documented(&document, &listener);
    }
}

#[test]
fn the_merchant_routes_what_its_document_says_and_nothing_else() {
    let place = Place::new();
    let merchant = place.start_merchant();
    let listener = Listener {
        name: "payers",
        address: merchant.address("payers"),
        identity: None,
    };
    is_routed_as_documented(&Document::of("merchant"), &listener);
}

#[tokio::test]
async fn every_listener_serves_the_document_that_is_checked_in() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let gateway = place.start_gateway();
    let merchant = place.start_merchant();
    let of_gateway = Document::of("gateway");
    for client in [
        parties.to_gateway(&gateway),
        parties.to_payer_listener(&gateway),
    ] {
        let answer = client.get("/openapi.json", HeaderMap::new()).await.unwrap();
        let served: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(&served == of_gateway.value(), "another document is served");
        of_gateway.says("GET /openapi.json", &answer);
    }
    let answer = plain_get(gateway.address("admin"), "/openapi.json");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let served: Value = serde_json::from_str(body).unwrap();
    assert!(&served == of_gateway.value(), "another document is served");

    let of_merchant = Document::of("merchant");
    let answer = Shopper::at(&parties, &merchant).get("/openapi.json").await;
    let served: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(&served == of_merchant.value(), "another document is served");
    of_merchant.says("GET /openapi.json", &answer);
}

#[test]
fn every_problem_is_some_operation_s() {
    let both = [Document::of("gateway"), Document::of("merchant")];
    for problem in Problem::ALL {
        let is_told = both.iter().any(|document| {
            let paths = document.value()["paths"].to_string();
            paths.contains(&format!("\"{}\"", problem.urn()))
        });
        assert!(is_told, "{problem} is in no operation of docs/openapi/");
    }
}

#[test]
fn a_document_is_printed_without_a_configuration() {
    for (program, document) in [
        ("twinseal-gateway", Document::of("gateway")),
        ("twinseal-merchant", Document::of("merchant")),
    ] {
        let output = std::process::Command::new(twinseal_tests::service::program(program))
            .args(["--config", "/does/not/exist.toml", "openapi"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            &printed == document.value(),
            "{program} prints another document than docs/openapi/ has; run `cargo run -p {program} -- openapi`"
        );
    }
}
