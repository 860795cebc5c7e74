//! The rows that a group of commands may read or change, as they are in the database, and what the commands
//! change of them.
//!
//! What was not read ahead can't be read: asking for it is a fault, never "there is none".

use std::collections::HashMap;

use protocol::{
    identifiers::{Jti, Xid},
    lifecycle::{BatchLine, BatchTotals},
    money::Currency,
    names::{ClientName, MerchantName},
    receipt::Action,
    time::Timestamp,
};

use crate::{
    payment::{Booking, Payment},
    store::{
        commands::{Cancel, CloseBatch, Evidence, NewAccount},
        outbox::NewEvent,
        records::{BatchRecord, PaymentRecord, ReceiptRecord},
        tables::{
            AccountBooks, AccountId, BatchId, Book, BookId, DueHold, EarlierRequest, Fault,
            FoundBooking, FoundInstrument, NewOperation, NewPayment, Tables, Transfer,
            batch_totals,
        },
    },
};

use super::changes::{
    AccountRow, BatchClosing, Changes, NewBatch, OperationRow, PaymentRow, PaymentUpdate,
};

/// A merchant's request.
type RequestKey = (MerchantName, Jti);

/// A payment as far as operations need it.
#[derive(Clone)]
pub(super) struct LoadedPayment {
    pub(super) record: PaymentRecord,
    /// None when it was declined without an account being touched.
    pub(super) account: Option<AccountId>,
    /// Operations after the decision.
    pub(super) operations: u64,
}

/// What was read ahead. A key that is there without a row says that there is none.
#[derive(Default)]
pub(super) struct WorkingSet {
    pub(super) requests: HashMap<RequestKey, Option<EarlierRequest>>,
    /// With the batch that each is in.
    pub(super) bookings: HashMap<RequestKey, (BatchId, FoundBooking)>,
    pub(super) closed_batches: HashMap<RequestKey, BatchRecord>,
    pub(super) payments: HashMap<Xid, Option<LoadedPayment>>,
    pub(super) cancellations: HashMap<(ClientName, Xid), Option<ReceiptRecord>>,
    pub(super) instruments: HashMap<[u8; 32], Option<FoundInstrument>>,
    pub(super) accounts: HashMap<(ClientName, String), bool>,
    pub(super) account_books: HashMap<AccountId, AccountBooks>,
    pub(super) books: HashMap<(Book, Currency), BookId>,
    pub(super) balances: HashMap<BookId, i64>,
    pub(super) open_batches: HashMap<(MerchantName, Currency), Option<BatchId>>,
    /// Of open batches that are to be closed.
    pub(super) lines: HashMap<BatchId, Vec<(Action, BatchLine)>>,
    /// Holds that are over, and the accounts of their payments: ended by a command that is alone in its group.
    pub(super) due: Vec<DueHold>,
    pub(super) due_accounts: HashMap<Xid, AccountId>,
    pub(super) ids: Ids,
    pub(super) changes: Changes,
}

/// Numbers for new rows: a block of them that nobody else has.
#[derive(Default)]
pub(super) struct Ids {
    next: i64,
    end: i64,
}

impl Ids {
    /// How many one block has: a group's rows are fewer.
    pub(super) const BLOCK: i64 = 4096;

    /// Those of a block.
    pub(super) fn of_block(block: i64) -> Self {
        // Past the last number there are none: rows are refused then, and nothing wraps.
        let start = |block: i64| block.saturating_mul(Self::BLOCK);
        Self {
            next: start(block),
            end: start(block.saturating_add(1)),
        }
    }

    fn next(&mut self) -> Result<i64, Fault> {
        if self.next >= self.end {
            return Err(Fault::strange("the number of new rows"));
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

/// What was asked for, if it was read ahead.
fn clone<T: Clone>(what: &'static str, found: Option<&T>) -> Result<T, Fault> {
    found.cloned().ok_or_else(|| Fault::NotRead(what))
}

impl WorkingSet {
    fn insert_evidence(&mut self, evidence: &Evidence) -> Result<i64, Fault> {
        let id = self.ids.next()?;
        self.changes.evidence.push((id, evidence.clone()));
        Ok(id)
    }

    fn loaded(&mut self, xid: Xid) -> Result<&mut LoadedPayment, Fault> {
        self.payments
            .get_mut(&xid)
            .ok_or_else(|| Fault::NotRead("a payment"))?
            .as_mut()
            .ok_or_else(|| Fault::strange("a payment that is not there"))
    }
}

impl Tables for WorkingSet {
    fn request(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<EarlierRequest>, Fault> {
        clone("a request", self.requests.get(&(merchant.clone(), jti)))
    }

    fn payment(&mut self, xid: Xid) -> Result<Option<PaymentRecord>, Fault> {
        let found = self
            .payments
            .get(&xid)
            .ok_or_else(|| Fault::NotRead("a payment"))?;
        Ok(found.as_ref().map(|loaded| loaded.record.clone()))
    }

    fn is_decided(&mut self, xid: Xid) -> Result<bool, Fault> {
        let found = self
            .payments
            .get(&xid)
            .ok_or_else(|| Fault::NotRead("a payment"))?;
        Ok(found.is_some())
    }

    fn cancellation(
        &mut self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, Fault> {
        clone(
            "a cancellation",
            self.cancellations.get(&(client.clone(), xid)),
        )
    }

    fn instrument(&mut self, index: &[u8; 32]) -> Result<Option<FoundInstrument>, Fault> {
        let Some(mut found) = clone("an instrument", self.instruments.get(index))? else {
            return Ok(None);
        };
        // As the commands before this one left them.
        let balance = self.balance(found.books.available)?;
        found.on_file.available =
            u64::try_from(balance).map_err(|_| Fault::strange("a balance"))?;
        if let Some((start, count)) = self.changes.windows.get(&found.account) {
            found.on_file.window_start = *start;
            found.on_file.window_count = *count;
        }
        Ok(Some(found))
    }

    fn operations(&mut self, xid: Xid) -> Result<u64, Fault> {
        Ok(self.loaded(xid)?.operations)
    }

    fn booking(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<FoundBooking>, Fault> {
        let asked = (merchant.clone(), jti);
        // Bookings are read with the requests that made them.
        if !self.requests.contains_key(&asked) {
            return Err(Fault::NotRead("a booking"));
        }
        Ok(self.bookings.get(&asked).map(|(_, booking)| *booking))
    }

    fn books_of(&mut self, xid: Xid) -> Result<AccountBooks, Fault> {
        let account = match self.due_accounts.get(&xid) {
            Some(account) => *account,
            None => self
                .loaded(xid)?
                .account
                .ok_or_else(|| Fault::strange("a payment's account"))?,
        };
        clone("an account's books", self.account_books.get(&account))
    }

    fn due_holds(&mut self, _: Timestamp) -> Result<Vec<DueHold>, Fault> {
        Ok(self.due.clone())
    }

    fn closed_batch(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<BatchRecord>, Fault> {
        let asked = (merchant.clone(), jti);
        if !self.requests.contains_key(&asked) {
            return Err(Fault::NotRead("a closed batch"));
        }
        Ok(self.closed_batches.get(&asked).cloned())
    }

    fn batch_totals(&mut self, batch: BatchId) -> Result<BatchTotals, Fault> {
        let lines = self
            .lines
            .get(&batch)
            .ok_or_else(|| Fault::NotRead("a batch"))?;
        batch_totals(lines)
    }

    fn has_account(&mut self, client: &ClientName, label: &str) -> Result<bool, Fault> {
        let asked = (client.clone(), label.to_owned());
        clone("an account", self.accounts.get(&asked))
    }

    fn book(&mut self, book: &Book, currency: Currency) -> Result<BookId, Fault> {
        clone("a book", self.books.get(&(book.clone(), currency)))
    }

    fn balance(&mut self, book: BookId) -> Result<i64, Fault> {
        clone("a balance", self.balances.get(&book))
    }

    fn transfer(&mut self, transfer: Transfer) -> Result<(), Fault> {
        let amount = i64::try_from(transfer.amount).map_err(|_| Fault::strange("an amount"))?;
        for (book, change) in [(transfer.debit, -amount), (transfer.credit, amount)] {
            let balance = self
                .balances
                .get_mut(&book)
                .ok_or_else(|| Fault::NotRead("a balance"))?;
            *balance = balance
                .checked_add(change)
                .ok_or_else(|| Fault::strange("a balance"))?;
            *self.changes.balances.entry(book).or_default() += change;
        }
        let is_payers = |book: BookId| {
            self.account_books
                .values()
                .any(|books| books.available == book || books.held == book)
        };
        if self.balances[&transfer.debit] < 0 && is_payers(transfer.debit) {
            return Err(Fault::Constraint("what the payer has"));
        }
        let id = self.ids.next()?;
        self.changes.transfers.push((id, transfer));
        Ok(())
    }

    fn insert_payment(&mut self, payment: &NewPayment<'_>) -> Result<(), Fault> {
        let decision = payment.decision;
        let xid = decision.signed.xid;
        let stored = decision
            .capture_before
            .map(|end| {
                Payment::stored(decision.totals, payment.held, end)
                    .ok_or_else(|| Fault::strange("held"))
            })
            .transpose()?;
        let loaded = LoadedPayment {
            record: PaymentRecord {
                decision: decision.clone(),
                payment: stored,
                last_four: Some(payment.last_four.to_owned()),
            },
            account: payment.account,
            operations: 0,
        };
        if !matches!(self.payments.insert(xid, Some(loaded)), Some(None)) {
            return Err(Fault::Constraint("a decision that is there"));
        }
        self.changes.payments.push(PaymentRow {
            decision: decision.clone(),
            jti: payment.jti,
            held: payment.held,
            account: payment.account,
            last_four: payment.last_four.to_owned(),
        });
        Ok(())
    }

    fn update_payment(&mut self, xid: Xid, before: &Payment, after: &Payment) -> Result<(), Fault> {
        if !self.due_accounts.contains_key(&xid) {
            let loaded = self.loaded(xid)?;
            if loaded.record.payment.as_ref() != Some(before) {
                return Err(Fault::Constraint("a payment that is not as it was"));
            }
            loaded.record.payment = Some(*after);
        }
        self.changes
            .payment_updates
            .entry(xid)
            .or_insert(PaymentUpdate {
                before: *before,
                after: *after,
            })
            .after = *after;
        Ok(())
    }

    fn insert_operation(&mut self, operation: &NewOperation<'_>) -> Result<(), Fault> {
        let receipt = operation.receipt;
        let asked = (receipt.merchant.clone(), operation.jti);
        let earlier = EarlierRequest {
            reqh: receipt.reqh,
            receipt: Some(receipt.clone()),
        };
        if !matches!(
            self.requests.insert(asked.clone(), Some(earlier)),
            Some(None)
        ) {
            return Err(Fault::Constraint("a request that is there"));
        }
        if receipt.action != Action::Authorization {
            self.loaded(receipt.signed.xid)?.operations += 1;
        }
        if let Some(batch) = operation.batch {
            let booking = FoundBooking {
                xid: receipt.signed.xid,
                action: receipt.action,
                booking: Booking {
                    net: operation.net,
                    is_in_open_batch: true,
                },
            };
            self.bookings.insert(asked, (batch, booking));
            if let Some(lines) = self.lines.get_mut(&batch) {
                add_to(lines, receipt.action, receipt.amount.value());
            }
        }
        let evidence = self.insert_evidence(operation.evidence)?;
        self.changes.operations.push(OperationRow {
            merchant: receipt.merchant.clone(),
            jti: operation.jti,
            receipt: Some(receipt.clone()),
            reqh: receipt.reqh,
            net: operation.net,
            batch: operation.batch,
            receipt_jti: receipt.receipt_jti,
            at: receipt.iat,
            evidence,
        });
        Ok(())
    }

    fn set_net(&mut self, merchant: &MerchantName, jti: Jti, net: u64) -> Result<(), Fault> {
        let asked = (merchant.clone(), jti);
        let (_, booking) = self
            .bookings
            .get_mut(&asked)
            .ok_or_else(|| Fault::NotRead("a booking"))?;
        booking.booking.net = net;
        self.changes.nets.insert(asked, net);
        Ok(())
    }

    fn set_window(
        &mut self,
        account: AccountId,
        start: Timestamp,
        count: u32,
    ) -> Result<(), Fault> {
        self.changes.windows.insert(account, (start, count));
        Ok(())
    }

    fn insert_cancellation(&mut self, cancel: &Cancel) -> Result<(), Fault> {
        let asked = (cancel.signed.client.clone(), cancel.signed.xid);
        let kept = self.cancellations.insert(asked, Some(cancel.receipt()));
        if !matches!(kept, Some(None)) {
            return Err(Fault::Constraint("a cancellation that is there"));
        }
        let evidence = self.insert_evidence(&cancel.evidence)?;
        self.changes
            .cancellations
            .push((cancel.receipt(), evidence));
        Ok(())
    }

    fn open_batch(
        &mut self,
        merchant: &MerchantName,
        currency: Currency,
        now: Timestamp,
    ) -> Result<BatchId, Fault> {
        let asked = (merchant.clone(), currency);
        if let Some(open) = clone("an open batch", self.open_batches.get(&asked))? {
            return Ok(open);
        }
        let batch = BatchId(self.ids.next()?);
        self.changes.new_batches.push(NewBatch {
            id: batch,
            merchant: merchant.clone(),
            currency,
            opened_at: now,
        });
        self.open_batches.insert(asked, Some(batch));
        // A new one has no bookings, whoever is going to add them up.
        self.lines.insert(batch, Vec::new());
        Ok(batch)
    }

    fn close_batch(
        &mut self,
        batch: BatchId,
        command: &CloseBatch,
        totals: &BatchTotals,
    ) -> Result<(), Fault> {
        let (merchant, jti) = (&command.merchant, command.jti);
        let earlier = EarlierRequest {
            reqh: command.reqh,
            receipt: None,
        };
        let asked = (merchant.clone(), jti);
        if !matches!(
            self.requests.insert(asked.clone(), Some(earlier)),
            Some(None)
        ) {
            return Err(Fault::Constraint("a request that is there"));
        }
        self.closed_batches.insert(asked, command.record(*totals));
        self.open_batches
            .insert((merchant.clone(), command.currency), None);
        for (_, booking) in self.bookings.values_mut().filter(|(of, _)| *of == batch) {
            booking.booking.is_in_open_batch = false;
        }
        let evidence = self.insert_evidence(&Evidence::of_request(&command.request))?;
        self.changes.closings.push(BatchClosing {
            batch,
            at: command.now,
            totals: serde_json::to_string(totals).map_err(|_| Fault::strange("totals"))?,
            jti,
        });
        self.changes.operations.push(OperationRow {
            merchant: merchant.clone(),
            jti,
            receipt: None,
            reqh: command.reqh,
            net: 0,
            batch: Some(batch),
            receipt_jti: command.receipt_jti,
            at: command.now,
            evidence,
        });
        Ok(())
    }

    fn insert_account(&mut self, account: &NewAccount, books: AccountBooks) -> Result<(), Fault> {
        let id = AccountId(self.ids.next()?);
        self.accounts
            .insert((account.client.clone(), account.label.clone()), true);
        self.account_books.insert(id, books);
        self.changes.accounts.push(AccountRow {
            id,
            account: account.clone(),
            books,
        });
        Ok(())
    }

    fn insert_event(&mut self, event: &NewEvent) -> Result<(), Fault> {
        self.changes.events.push(event.clone());
        Ok(())
    }

    fn stamp(&mut self, stamp: i64) -> Result<(), Fault> {
        self.changes.stamp = Some(stamp);
        Ok(())
    }
}

fn add_to(lines: &mut Vec<(Action, BatchLine)>, action: Action, value: u64) {
    match lines.iter_mut().find(|(of, _)| *of == action) {
        Some((_, line)) => {
            line.count += 1;
            line.value += value;
        }
        None => lines.push((action, BatchLine { count: 1, value })),
    }
}
