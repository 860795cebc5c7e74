//! Templates of keys as another program would make them: right but for what a test changes.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectHandle},
    session::Session,
};
use hsm::policy::KeyUse;

/// The OID of P-256 in DER.
pub(crate) const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// The OID of P-384 in DER.
pub(crate) const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// Makes a key of a use, with these attributes in place of the right ones.
pub(crate) fn make(
    session: &Session,
    label: &str,
    usage: KeyUse,
    changes: &[Attribute],
) -> ObjectHandle {
    match usage {
        KeyUse::Sign | KeyUse::Derive => make_pair(session, label, &P256, usage, changes),
        KeyUse::Encrypt | KeyUse::Mac => {
            let mut template = changed(template(label, usage), changes);
            let makes_aes = template
                .iter()
                .any(|attribute| matches!(attribute, Attribute::KeyType(KeyType::AES)));
            if !template
                .iter()
                .any(|attribute| matches!(attribute, Attribute::ValueLen(_)))
            {
                template.push(Attribute::ValueLen(32.into()));
            }
            let mechanism = if makes_aes {
                Mechanism::AesKeyGen
            } else {
                Mechanism::GenericSecretKeyGen
            };
            session.generate_key(&mechanism, &template).unwrap()
        }
    }
}

/// Makes a key pair on a curve; gives the private half.
pub(crate) fn make_pair(
    session: &Session,
    label: &str,
    curve: &[u8],
    usage: KeyUse,
    changes: &[Attribute],
) -> ObjectHandle {
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(label.into()),
        Attribute::EcParams(curve.to_vec()),
    ];
    let private = changed(template(label, usage), changes);
    session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap()
        .1
}

/// What a key of a use is made by.
pub(crate) fn template(label: &str, usage: KeyUse) -> Vec<Attribute> {
    let signs = matches!(usage, KeyUse::Sign | KeyUse::Mac);
    let encrypts = usage == KeyUse::Encrypt;
    let mut template = vec![
        Attribute::Label(label.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Sign(signs),
        Attribute::Decrypt(encrypts),
        Attribute::Derive(usage == KeyUse::Derive),
        Attribute::Unwrap(false),
    ];
    match usage {
        KeyUse::Sign | KeyUse::Derive => template.extend([
            Attribute::KeyType(KeyType::EC),
            Attribute::SignRecover(false),
        ]),
        KeyUse::Encrypt | KeyUse::Mac => template.extend([
            Attribute::KeyType(if encrypts {
                KeyType::AES
            } else {
                KeyType::GENERIC_SECRET
            }),
            Attribute::Verify(signs),
            Attribute::Encrypt(encrypts),
            Attribute::Wrap(false),
        ]),
    }
    template
}

/// A template with some attributes in place of those of the same kind.
pub(crate) fn changed(mut template: Vec<Attribute>, changes: &[Attribute]) -> Vec<Attribute> {
    for change in changes {
        template.retain(|attribute| attribute.attribute_type() != change.attribute_type());
        template.push(change.clone());
    }
    template
}
