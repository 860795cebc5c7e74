//! A store that is easy to believe: rows in lists, one command after the other, a failed one undone by going back
//! to a copy. The real ones are held to it.

mod outbox;
mod storage_keys;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use protocol::{
    lifecycle::{BatchLine, BatchTotals},
    money::Currency,
    receipt::Action,
};

use super::*;
use crate::{
    card_issuer::InstrumentOnFile,
    payment::{Booking, Payment},
    store::outbox::{EventRecord, NewEvent},
    store::storage_keys::WrappedKey,
    store::tables::{
        AccountBooks, AccountId, BatchId, Book, BookId, DueHold, EarlierRequest, Fault,
        FoundBooking, FoundInstrument, HOLDS_MAX, NewOperation, NewPayment, Tables, Transaction,
        Transfer, batch_totals,
    },
};

#[derive(Clone, Default)]
struct Rows {
    books: Vec<(Book, Currency, i64)>,
    accounts: Vec<(NewAccount, AccountBooks, Timestamp, u32)>,
    payments: Vec<(NewPaymentRow, Option<Payment>)>,
    operations: Vec<OperationRow>,
    cancellations: Vec<ReceiptRecord>,
    batches: Vec<(MerchantName, Currency, Option<BatchRecord>)>,
    transfers: Vec<Transfer>,
    events: Vec<EventRecord>,
    storage_keys: Vec<WrappedKey>,
}

#[derive(Clone)]
struct NewPaymentRow {
    decision: ReceiptRecord,
    account: Option<AccountId>,
    last_four: String,
}

#[derive(Clone)]
struct OperationRow {
    merchant: MerchantName,
    jti: Jti,
    earlier: EarlierRequest,
    net: u64,
    batch: Option<BatchId>,
}

/// The model: everything in memory.
#[derive(Default)]
pub(super) struct Model(Mutex<Rows>);

impl Model {
    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T: Transaction>(&self, transaction: T) -> Result<T::Outcome, StoreError> {
        let mut rows = self.rows();
        let before = rows.clone();
        transaction.run(&mut *rows).map_err(|fault| {
            *rows = before;
            StoreError::Unavailable(fault.to_string())
        })
    }

    fn look_up<T>(&self, ask: impl FnOnce(&mut Rows) -> Result<T, Fault>) -> Result<T, StoreError> {
        ask(&mut self.rows().clone()).map_err(|fault| StoreError::Unavailable(fault.to_string()))
    }

    /// What all books of a kind have together.
    pub(super) fn sum(&self, kind: &str) -> i64 {
        let rows = self.rows();
        let of_kind = rows
            .books
            .iter()
            .filter(|(book, _, _)| book.kind_and_owner().0 == kind);
        of_kind.map(|(_, _, balance)| balance).sum()
    }
}

impl Rows {
    fn record(&self, (row, payment): &(NewPaymentRow, Option<Payment>)) -> PaymentRecord {
        PaymentRecord {
            decision: row.decision.clone(),
            payment: *payment,
            last_four: Some(row.last_four.clone()),
        }
    }

    fn position(&self, xid: Xid) -> Option<usize> {
        let is_it = |row: &(NewPaymentRow, _)| row.0.decision.signed.xid == xid;
        self.payments.iter().position(is_it)
    }
}

impl Tables for Rows {
    fn request(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<EarlierRequest>, Fault> {
        let mut operations = self.operations.iter();
        let found = operations.find(|row| &row.merchant == merchant && row.jti == jti);
        Ok(found.map(|row| row.earlier.clone()))
    }

    fn payment(&mut self, xid: Xid) -> Result<Option<PaymentRecord>, Fault> {
        Ok(self
            .position(xid)
            .map(|position| self.record(&self.payments[position])))
    }

    fn is_decided(&mut self, xid: Xid) -> Result<bool, Fault> {
        Ok(self.position(xid).is_some())
    }

    fn cancellation(
        &mut self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, Fault> {
        let mut all = self.cancellations.iter();
        Ok(all
            .find(|receipt| &receipt.signed.client == client && receipt.signed.xid == xid)
            .cloned())
    }

    fn instrument(&mut self, index: &[u8; 32]) -> Result<Option<FoundInstrument>, Fault> {
        for (position, (account, books, start, count)) in self.accounts.iter().enumerate() {
            let mut instruments = account.instruments.iter();
            if let Some(instrument) = instruments.find(|instrument| &instrument.index == index) {
                let available = self.books[books.available.0 as usize].2;
                return Ok(Some(FoundInstrument {
                    account: AccountId(position as i64),
                    books: *books,
                    on_file: InstrumentOnFile {
                        client: account.client.clone(),
                        client_key: account.client_key,
                        expiry: instrument.expiry,
                        status: instrument.status,
                        account_status: account.status,
                        currency: account.currency,
                        available: available as u64,
                        amount_limit: account.amount_limit,
                        velocity: account.velocity,
                        window_count: *count,
                        window_start: *start,
                    },
                }));
            }
        }
        Ok(None)
    }

    fn operations(&mut self, xid: Xid) -> Result<u64, Fault> {
        let receipts = self
            .operations
            .iter()
            .filter_map(|row| row.earlier.receipt.as_ref());
        Ok(receipts
            .filter(|receipt| receipt.signed.xid == xid && receipt.action != Action::Authorization)
            .count() as u64)
    }

    fn booking(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<FoundBooking>, Fault> {
        let mut operations = self.operations.iter();
        let found = operations.find(|row| &row.merchant == merchant && row.jti == jti);
        Ok(found.and_then(|row| {
            let receipt = row.earlier.receipt.as_ref()?;
            Some(FoundBooking {
                xid: receipt.signed.xid,
                action: receipt.action,
                booking: Booking {
                    net: row.net,
                    is_in_open_batch: self.batches[row.batch?.0 as usize].2.is_none(),
                },
            })
        }))
    }

    fn books_of(&mut self, xid: Xid) -> Result<AccountBooks, Fault> {
        let found = self
            .position(xid)
            .and_then(|position| self.payments[position].0.account);
        let account = found.ok_or_else(|| Fault::strange("account"))?;
        Ok(self.accounts[account.0 as usize].1)
    }

    fn due_holds(&mut self, now: Timestamp) -> Result<Vec<DueHold>, Fault> {
        let mut due: Vec<_> = self
            .payments
            .iter()
            .filter_map(|(row, payment)| {
                let end = row.decision.capture_before?;
                let payment = payment.filter(|payment| payment.held() > 0 && end <= now)?;
                let hold = DueHold {
                    xid: row.decision.signed.xid,
                    merchant: row.decision.merchant.clone(),
                    currency: row.decision.amount.currency(),
                    payment,
                };
                Some((end, hold))
            })
            .collect();
        due.sort_by_key(|(end, _)| *end);
        due.truncate(HOLDS_MAX);
        Ok(due.into_iter().map(|(_, hold)| hold).collect())
    }

    fn closed_batch(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<BatchRecord>, Fault> {
        let mut closed = self
            .batches
            .iter()
            .filter_map(|(_, _, closed)| closed.as_ref());
        Ok(closed
            .find(|batch| &batch.merchant == merchant && batch.batch == jti)
            .cloned())
    }

    fn batch_totals(&mut self, batch: BatchId) -> Result<BatchTotals, Fault> {
        let mut lines: Vec<(Action, BatchLine)> = Vec::new();
        for row in self
            .operations
            .iter()
            .filter(|row| row.batch == Some(batch))
        {
            let Some(receipt) = &row.earlier.receipt else {
                continue;
            };
            let value = receipt.amount.value();
            match lines
                .iter_mut()
                .find(|(action, _)| *action == receipt.action)
            {
                Some((_, line)) => {
                    line.count += 1;
                    line.value += value;
                }
                None => lines.push((receipt.action, BatchLine { count: 1, value })),
            }
        }
        batch_totals(&lines)
    }

    fn has_account(&mut self, client: &ClientName, label: &str) -> Result<bool, Fault> {
        let mut accounts = self.accounts.iter();
        Ok(accounts.any(|(account, ..)| &account.client == client && account.label == label))
    }

    fn book(&mut self, book: &Book, currency: Currency) -> Result<BookId, Fault> {
        let is_it = |row: &(Book, Currency, i64)| &row.0 == book && row.1 == currency;
        let position = self.books.iter().position(is_it).unwrap_or_else(|| {
            self.books.push((book.clone(), currency, 0));
            self.books.len() - 1
        });
        Ok(BookId(position as i64))
    }

    fn balance(&mut self, book: BookId) -> Result<i64, Fault> {
        Ok(self.books[book.0 as usize].2)
    }

    fn transfer(&mut self, transfer: Transfer) -> Result<(), Fault> {
        let amount = transfer.amount as i64;
        for (book, change) in [(transfer.debit, -amount), (transfer.credit, amount)] {
            let (kind, _, balance) = &mut self.books[book.0 as usize];
            *balance += change;
            let may_owe = !matches!(kind, Book::Available(..) | Book::Held(..));
            if *balance < 0 && !may_owe {
                return Err(Fault::Constraint("what the payer has"));
            }
        }
        self.transfers.push(transfer);
        Ok(())
    }

    fn insert_payment(&mut self, payment: &NewPayment<'_>) -> Result<(), Fault> {
        let decision = payment.decision.clone();
        let stored = decision
            .capture_before
            .and_then(|end| Payment::stored(decision.totals, payment.held, end));
        let row = NewPaymentRow {
            decision,
            account: payment.account,
            last_four: payment.last_four.to_owned(),
        };
        self.payments.push((row, stored));
        Ok(())
    }

    fn update_payment(&mut self, xid: Xid, before: &Payment, after: &Payment) -> Result<(), Fault> {
        let position = self.position(xid).unwrap();
        assert_eq!(self.payments[position].1.as_ref(), Some(before));
        self.payments[position].1 = Some(*after);
        Ok(())
    }

    fn insert_operation(&mut self, operation: &NewOperation<'_>) -> Result<(), Fault> {
        let receipt = operation.receipt;
        self.operations.push(OperationRow {
            merchant: receipt.merchant.clone(),
            jti: operation.jti,
            earlier: EarlierRequest {
                reqh: receipt.reqh,
                receipt: Some(receipt.clone()),
            },
            net: operation.net,
            batch: operation.batch,
        });
        Ok(())
    }

    fn set_net(&mut self, merchant: &MerchantName, jti: Jti, net: u64) -> Result<(), Fault> {
        let mut operations = self.operations.iter_mut();
        let found = operations.find(|row| &row.merchant == merchant && row.jti == jti);
        found.unwrap().net = net;
        Ok(())
    }

    fn set_window(
        &mut self,
        account: AccountId,
        start: Timestamp,
        count: u32,
    ) -> Result<(), Fault> {
        let row = &mut self.accounts[account.0 as usize];
        (row.2, row.3) = (start, count);
        Ok(())
    }

    fn insert_cancellation(&mut self, cancel: &Cancel) -> Result<(), Fault> {
        self.cancellations.push(cancel.receipt());
        Ok(())
    }

    fn open_batch(
        &mut self,
        merchant: &MerchantName,
        currency: Currency,
        _: Timestamp,
    ) -> Result<BatchId, Fault> {
        let is_it = |row: &(MerchantName, Currency, Option<BatchRecord>)| {
            &row.0 == merchant && row.1 == currency && row.2.is_none()
        };
        let position = self.batches.iter().position(is_it).unwrap_or_else(|| {
            self.batches.push((merchant.clone(), currency, None));
            self.batches.len() - 1
        });
        Ok(BatchId(position as i64))
    }

    fn close_batch(
        &mut self,
        batch: BatchId,
        command: &CloseBatch,
        totals: &BatchTotals,
    ) -> Result<(), Fault> {
        self.batches[batch.0 as usize].2 = Some(command.record(*totals));
        self.operations.push(OperationRow {
            merchant: command.merchant.clone(),
            jti: command.jti,
            earlier: EarlierRequest {
                reqh: command.reqh,
                receipt: None,
            },
            net: 0,
            batch: None,
        });
        Ok(())
    }

    fn insert_account(&mut self, account: &NewAccount, books: AccountBooks) -> Result<(), Fault> {
        for instrument in &account.instruments {
            if self.instrument(&instrument.index)?.is_some() {
                return Err(Fault::Constraint("another account's instrument"));
            }
        }
        self.accounts
            .push((account.clone(), books, Timestamp(0), 0));
        Ok(())
    }

    fn insert_event(&mut self, event: &NewEvent) -> Result<(), Fault> {
        outbox::insert(&mut self.events, event);
        Ok(())
    }

    fn stamp(&mut self, _: i64) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl Store for Model {
    async fn authorize(&self, command: Authorize, _: Instant) -> Result<Authorized, StoreError> {
        self.run(command)
    }

    async fn operate(&self, command: Operate, _: Instant) -> Result<Operated, StoreError> {
        self.run(command)
    }

    async fn cancel(
        &self,
        command: Cancel,
        _: Instant,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.run(command)
    }

    async fn close_batch(
        &self,
        command: CloseBatch,
        _: Instant,
    ) -> Result<BatchClosed, StoreError> {
        self.run(command)
    }

    async fn end_holds(
        &self,
        command: EndHolds,
        _: Instant,
    ) -> Result<Vec<ExpiredHold>, StoreError> {
        self.run(command)
    }

    async fn add_account(&self, command: AddAccount, _: Instant) -> Result<bool, StoreError> {
        self.run(command)
    }

    async fn find_by_request(
        &self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        let found = self.look_up(|rows| rows.request(merchant, jti))?;
        Ok(found.and_then(|earlier| earlier.receipt))
    }

    async fn find_by_xid(&self, xid: Xid) -> Result<Option<PaymentRecord>, StoreError> {
        self.look_up(|rows| rows.payment(xid))
    }

    async fn is_decided(&self, xid: Xid) -> Result<bool, StoreError> {
        self.look_up(|rows| rows.is_decided(xid))
    }

    async fn receipts_after(&self, xid: Xid) -> Result<Vec<ReceiptRecord>, StoreError> {
        let rows = self.rows();
        let receipts = rows
            .operations
            .iter()
            .filter_map(|row| row.earlier.receipt.as_ref());
        Ok(receipts
            .filter(|receipt| receipt.signed.xid == xid && receipt.action != Action::Authorization)
            .cloned()
            .collect())
    }

    async fn find_cancellation(
        &self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, StoreError> {
        self.look_up(|rows| rows.cancellation(client, xid))
    }

    async fn find_batch(
        &self,
        merchant: &MerchantName,
        batch: Jti,
    ) -> Result<Option<BatchRecord>, StoreError> {
        self.look_up(|rows| rows.closed_batch(merchant, batch))
    }

    async fn payments(&self) -> Result<Vec<PaymentRecord>, StoreError> {
        let rows = self.rows();
        let all = rows.payments.iter().rev();
        Ok(all.map(|row| rows.record(row)).collect())
    }

    async fn accounts(
        &self,
        client: Option<&ClientName>,
    ) -> Result<Vec<AccountRecord>, StoreError> {
        let rows = self.rows();
        let balance = |book: BookId| rows.books[book.0 as usize].2 as u64;
        let mut accounts: Vec<_> = rows
            .accounts
            .iter()
            .filter(|(account, ..)| client.is_none_or(|client| client == &account.client))
            .map(|(account, books, ..)| AccountRecord {
                client: account.client.to_string(),
                label: account.label.clone(),
                currency: account.currency.code().to_owned(),
                available: balance(books.available),
                held: balance(books.held),
                status: account.status.as_str().to_owned(),
                instruments: Vec::new(),
            })
            .collect();
        accounts.sort_by(|a, b| (&a.client, &a.label).cmp(&(&b.client, &b.label)));
        Ok(accounts)
    }

    async fn reconcile(&self) -> Result<Vec<Reconciliation>, StoreError> {
        let rows = self.rows();
        let mut moved = vec![0; rows.books.len()];
        for transfer in &rows.transfers {
            moved[transfer.debit.0 as usize] -= transfer.amount as i64;
            moved[transfer.credit.0 as usize] += transfer.amount as i64;
        }
        let balances: Vec<i64> = rows.books.iter().map(|(_, _, balance)| *balance).collect();
        assert_eq!(balances, moved);
        Ok(Vec::new())
    }

    async fn canary(&self, _: Instant) -> Result<(), StoreError> {
        Ok(())
    }
}
