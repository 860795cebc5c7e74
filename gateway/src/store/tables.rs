//! What a transaction reads and changes: rows, in terms of what they mean.
//!
//! A [`Transaction`] is written once, over [`Tables`]; each store brings its own. Whatever one run does becomes
//! durable together or not at all.

use protocol::{
    identifiers::{Digest, Jti, Xid},
    lifecycle::{BatchLine, BatchTotals},
    money::Currency,
    names::{ClientName, MerchantName},
    receipt::Action,
    time::Timestamp,
};

use super::{
    commands::{Cancel, CloseBatch, Evidence, NewAccount},
    outbox::NewEvent,
    records::{BatchRecord, PaymentRecord, ReceiptRecord},
};
use crate::{
    card_issuer::InstrumentOnFile,
    payment::{Booking, Payment},
};

/// How many holds one transaction ends.
pub(super) const HOLDS_MAX: usize = 256;

/// A command: one atomic transaction.
pub(super) trait Transaction: Send + Sync + 'static {
    /// What comes of it.
    type Outcome: Send + 'static;

    /// Names the rows that it may read or change, for stores that read ahead.
    fn wanted(&self, wanted: &mut Wanted);

    /// Does it. It may be run again from the start when the store could not keep what it did.
    ///
    /// # Errors
    /// When the store can't be read or written, or holds what this program never writes.
    fn run(&self, tables: &mut impl Tables) -> Result<Self::Outcome, Fault>;
}

/// A row could not be read or written. Nothing of the transaction is done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} has a strange value")]
    Strange(String),
    #[error("{0} was not read ahead")]
    NotRead(&'static str),
    #[error("{0} does not allow it")]
    Constraint(&'static str),
}

impl Fault {
    /// A value that this program never writes.
    pub(super) fn strange(what: &str) -> Self {
        Self::Strange(what.to_owned())
    }
}

/// A book's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BookId(pub(super) i64);

/// An account's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AccountId(pub(super) i64);

/// A batch's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BatchId(pub(super) i64);

/// What a book of the ledger is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Book {
    /// Where the card issuer's money comes from.
    Issuer,
    /// What an account can spend.
    Available(ClientName, String),
    /// What is held of an account for authorizations.
    Held(ClientName, String),
    /// What a merchant is to be paid for its open batch.
    Merchant(MerchantName),
    /// What a merchant is to be paid for closed batches.
    Settled(MerchantName),
}

impl Book {
    /// The two words that name it in a database.
    pub(super) fn kind_and_owner(&self) -> (&'static str, String) {
        let account = |client: &ClientName, label: &str| format!("{client}/{label}");
        match self {
            Book::Issuer => ("issuer", "issuer".to_owned()),
            Book::Available(client, label) => ("available", account(client, label)),
            Book::Held(client, label) => ("held", account(client, label)),
            Book::Merchant(merchant) => ("merchant", merchant.to_string()),
            Book::Settled(merchant) => ("settled", merchant.to_string()),
        }
    }

    /// The book with these two words.
    pub(super) fn named(kind: &str, owner: &str) -> Result<Self, Fault> {
        let strange = || Fault::strange("a book's owner");
        let merchant = || owner.parse().map_err(|_| strange());
        let account = || {
            let (client, label) = owner.split_once('/').ok_or_else(strange)?;
            let client: ClientName = client.parse().map_err(|_| strange())?;
            Ok((client, label.to_owned()))
        };
        match kind {
            "issuer" => Ok(Book::Issuer),
            "available" => account().map(|(client, label)| Book::Available(client, label)),
            "held" => account().map(|(client, label)| Book::Held(client, label)),
            "merchant" => merchant().map(Book::Merchant),
            "settled" => merchant().map(Book::Settled),
            _ => Err(Fault::strange("a book's kind")),
        }
    }
}

/// A request that was answered before.
#[derive(Clone)]
pub(super) struct EarlierRequest {
    pub(super) reqh: Digest,
    /// None of a request that closed a batch.
    pub(super) receipt: Option<ReceiptRecord>,
}

/// The two books of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccountBooks {
    pub(super) available: BookId,
    pub(super) held: BookId,
}

/// An instrument with its account.
#[derive(Clone)]
pub(super) struct FoundInstrument {
    pub(super) account: AccountId,
    pub(super) books: AccountBooks,
    pub(super) on_file: InstrumentOnFile,
}

/// A capture or refund, or an authorization that captured, as far as it can be undone.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundBooking {
    pub(super) xid: Xid,
    pub(super) action: Action,
    pub(super) booking: Booking,
}

/// A hold whose time is over.
#[derive(Debug, Clone)]
pub(super) struct DueHold {
    pub(super) xid: Xid,
    pub(super) merchant: MerchantName,
    pub(super) currency: Currency,
    pub(super) payment: Payment,
}

/// A decision as it is inserted.
pub(super) struct NewPayment<'a> {
    pub(super) decision: &'a ReceiptRecord,
    pub(super) jti: Jti,
    pub(super) held: u64,
    pub(super) account: Option<AccountId>,
    pub(super) last_four: &'a str,
}

/// An operation as it is inserted: a receipt, with what it leaves to be undone and the batch it is in.
pub(super) struct NewOperation<'a> {
    pub(super) receipt: &'a ReceiptRecord,
    pub(super) jti: Jti,
    pub(super) net: u64,
    pub(super) batch: Option<BatchId>,
    pub(super) evidence: &'a Evidence,
}

/// Money that moves from one book to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    /// The payment that moves it; none for funds that an operator added, and for settled batches.
    pub(super) xid: Option<Xid>,
    pub(super) debit: BookId,
    pub(super) credit: BookId,
    /// Minor units, not zero.
    pub(super) amount: u64,
    pub(super) at: Timestamp,
}

/// What a transaction can read and change.
pub(super) trait Tables {
    /// The request of a merchant with this `jti`.
    fn request(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<EarlierRequest>, Fault>;

    /// The decision on a transaction, with what it has come to.
    fn payment(&mut self, xid: Xid) -> Result<Option<PaymentRecord>, Fault>;

    /// Whether a transaction was decided.
    fn is_decided(&mut self, xid: Xid) -> Result<bool, Fault>;

    /// The payer's cancellation of a transaction.
    fn cancellation(
        &mut self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, Fault>;

    /// An instrument by its HMAC.
    fn instrument(&mut self, index: &[u8; 32]) -> Result<Option<FoundInstrument>, Fault>;

    /// How many operations a payment has had.
    fn operations(&mut self, xid: Xid) -> Result<u64, Fault>;

    /// What a merchant's request booked.
    fn booking(&mut self, merchant: &MerchantName, jti: Jti)
    -> Result<Option<FoundBooking>, Fault>;

    /// The books of the account that an approved payment is of.
    fn books_of(&mut self, xid: Xid) -> Result<AccountBooks, Fault>;

    /// Holds whose time is over, the longest over first; a transaction's worth of them.
    fn due_holds(&mut self, now: Timestamp) -> Result<Vec<DueHold>, Fault>;

    /// A closed batch by the `jti` that closed it.
    fn closed_batch(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<BatchRecord>, Fault>;

    /// What the bookings of an open batch come to.
    fn batch_totals(&mut self, batch: BatchId) -> Result<BatchTotals, Fault>;

    /// Whether a client has an account with this label.
    fn has_account(&mut self, client: &ClientName, label: &str) -> Result<bool, Fault>;

    /// Finds a book, or opens it.
    fn book(&mut self, book: &Book, currency: Currency) -> Result<BookId, Fault>;

    /// What a book has, in minor units.
    fn balance(&mut self, book: BookId) -> Result<i64, Fault>;

    /// Moves money. A payer's book never goes below zero.
    fn transfer(&mut self, transfer: Transfer) -> Result<(), Fault>;

    /// Keeps a decision.
    fn insert_payment(&mut self, payment: &NewPayment<'_>) -> Result<(), Fault>;

    /// Changes a payment's sums, if they are still what the change was computed from.
    fn update_payment(&mut self, xid: Xid, before: &Payment, after: &Payment) -> Result<(), Fault>;

    /// Keeps an operation with its receipt and evidence.
    fn insert_operation(&mut self, operation: &NewOperation<'_>) -> Result<(), Fault>;

    /// Changes how much of a booking was not undone.
    fn set_net(&mut self, merchant: &MerchantName, jti: Jti, net: u64) -> Result<(), Fault>;

    /// Counts an approval in an account's window.
    fn set_window(&mut self, account: AccountId, start: Timestamp, count: u32)
    -> Result<(), Fault>;

    /// Keeps a cancellation.
    fn insert_cancellation(&mut self, cancel: &Cancel) -> Result<(), Fault>;

    /// The open batch of a merchant in a currency; opens one where there is none.
    fn open_batch(
        &mut self,
        merchant: &MerchantName,
        currency: Currency,
        now: Timestamp,
    ) -> Result<BatchId, Fault>;

    /// Closes a batch with what it came to.
    fn close_batch(
        &mut self,
        batch: BatchId,
        command: &CloseBatch,
        totals: &BatchTotals,
    ) -> Result<(), Fault>;

    /// Keeps an account with its instruments.
    fn insert_account(&mut self, account: &NewAccount, books: AccountBooks) -> Result<(), Fault>;

    /// Keeps what a merchant is to be told.
    fn insert_event(&mut self, event: &NewEvent) -> Result<(), Fault>;

    /// Keeps a stamp, to see whether the store can be written.
    fn stamp(&mut self, stamp: i64) -> Result<(), Fault>;
}

/// The rows that transactions may read or change, for a store that reads them ahead of running them.
#[derive(Default)]
pub(super) struct Wanted {
    /// What merchants asked, by `jti`: requests, bookings and closed batches.
    pub(super) requests: Vec<(MerchantName, Jti)>,
    /// Decided transactions, and the accounts they are of.
    pub(super) payments: Vec<Xid>,
    pub(super) cancellations: Vec<(ClientName, Xid)>,
    pub(super) instruments: Vec<[u8; 32]>,
    /// Books that are there afterwards.
    pub(super) books: Vec<(Book, Currency)>,
    /// Open batches.
    pub(super) open_batches: Vec<(MerchantName, Currency)>,
    /// Open batches that are added up.
    pub(super) closing: Vec<(MerchantName, Currency)>,
    pub(super) accounts: Vec<(ClientName, String)>,
    /// Holds that are over at this time.
    pub(super) due_at: Option<Timestamp>,
}

/// Adds the bookings of a batch up, by what they are.
pub(super) fn batch_totals(lines: &[(Action, BatchLine)]) -> Result<BatchTotals, Fault> {
    let line = |of: Action| {
        lines
            .iter()
            .find(|(action, _)| *action == of)
            .map(|(_, line)| *line)
            .unwrap_or_default()
    };
    let (with_authorization, later) = (line(Action::Authorization), line(Action::Capture));
    BatchTotals::of(
        BatchLine {
            count: with_authorization.count + later.count,
            value: with_authorization.value + later.value,
        },
        line(Action::CaptureReversal),
        line(Action::Refund),
        line(Action::RefundReversal),
    )
    .ok_or_else(|| Fault::strange("a batch's sum"))
}
