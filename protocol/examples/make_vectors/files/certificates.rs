//! Message 3 whose DS is signed by a key with a certificate that does not do for a payer.

use protocol::{names::Role, pki::Usage, problem::Problem};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType};

use super::{
    draft::{AT, Jws, Signer},
    vector::{Message, Topic},
};
use crate::parties::{
    CLIENT, NOW, OTHER_CLIENT, Parties,
    keys::Key,
    pki::{ca_params, issue, profile, serial, set_dates, uri},
};
use protocol::time::Timestamp;

const MESSAGE: Message = Message::PurchaseRequest;

pub fn fill(topic: &mut Topic<'_>) {
    dates(topic);
    roles(topic);
    profiles(topic);
    names(topic);
    paths(topic);
    revocation(topic);
}

/// A signer with a certificate of the client CA that was changed before it was issued.
fn changed(parties: &Parties, change: impl FnOnce(&mut CertificateParams)) -> Signer {
    issued(parties.pki.ca(Role::Client), change)
}

fn issued(issuer: &Issuer<'_, Key>, change: impl FnOnce(&mut CertificateParams)) -> Signer {
    let key = Key::named("odd client");
    let mut params = profile(CLIENT, Usage::MessageSigning);
    change(&mut params);
    Signer {
        chain: vec![issue(issuer, &key, serial("odd client"), params)],
        key,
    }
}

fn refused(
    topic: &mut Topic<'_>,
    problem: Problem,
    name: &'static str,
    why: &'static str,
    signer: Signer,
) {
    topic.refused(MESSAGE, problem, name, why, |draft| {
        draft.signed_by(Jws::Dual, signer)
    });
}

fn dates(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let dated = |not_before, not_after| {
        changed(parties, |params| {
            set_dates(params, Timestamp(not_before), Timestamp(not_after))
        })
    };
    refused(
        topic,
        Problem::CertificateExpired,
        "a certificate that expired a second ago",
        "The skew is for message times only.",
        dated(NOW.0 - 60, AT - 1),
    );
    refused(
        topic,
        Problem::CertificateExpired,
        "a certificate that starts in a second",
        "The skew is for message times only.",
        dated(AT + 1, AT + 3600),
    );
}

/// The other side of the dates above.
pub fn fill_accepted(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let last_second = changed(parties, |params| {
        set_dates(params, Timestamp(AT), Timestamp(AT));
    });
    topic.accepted(
        MESSAGE,
        "a certificate that is good for this second only",
        "Both dates are inclusive (RFC 5280 section 4.1.2.5).",
        |draft| draft.signed_by(Jws::Dual, last_second),
    );
}

fn roles(topic: &mut Topic<'_>) {
    let parties = topic.parties;
    let pki = &parties.pki;
    refused(
        topic,
        Problem::RoleMismatch,
        "a client's name under the merchant CA",
        "An issuing CA speaks for its own role.",
        issued(pki.ca(Role::Merchant), |_| {}),
    );
    refused(
        topic,
        Problem::RoleMismatch,
        "a client's name under the gateway CA",
        "An issuing CA speaks for its own role.",
        issued(pki.ca(Role::Gateway), |_| {}),
    );
    refused(
        topic,
        Problem::RoleMismatch,
        "the merchant signs for the payer",
        "Its certificate leads to the merchant CA.",
        Signer::from(&parties.merchant),
    );
    refused(
        topic,
        Problem::RoleMismatch,
        "a gateway's encryption key signs",
        "It leads to the gateway CA.",
        Signer::from(&parties.gateway_encryption),
    );
    refused(
        topic,
        Problem::RoleMismatch,
        "a merchant's name under the client CA",
        "The name says another role.",
        changed(parties, |params| {
            params.subject_alt_names = vec![uri("urn:twinseal:merchant:bookshop")];
        }),
    );
    refused(
        topic,
        Problem::RoleMismatch,
        "a TLS certificate signs a message",
        "Its purpose is clientAuth.",
        changed(parties, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
    );
    refused(
        topic,
        Problem::RoleMismatch,
        "an encryption certificate of a client signs",
        "Its key usage is keyAgreement.",
        changed(parties, |params| {
            params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
            params.extended_key_usages = vec![];
        }),
    );
}

fn profiles(topic: &mut Topic<'_>) {
    let untrusted = Problem::CertificateUntrusted;
    let parties = topic.parties;
    refused(
        topic,
        untrusted,
        "a further key usage",
        "digitalSignature, and nothing else.",
        changed(parties, |params| {
            params.key_usages.push(KeyUsagePurpose::KeyAgreement)
        }),
    );
    refused(
        topic,
        untrusted,
        "nonRepudiation beside digitalSignature",
        "digitalSignature, and nothing else.",
        changed(parties, |params| {
            params.key_usages.push(KeyUsagePurpose::ContentCommitment)
        }),
    );
    refused(
        topic,
        untrusted,
        "no key usage",
        "It is not optional.",
        changed(parties, |params| params.key_usages.clear()),
    );
    refused(
        topic,
        untrusted,
        "a further purpose",
        "documentSigning, and nothing else.",
        changed(parties, |params| {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth)
        }),
    );
    refused(
        topic,
        untrusted,
        "any purpose",
        "documentSigning, and nothing else.",
        changed(parties, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]
        }),
    );
    refused(
        topic,
        untrusted,
        "no purpose beside digitalSignature",
        "documentSigning is not optional.",
        changed(parties, |params| params.extended_key_usages.clear()),
    );
    refused(
        topic,
        untrusted,
        "a CA's certificate as a leaf",
        "A leaf is no CA.",
        changed(parties, |params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)
        }),
    );
}

fn names(topic: &mut Topic<'_>) {
    let untrusted = Problem::CertificateUntrusted;
    let parties = topic.parties;
    let named = |names: Vec<SanType>| changed(parties, |params| params.subject_alt_names = names);
    refused(
        topic,
        untrusted,
        "no name",
        "There is exactly one URI.",
        named(vec![]),
    );
    refused(
        topic,
        untrusted,
        "two names of ours",
        "There is exactly one URI.",
        named(vec![uri(CLIENT), uri(OTHER_CLIENT)]),
    );
    refused(
        topic,
        untrusted,
        "a second URI",
        "There is exactly one URI.",
        named(vec![uri(CLIENT), uri("https://payer.example/")]),
    );
    refused(
        topic,
        untrusted,
        "a URI of another scheme",
        "A name is urn:twinseal:<role>:<id>.",
        named(vec![uri("https://twinseal.example/client/7f3a9c21")]),
    );
    refused(
        topic,
        untrusted,
        "a name in upper case",
        "Names are lower case.",
        named(vec![uri("urn:twinseal:client:7F3A9C21")]),
    );
    refused(
        topic,
        untrusted,
        "a name with a percent sign",
        "An id is [a-z0-9][a-z0-9-]{0,62}.",
        named(vec![uri("urn:twinseal:client:7f3a9c2%31")]),
    );
    refused(
        topic,
        untrusted,
        "a DNS name beside a client's",
        "Only shops have DNS names.",
        named(vec![
            uri(CLIENT),
            SanType::DnsName("payer.example".try_into().unwrap()),
        ]),
    );
}

fn paths(topic: &mut Topic<'_>) {
    let untrusted = Problem::CertificateUntrusted;
    let parties = topic.parties;
    let client_ca = parties.pki.ca(Role::Client);
    let key = Key::named("odd client");

    let own = Issuer::new(profile(CLIENT, Usage::MessageSigning), key.clone());
    refused(
        topic,
        untrusted,
        "a self-signed certificate",
        "x5c is no trust by itself.",
        issued(&own, |_| {}),
    );

    let look_alike = Issuer::new(ca_params("Vector client CA"), Key::named("look-alike CA"));
    refused(
        topic,
        untrusted,
        "a CA of the same name with another key",
        "The signature is not the client CA's.",
        issued(&look_alike, |_| {}),
    );

    let mut two = Signer::from(&parties.client);
    two.chain.push(parties.other_client.certificate.clone());
    refused(
        topic,
        untrusted,
        "two leaves",
        "The second is not of the path.",
        two,
    );

    let mut with_anchor = Signer::from(&parties.client);
    with_anchor.chain.push(client_ca.der().clone());
    refused(
        topic,
        untrusted,
        "the anchor in x5c",
        "It is left out.",
        with_anchor,
    );

    let no_ca = Issuer::new(
        profile(OTHER_CLIENT, Usage::MessageSigning),
        parties.other_client.key.clone(),
    );
    let mut through_a_leaf = issued(&no_ca, |_| {});
    through_a_leaf
        .chain
        .push(parties.other_client.certificate.clone());
    refused(
        topic,
        untrusted,
        "issued by another client",
        "A leaf is no CA.",
        through_a_leaf,
    );

    let sub_key = Key::named("sub CA");
    let sub_params = ca_params("Vector sub CA");
    let sub_certificate = issue(client_ca, &sub_key, serial("sub CA"), sub_params.clone());
    let mut through_a_sub_ca = issued(&Issuer::new(sub_params, sub_key), |_| {});
    through_a_sub_ca.chain.push(sub_certificate);
    refused(
        topic,
        Problem::CertificateRevoked,
        "a CA between the leaf and the anchor",
        "It has no CRL that anybody holds.",
        through_a_sub_ca,
    );
}

fn revocation(topic: &mut Topic<'_>) {
    for (name, why, trust) in [
        (
            "a revoked payer",
            "The client CA's CRL names the certificate.",
            "client revoked",
        ),
        (
            "a payer revoked by the CRL of the higher number",
            "The number counts, not the date.",
            "client revoked, beside an older CRL",
        ),
        (
            "a payer whose CA has a stale CRL",
            "Nothing current says that it is not revoked.",
            "client CRL stale",
        ),
        (
            "a payer whose CA has a CRL of tomorrow only",
            "Nothing current says that it is not revoked.",
            "client CRL of tomorrow",
        ),
        (
            "a payer whose CA has no CRL",
            "Nothing current says that it is not revoked.",
            "no client CRL",
        ),
    ] {
        topic
            .refused(MESSAGE, Problem::CertificateRevoked, name, why, |draft| {
                draft
            })
            .trusting(trust);
    }
}
