//! CRLs that are fetched from where they are published.

use std::{fs, sync::Arc, time::Instant};

use toml::{Table, Value};
use twinseal_tests::{parties::Parties, place::Place, service::Service};

use crate::{
    Asking, SEEN,
    publisher::{Publisher, found},
    said,
};

/// Has a configuration fetch from some addresses.
fn fetch(place: &Place, urls: &[String]) {
    place.edit("gateway/gateway.toml", |config| {
        let sources: Vec<Table> = urls
            .iter()
            .map(|url| {
                let mut source = Table::new();
                source.insert("url".into(), url.as_str().into());
                source.insert("file".into(), "../pki/merchant-ca.crl".into());
                source
            })
            .collect();
        let trust = config["trust"].as_table_mut().unwrap();
        trust.insert("fetch".into(), Value::from(sources));
    });
}

fn warned(gateway: &Service, url: &str) -> String {
    let line = gateway.wait_for_log(SEEN, |line| {
        let message = line["fields"]["message"].as_str();
        message.is_some_and(|message| message.starts_with("the CRL was not fetched"))
            && line["fields"]["url"] == url
    });
    line["fields"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_is_published_reaches_the_gateway_by_itself() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let file = place.path("pki/merchant-ca.crl");
    let before = fs::read(&file).unwrap();
    place.setup(&["revoke", "--certificate", &place.text("merchant/tls.pem")]);
    let publisher = Publisher::start();
    publisher.publish("/merchant-ca.crl", found(&fs::read(&file).unwrap()));
    fs::write(&file, &before).unwrap();
    fetch(&place, &[publisher.url("/merchant-ca.crl")]);
    let gateway = place.start_gateway();
    said(&gateway, "a newer CRL was fetched", 1);
    said(&gateway, "the configured trust is in use", 1);
    let merchant = parties.to_gateway(&gateway);
    let begun = Instant::now();
    while merchant
        .get("/v1/certificates", hyper::HeaderMap::new())
        .await
        .is_ok()
    {
        assert!(begun.elapsed() < SEEN, "it is still served");
    }
    assert_ne!(fs::read(&file).unwrap(), before);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_crl_of_the_ca_changes_nothing_and_is_told() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let other = Place::new();
    let file = place.path("pki/merchant-ca.crl");
    let before = fs::read(&file).unwrap();
    let publisher = Publisher::start();
    let answers = [
        (
            "/none",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "/elsewhere",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        ),
        ("/rubbish", found(b"no CRL")),
        (
            "/endless",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n".to_vec(),
        ),
        (
            "/foreign",
            found(&fs::read(other.path("pki/merchant-ca.crl")).unwrap()),
        ),
        // Trusted, but not the CA whose CRL is in the file.
        (
            "/other-role",
            found(&fs::read(place.path("pki/client-ca.crl")).unwrap()),
        ),
        ("/no-http", b"\x15\x03\x01".to_vec()),
    ];
    let urls: Vec<String> = answers
        .iter()
        .map(|(path, _)| publisher.url(path))
        .collect();
    for (path, answer) in answers {
        publisher.publish(path, answer);
    }
    fetch(&place, &urls);
    let gateway = place.start_gateway();
    let asking = Asking::start(&parties, &gateway);
    let told: Vec<String> = urls.iter().map(|url| warned(&gateway, url)).collect();
    for (told, expected) in told.iter().zip([
        "it answered 404",
        "it answered 302",
        "can't be used",
        "above",
        "was not signed by a configured CA",
        "the CRL of another CA",
        "no answer",
    ]) {
        assert!(told.contains(expected), "{told}: {expected}");
    }
    asking.more(4).await;
    assert_eq!(asking.stop().await, [] as [String; 0]);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(gateway.stop().0.success());
}
