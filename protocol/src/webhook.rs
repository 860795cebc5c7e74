//! Signed webhooks as Standard Webhooks 1.0.0 has them: the secret, the three header fields, and their check.
//!
//! The secret is shared by who sends and who receives, so a signature convinces the receiver and proves nothing to
//! anybody else. What can be proven is a receipt's.

use aws_lc_rs::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    encoding,
    identifiers::NoRandomness,
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// The header field of the event's id: the same whenever it is sent again.
pub const ID: &str = "webhook-id";

/// The header field of the time of sending, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";

/// The header field of the signatures, one for each secret in force, with a space between them.
pub const SIGNATURE: &str = "webhook-signature";

/// How far the time of sending may be from the receiver's, in seconds.
pub const TOLERANCE_SECONDS: u64 = 300;

/// How many signatures are looked at.
const SIGNATURES_MAX: usize = 8;

/// The longest id that is taken.
const ID_CHARACTERS_MAX: usize = 128;

const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const SIGNATURE_PREFIX: &str = "v1,";

/// The text is no secret of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not `whsec_` and base64 of 24 to 64 bytes")]
pub struct NotASecret;

/// What sender and receiver share. It has no Debug, and is wiped when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Draws a new one, of 32 bytes.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Reads its text form; a line break at the end does not count.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn read(text: &str) -> Result<Self, NotASecret> {
        let bytes = text
            .trim_end_matches(['\r', '\n'])
            .strip_prefix(SECRET_PREFIX)
            .and_then(|text| encoding::base64_decode(text).ok())
            .map(Zeroizing::new)
            .filter(|bytes| SECRET_BYTES.contains(&bytes.len()))
            .ok_or(NotASecret)?;
        Ok(Self(bytes))
    }

    /// Its text form, for the file that the other side gets.
    pub fn written(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(encoding::base64(&self.0));
        let mut text = Zeroizing::new(String::with_capacity(SECRET_PREFIX.len() + encoded.len()));
        text.push_str(SECRET_PREFIX);
        text.push_str(&encoded);
        text
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

/// The signature's header field for a body: one signature for each secret.
pub fn sign(secrets: &[Secret], id: &str, sent: Timestamp, body: &[u8]) -> String {
    let signed = signed_bytes(id, &sent.0.to_string(), body);
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let tag = hmac::sign(&secret.key(), &signed);
            format!("{SIGNATURE_PREFIX}{}", encoding::base64(tag.as_ref()))
        })
        .collect();
    signatures.join(" ")
}

/// The three header fields as they came.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    /// [`ID`].
    pub id: Option<&'a str>,
    /// [`TIMESTAMP`].
    pub timestamp: Option<&'a str>,
    /// [`SIGNATURE`].
    pub signature: Option<&'a str>,
}

/// A body whose sender has one of our secrets, sent just now. [`Authentic::check`] is its only constructor.
pub struct Authentic<'a> {
    id: &'a str,
    body: &'a [u8],
}

impl<'a> Authentic<'a> {
    /// Checks a body as it was received, before anything of it is read. Signatures of other kinds, and of secrets that
    /// are not ours, are passed over: a sender has several while it changes its secret.
    ///
    /// # Errors
    /// `signature-invalid`, whatever is wrong: who has no secret learns nothing by trying.
    pub fn check(
        headers: Headers<'a>,
        body: &'a [u8],
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let refused = |detail: &str| Refusal::new(Problem::SignatureInvalid, detail.to_owned());
        let (Some(id), Some(sent), Some(signatures)) =
            (headers.id, headers.timestamp, headers.signature)
        else {
            return Err(refused("a webhook without its three header fields"));
        };
        // A full stop would let the id reach into what is signed after it.
        let is_id = (1..=ID_CHARACTERS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'.');
        if !is_id {
            return Err(refused("a webhook's id of another form"));
        }
        let signed = signed_bytes(id, sent, body);
        let tags: Vec<Vec<u8>> = signatures
            .split(' ')
            .take(SIGNATURES_MAX)
            .filter_map(|signature| signature.strip_prefix(SIGNATURE_PREFIX))
            .filter_map(|tag| encoding::base64_decode(tag).ok())
            .collect();
        let is_signed = secrets.iter().any(|secret| {
            let key = secret.key();
            // In constant time.
            tags.iter()
                .any(|tag| hmac::verify(&key, &signed, tag).is_ok())
        });
        if !is_signed {
            return Err(refused("no signature of a webhook by one of our secrets"));
        }
        let sent: u64 = sent
            .parse()
            .map_err(|_| refused("a webhook's timestamp is no number"))?;
        if sent.abs_diff(now.0) > TOLERANCE_SECONDS {
            return Err(refused(&format!(
                "a webhook's timestamp is {} s from this clock",
                sent.abs_diff(now.0)
            )));
        }
        Ok(Self { id, body })
    }

    /// What the event is called: the same when it is sent again.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// The body.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

fn signed_bytes(id: &str, sent: &str, body: &[u8]) -> Vec<u8> {
    let mut signed = Vec::with_capacity(id.len() + sent.len() + body.len() + 2);
    for part in [id.as_bytes(), b".", sent.as_bytes(), b".", body] {
        signed.extend_from_slice(part);
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    // The published test vector of the Standard Webhooks libraries.
    const VECTOR_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const VECTOR_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const VECTOR_TIME: Timestamp = Timestamp(1_614_265_330);
    const VECTOR_BODY: &[u8] = br#"{"test": 2432232314}"#;
    const VECTOR_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> Secret {
        Secret::read(text).unwrap()
    }

    fn checked(
        signature: &str,
        sent: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<String, Problem> {
        let headers = Headers {
            id: Some(VECTOR_ID),
            timestamp: Some(sent),
            signature: Some(signature),
        };
        Authentic::check(headers, body, &[secret(VECTOR_SECRET)], now)
            .map(|authentic| authentic.id().to_owned())
            .map_err(|refusal| refusal.problem)
    }

    #[test]
    fn the_published_vector_is_signed_and_accepted_alike() {
        let secrets = [secret(VECTOR_SECRET)];
        let signed = sign(&secrets, VECTOR_ID, VECTOR_TIME, VECTOR_BODY);
        assert_eq!(signed, VECTOR_SIGNATURE);
        let sent = VECTOR_TIME.0.to_string();
        let id = checked(VECTOR_SIGNATURE, &sent, VECTOR_BODY, VECTOR_TIME).unwrap();
        assert_eq!(id, VECTOR_ID);
    }

    #[test]
    fn one_good_signature_among_others_is_enough_and_none_is_not() {
        let sent = VECTOR_TIME.0.to_string();
        let check = |signature: &str| checked(signature, &sent, VECTOR_BODY, VECTOR_TIME);
        let other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
        assert!(check(&format!("{other} {VECTOR_SIGNATURE}")).is_ok());
        assert!(check(&format!("v1a,x {VECTOR_SIGNATURE} v2,y")).is_ok());
        let tag = VECTOR_SIGNATURE.trim_start_matches("v1,");
        let short = format!("v1,{}", &tag[..20]);
        for none in [other, "", " ", tag, "v1,", "v1", "v2,", &short] {
            assert_eq!(check(none), Err(Problem::SignatureInvalid), "{none}");
        }
        let many = [other; SIGNATURES_MAX].join(" ");
        assert!(check(&format!("{many} {VECTOR_SIGNATURE}")).is_err());
    }

    #[test]
    fn a_rotated_secret_signs_beside_the_new_one() {
        let (old, new) = (Secret::random().unwrap(), Secret::random().unwrap());
        let both = [secret(&old.written()), secret(&new.written())];
        let signature = sign(&both, "id", VECTOR_TIME, b"{}");
        let sent = VECTOR_TIME.0.to_string();
        for one in [&old, &new] {
            let headers = Headers {
                id: Some("id"),
                timestamp: Some(&sent),
                signature: Some(&signature),
            };
            let one = [secret(&one.written())];
            assert!(Authentic::check(headers, b"{}", &one, VECTOR_TIME).is_ok());
        }
    }

    #[test]
    fn another_body_id_or_time_and_what_is_old_or_from_the_future_are_one_refusal() {
        let sent = VECTOR_TIME.0.to_string();
        let refused = Err(Problem::SignatureInvalid);
        let check = |sent: &str, body: &[u8], now| checked(VECTOR_SIGNATURE, sent, body, now);
        assert_eq!(check(&sent, b"{}", VECTOR_TIME), refused);
        assert_eq!(check("1614265331", VECTOR_BODY, VECTOR_TIME), refused);
        let within = TOLERANCE_SECONDS;
        assert!(check(&sent, VECTOR_BODY, VECTOR_TIME.plus(within)).is_ok());
        assert!(check(&sent, VECTOR_BODY, VECTOR_TIME.minus(within)).is_ok());
        let late = VECTOR_TIME.plus(within + 1);
        assert_eq!(check(&sent, VECTOR_BODY, late), refused);
        let early = VECTOR_TIME.minus(within + 1);
        assert_eq!(check(&sent, VECTOR_BODY, early), refused);
        // What is signed can't be moved between id and time.
        let secrets = [secret(VECTOR_SECRET)];
        for id in ["", "a.b", "a b", "ä", &"a".repeat(129)] {
            let signature = sign(&secrets, id, VECTOR_TIME, b"{}");
            let headers = Headers {
                id: Some(id),
                timestamp: Some(&sent),
                signature: Some(&signature),
            };
            let checked = Authentic::check(headers, b"{}", &secrets, VECTOR_TIME);
            assert!(checked.is_err(), "{id}");
        }
        let none = Authentic::check(Headers::default(), b"{}", &secrets, VECTOR_TIME);
        assert!(none.is_err());
    }

    #[test]
    fn a_secret_is_of_the_published_form() {
        assert_eq!(&*secret(VECTOR_SECRET).written(), VECTOR_SECRET);
        assert!(Secret::read(&format!("{VECTOR_SECRET}\n")).is_ok());
        let short = format!("whsec_{}", encoding::base64(&[7; 23]));
        let long = format!("whsec_{}", encoding::base64(&[7; 65]));
        for other in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
            &short,
            &long,
        ] {
            assert!(Secret::read(other).is_err(), "{other}");
        }
    }
}
