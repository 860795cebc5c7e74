//! The files that all vectors rest on: who the parties are, and one good purchase.

use protocol::{encoding, identifiers::Digest, names::Role};
use protocol::{pki::TrustSource, pki::Usage};
use rustls_pki_types::CertificateRevocationListDer;
use serde_json::{Value, json};

use super::{
    draft::{AT, Draft},
    vector::written,
};
use crate::parties::{
    GATEWAY, NOW, Parties, Party,
    pki::{Crl, crl, serial},
};

/// `parties.json`.
pub fn parties_file(parties: &Parties) -> String {
    let party = |name: &str, party: &Party| {
        json!({
            "name": name,
            "urn": party.urn,
            "certificate": encoding::base64(&party.certificate),
            "x5t": party.x5t(),
            "private_key_pkcs8": encoding::base64(&party.key.pkcs8()),
            "private_key_d": encoding::base64url(&party.key.scalar()),
        })
    };
    written(&json!({
        "about": "Certificates (DER, standard base64), private keys (for tests only), and what a party that judges a message trusts.",
        "parties": [
            party("client", &parties.client),
            party("other client", &parties.other_client),
            party("merchant", &parties.merchant),
            party("other merchant", &parties.other_merchant),
            party("gateway signing", &parties.gateway),
            party("gateway encryption", &parties.gateway_encryption),
            party("other gateway signing", &parties.other_gateway),
            party("other gateway encryption", &parties.other_gateway_encryption),
        ],
        "trusts": trusts(parties),
    }))
}

/// What is trusted, by name: the same CAs, with other CRLs.
fn trusts(parties: &Parties) -> Value {
    let pki = &parties.pki;
    let current = |role| crl(pki.ca(role), &Crl::default());
    let all_but = |role: Role| -> Vec<_> {
        Role::ALL
            .into_iter()
            .filter(|other| *other != role)
            .map(current)
            .collect()
    };
    let with = |role: Role, content: Crl| {
        let mut crls = all_but(role);
        crls.push(crl(pki.ca(role), &content));
        trust(pki.trust_source_with_crls(crls))
    };
    let revoking = |role: Role, urn: &str, usage: Usage| {
        let revoked = vec![serial(&format!("{urn} {usage:?}"))];
        with(
            role,
            Crl {
                number: 2,
                revoked,
                ..Crl::default()
            },
        )
    };
    let signing = Usage::MessageSigning;
    let mut both_numbers = Role::ALL.map(current).to_vec();
    both_numbers.insert(
        0,
        crl(
            pki.ca(Role::Client),
            &Crl {
                number: 2,
                revoked: vec![serial(&format!("{} {signing:?}", parties.client.urn))],
                // Older by its date, newer by its number: the number counts.
                this_update: NOW.minus(2 * 86_400),
                ..Crl::default()
            },
        ),
    );
    json!({
        "usual": trust(pki.trust_source()),
        "client revoked": revoking(Role::Client, parties.client.urn, signing),
        "client revoked, beside an older CRL": trust(pki.trust_source_with_crls(both_numbers)),
        "client CRL stale": with(Role::Client, Crl {
            next_update: NOW.minus(1),
            ..Crl::default()
        }),
        "client CRL of tomorrow": with(Role::Client, Crl {
            this_update: NOW.plus(86_400),
            ..Crl::default()
        }),
        "no client CRL": trust(pki.trust_source_with_crls(all_but(Role::Client))),
        "merchant revoked": revoking(Role::Merchant, parties.merchant.urn, signing),
        "gateway signing revoked": revoking(Role::Gateway, GATEWAY, signing),
        "gateway encryption revoked": revoking(Role::Gateway, GATEWAY, Usage::Encryption),
    })
}

fn trust(source: TrustSource) -> Value {
    let crl = |der: &CertificateRevocationListDer<'_>| encoding::base64(der);
    json!({
        "root": encoding::base64(&source.root),
        "root_crl": crl(&source.root_crl),
        "issuing_cas": source.anchors.iter().map(|(role, der)| {
            json!({"role": role.as_str(), "certificate": encoding::base64(der)})
        }).collect::<Vec<_>>(),
        "crls": source.crls.iter().map(crl).collect::<Vec<_>>(),
    })
}

/// `purchase.json`.
pub fn purchase_file(parties: &Parties) -> String {
    let made = Draft::new(parties).make();
    let h = |text: &str| Digest::of(text.as_bytes());
    let claims = |compact: &str| -> Value {
        let payload = compact.split('.').nth(1).unwrap();
        serde_json::from_slice(&encoding::base64url_decode(payload).unwrap()).unwrap()
    };
    let sealed = &made.sealed;
    let signed = |compact: &str| json!({"claims": claims(compact), "jws": compact});
    written(&json!({
        "about": "One purchase, every message of it, and every value on the way.",
        "at": AT,
        "host": "bookshop.example",
        "order": made.order,
        "message_1": {"body": made.session_request},
        "message_2": signed(&made.session),
        "message_3": {
            "oi": {"json": made.oi_json, "disclosure": made.oi, "digest": h(&made.oi)},
            "pi": {"json": made.pi_json, "disclosure": made.pi, "digest": h(&made.pi)},
            "dual_signature": signed(&made.dual_signature),
            "dsh": h(&made.dual_signature),
            "jwe": {
                "plaintext": made.plaintext,
                "ephemeral_private_key_d": encoding::base64url(&sealed.ephemeral_key.scalar()),
                "shared_secret": encoding::base64url(&sealed.shared_secret),
                "kdf_input": encoding::base64url(&sealed.kdf_input),
                "content_key": encoding::base64url(&sealed.content_key),
                "header": sealed.header,
                "compact": made.jwe,
            },
            "pih": h(&made.jwe),
            "body": made.purchase_request,
        },
        "message_4": {
            "request": signed(&made.request),
            "reqh": h(&made.request),
            "body": made.authorization_body,
        },
        "message_5": signed(&made.receipt),
        "message_6": {
            "answer": signed(&made.answer),
            "body": made.purchase_response,
        },
        "inquiry": signed(&made.inquiry),
    }))
}
