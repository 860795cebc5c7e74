//! A PKCS#10 request (RFC 2986): the key it is for, once the request shows that the asker has that key. Nothing else of it
//! is taken.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use enrolment::wire;
use protocol::identifiers::Digest;
use rcgen::PublicKeyData as _;
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256},
    prelude::FromDer as _,
};

use crate::authority::PublicPoint;

/// What is asked for.
pub(super) struct Request {
    pub(super) public: PublicPoint,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub(super) spki_sha256: Digest,
    /// SHA-256 of the request.
    pub(super) sha256: Digest,
}

/// What is wrong with a request. The asker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotARequest {
    #[error("the body is not base64")]
    NotBase64,
    #[error("the body is not one PKCS#10 request in DER")]
    NotPkcs10,
    #[error("the key is not of P-256, named by its curve and uncompressed")]
    NotP256,
    #[error("the request is not signed with ecdsa-with-SHA256")]
    NotSha256,
    #[error("the request's signature is not the key's")]
    NotSigned,
}

impl Request {
    /// Reads a body of EST.
    pub(super) fn read(body: &[u8]) -> Result<Self, NotARequest> {
        let der = wire::read(body).map_err(|_| NotARequest::NotBase64)?;
        let request = match X509CertificationRequest::from_der(&der) {
            Ok(([], request)) => request,
            _ => return Err(NotARequest::NotPkcs10),
        };
        let key = &request.certification_request_info.subject_pki;
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(OID_EC_P256) {
            return Err(NotARequest::NotP256);
        }
        let point = key.subject_public_key.data.as_ref();
        if point.len() != 65 || point[0] != 4 {
            return Err(NotARequest::NotP256);
        }
        if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
            return Err(NotARequest::NotSha256);
        }
        // A point that is not on the curve verifies nothing.
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(
                request.certification_request_info.raw,
                &request.signature_value.data,
            )
            .map_err(|_| NotARequest::NotSigned)?;
        let public = PublicPoint(point.to_vec());
        Ok(Self {
            spki_sha256: Digest::of(&public.subject_public_key_info()),
            sha256: Digest::of(&der),
            public,
        })
    }
}
