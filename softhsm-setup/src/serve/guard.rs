//! Who may try a secret, and how often; what the asker gave as HTTP Basic (RFC 7617).

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::header::HeaderValue;
use mtls::{
    rate_limit::{RateLimit, Reservation},
    server::Source,
};
use protocol::names::PartyName;
use zeroize::Zeroizing;

/// Wrong secrets from one address. Those that are looked at just now count, and many parties may be behind one.
const WRONG_PER_ADDRESS: u32 = 60;

/// Wrong secrets for one user, whoever that is.
const WRONG_PER_USER: u32 = 20;

const WRONG_PERIOD: Duration = Duration::from_secs(60);

/// Renewals of one party. Each adds a line to the journal.
const RENEWALS: u32 = 20;

const RENEWAL_PERIOD: Duration = Duration::from_secs(3600);

/// The longest name and secret that are looked at.
const USER_BYTES_MAX: usize = 128;
const SECRET_BYTES_MAX: usize = 128;

/// Counts what went wrong.
pub(super) struct Guard {
    addresses: RateLimit<Source>,
    users: RateLimit<String>,
    renewals: RateLimit<PartyName>,
}

/// A try, which counts if the secret was wrong.
pub(super) struct Try<'a> {
    address: Reservation<'a, Source>,
    user: Reservation<'a, String>,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self {
            addresses: RateLimit::new(WRONG_PER_ADDRESS, WRONG_PERIOD),
            users: RateLimit::new(WRONG_PER_USER, WRONG_PERIOD),
            renewals: RateLimit::new(RENEWALS, RENEWAL_PERIOD),
        }
    }

    /// Lets somebody try a secret, unless there were too many wrong ones.
    pub(super) fn may_try(&self, address: Source, user: &str) -> Option<Try<'_>> {
        let now = Instant::now();
        Some(Try {
            address: self.addresses.reserve(&address, now)?,
            user: self.users.reserve(&user.to_owned(), now)?,
        })
    }

    /// Lets a party renew, unless it did too often.
    pub(super) fn may_renew(&self, party: &PartyName) -> bool {
        self.renewals.take(party, Instant::now())
    }
}

impl Try<'_> {
    /// The secret was wrong.
    pub(super) fn was_wrong(self) {
        self.address.spend();
        self.user.spend();
    }
}

/// Name and secret of who asks.
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) secret: Zeroizing<String>,
}

impl Credentials {
    /// Reads an `Authorization` field.
    pub(super) fn read(field: &HeaderValue) -> Option<Self> {
        let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
        let text = std::str::from_utf8(&decoded).ok()?;
        // A name is to have no colon, which a URN has; a secret of ours has none.
        let (user, secret) = if text.starts_with("urn:") {
            text.rsplit_once(':')?
        } else {
            text.split_once(':')?
        };
        if user.len() > USER_BYTES_MAX || secret.len() > SECRET_BYTES_MAX {
            return None;
        }
        Some(Self {
            user: user.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_name_and_a_secret_that_may_have_colons() {
        let read = |text: &str| {
            let field = HeaderValue::from_str(text).unwrap();
            Credentials::read(&field).map(|found| (found.user, found.secret.to_string()))
        };
        let both = |user: &str, secret: &str| Some((user.to_owned(), secret.to_owned()));
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(read(&basic("shop:a:b")), both("shop", "a:b"));
        assert_eq!(
            read(&basic("shop:a").replace("Basic", "basic")),
            both("shop", "a")
        );
        assert_eq!(read(&basic(":")), both("", ""));
        let urn = "urn:twinseal:client:a";
        assert_eq!(read(&basic(&format!("{urn}:b"))), both(urn, "b"));
        for text in [
            "",
            "Basic",
            "Basic ?",
            "Bearer c2hvcDph",
            &basic("shop"),
            &basic(&format!("shop:{}", "a".repeat(SECRET_BYTES_MAX + 1))),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
