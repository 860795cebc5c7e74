//! The sealed PI: a JWE (RFC 7516) that only the gateway's token can help to open and that fits one
//! dual signature only.
//!
//! Key agreement is ECDH-ES with the Concat KDF (RFC 7518 section 4.6), encryption A256GCM. The
//! shared secret comes from a token. The KDF and the opening are software where the token does not do
//! both; where it does, the plaintext comes from there. Whatever is wrong with a sealed PI is one and
//! the same problem to its sender.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use utoipa::{
    ToSchema,
    openapi::{Object, RefOr, Schema},
};
use zeroize::Zeroizing;

use crate::{
    encoding,
    identifiers::{Coordinate, Digest},
    json,
    payment_information::PaymentInformation,
    problem::{Problem, Refusal},
    schema,
    sd_jwt::Disclosure,
};

const ALG: &str = "ECDH-ES";
const ENC: &str = "A256GCM";
const KTY: &str = "EC";
const CRV: &str = "P-256";
pub(crate) const TYP: &str = "twinseal-pi+jwe";

/// The padded PI disclosure is a multiple of this, so that its length says little of its content.
pub const BLOCK_BYTES: usize = 512;

/// The longest PI disclosure, padding included.
pub const PLAINTEXT_BYTES_MAX: usize = 4096;

const PADDING: u8 = b'~';
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

/// An uncompressed P-256 point: 4, x, y.
pub type PointBytes = [u8; 65];

/// The protected header of a sealed PI.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SealedPaymentHeader)]
struct Header {
    #[schema(schema_with = alg_schema)]
    alg: String,
    #[schema(schema_with = enc_schema)]
    enc: String,
    #[schema(schema_with = typ_schema)]
    typ: String,
    epk: EphemeralKey,
    /// SHA-256 of DS: a sealed PI opens beside one signature only.
    apv: Digest,
    /// SHA-256 of the gateway's encryption certificate.
    #[serde(rename = "x5t#S256")]
    x5t: Digest,
}

/// The sender's ephemeral key, a JWK.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EphemeralKey {
    #[schema(schema_with = kty_schema)]
    kty: String,
    #[schema(schema_with = crv_schema)]
    crv: String,
    x: Coordinate,
    y: Coordinate,
}

fn alg_schema() -> Object {
    schema::one_of([ALG], "Key agreement.")
}

fn enc_schema() -> Object {
    schema::one_of([ENC], "Encryption.")
}

fn typ_schema() -> Object {
    schema::one_of([TYP], "What it is.")
}

fn kty_schema() -> Object {
    schema::one_of([KTY], "An elliptic curve.")
}

fn crv_schema() -> Object {
    schema::one_of([CRV], "Which one.")
}

/// The component of the header, which nothing outside of a sealed PI has.
pub(crate) fn header_components(found: &mut Vec<(String, RefOr<Schema>)>) {
    schema::components::<Header>(found);
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Problem::PaymentInformationInvalid, detail)
}

/// A sealed PI whose form was read.
pub struct SealedPayment {
    header_text: String,
    ephemeral: PointBytes,
    apv: Digest,
    x5t: Digest,
    nonce: [u8; NONCE_BYTES],
    ciphertext_and_tag: Vec<u8>,
    hash: Digest,
}

impl SealedPayment {
    /// Reads the compact form, and holds its ephemeral key against the curve, before any token sees
    /// it.
    ///
    /// # Errors
    /// `payment-information-invalid`.
    pub fn read(compact: &str) -> Result<Self, Refusal> {
        let mut parts = compact.split('.');
        let (Some(header_text), Some(""), Some(nonce), Some(ciphertext), Some(tag), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(invalid("not five parts with an empty key"));
        };
        let decode =
            |part| encoding::base64url_decode(part).map_err(|_| invalid("a part is not base64url"));
        let header: Header =
            json::read(&decode(header_text)?).map_err(|_| invalid("the header's members"))?;
        if (
            header.alg.as_str(),
            header.enc.as_str(),
            header.typ.as_str(),
        ) != (ALG, ENC, TYP)
        {
            return Err(invalid("alg, enc or typ"));
        }
        if (header.epk.kty.as_str(), header.epk.crv.as_str()) != (KTY, CRV) {
            return Err(invalid("epk is on another curve"));
        }
        let ephemeral = uncompressed(header.epk.x.as_bytes(), header.epk.y.as_bytes());
        ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, &ephemeral))
            .map_err(|_| invalid("epk is not on the curve"))?;
        let nonce = decode(nonce)?
            .try_into()
            .map_err(|_| invalid("the nonce's length"))?;
        let mut ciphertext_and_tag = decode(ciphertext)?;
        let plaintext_bytes = ciphertext_and_tag.len();
        if plaintext_bytes == 0
            || !plaintext_bytes.is_multiple_of(BLOCK_BYTES)
            || plaintext_bytes > PLAINTEXT_BYTES_MAX
        {
            return Err(invalid("the ciphertext's length"));
        }
        let tag = decode(tag)?;
        if tag.len() != TAG_BYTES {
            return Err(invalid("the tag's length"));
        }
        ciphertext_and_tag.extend_from_slice(&tag);
        Ok(Self {
            header_text: header_text.to_owned(),
            ephemeral,
            apv: header.apv,
            x5t: header.x5t,
            nonce,
            ciphertext_and_tag,
            hash: Digest::of(compact.as_bytes()),
        })
    }

    /// `h(JWE)`, over the text as it came.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Holds it against the dual signature that it comes with: `apv` is that signature's digest and
    /// `x5t#S256` the encryption certificate named there.
    ///
    /// # Errors
    /// `payment-information-invalid` for another signature's, `gateway-mismatch` for another
    /// certificate's.
    pub fn check_fits(&self, dual_signature: Digest, certificate: Digest) -> Result<(), Refusal> {
        if self.x5t != certificate {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "the JWE's x5t#S256 is not the signed gateway.x5t",
            ));
        }
        if self.apv != dual_signature {
            return Err(invalid("apv is another signature's digest"));
        }
        Ok(())
    }

    /// The sender's ephemeral public key, on the curve, for the token's ECDH.
    pub fn ephemeral(&self) -> &PointBytes {
        &self.ephemeral
    }

    /// What the content key is derived with, beside the shared secret: OtherInfo (NIST SP 800-56A
    /// section 5.8.1), for a token that derives the key itself.
    pub fn key_derivation_info(&self) -> Vec<u8> {
        other_info(&self.apv)
    }

    /// The nonce of AES-GCM.
    pub fn nonce(&self) -> &[u8; NONCE_BYTES] {
        &self.nonce
    }

    /// What AES-GCM authenticates beside the ciphertext.
    pub fn additional_data(&self) -> &[u8] {
        self.header_text.as_bytes()
    }

    /// The ciphertext, and the tag after it.
    pub fn ciphertext_and_tag(&self) -> &[u8] {
        &self.ciphertext_and_tag
    }

    /// Opens it with the shared secret that ECDH gave.
    ///
    /// # Errors
    /// `payment-information-invalid`.
    pub fn open(mut self, shared_secret: &[u8; 32]) -> Result<OpenedPayment, Refusal> {
        let key = content_key(shared_secret, &self.apv)?;
        let mut plaintext = Zeroizing::new(std::mem::take(&mut self.ciphertext_and_tag));
        let length = key
            .open_in_place(
                Nonce::assume_unique_for_key(self.nonce),
                Aad::from(self.header_text.as_bytes()),
                &mut plaintext,
            )
            .map_err(|_| invalid("the tag does not hold"))?
            .len();
        plaintext.truncate(length);
        self.opened(&plaintext)
    }

    /// Reads what a token that opens by itself found in it.
    ///
    /// # Errors
    /// `payment-information-invalid`.
    pub fn opened(self, padded: &Zeroizing<Vec<u8>>) -> Result<OpenedPayment, Refusal> {
        let text_bytes = padded
            .iter()
            .rposition(|&byte| byte != PADDING)
            .map_or(0, |last| last + 1);
        let text = std::str::from_utf8(&padded[..text_bytes])
            .map_err(|_| invalid("the plaintext is no text"))?;
        Disclosure::read(text)
            .map(|disclosure| OpenedPayment { disclosure })
            // Its detail may say where in the plaintext: not even the log needs it.
            .map_err(|_| invalid("the plaintext is no PI disclosure"))
    }
}

/// A PI that was opened: only [`SealedPayment::open`] and [`SealedPayment::opened`] make one. It has no
/// Debug.
pub struct OpenedPayment {
    disclosure: Disclosure<PaymentInformation>,
}

impl OpenedPayment {
    /// What it says.
    pub fn information(&self) -> &PaymentInformation {
        self.disclosure.value()
    }

    /// The disclosure as the payer made it: evidence, to be kept only encrypted.
    pub fn disclosure_text(&self) -> &str {
        self.disclosure.text()
    }

    /// The digest that the dual signature holds.
    pub fn digest(&self) -> Digest {
        self.disclosure.digest()
    }
}

/// Seals a PI disclosure to a gateway's encryption key, for one dual signature.
///
/// # Errors
/// `internal`, when the key is not on the curve or the system gives no random bytes;
/// `too-large`, when the disclosure is.
pub fn seal(
    disclosure: &Disclosure<PaymentInformation>,
    dual_signature: Digest,
    gateway_key: &PointBytes,
    certificate: Digest,
) -> Result<String, Refusal> {
    let internal = |what: &'static str| Refusal::new(Problem::Internal, what);
    let text = disclosure.text().as_bytes();
    let padded_bytes = text.len().next_multiple_of(BLOCK_BYTES);
    if padded_bytes > PLAINTEXT_BYTES_MAX {
        return Err(Refusal::new(Problem::TooLarge, "PI is above 4 KiB"));
    }
    // One allocation, with room for the tag: nothing unwiped is left behind by growing.
    let mut buffer = Zeroizing::new(Vec::with_capacity(padded_bytes + TAG_BYTES));
    buffer.extend_from_slice(text);
    buffer.resize(padded_bytes, PADDING);

    let ephemeral =
        PrivateKey::generate(&ECDH_P256).map_err(|_| internal("no ephemeral key was made"))?;
    let public = ephemeral
        .compute_public_key()
        .map_err(|_| internal("no ephemeral key was made"))?;
    let public: &PointBytes = public
        .as_ref()
        .try_into()
        .map_err(|_| internal("the ephemeral key is not uncompressed"))?;
    let (x, y) = coordinates(public);
    let header = Header {
        alg: ALG.to_owned(),
        enc: ENC.to_owned(),
        typ: TYP.to_owned(),
        epk: EphemeralKey {
            kty: KTY.to_owned(),
            crv: CRV.to_owned(),
            x,
            y,
        },
        apv: dual_signature,
        x5t: certificate,
    };
    let header_text = encoding::base64url(
        &serde_json::to_vec(&header).map_err(|_| internal("the header can't be written"))?,
    );
    let key = agreement::agree(
        &ephemeral,
        UnparsedPublicKey::new(&ECDH_P256, gateway_key),
        internal("the gateway's key is not on the curve"),
        |secret| {
            let secret = secret
                .try_into()
                .map_err(|_| internal("the secret's length"))?;
            content_key(secret, &dual_signature)
        },
    )?;
    let mut nonce = [0; NONCE_BYTES];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| internal("no random bytes"))?;
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header_text.as_bytes()),
            &mut buffer,
        )
        .map_err(|_| internal("sealing failed"))?;
    Ok(format!(
        "{header_text}..{}.{}.{}",
        encoding::base64url(&nonce),
        encoding::base64url(&buffer),
        encoding::base64url(tag.as_ref())
    ))
}

/// The Concat KDF of one block (NIST SP 800-56A section 5.8.1, RFC 7518 section 4.6.2).
fn content_key(shared_secret: &[u8; 32], apv: &Digest) -> Result<LessSafeKey, Refusal> {
    let mut hash = sha2::Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(shared_secret);
    hash.update(other_info(apv));
    let key = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
    UnboundKey::new(&AES_256_GCM, key.as_slice())
        .map(LessSafeKey::new)
        .map_err(|_| Refusal::new(Problem::Internal, "the content key's length"))
}

/// AlgorithmID, PartyUInfo, PartyVInfo, SuppPubInfo: no PartyU, PartyV is the digest of the dual
/// signature.
fn other_info(apv: &Digest) -> Vec<u8> {
    const KEY_BITS: u32 = 256;
    let length_of = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes();
    [
        &length_of(ENC.as_bytes())[..],
        ENC.as_bytes(),
        &length_of(b""),
        &length_of(apv.as_bytes()),
        apv.as_bytes(),
        &KEY_BITS.to_be_bytes(),
    ]
    .concat()
}

fn uncompressed(x: &[u8; 32], y: &[u8; 32]) -> PointBytes {
    let mut point = [4; 65];
    point[1..33].copy_from_slice(x);
    point[33..].copy_from_slice(y);
    point
}

fn coordinates(point: &PointBytes) -> (Coordinate, Coordinate) {
    let mut x = [0; 32];
    let mut y = [0; 32];
    x.copy_from_slice(&point[1..33]);
    y.copy_from_slice(&point[33..]);
    (Coordinate::from_bytes(x), Coordinate::from_bytes(y))
}
