//! OCSP: where a responder is, what it is asked, and every reason not to use its answer.

use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SerialNumber, SigningKey as _,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::problem;
use crate::{
    names::Role,
    pki::{
        AUTHORITY_INFORMATION_ACCESS, GoodAnswer, OcspError, Trust, Usage, access_to_responder,
        ocsp::{element, sha1},
        ocsp_responders,
        test_pki::{Issued, NOW, TestCa, TestPki, at, profile},
    },
    time::Timestamp,
};

const SERIAL: u64 = 4711;
const URL: &str = "http://ocsp.example/gateway";

const GOOD: &[u8] = &[0x80, 0];
const UNKNOWN: &[u8] = &[0x82, 0];

/// ecdsa-with-SHA256 and SHA-1, without their own headers.
const ES256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SHA1: &[u8] = &[6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];

/// A gateway with a certificate that names a responder.
struct Scene {
    pki: TestPki,
    trust: Trust,
    issued: Issued,
}

impl Scene {
    fn new() -> Self {
        let pki = TestPki::new();
        Self {
            trust: pki.trust(),
            issued: gateways(&pki, SERIAL),
            pki,
        }
    }

    fn ca(&self) -> &TestCa {
        self.pki.ca(Role::Gateway)
    }

    fn judged(&self, answer: &[u8]) -> Result<GoodAnswer, OcspError> {
        let question = self.trust.ocsp_question(&self.issued.der).unwrap();
        question.check(answer, NOW)
    }

    /// An answer as it should be, to be changed and signed.
    fn answer(&self) -> Answer {
        Answer {
            status: vec![0],
            algorithm: ES256.to_vec(),
            responder: by_name(&self.ca().der()),
            singles: vec![Single::of(&self.ca().der(), SERIAL)],
            extensions: Vec::new(),
            certificates: Vec::new(),
        }
    }

    fn by_ca(&self, change: impl FnOnce(&mut Answer)) -> Result<GoodAnswer, OcspError> {
        let mut answer = self.answer();
        change(&mut answer);
        self.judged(&answer.signed(self.ca().key()))
    }

    fn by_responder(&self, responder: &Issued) -> Result<GoodAnswer, OcspError> {
        let mut answer = self.answer();
        answer.responder = by_name(&responder.der);
        answer.certificates = vec![responder.der.clone()];
        self.judged(&answer.signed(&responder.key))
    }
}

fn gateways(pki: &TestPki, serial: u64) -> Issued {
    pki.ca(Role::Gateway)
        .issue(profile(Role::Gateway, Usage::TlsServer), |params| {
            params.serial_number = Some(SerialNumber::from(serial));
            params.custom_extensions = vec![access(access_to_responder(URL))];
        })
}

fn access(value: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(&AUTHORITY_INFORMATION_ACCESS, value)
}

/// A certificate for OCSP signing, or what a change makes of it.
fn responder(ca: &TestCa, change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let mut params = profile(Role::Gateway, Usage::TlsServer);
    params.subject_alt_names.clear();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    ca.issue(params, change)
}

fn subject(der: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.subject().as_raw().to_vec()
}

fn point(der: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.public_key().subject_public_key.data.to_vec()
}

fn by_name(der: &CertificateDer<'_>) -> Vec<u8> {
    element(0xa1, &subject(der))
}

fn by_key(der: &CertificateDer<'_>) -> Vec<u8> {
    element(0xa2, &element(0x04, &sha1(&point(der))))
}

/// The contents of the DER form of an integer that is below 2^63.
fn integer(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let needed = &bytes[zeros..];
    let sign = needed.first().is_none_or(|byte| *byte >= 0x80);
    [&[0][..usize::from(sign)], needed].concat()
}

fn date(time: Timestamp) -> Vec<u8> {
    let text = time.to_rfc3339().replace(['-', ':', 'T'], "");
    element(0x18, text.as_bytes())
}

/// An OCSPResponse in the making (RFC 6960 section 4.2.1).
struct Answer {
    status: Vec<u8>,
    algorithm: Vec<u8>,
    responder: Vec<u8>,
    singles: Vec<Single>,
    extensions: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

struct Single {
    algorithm: Vec<u8>,
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    serial: Vec<u8>,
    status: Vec<u8>,
    this_update: Vec<u8>,
    next_update: Vec<u8>,
    extensions: Vec<u8>,
}

impl Single {
    /// Good, of an hour ago and for an hour.
    fn of(ca: &CertificateDer<'_>, serial: u64) -> Self {
        Self {
            algorithm: SHA1.to_vec(),
            name_hash: sha1(&subject(ca)),
            key_hash: sha1(&point(ca)),
            serial: integer(serial),
            status: GOOD.to_vec(),
            this_update: date(NOW.minus(3600)),
            next_update: element(0xa0, &date(NOW.plus(3600))),
            extensions: Vec::new(),
        }
    }

    fn der(&self) -> Vec<u8> {
        let id = [
            element(0x30, &self.algorithm),
            element(0x04, &self.name_hash),
            element(0x04, &self.key_hash),
            element(0x02, &self.serial),
        ];
        let members = [
            &element(0x30, &id.concat()),
            &self.status,
            &self.this_update,
            &self.next_update,
            &self.extensions,
        ];
        element(0x30, &members.map(Vec::as_slice).concat())
    }
}

impl Answer {
    fn signed(&self, key: &KeyPair) -> Vec<u8> {
        let singles: Vec<u8> = self.singles.iter().flat_map(Single::der).collect();
        let data = [
            &self.responder,
            &date(NOW),
            &element(0x30, &singles),
            &self.extensions,
        ];
        let data = element(0x30, &data.map(Vec::as_slice).concat());
        let signature = [vec![0], key.sign(&data).unwrap()].concat();
        let certificates: Vec<u8> = self
            .certificates
            .iter()
            .flat_map(|certificate| certificate.to_vec())
            .collect();
        let mut basic = [
            data,
            element(0x30, &self.algorithm),
            element(0x03, &signature),
        ]
        .concat();
        if !certificates.is_empty() {
            basic.extend(element(0xa0, &element(0x30, &certificates)));
        }
        let bytes = [
            element(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]),
            element(0x04, &element(0x30, &basic)),
        ];
        let bytes = element(0xa0, &element(0x30, &bytes.concat()));
        element(0x30, &[element(0x0a, &self.status), bytes].concat())
    }
}

/// `[1] Extensions` with one.
fn extension(critical: bool) -> Vec<u8> {
    // id-pkix-ocsp-nonce
    let mut members = element(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2]);
    if critical {
        members.extend(element(0x01, &[0xff]));
    }
    members.extend(element(0x04, b"\x04\x02ab"));
    element(0xa1, &element(0x30, &element(0x30, &members)))
}

fn is_of_signer(outcome: &Result<GoodAnswer, OcspError>, reason: &str) {
    assert!(
        matches!(outcome, Err(OcspError::Signer(said)) if said.contains(reason)),
        "{outcome:?}: {reason}"
    );
}

#[test]
fn a_certificate_that_names_a_responder_is_good_and_tells_the_address() {
    let Scene { trust, issued, pki } = Scene::new();
    let chain = std::slice::from_ref(&issued.der);
    assert_eq!(
        problem(&trust, chain, Role::Gateway, Usage::TlsServer),
        None
    );
    assert_eq!(ocsp_responders(&issued.der), [URL]);
    let none = pki.issue(Role::Gateway, Usage::TlsServer);
    assert_eq!(ocsp_responders(&none.der), [] as [String; 0]);
    let long = format!("http://ocsp.example/{}", "a".repeat(300));
    let unreadable = b"\x30\x03no".to_vec();
    for (value, expected) in [
        (access_to_responder(&long), vec![long]),
        (unreadable, vec![]),
    ] {
        let issued =
            pki.ca(Role::Gateway)
                .issue(profile(Role::Gateway, Usage::TlsServer), |params| {
                    params.custom_extensions = vec![access(value)];
                });
        assert_eq!(ocsp_responders(&issued.der), expected);
    }
}

#[test]
fn a_question_is_that_of_rfc_5019() {
    let Scene { trust, issued, pki } = Scene::new();
    let ca = pki.ca(Role::Gateway).der();
    let id = [
        element(0x30, SHA1),
        element(0x04, &sha1(&subject(&ca))),
        element(0x04, &sha1(&point(&ca))),
        element(0x02, &[0x12, 0x67]),
    ];
    // OCSPRequest, tbsRequest, requestList, Request, reqCert; no version, no name, no extensions.
    let expected = (0..5).fold(id.concat(), |inner, _| element(0x30, &inner));
    assert_eq!(trust.ocsp_question(&issued.der).unwrap().to_der(), expected);
}

#[test]
fn nobody_is_asked_about_a_certificate_of_a_foreign_ca() {
    let scene = Scene::new();
    let other = gateways(&TestPki::new(), SERIAL);
    let outcome = scene.trust.ocsp_question(&other.der);
    assert_eq!(outcome.err(), Some(OcspError::NoCa));
}

#[test]
fn the_ca_itself_answers_by_name_or_key() {
    let scene = Scene::new();
    let answer = scene.answer().signed(scene.ca().key());
    let good = scene.judged(&answer).unwrap();
    assert_eq!((good.der(), good.end()), (&answer[..], NOW.plus(3600)));
    let by_its_key = scene.by_ca(|answer| answer.responder = by_key(&scene.ca().der()));
    assert!(by_its_key.is_ok(), "{by_its_key:?}");
}

#[test]
fn a_responder_that_the_ca_certified_answers() {
    let scene = Scene::new();
    let responder = responder(scene.ca(), |_| {});
    assert!(scene.by_responder(&responder).is_ok());
    // By its key, and with other certificates beside its own.
    let mut answer = scene.answer();
    answer.responder = by_key(&responder.der);
    answer.certificates = vec![
        scene.issued.der.clone(),
        responder.der.clone(),
        scene.ca().der(),
    ];
    let answer = answer.signed(&responder.key);
    assert_eq!(
        point(&responder.der),
        responder.key.der_bytes(),
        "the key is the certificate's"
    );
    assert!(scene.judged(&answer).is_ok());
}

#[test]
fn nobody_else_answers() {
    let scene = Scene::new();
    let other = TestPki::new();
    let ca = scene.ca();
    let not_issued = "is not the issuing CA's";
    let not_for_that = "is not for OCSP signing";
    // Another CA of the same name, and a responder of it; and one of a CA of another role.
    let foreign = scene.answer().signed(other.ca(Role::Gateway).key());
    is_of_signer(&scene.judged(&foreign), "the signature is not the CA's");
    let foreign = responder(other.ca(Role::Gateway), |_| {});
    is_of_signer(&scene.by_responder(&foreign), not_issued);
    let merchants = responder(scene.pki.ca(Role::Merchant), |_| {});
    is_of_signer(&scene.by_responder(&merchants), not_issued);
    // The party itself, and others that the CA certified for something else.
    is_of_signer(&scene.by_responder(&scene.issued), not_for_that);
    let any = responder(ca, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    });
    is_of_signer(&scene.by_responder(&any), not_for_that);
    let agreement = responder(ca, |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    });
    is_of_signer(&scene.by_responder(&agreement), not_for_that);
    let expired = responder(ca, |params| params.not_after = at(NOW.minus(1)));
    is_of_signer(&scene.by_responder(&expired), "outside its dates");
    // Whose key it is not, and whose certificate is missing.
    let (one, another) = (responder(ca, |_| {}), responder(ca, |_| {}));
    let mut answer = scene.answer();
    answer.responder = by_name(&one.der);
    answer.certificates = vec![one.der.clone()];
    let forged = scene.judged(&answer.signed(&another.key));
    is_of_signer(&forged, "the signature is not the responder's");
    answer.certificates.clear();
    answer.responder = by_key(&one.der);
    is_of_signer(&scene.judged(&answer.signed(&one.key)), "is not in it");
}

#[test]
fn a_responder_whose_certificate_was_revoked_does_not_answer() {
    let mut scene = Scene::new();
    let responder = responder(scene.ca(), |params| {
        params.serial_number = Some(SerialNumber::from(99));
    });
    assert!(scene.by_responder(&responder).is_ok());
    let crl = scene.ca().crl(2, &[99]);
    scene.pki.crls.push(crl);
    scene.trust = scene.pki.trust();
    is_of_signer(&scene.by_responder(&responder), "was revoked");
}

#[test]
fn an_answer_of_another_certificate_is_refused() {
    let scene = Scene::new();
    let merchants = scene.pki.ca(Role::Merchant).der();
    let one = |change: &dyn Fn(&mut Single)| scene.by_ca(|answer| change(&mut answer.singles[0]));
    for outcome in [
        one(&|single| single.serial = vec![1]),
        one(&|single| single.name_hash = sha1(&subject(&merchants))),
        one(&|single| single.key_hash = sha1(&point(&merchants))),
        // SHA-256
        one(&|single| single.algorithm = vec![6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]),
        scene.by_ca(|answer| answer.singles.clear()),
    ] {
        assert_eq!(outcome, Err(OcspError::NotOfThis(0)));
    }
    // Twice is not clearer than once.
    let twice = scene.by_ca(|answer| answer.singles.push(Single::of(&scene.ca().der(), SERIAL)));
    assert_eq!(twice, Err(OcspError::NotOfThis(2)));
    // Beside others it is found, and SHA-1 may be written without parameters.
    let among = scene.by_ca(|answer| {
        answer
            .singles
            .insert(0, Single::of(&scene.ca().der(), SERIAL + 1));
        answer.singles[1].algorithm.truncate(7);
    });
    assert!(among.is_ok(), "{among:?}");
}

#[test]
fn an_answer_is_good_from_its_first_second_to_the_one_before_its_next_update() {
    let scene = Scene::new();
    let dated = |this_update: Timestamp, next_update: Option<Timestamp>| {
        scene.by_ca(|answer| {
            answer.singles[0].this_update = date(this_update);
            answer.singles[0].next_update =
                next_update.map_or(Vec::new(), |time| element(0xa0, &date(time)));
        })
    };
    assert!(dated(NOW, Some(NOW.plus(1))).is_ok());
    assert_eq!(
        dated(NOW.plus(1), Some(NOW.plus(9))),
        Err(OcspError::FromTheFuture {
            this_update: NOW.plus(1),
            now: NOW
        })
    );
    assert_eq!(
        dated(NOW.minus(9), Some(NOW)),
        Err(OcspError::Ended {
            next_update: NOW,
            now: NOW
        })
    );
    assert_eq!(dated(NOW, None), Err(OcspError::Endless));
}

#[test]
fn a_revoked_or_unknown_certificate_is_told() {
    let scene = Scene::new();
    let said = |status: Vec<u8>| scene.by_ca(|answer| answer.singles[0].status = status);
    let at = NOW.minus(60);
    let reason = element(0xa0, &element(0x0a, &[1]));
    for revoked in [date(at), [date(at), reason].concat()] {
        assert_eq!(
            said(element(0xa1, &revoked)),
            Err(OcspError::Revoked { at })
        );
    }
    assert_eq!(said(UNKNOWN.to_vec()), Err(OcspError::Unknown));
}

#[test]
fn what_nobody_signed_revokes_nothing() {
    let scene = Scene::new();
    let mut answer = scene.answer();
    answer.singles[0].status = element(0xa1, &date(NOW));
    let forged = answer.signed(TestPki::new().ca(Role::Gateway).key());
    is_of_signer(&scene.judged(&forged), "the signature is not the CA's");
}

#[test]
fn other_algorithms_and_failures_of_the_responder_are_told() {
    let scene = Scene::new();
    // ecdsa-with-SHA384, ecdsa-with-SHA1
    for algorithm in [
        &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3][..],
        &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1],
    ] {
        let outcome = scene.by_ca(|answer| answer.algorithm = algorithm.to_vec());
        assert_eq!(outcome, Err(OcspError::Algorithm));
    }
    for (status, name) in [
        (1, "malformedRequest"),
        (2, "internalError"),
        (3, "tryLater"),
        (5, "sigRequired"),
        (6, "unauthorized"),
    ] {
        let failure = element(0x30, &element(0x0a, &[status]));
        assert_eq!(scene.judged(&failure), Err(OcspError::NotSuccessful(name)));
        // A good answer beside it is none.
        let both = scene.by_ca(|answer| answer.status = vec![status]);
        assert_eq!(both, Err(OcspError::NotSuccessful(name)));
    }
}

#[test]
fn critical_extensions_are_refused_and_others_passed_over() {
    let scene = Scene::new();
    for (critical, expected) in [(false, None), (true, Some(OcspError::Unreadable))] {
        let of_all = scene.by_ca(|answer| answer.extensions = extension(critical));
        assert_eq!(of_all.err(), expected);
        let of_one = scene.by_ca(|answer| answer.singles[0].extensions = extension(critical));
        assert_eq!(of_one.err(), expected);
    }
}

#[test]
fn a_good_answer_is_refused_when_a_byte_of_it_is_changed_or_missing() {
    let scene = Scene::new();
    let answer = scene.answer().signed(scene.ca().key());
    for place in 0..answer.len() {
        for bit in 0..8 {
            let mut changed = answer.clone();
            changed[place] ^= 1 << bit;
            assert!(scene.judged(&changed).is_err(), "byte {place} bit {bit}");
        }
        assert!(scene.judged(&answer[..place]).is_err(), "{place} bytes");
    }
    let more = [&answer[..], &[0]].concat();
    assert_eq!(scene.judged(&more), Err(OcspError::Unreadable));
    for rubbish in [&b""[..], b"<html>", &[0x30, 0x80, 0, 0], &[0x30; 300]] {
        assert_eq!(scene.judged(rubbish), Err(OcspError::Unreadable));
    }
}

#[test]
fn dates_are_in_utc_to_the_second() {
    let scene = Scene::new();
    for text in [
        "20270101000000",
        "202701010000Z",
        "20270101000000.5Z",
        "20270101000000+0100",
        "20271301000000Z",
        "2027010100000\u{e4}Z",
        "",
    ] {
        let outcome =
            scene.by_ca(|answer| answer.singles[0].this_update = element(0x18, text.as_bytes()));
        assert_eq!(outcome, Err(OcspError::Unreadable), "{text}");
    }
}
