//! How a token keeps keys: encodings, the policy's attributes, names, and what its flags hold.

use cryptoki::{
    mechanism::{
        Mechanism,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, AttributeInfo, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};
use hsm::{policy::KeyUse, uri::Pkcs11Uri, waiver::Waivers};

use crate::observations::{
    Row,
    mechanisms::{Peer, derive, none_or},
    subject::{self, KEYS, Observed, Subject, code},
};

pub(crate) fn observe(subject: &Subject<'_>) -> Observed<Vec<Row>> {
    let session = subject.session()?;
    let (sign, derivation) = (
        subject::key(&session, KeyUse::Sign)?,
        subject::key(&session, KeyUse::Derive)?,
    );
    let peer = Peer::new()?;
    let parameters = Ecdh1DeriveParams::new(EcKdf::null(), &peer.public);
    Ok(vec![
        Row::new("CKA_EC_POINT of a public key", point(&session)?),
        Row::new("attributes not as the policy wants", policy(subject)?),
        Row::new(
            "a second pair of the same label and id",
            second_pair(&session)?,
        ),
        Row::new(
            "CKA_VALUE of a private key, read",
            match session.get_attribute_info(sign, &[AttributeType::Value])?[..] {
                [AttributeInfo::Sensitive] => "CKR_ATTRIBUTE_SENSITIVE".to_owned(),
                [AttributeInfo::TypeInvalid] => "CKR_ATTRIBUTE_TYPE_INVALID".to_owned(),
                [AttributeInfo::Unavailable] => "unavailable".to_owned(),
                _ => "done".to_owned(),
            },
        ),
        Row::new(
            "CKA_DERIVE of a key with CKA_MODIFIABLE false, set",
            code(session.update_attributes(sign, &[Attribute::Derive(true)])),
        ),
        Row::new(
            "C_CopyObject to CKA_EXTRACTABLE true",
            copied(&session, sign)?,
        ),
        Row::new(
            "derivation with CKA_DERIVE false",
            code(derive(&session, sign, parameters)),
        ),
        Row::new(
            "signature with CKA_SIGN false",
            code(session.sign(&Mechanism::Ecdsa, derivation, &[7; 32])),
        ),
    ])
}

fn point(session: &Session) -> Observed<String> {
    let object = subject::object(session, KeyUse::Sign, ObjectClass::PUBLIC_KEY)?;
    let attributes = session.get_attributes(object, &[AttributeType::EcPoint])?;
    Ok(match &attributes[..] {
        [Attribute::EcPoint(point)] if point.len() == 65 => "bare".to_owned(),
        [Attribute::EcPoint(point)] if point.starts_with(&[0x04, 65]) => {
            "DER OCTET STRING".to_owned()
        }
        [Attribute::EcPoint(_)] => "something else".to_owned(),
        _ => "absent".to_owned(),
    })
}

fn policy(subject: &Subject<'_>) -> Observed<String> {
    let admin = subject.admin()?;
    let mut wrong: Vec<(String, Vec<String>)> = Vec::new();
    for (label, usage) in KEYS {
        let report = admin.report(&Pkcs11Uri::for_key(label), usage, &Waivers::default())?;
        for finding in report.wrong() {
            let text = format!("{} {}", finding.attribute, finding.found);
            let of_use = format!("{usage:?}").to_lowercase();
            match wrong.iter_mut().find(|(known, _)| *known == text) {
                Some((_, uses)) => uses.push(of_use),
                None => wrong.push((text, vec![of_use])),
            }
        }
    }
    let texts: Vec<String> = wrong
        .into_iter()
        .map(|(text, uses)| format!("{text} ({})", uses.join(", ")))
        .collect();
    Ok(none_or(&texts, "; "))
}

/// Makes two pairs of the same names.
fn second_pair(session: &Session) -> Observed<String> {
    let names = [
        Attribute::Label("quirks-twin".into()),
        Attribute::Id(b"quirks-twin".to_vec()),
    ];
    let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let mut public = vec![Attribute::Token(true), Attribute::EcParams(p256)];
    let mut private = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Derive(true),
    ];
    public.extend(names.clone());
    private.extend(names.clone());
    let make = || session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private);
    make()?;
    let second = make();
    let mut halves = names.to_vec();
    halves.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
    let found = session.find_objects(&halves)?.len();
    for object in session.find_objects(&names)? {
        session.destroy_object(object)?;
    }
    Ok(match (second, found) {
        (Ok(_), 2) => "made, both are found".to_owned(),
        (Ok(_), 1) => "made, in place of the first".to_owned(),
        (Ok(_), other) => format!("made, {other} found"),
        (error, _) => code(error),
    })
}

fn copied(session: &Session, key: ObjectHandle) -> Observed<String> {
    let template = [Attribute::Token(false), Attribute::Extractable(true)];
    let copy = match session.copy_object(key, &template) {
        Ok(copy) => copy,
        error => return Ok(code(error)),
    };
    let value = session.get_attributes(copy, &[AttributeType::Extractable])?;
    session.destroy_object(copy)?;
    Ok(match value[..] {
        [Attribute::Extractable(true)] => "done".to_owned(),
        _ => "done, and the copy is not extractable".to_owned(),
    })
}
