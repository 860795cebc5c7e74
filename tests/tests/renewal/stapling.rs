//! OCSP answers that are asked for and stapled.

use std::{fs, sync::Arc};

use protocol::time::Timestamp;
use serde_json::Value;
use twinseal_tests::{parties::Parties, place::Place, service::Service};

use crate::{
    Asking, SEEN, certify_gateway, certify_gateway_with,
    publisher::{Publisher, found},
    replace,
    responder::{Responder, has_nothing_stapled, is_stapled, nothing_is_stapled, serial},
    said,
};

const STAPLED: &str = "an OCSP answer is stapled to the TLS certificate";
const NOT_STAPLED: &str = "nothing is stapled to the TLS certificate";

/// Has the gateway's TLS key certified anew with a responder, and puts it in the place of the former one, once all is
/// prepared for its serial.
fn renew(place: &Place, url: &str, prepare: impl FnOnce(&str)) -> String {
    let file = place.path("gateway/tls.pem");
    let renewed = certify_gateway_with(place, "tls", &["--ocsp", url]);
    let next = place.path("renewed.pem");
    fs::write(&next, &renewed).unwrap();
    let serial = serial(&next);
    prepare(&serial);
    replace(&file, &renewed);
    serial
}

/// An answer without a body.
fn http(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into()
}

/// The line that tells why nothing is stapled.
fn told(service: &Service, url: &str, reason: &str) -> Value {
    service.wait_for_log(SEEN, |line| {
        let message = line["fields"]["message"].as_str();
        line["fields"]["url"] == url
            && message
                .is_some_and(|message| message.starts_with(NOT_STAPLED) && message.contains(reason))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_staples_what_openssl_s_responder_says_and_never_to_another_certificate() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let responder = Responder::of(&place, "gateway");
    let serving = responder.serve();
    let first = renew(&place, &serving.url(), |_| {});
    responder.knows(&[(&first, false)]);
    serving.look(&responder);
    let gateway = place.start_gateway();
    said(&gateway, STAPLED, 1);
    is_stapled(&place, "gateway", &gateway, &first);
    let asking = Asking::start(&parties, &gateway);
    // The same certificate, read anew with what is trusted, keeps what is stapled to it.
    place.setup(&["crl"]);
    said(&gateway, "the configured keys are in use", 1);
    is_stapled(&place, "gateway", &gateway, &first);
    // One that names no responder.
    replace(
        &place.path("gateway/tls.pem"),
        &certify_gateway(&place, "tls"),
    );
    said(&gateway, "the configured keys are in use", 2);
    nothing_is_stapled(&place, "gateway", &gateway);
    // One that the responder does not know yet.
    let second = renew(&place, &serving.url(), |_| {});
    told(&gateway, &serving.url(), "does not know the certificate");
    nothing_is_stapled(&place, "gateway", &gateway);
    // It is asked again by and by.
    responder.knows(&[(&first, false), (&second, false)]);
    serving.look(&responder);
    said(&gateway, STAPLED, 2);
    is_stapled(&place, "gateway", &gateway, &second);
    assert_eq!(asking.stop().await, [] as [String; 0]);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_replaced_at_half_of_its_time_and_stapled_until_its_end_alone() {
    let place = Place::new();
    let responder = Responder::of(&place, "gateway");
    let publisher = Publisher::start();
    let publish_for = |serial: &str, seconds| {
        responder.knows(&[(serial, false)]);
        let end = mtls::now().plus(seconds);
        publisher.publish("/", found(&responder.answer_until(serial, end)));
        end
    };
    let serial = renew(&place, &publisher.url("/"), |serial| {
        publish_for(serial, 12);
    });
    let gateway = place.start_gateway();
    said(&gateway, STAPLED, 1);
    let end = publish_for(&serial, 20);
    said(&gateway, STAPLED, 2);
    publisher.publish("/", http("503 Service Unavailable"));
    gateway.wait_for_log(SEEN, |line| {
        let message = line["fields"]["message"].as_str();
        message.is_some_and(|message| {
            message.starts_with("the former OCSP answer stays stapled") && message.contains("503")
        })
    });
    is_stapled(&place, "gateway", &gateway, &serial);
    while !has_nothing_stapled(&place, "gateway", &gateway) {
        assert!(mtls::now() <= end.plus(SEEN.as_secs()), "it ended");
    }
    assert!(mtls::now() >= end);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_answer_is_not_stapled_any_more_once_the_ca_revoked_the_certificate() {
    let place = Place::new();
    let responder = Responder::of(&place, "gateway");
    let publisher = Publisher::start();
    let url = publisher.url("/");
    let serial = renew(&place, &url, |serial| {
        responder.knows(&[(serial, false)]);
        let end = mtls::now().plus(20);
        publisher.publish("/", found(&responder.answer_until(serial, end)));
    });
    let gateway = place.start_gateway();
    said(&gateway, STAPLED, 1);
    is_stapled(&place, "gateway", &gateway, &serial);
    responder.knows(&[(&serial, true)]);
    publisher.publish("/", found(&responder.answer(&serial, Some(60))));
    let line = told(&gateway, &url, "the CA revoked this certificate");
    assert_eq!(line["level"], "ERROR", "{line}");
    nothing_is_stapled(&place, "gateway", &gateway);
    assert!(gateway.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_merchant_staples_what_openssl_s_responder_says() {
    let place = Place::new();
    let responder = Responder::of(&place, "merchant");
    let serving = responder.serve();
    place.certify(
        "named",
        &[
            ["--role", "merchant", "--name", "bookshop"],
            ["--usage", "tls", "--dns", "localhost"],
            ["--ip", "127.0.0.1", "--ocsp", &serving.url()],
        ]
        .concat(),
    );
    for file in ["key", "pem"] {
        let renewed = fs::read(place.path(&format!("named/signing.{file}"))).unwrap();
        replace(&place.path(&format!("merchant/tls.{file}")), &renewed);
    }
    let serial = serial(&place.path("merchant/tls.pem"));
    responder.knows(&[(&serial, false)]);
    serving.look(&responder);
    let merchant = place.start_merchant();
    said(&merchant, STAPLED, 1);
    is_stapled(&place, "merchant", &merchant, &serial);
    assert!(merchant.stop().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_is_not_stapled_and_told_and_handshakes_go_on_without() {
    let place = Place::new();
    let parties = Arc::new(Parties::of(&place));
    let responder = Responder::of(&place, "gateway");
    let foreign = Responder::certified_by(&place, "gateway", "merchant");
    let publisher = Publisher::start();
    let gateway = place.start_gateway();
    let asking = Asking::start(&parties, &gateway);
    nothing_is_stapled(&place, "gateway", &gateway);
    let knows = |serial: &str, is_revoked| {
        responder.knows(&[(serial, is_revoked), ("1234", false)]);
        foreign.knows(&[(serial, false)]);
    };
    type Make<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let answers: [(&str, &str, Make); 11] = [
        ("/none", "it answered 404", &|_| http("404 Not Found")),
        ("/elsewhere", "it answered 302", &|_| {
            http("302 Found\r\nLocation: http://127.0.0.1:1/")
        }),
        ("/rubbish", "not an OCSP answer", &|_| found(b"no answer")),
        ("/large", "above 65536 bytes", &|_| {
            found(&vec![0x30; 64 * 1024 + 1])
        }),
        ("/later", "tryLater", &|_| found(b"\x30\x03\x0a\x01\x03")),
        ("/other", "of this certificate 0 times", &|_| {
            found(&responder.answer("1234", Some(60)))
        }),
        ("/foreign", "is not the issuing CA's", &|serial| {
            found(&foreign.answer(serial, Some(60)))
        }),
        ("/endless", "until when it is good", &|serial| {
            found(&responder.answer(serial, None))
        }),
        ("/ended", "due by 2020-01-02 00:00:00 UTC", &|serial| {
            let end = Timestamp::from_rfc3339("2020-01-02T00:00:00Z").unwrap();
            found(&responder.answer_until(serial, end))
        }),
        (
            "/unknown",
            "does not know the certificate",
            &|serial: &str| {
                responder.knows(&[]);
                found(&responder.answer(serial, Some(60)))
            },
        ),
        ("/revoked", "the CA revoked this certificate", &|serial| {
            knows(serial, true);
            found(&responder.answer(serial, Some(60)))
        }),
    ];
    for (path, reason, make) in answers {
        let url = publisher.url(path);
        renew(&place, &url, |serial| {
            knows(serial, false);
            publisher.publish(path, make(serial));
        });
        let line = told(&gateway, &url, reason);
        let level = if path == "/revoked" { "ERROR" } else { "WARN" };
        assert_eq!(line["level"], level, "{line}");
        nothing_is_stapled(&place, "gateway", &gateway);
    }
    // It was not for another reason.
    let serial = renew(&place, &publisher.url("/good"), |serial| {
        knows(serial, false);
        publisher.publish("/good", found(&responder.answer(serial, Some(60))));
    });
    said(&gateway, STAPLED, 1);
    is_stapled(&place, "gateway", &gateway, &serial);
    asking.more(4).await;
    assert_eq!(asking.stop().await, [] as [String; 0]);
    assert!(gateway.stop().0.success());
}
