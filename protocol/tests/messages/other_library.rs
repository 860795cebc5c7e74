//! Interoperability: josekit (JOSE, on OpenSSL) and sd-jwt-payload (SD-JWT, by IOTA) read what we
//! make, and make what we read. Neither knows this protocol.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use josekit::{
    jwe::{self, ECDH_ES, JweHeader},
    jws::{self, ES256, JwsHeader},
};
use protocol::{encoding, identifiers::Digest, jws::Message};
use sd_jwt_payload::{JsonObject, JwsSigner, SdJwt, SdJwtBuilder, Sha256Hasher};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::parties::Party;

/// The SubjectPublicKeyInfo of a certificate.
fn public_key(certificate: &[u8]) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    certificate.public_key().raw.to_vec()
}

/// Verifies a JWS with the key of its own x5c leaf, which has to be the party's; gives its claims.
pub fn jws_claims(compact: &str, typ: &str, signer: &Party) -> Value {
    let header = jws_header(compact);
    let leaf = header.x509_certificate_chain().unwrap().remove(0);
    assert_eq!(leaf, signer.certificate.as_ref());
    let verifier = ES256.verifier_from_der(public_key(&leaf)).unwrap();
    let (payload, header) = jws::deserialize_compact(compact, &verifier).unwrap();
    assert_eq!(header.token_type(), Some(typ));
    serde_json::from_slice(&payload).unwrap()
}

fn jws_header(compact: &str) -> JwsHeader {
    let header = compact.split('.').next().unwrap();
    JwsHeader::from_bytes(&encoding::base64url_decode(header).unwrap()).unwrap()
}

/// Makes a message with the header that ours have.
pub fn make_jws<T: Message>(claims: &T, signer: &Party) -> String {
    sign(&serde_json::to_vec(claims).unwrap(), T::TYP, signer)
}

fn sign(payload: &[u8], typ: &str, signer: &Party) -> String {
    let mut header = JwsHeader::new();
    header.set_token_type(typ);
    header.set_x509_certificate_chain(&vec![signer.certificate.as_ref()]);
    let key = ES256.signer_from_der(signer.key.pkcs8()).unwrap();
    jws::serialize_compact(payload, &header, &key).unwrap()
}

/// Opens a JWE with the private key; gives its header and its plaintext.
pub fn open_jwe(compact: &str, recipient: &Party) -> (JweHeader, Vec<u8>) {
    let key = ECDH_ES.decrypter_from_der(recipient.key.pkcs8()).unwrap();
    let (plaintext, header) = jwe::deserialize_compact(compact, &key).unwrap();
    (header, plaintext)
}

/// Seals a PI disclosure as the protocol wants it: padded, for one signature and one certificate.
pub fn make_jwe(disclosure: &str, dual_signature: &str, recipient: &Party) -> String {
    let mut header = JweHeader::new();
    header.set_token_type("twinseal-pi+jwe");
    header.set_content_encryption("A256GCM");
    header.set_agreement_partyvinfo(Digest::of(dual_signature.as_bytes()).as_bytes());
    header.set_x509_certificate_sha256_thumbprint(recipient.x5t().as_bytes());
    let key = ECDH_ES
        .encrypter_from_der(public_key(&recipient.certificate))
        .unwrap();
    let padded = disclosure.len().next_multiple_of(512);
    let plaintext = format!("{disclosure:~<padded$}");
    jwe::serialize_compact(plaintext.as_bytes(), &header, &key).unwrap()
}

/// Parses an SD-JWT and puts what it discloses in its place; gives all its claims.
pub fn disclosed(sd_jwt: &str) -> JsonObject {
    SdJwt::parse(sd_jwt)
        .unwrap()
        .into_disclosed_object(&Sha256Hasher::new())
        .unwrap()
}

/// An SD-JWT that the other library made, with salts of its own.
pub struct DualSignature {
    pub compact: String,
    pub oi: String,
    pub pi: String,
}

/// Makes a dual signature of these claims, which hold `oi` and `pi` in the open.
pub fn make_dual_signature(claims: Value, signer: &Party) -> DualSignature {
    let builder = SdJwtBuilder::new(claims)
        .unwrap()
        .make_concealable("/oi")
        .unwrap()
        .make_concealable("/pi")
        .unwrap()
        .header("typ", "twinseal-ds+sd-jwt")
        .header("x5c", json!([encoding::base64(&signer.certificate)]));
    let sd_jwt = at_once(builder.finish(&Josekit(signer), "ES256")).unwrap();
    let presentation = sd_jwt.presentation();
    let mut parts = presentation.split('~').map(str::to_owned);
    DualSignature {
        compact: parts.next().unwrap(),
        oi: parts.next().unwrap(),
        pi: parts.next().unwrap(),
    }
}

/// One library signs for the other.
struct Josekit<'a>(&'a Party);

impl JwsSigner for Josekit<'_> {
    type Error = Infallible;

    // What `async_trait` makes of the declaration.
    fn sign<'this, 'header, 'payload, 'all>(
        &'this self,
        header: &'header JsonObject,
        payload: &'payload JsonObject,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Infallible>> + Send + 'all>>
    where
        'this: 'all,
        'header: 'all,
        'payload: 'all,
    {
        let header = JwsHeader::from_map(header.clone()).unwrap();
        let payload = serde_json::to_vec(payload).unwrap();
        let key = ES256.signer_from_der(self.0.key.pkcs8()).unwrap();
        let compact = jws::serialize_compact(&payload, &header, &key).unwrap();
        Box::pin(std::future::ready(Ok(compact.into_bytes())))
    }
}

/// Runs a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits for something"),
    }
}
