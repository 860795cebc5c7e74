//! What a token does without our crate around it: what the crate and the gateway are measured against.

use std::error::Error;

use cryptoki::{
    mechanism::{
        Mechanism,
        elliptic_curve::{EcKdf, Ecdh1DeriveParams},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};

/// The one key of a class with a label.
pub(crate) fn key(
    session: &Session,
    class: ObjectClass,
    label: &str,
) -> Result<ObjectHandle, Box<dyn Error>> {
    let found = session.find_objects(&[Attribute::Class(class), Attribute::Label(label.into())])?;
    match found.as_slice() {
        [one] => Ok(*one),
        other => Err(format!("{} keys with the label {label}", other.len()).into()),
    }
}

/// Agrees with the owner of a point, reads the secret and destroys it.
pub(crate) fn derive(
    session: &Session,
    key: ObjectHandle,
    peer: &[u8],
) -> Result<(), Box<dyn Error>> {
    let parameters = Ecdh1DeriveParams::new(EcKdf::null(), peer);
    let secret = session.derive_key(
        &Mechanism::Ecdh1Derive(parameters),
        key,
        &[
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(32.into()),
        ],
    )?;
    session.get_attributes(secret, &[AttributeType::Value])?;
    session.destroy_object(secret)?;
    Ok(())
}
