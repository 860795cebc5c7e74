//! Signed messages: JWS compact serialization (RFC 7515 section 7.1), ES256 and nothing else.
//!
//! The way of a received one: [`Received::read`] looks at its form, [`Received::verify`] makes a
//! [`Verified`] of it. The way of one that is made: [`Unsigned::new`], a signature over
//! [`Unsigned::digest`] from a token or a [`crate::signing::SoftwareKey`], [`Unsigned::finish`].

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    encoding,
    identifiers::Digest,
    json,
    names::{PartyName, Role},
    pki::{Trust, Usage, VerifiedCertificate},
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// The one signature algorithm.
pub const ALG: &str = "ES256";

/// How many certificates `x5c` may hold.
pub const X5C_MAX: usize = 4;

/// A message that one role signs, told from every other by its `typ`.
pub trait Message: Serialize + DeserializeOwned {
    /// The exact `typ` (RFC 8725 section 3.11).
    const TYP: &'static str;
    /// Whose issuing CAs its signer's certificate must lead to.
    const SIGNER: Role;

    /// The party that the message says to be from; its signer must be that party.
    fn names_signer(&self) -> Option<&PartyName> {
        None
    }

    /// What the members must be to one another, where their types can't say it.
    ///
    /// # Errors
    /// `malformed`.
    fn check_members(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    x5c: Vec<String>,
}

fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(Problem::Malformed, detail)
}

/// A message whose form was read. Nothing says yet that anybody signed it.
pub struct Received<T> {
    compact: String,
    signing_input_bytes: usize,
    signature: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    claims: T,
}

impl<T: Message> Received<T> {
    /// Reads the compact form: its header, and its payload as a message of this type.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`; `signature-invalid` for another algorithm.
    pub fn read(compact: &str) -> Result<Self, Refusal> {
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("not three parts"));
        };
        let decode = |part| {
            encoding::base64url_decode(part).map_err(|_| malformed("a part is not base64url"))
        };
        let signing_input_bytes = header.len() + 1 + payload.len();
        let header: Header = json::read(&decode(header)?)?;
        if header.typ != T::TYP {
            return Err(malformed("typ is another message's"));
        }
        if header.alg != ALG {
            return Err(Refusal::new(Problem::SignatureInvalid, "alg is not ES256"));
        }
        if header.x5c.is_empty() || header.x5c.len() > X5C_MAX {
            return Err(malformed("x5c does not hold one to four certificates"));
        }
        let chain = header
            .x5c
            .iter()
            .map(|certificate| encoding::base64_decode(certificate).map(CertificateDer::from))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| malformed("x5c is not standard base64"))?;
        let claims: T = json::read_message(&decode(payload)?)?;
        claims.check_members()?;
        Ok(Self {
            signing_input_bytes,
            signature: decode(signature)?,
            chain,
            claims,
            compact: compact.to_owned(),
        })
    }

    /// What it says, before anybody is known to have said it: to find a session or a record by.
    pub fn unverified(&self) -> &T {
        &self.claims
    }

    /// `h(JWS)`, over the text as it came.
    pub fn hash(&self) -> Digest {
        Digest::of(self.compact.as_bytes())
    }

    /// Verifies the signer's certificate for the message's role at `now`, then the signature over
    /// the bytes as they came.
    ///
    /// # Errors
    /// `certificate-untrusted`, `certificate-revoked`, `certificate-expired`, `role-mismatch`,
    /// `signature-invalid`; `merchant-mismatch` or `gateway-mismatch` when the signer is not the
    /// party that the message names.
    pub fn verify(self, trust: &Trust, now: Timestamp) -> Result<Verified<T>, Refusal> {
        let signer = trust.verify(&self.chain, T::SIGNER, Usage::MessageSigning, now)?;
        signer
            .verify_signature(
                &self.compact.as_bytes()[..self.signing_input_bytes],
                &self.signature,
            )
            .map_err(|_| {
                Refusal::new(
                    Problem::SignatureInvalid,
                    "the signature is not the certificate's",
                )
            })?;
        if let Some(named) = self.claims.names_signer()
            && named != signer.name()
        {
            return Err(Refusal::new(
                match T::SIGNER {
                    Role::Gateway => Problem::GatewayMismatch,
                    Role::Merchant | Role::Client => Problem::MerchantMismatch,
                },
                format!("signed by {} in the name of {named}", signer.name()),
            ));
        }
        Ok(Verified {
            hash: self.hash(),
            compact: self.compact,
            claims: self.claims,
            signer,
        })
    }
}

/// A message with a known signer: only [`Received::verify`] makes one.
#[derive(Clone)]
pub struct Verified<T> {
    compact: String,
    hash: Digest,
    claims: T,
    signer: VerifiedCertificate,
}

impl<T> Verified<T> {
    /// What it says.
    pub fn claims(&self) -> &T {
        &self.claims
    }

    /// Who says it.
    pub fn signer(&self) -> &VerifiedCertificate {
        &self.signer
    }

    /// `h(JWS)`, over the text as it came.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The text as it came.
    pub fn compact(&self) -> &str {
        &self.compact
    }
}

/// A message that lacks its signature.
pub struct Unsigned {
    signing_input: String,
}

impl Unsigned {
    /// Writes header and payload. The chain is the signer's, leaf first, without the anchor.
    ///
    /// # Errors
    /// `internal`, when the message can't be written as JSON.
    pub fn new<T: Message>(claims: &T, chain: &[CertificateDer<'_>]) -> Result<Self, Refusal> {
        let header = Header {
            alg: ALG.to_owned(),
            typ: T::TYP.to_owned(),
            x5c: chain
                .iter()
                .map(|certificate| encoding::base64(certificate))
                .collect(),
        };
        let part = |json: serde_json::Result<Vec<u8>>| {
            json.map(|bytes| encoding::base64url(&bytes))
                .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))
        };
        Ok(Self {
            signing_input: format!(
                "{}.{}",
                part(serde_json::to_vec(&header))?,
                part(serde_json::to_vec(claims))?
            ),
        })
    }

    /// What a signature is made over.
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// SHA-256 of it, for a token that signs digests (CKM_ECDSA).
    pub fn digest(&self) -> [u8; 32] {
        *Digest::of(self.signing_input()).as_bytes()
    }

    /// Adds the signature, r‖s (RFC 7518 section 3.4).
    pub fn finish(self, signature: &[u8; 64]) -> String {
        format!("{}.{}", self.signing_input, encoding::base64url(signature))
    }
}
