//! Properties that hold for any input: of what we make, of what we read, and of what is changed on
//! the way.

use std::sync::LazyLock;

use proptest::prelude::*;
use protocol::{
    authorization::{AuthorizationBody, AuthorizationRequest, ReceivedAuthorization},
    dual_signature::DualSignature,
    identifiers::{Digest, Xid},
    inquiry::Inquiry,
    json,
    jws::Received,
    money::{AMOUNT_VALUE_MAX, Amount},
    order_information::OrderInformation,
    payment_information::{Account, Expiry, Instrument, Pan, PaymentInformation},
    problem::{Problem, Refusal},
    purchase::{PurchaseAnswer, PurchaseRequest, ReceivedPurchase},
    receipt::Receipt,
    sd_jwt::{DisclosedClaim, Disclosure},
    sealed_payment::{OpenedPayment, SealedPayment, seal},
    session::{Session, SessionRequest},
};
use serde_json::Value;

use crate::{
    exchange::{Exchange, card, shared_secret},
    parties::{MERCHANT, Parties},
};

static PARTIES: LazyLock<Parties> = LazyLock::new(Parties::new);
static EXCHANGE: LazyLock<Exchange> =
    LazyLock::new(|| Exchange::run(&PARTIES, &PARTIES.trust(), card()));

fn instrument() -> impl Strategy<Value = Unprinted> {
    let card = ("[0-9]{12,19}", 0u16..=9999, 1u8..=12).prop_map(|(pan, year, month)| {
        Unprinted(Instrument::Card {
            pan: Pan::new(&pan).unwrap(),
            expiry: Expiry::new(&format!("{year:04}-{month:02}")).unwrap(),
        })
    });
    let account = "[A-Z0-9]{1,34}".prop_map(|account| {
        Unprinted(Instrument::Account {
            account: Account::new(&account).unwrap(),
        })
    });
    prop_oneof![card, account]
}

fn disclosure(instrument: Instrument) -> Disclosure<PaymentInformation> {
    Disclosure::new(PaymentInformation {
        xid: Xid::from_bytes([3; 16]),
        merchant: MERCHANT.parse().unwrap(),
        instrument,
    })
    .unwrap()
}

fn open(jwe: &str) -> Result<OpenedPayment, Refusal> {
    let dsh = EXCHANGE.signed.dsh;
    let gateway = &PARTIES.gateway_encryption;
    let sealed = SealedPayment::read(jwe)?;
    sealed.check_fits(dsh, gateway.x5t())?;
    let secret = shared_secret(&gateway.key, sealed.ephemeral());
    sealed.open(&secret)
}

/// Text that is nearly a compact token or nearly JSON, so that readers get past their first look.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let cut = |text: String| {
        let bytes = text.len();
        (Just(text.into_bytes()), 0..bytes, any::<u8>()).prop_map(|(mut text, at, byte)| {
            text[at] = byte;
            text
        })
    };
    let exchange = &EXCHANGE;
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..512),
        "[A-Za-z0-9_-]{0,64}(\\.[A-Za-z0-9_-]{0,64}){0,5}~?".prop_map(String::into_bytes),
        "\\PC{0,200}".prop_map(String::into_bytes),
        cut(exchange.session.clone()),
        cut(exchange.receipt.clone()),
        cut(exchange.signed.request.dual_signature.clone()),
        cut(exchange.signed.request.payment_information.clone()),
        cut(serde_json::to_string(&exchange.authorization).unwrap()),
        cut(serde_json::to_string(&exchange.signed.request).unwrap()),
    ]
}

/// Any JSON of ours: whole numbers, no null.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..=json::INTEGER_MAX).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\u{e9}\"\\\\]{0,4}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn reads_without_panic<T: DisclosedClaim>(text: &str) {
    let _ = Disclosure::<T>::read(text);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_disclosures_of_one_instrument_never_share_a_digest(instrument in instrument()) {
        let one = disclosure(instrument.0.clone());
        let other = disclosure(instrument.0);
        prop_assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn what_is_sealed_of_any_instrument_opens_again(instrument in instrument()) {
        let gateway = &PARTIES.gateway_encryption;
        let disclosure = disclosure(instrument.0.clone());
        let jwe = seal(
            &disclosure, EXCHANGE.signed.dsh, gateway.key.public(), gateway.x5t(),
        ).unwrap();
        let opened = open(&jwe).unwrap();
        prop_assert!(opened.information().instrument == instrument.0);
        prop_assert_eq!(opened.digest(), disclosure.digest());
        prop_assert_eq!(opened.disclosure_text(), disclosure.text());
    }

    #[test]
    fn a_sealed_payment_with_one_bit_changed_never_opens(
        at in any::<prop::sample::Index>(), bit in 0u32..7
    ) {
        let mut jwe = EXCHANGE.signed.request.payment_information.clone().into_bytes();
        let at = at.index(jwe.len());
        jwe[at] ^= 1 << bit;
        // The high bit is left alone: without it the text stays ASCII.
        let problem = open(std::str::from_utf8(&jwe).unwrap()).err().unwrap().problem;
        prop_assert!(
            matches!(problem, Problem::PaymentInformationInvalid | Problem::GatewayMismatch),
            "{} at {}", problem, at
        );
    }

    #[test]
    fn any_amount_survives_being_written_signed_and_read(value in 1..=AMOUNT_VALUE_MAX) {
        let amount = Amount::new(value, "KWD".parse().unwrap()).unwrap();
        let claims = DualSignature { amount, ..EXCHANGE.signed.dual_signature.clone() };
        let compact = PARTIES.client.software_key().sign(&claims).unwrap();
        let received = Received::<DualSignature>::read(&compact).unwrap();
        prop_assert_eq!(received.unverified().amount, amount);
        let written: Amount = json::read(&serde_json::to_vec(&amount).unwrap()).unwrap();
        prop_assert_eq!(written, amount);
    }

    #[test]
    fn a_number_outside_the_bounds_is_no_amount(
        value in prop_oneof![Just(0), AMOUNT_VALUE_MAX + 1..]
    ) {
        let text = format!(r#"{{"value":{value},"currency":"KWD"}}"#);
        prop_assert!(json::read::<Amount>(text.as_bytes()).is_err());
    }

    #[test]
    fn the_strict_reader_reads_what_serde_json_reads(value in any_json()) {
        for text in [serde_json::to_vec(&value), serde_json::to_vec_pretty(&value)] {
            let text = text.unwrap();
            prop_assert_eq!(json::read::<Value>(&text).ok(), Some(value.clone()));
        }
    }

    #[test]
    fn what_the_strict_reader_accepts_serde_json_reads_alike(
        value in any_json(), at in any::<prop::sample::Index>(), byte in r#"[\[\]{}:,"a\\u01-9.eE+n -]"#
    ) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text.splice(at..at + 1, byte.bytes());
        if let Ok(read) = json::read::<Value>(&text) {
            prop_assert_eq!(read, serde_json::from_slice::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn no_reader_panics_on_any_bytes(bytes in nearly_a_message()) {
        let _ = SessionRequest::read(&bytes);
        let _ = ReceivedPurchase::read(&bytes);
        let _ = ReceivedAuthorization::read(&bytes);
        let _ = json::read::<Value>(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = Received::<Session>::read(&text);
        let _ = Received::<DualSignature>::read(&text);
        let _ = Received::<AuthorizationRequest>::read(&text);
        let _ = Received::<Receipt>::read(&text);
        let _ = Received::<PurchaseAnswer>::read(&text);
        let _ = Received::<Inquiry>::read(&text);
        let _ = SealedPayment::read(&text);
        reads_without_panic::<OrderInformation>(&text);
        reads_without_panic::<PaymentInformation>(&text);
        // The same bytes as a part of a well-formed body.
        let body = PurchaseRequest {
            dual_signature: text.to_string(),
            payment_information: text.to_string(),
        };
        let _ = ReceivedPurchase::read(&serde_json::to_vec(&body).unwrap());
        let body = AuthorizationBody {
            authorization_request: text.to_string(),
            dual_signature: text.to_string(),
            payment_information: text.to_string(),
        };
        let _ = ReceivedAuthorization::read(&serde_json::to_vec(&body).unwrap());
    }

    #[test]
    fn a_signed_message_with_one_character_changed_is_never_accepted(
        at in any::<prop::sample::Index>(), replacement in "[A-Za-z0-9_.~-]"
    ) {
        let good = &EXCHANGE.receipt;
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &replacement);
        prop_assume!(&changed != good);
        let trust = PARTIES.trust();
        let accepted = Received::<Receipt>::read(&changed)
            .and_then(|received| received.verify(&trust, crate::parties::NOW));
        prop_assert!(accepted.is_err());
        prop_assert_ne!(Digest::of(changed.as_bytes()), Digest::of(good.as_bytes()));
    }
}

/// An instrument has no Debug, and must not get one for a test's sake.
struct Unprinted(Instrument);

impl std::fmt::Debug for Unprinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an instrument")
    }
}
