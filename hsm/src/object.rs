//! Objects of a token: found by what a URI says of them.

use cryptoki::{
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};

use crate::{error::StartError, point::P256Point, uri::Pkcs11Uri};

/// Finds the one key of a class that a URI names. Labels and ids need not be unique in a token, so more
/// than one is an error.
pub(crate) fn find_key(
    session: &Session,
    uri: &Pkcs11Uri,
    class: ObjectClass,
    class_name: &'static str,
) -> Result<ObjectHandle, StartError> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(uri.object().map(|label| Attribute::Label(label.into())));
    template.extend(uri.id().map(|id| Attribute::Id(id.to_vec())));
    match session.find_objects(&template)?.as_slice() {
        [one] => Ok(*one),
        others => Err(StartError::NotOneKey {
            found: others.len(),
            class: class_name,
            uri: uri.to_string(),
        }),
    }
}

/// The public point of a key pair, from its public key object.
pub(crate) fn public_point(session: &Session, uri: &Pkcs11Uri) -> Result<P256Point, StartError> {
    let handle = find_key(session, uri, ObjectClass::PUBLIC_KEY, "public")?;
    session
        .get_attributes(handle, &[AttributeType::EcPoint])?
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::EcPoint(value) => P256Point::from_attribute(&value).ok(),
            _ => None,
        })
        .ok_or_else(|| StartError::Canary {
            key: uri.key_name().to_owned(),
            reason: "its public key is not a point of P-256".to_owned(),
        })
}
