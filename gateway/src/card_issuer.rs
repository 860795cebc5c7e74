//! The embedded card issuer's decision: no clock, no I/O, only what the store read.

use protocol::{
    identifiers::Digest,
    money::{Amount, Currency},
    names::ClientName,
    payment_information::Expiry,
    receipt::Code,
    time::Timestamp,
};

/// What an account or instrument is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// As usual.
    Active,
    /// Not at all, and the payer may know.
    Blocked,
    /// Not at all, and the payer is not told why.
    DoNotHonor,
}

impl Status {
    /// The word in the store and in files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Blocked => "blocked",
            Status::DoNotHonor => "do-not-honor",
        }
    }

    /// Reads the word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Status::Active, Status::Blocked, Status::DoNotHonor]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// At most so many approvals in a window that begins with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Velocity {
    pub(crate) count: u32,
    pub(crate) seconds: u64,
}

/// An instrument with its account, as they are when it is decided.
#[derive(Clone)]
pub(crate) struct InstrumentOnFile {
    pub(crate) client: ClientName,
    pub(crate) client_key: Digest,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) status: Status,
    pub(crate) account_status: Status,
    pub(crate) currency: Currency,
    /// Minor units that are neither held nor spent.
    pub(crate) available: u64,
    /// The most that one purchase may cost, in minor units.
    pub(crate) amount_limit: Option<u64>,
    pub(crate) velocity: Option<Velocity>,
    /// Approvals in the window that is open, and when it began.
    pub(crate) window_count: u32,
    pub(crate) window_start: Timestamp,
}

/// What is asked.
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a ClientName,
    pub(crate) client_key: Digest,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) amount: Amount,
    pub(crate) now: Timestamp,
}

/// Decides. Whose instrument it is comes before any other property of it: an unknown one and another
/// person's can't be told apart.
pub(crate) fn decide(instrument: Option<&InstrumentOnFile>, asked: &Asked<'_>) -> Code {
    let Some(instrument) = instrument.filter(|instrument| {
        &instrument.client == asked.client
            && instrument.client_key == asked.client_key
            // A card with another month is another card.
            && instrument.expiry == asked.expiry
            && instrument.currency == asked.amount.currency()
    }) else {
        return Code::NotPermitted;
    };
    let statuses = [instrument.account_status, instrument.status];
    if statuses.contains(&Status::Blocked) {
        return Code::Restricted;
    }
    if statuses.contains(&Status::DoNotHonor) {
        return Code::DoNotHonor;
    }
    if instrument
        .expiry
        .is_some_and(|expiry| is_past(expiry, asked.now))
    {
        return Code::ExpiredInstrument;
    }
    let value = asked.amount.value();
    if instrument.amount_limit.is_some_and(|limit| value > limit) {
        return Code::AmountLimit;
    }
    if is_too_fast(instrument, asked.now) {
        return Code::VelocityLimit;
    }
    if value > instrument.available {
        return Code::InsufficientFunds;
    }
    Code::Approved
}

/// When the window that counts an approval now began.
pub(crate) fn window_start(instrument: &InstrumentOnFile, now: Timestamp) -> Timestamp {
    let seconds = instrument.velocity.map_or(0, |velocity| velocity.seconds);
    if now < instrument.window_start.plus(seconds) {
        instrument.window_start
    } else {
        now
    }
}

fn is_too_fast(instrument: &InstrumentOnFile, now: Timestamp) -> bool {
    instrument.velocity.is_some_and(|velocity| {
        window_start(instrument, now) == instrument.window_start
            && instrument.window_count >= velocity.count
    })
}

/// A card is good until the last moment of its month, in UTC.
fn is_past(expiry: Expiry, now: Timestamp) -> bool {
    let Some(now) = i64::try_from(now.0)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
    else {
        // A clock that far off can't say that anything is still good.
        return true;
    };
    (now.year(), u8::from(now.month())) > (i32::from(expiry.year()), expiry.month())
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2027-01-15T08:00:00Z
    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn amount(value: u64, currency: &str) -> Amount {
        Amount::new(value, currency.parse().unwrap()).unwrap()
    }

    fn on_file() -> InstrumentOnFile {
        InstrumentOnFile {
            client: ClientName::new("payer").unwrap(),
            client_key: Digest::of(b"key"),
            expiry: Some(Expiry::new("2027-01").unwrap()),
            status: Status::Active,
            account_status: Status::Active,
            currency: "EUR".parse().unwrap(),
            available: 1000,
            amount_limit: Some(900),
            velocity: Some(Velocity {
                count: 2,
                seconds: 60,
            }),
            window_count: 0,
            window_start: Timestamp(0),
        }
    }

    fn decided(change: impl FnOnce(&mut InstrumentOnFile), value: u64) -> Code {
        let mut instrument = on_file();
        change(&mut instrument);
        let payer = ClientName::new("payer").unwrap();
        let asked = Asked {
            client: &payer,
            client_key: Digest::of(b"key"),
            expiry: Some(Expiry::new("2027-01").unwrap()),
            amount: amount(value, "EUR"),
            now: NOW,
        };
        decide(Some(&instrument), &asked)
    }

    #[test]
    fn each_code_has_its_reason() {
        assert_eq!(decided(|_| {}, 900), Code::Approved);
        assert_eq!(decided(|_| {}, 901), Code::AmountLimit);
        assert_eq!(
            decided(|it| it.available = 899, 900),
            Code::InsufficientFunds
        );
        assert_eq!(
            decided(|it| it.status = Status::Blocked, 1),
            Code::Restricted
        );
        assert_eq!(
            decided(|it| it.account_status = Status::Blocked, 1),
            Code::Restricted
        );
        assert_eq!(
            decided(|it| it.account_status = Status::DoNotHonor, 1),
            Code::DoNotHonor
        );
    }

    #[test]
    fn whose_it_is_comes_before_anything_else() {
        let another = |it: &mut InstrumentOnFile| {
            it.client = ClientName::new("another").unwrap();
            it.status = Status::Blocked;
        };
        assert_eq!(decided(another, 1), Code::NotPermitted);
        let another_key = |it: &mut InstrumentOnFile| it.client_key = Digest::of(b"other");
        assert_eq!(decided(another_key, 1), Code::NotPermitted);
        let another_month = |it: &mut InstrumentOnFile| {
            it.expiry = Some(Expiry::new("2028-01").unwrap());
        };
        assert_eq!(decided(another_month, 1), Code::NotPermitted);
        let another_currency = |it: &mut InstrumentOnFile| it.currency = "USD".parse().unwrap();
        assert_eq!(decided(another_currency, 1), Code::NotPermitted);
    }

    #[test]
    fn a_card_is_good_until_the_end_of_its_month() {
        let expiry = Expiry::new("2027-01").unwrap();
        // 2027-01-31T23:59:59Z and a second later.
        assert!(!is_past(expiry, Timestamp(1_801_439_999)));
        assert!(is_past(expiry, Timestamp(1_801_440_000)));
    }

    #[test]
    fn a_window_counts_from_its_first_approval() {
        let full = |start: u64| {
            move |it: &mut InstrumentOnFile| {
                it.window_count = 2;
                it.window_start = Timestamp(start);
            }
        };
        assert_eq!(decided(full(NOW.0 - 59), 1), Code::VelocityLimit);
        assert_eq!(decided(full(NOW.0 - 60), 1), Code::Approved);
    }
}
