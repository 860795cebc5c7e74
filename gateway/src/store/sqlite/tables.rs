//! Rows of the database that transactions read and change.

use protocol::{
    identifiers::{Jti, Xid},
    lifecycle::BatchTotals,
    money::Currency,
    names::{ClientName, MerchantName},
    time::Timestamp,
};
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    outbox,
    rows::{self, all, one},
};
use crate::{
    payment::Payment,
    store::{
        columns::{self, BOOKING, HOLD, INSTRUMENT, signed, unsigned},
        commands::{Cancel, CloseBatch, Evidence, NewAccount},
        outbox::NewEvent,
        records::{BatchRecord, PaymentRecord, ReceiptRecord},
        tables::{
            AccountBooks, AccountId, BatchId, Book, BookId, DueHold, EarlierRequest, Fault,
            FoundBooking, FoundInstrument, HOLDS_MAX, NewOperation, NewPayment, Tables, Transfer,
            batch_totals,
        },
    },
};

/// The rows of one database, within a transaction of it.
pub(super) struct Rows<'a>(pub(super) &'a Connection);

impl Tables for Rows<'_> {
    fn request(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<EarlierRequest>, Fault> {
        rows::request(self.0, merchant, jti)
    }

    fn payment(&mut self, xid: Xid) -> Result<Option<PaymentRecord>, Fault> {
        rows::by_xid(self.0, xid)
    }

    fn is_decided(&mut self, xid: Xid) -> Result<bool, Fault> {
        rows::is_decided(self.0, xid)
    }

    fn cancellation(
        &mut self,
        client: &ClientName,
        xid: Xid,
    ) -> Result<Option<ReceiptRecord>, Fault> {
        rows::cancellation(self.0, client, xid)
    }

    fn instrument(&mut self, index: &[u8; 32]) -> Result<Option<FoundInstrument>, Fault> {
        let query = format!("{INSTRUMENT} WHERE look_up = ?1");
        one(self.0, &query, [index], |row| columns::instrument(row))
    }

    fn operations(&mut self, xid: Xid) -> Result<u64, Fault> {
        let query = "SELECT count(*) AS operations FROM operation
                     WHERE xid = ?1 AND action NOT IN ('authorization', 'batch')";
        let counted = one(self.0, query, [xid.as_bytes()], |row| {
            unsigned(row, "operations")
        })?;
        Ok(counted.unwrap_or_default())
    }

    fn booking(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<FoundBooking>, Fault> {
        one(
            self.0,
            &format!(
                "{BOOKING} WHERE operation.merchant = ?1 AND operation.jti = ?2
                     AND action <> 'batch'"
            ),
            (merchant.as_str(), jti.as_bytes()),
            |row| columns::booking(row),
        )
    }

    fn books_of(&mut self, xid: Xid) -> Result<AccountBooks, Fault> {
        one(
            self.0,
            "SELECT account.available AS available, account.held AS held FROM payment
             JOIN account ON account.id = payment.account
             WHERE xid = ?1",
            [xid.as_bytes()],
            |row| columns::account_books(row),
        )?
        .ok_or_else(|| Fault::strange("a payment's account"))
    }

    fn due_holds(&mut self, now: Timestamp) -> Result<Vec<DueHold>, Fault> {
        all(
            self.0,
            &format!(
                "{HOLD} WHERE held > 0 AND capture_before <= ?1
                 ORDER BY capture_before LIMIT {HOLDS_MAX}"
            ),
            [signed(now.0)?],
            |row| columns::hold(row),
        )
    }

    fn closed_batch(
        &mut self,
        merchant: &MerchantName,
        jti: Jti,
    ) -> Result<Option<BatchRecord>, Fault> {
        rows::closed_batch(self.0, merchant, jti)
    }

    fn batch_totals(&mut self, batch: BatchId) -> Result<BatchTotals, Fault> {
        let lines = all(
            self.0,
            "SELECT action, count(*) AS bookings, sum(amount) AS value FROM operation
             WHERE batch = ?1 GROUP BY action",
            [batch.0],
            |row| columns::line(row),
        )?;
        batch_totals(&lines)
    }

    fn has_account(&mut self, client: &ClientName, label: &str) -> Result<bool, Fault> {
        Ok(self
            .0
            .prepare_cached("SELECT 1 FROM account WHERE client = ?1 AND label = ?2")?
            .exists((client.as_str(), label))?)
    }

    fn book(&mut self, book: &Book, currency: Currency) -> Result<BookId, Fault> {
        let (kind, owner) = book.kind_and_owner();
        Ok(self
            .0
            .prepare_cached(
                "INSERT INTO book (kind, owner, currency, balance) VALUES (?1, ?2, ?3, 0)
                 ON CONFLICT DO UPDATE SET balance = balance RETURNING id",
            )?
            .query_row((kind, owner, currency.code()), |row| row.get(0))
            .map(BookId)?)
    }

    fn balance(&mut self, book: BookId) -> Result<i64, Fault> {
        Ok(self
            .0
            .prepare_cached("SELECT balance FROM book WHERE id = ?1")?
            .query_row([book.0], |row| row.get(0))?)
    }

    fn transfer(&mut self, transfer: Transfer) -> Result<(), Fault> {
        let amount = signed(transfer.amount)?;
        for (book, change) in [(transfer.debit, -amount), (transfer.credit, amount)] {
            let changed = self
                .0
                .prepare_cached("UPDATE book SET balance = balance + ?2 WHERE id = ?1")?
                .execute((book.0, change))?;
            only(changed)?;
        }
        self.0
            .prepare_cached(
                "INSERT INTO transfer (xid, debit, credit, amount, at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((
                transfer.xid.as_ref().map(Xid::as_bytes),
                transfer.debit.0,
                transfer.credit.0,
                amount,
                signed(transfer.at.0)?,
            ))?;
        Ok(())
    }

    fn insert_payment(&mut self, payment: &NewPayment<'_>) -> Result<(), Fault> {
        let decision = payment.decision;
        let payer = &decision.signed;
        self.0
            .prepare_cached(
                "INSERT INTO payment (xid, merchant, jti, sid, client, client_x5t, nc, nm, dsh,
                     code, currency, amount, authorized, captured, reversed, refunded, held,
                     authorization_id, capture_before, account, last_four)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, 0, ?15,
                     ?16, ?17, ?18, ?19)",
            )?
            .execute(rusqlite::params![
                payer.xid.as_bytes(),
                decision.merchant.as_str(),
                payment.jti.as_bytes(),
                payer.sid.as_bytes(),
                payer.client.as_str(),
                payer.client_x5t.as_bytes(),
                payer.nc.as_bytes(),
                payer.nm.as_bytes(),
                payer.dsh.as_bytes(),
                decision.code.digits(),
                decision.amount.currency().code(),
                signed(decision.amount.value())?,
                signed(decision.totals.authorized)?,
                signed(decision.totals.captured)?,
                signed(payment.held)?,
                decision.authorization.as_ref().map(|id| id.as_bytes()),
                decision
                    .capture_before
                    .map(|time| signed(time.0))
                    .transpose()?,
                payment.account.map(|account| account.0),
                payment.last_four,
            ])?;
        Ok(())
    }

    fn update_payment(&mut self, xid: Xid, before: &Payment, after: &Payment) -> Result<(), Fault> {
        let (was, is) = (before.totals(), after.totals());
        let changed = self
            .0
            .prepare_cached(
                "UPDATE payment SET captured = ?2, reversed = ?3, refunded = ?4, held = ?5
                 WHERE xid = ?1 AND captured = ?6 AND reversed = ?7 AND refunded = ?8
                     AND held = ?9",
            )?
            .execute(rusqlite::params![
                xid.as_bytes(),
                signed(is.captured)?,
                signed(is.reversed)?,
                signed(is.refunded)?,
                signed(after.held())?,
                signed(was.captured)?,
                signed(was.reversed)?,
                signed(was.refunded)?,
                signed(before.held())?,
            ])?;
        only(changed)
    }

    fn insert_operation(&mut self, operation: &NewOperation<'_>) -> Result<(), Fault> {
        let receipt = operation.receipt;
        let evidence = self.insert_evidence(operation.evidence)?;
        self.0
            .prepare_cached(
                "INSERT INTO operation (merchant, jti, action, xid, reqh, target, amount,
                     authorized, captured, reversed, refunded, net, batch, receipt_jti, at,
                     evidence)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .execute(rusqlite::params![
                receipt.merchant.as_str(),
                operation.jti.as_bytes(),
                receipt.action.as_str(),
                receipt.signed.xid.as_bytes(),
                receipt.reqh.as_bytes(),
                receipt.target.as_ref().map(|target| target.as_bytes()),
                signed(receipt.amount.value())?,
                signed(receipt.totals.authorized)?,
                signed(receipt.totals.captured)?,
                signed(receipt.totals.reversed)?,
                signed(receipt.totals.refunded)?,
                signed(operation.net)?,
                operation.batch.map(|batch| batch.0),
                receipt.receipt_jti.as_bytes(),
                signed(receipt.iat.0)?,
                evidence,
            ])?;
        Ok(())
    }

    fn set_net(&mut self, merchant: &MerchantName, jti: Jti, net: u64) -> Result<(), Fault> {
        let changed = self
            .0
            .prepare_cached("UPDATE operation SET net = ?3 WHERE merchant = ?1 AND jti = ?2")?
            .execute((merchant.as_str(), jti.as_bytes(), signed(net)?))?;
        only(changed)
    }

    fn set_window(
        &mut self,
        account: AccountId,
        start: Timestamp,
        count: u32,
    ) -> Result<(), Fault> {
        let changed = self
            .0
            .prepare_cached(
                "UPDATE account SET window_start = ?2, window_count = ?3 WHERE id = ?1",
            )?
            .execute((account.0, signed(start.0)?, count))?;
        only(changed)
    }

    fn insert_cancellation(&mut self, cancel: &Cancel) -> Result<(), Fault> {
        let payer = &cancel.signed;
        let evidence = self.insert_evidence(&cancel.evidence)?;
        self.0
            .prepare_cached(
                "INSERT INTO cancellation (client, xid, merchant, client_x5t, sid, nc, nm, dsh,
                     reqh, currency, amount, receipt_jti, at, evidence)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(rusqlite::params![
                payer.client.as_str(),
                payer.xid.as_bytes(),
                cancel.merchant.as_str(),
                payer.client_x5t.as_bytes(),
                payer.sid.as_bytes(),
                payer.nc.as_bytes(),
                payer.nm.as_bytes(),
                payer.dsh.as_bytes(),
                cancel.reqh.as_bytes(),
                cancel.amount.currency().code(),
                signed(cancel.amount.value())?,
                cancel.receipt_jti.as_bytes(),
                signed(cancel.now.0)?,
                evidence,
            ])?;
        Ok(())
    }

    fn open_batch(
        &mut self,
        merchant: &MerchantName,
        currency: Currency,
        now: Timestamp,
    ) -> Result<BatchId, Fault> {
        let open: Option<i64> = self
            .0
            .prepare_cached(
                "SELECT id FROM batch WHERE merchant = ?1 AND currency = ?2 AND closed_at IS NULL",
            )?
            .query_row((merchant.as_str(), currency.code()), |row| row.get(0))
            .optional()?;
        if let Some(open) = open {
            return Ok(BatchId(open));
        }
        self.0
            .prepare_cached(
                "INSERT INTO batch (merchant, currency, opened_at) VALUES (?1, ?2, ?3)",
            )?
            .execute((merchant.as_str(), currency.code(), signed(now.0)?))?;
        Ok(BatchId(self.0.last_insert_rowid()))
    }

    fn close_batch(
        &mut self,
        batch: BatchId,
        command: &CloseBatch,
        totals: &BatchTotals,
    ) -> Result<(), Fault> {
        let json = serde_json::to_string(totals).map_err(|_| Fault::strange("totals"))?;
        let changed = self.0.execute(
            "UPDATE batch SET closed_at = ?2, totals = ?3, jti = ?4
             WHERE id = ?1 AND closed_at IS NULL",
            (
                batch.0,
                signed(command.now.0)?,
                json,
                command.jti.as_bytes(),
            ),
        )?;
        only(changed)?;
        let evidence = self.insert_evidence(&Evidence::of_request(&command.request))?;
        self.0.execute(
            "INSERT INTO operation (merchant, jti, action, reqh, amount, authorized, captured,
                 reversed, refunded, net, batch, receipt_jti, at, evidence)
             VALUES (?1, ?2, 'batch', ?3, 0, 0, 0, 0, 0, 0, ?4, ?5, ?6, ?7)",
            (
                command.merchant.as_str(),
                command.jti.as_bytes(),
                command.reqh.as_bytes(),
                batch.0,
                command.receipt_jti.as_bytes(),
                signed(command.now.0)?,
                evidence,
            ),
        )?;
        Ok(())
    }

    fn insert_account(&mut self, account: &NewAccount, books: AccountBooks) -> Result<(), Fault> {
        self.0.execute(
            "INSERT INTO account (label, client, client_key, currency, status, amount_limit,
                 velocity_count, velocity_seconds, available, held)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            rusqlite::params![
                account.label,
                account.client.as_str(),
                account.client_key.as_bytes(),
                account.currency.code(),
                account.status.as_str(),
                account.amount_limit.map(signed).transpose()?,
                account.velocity.map(|velocity| velocity.count),
                account
                    .velocity
                    .map(|velocity| signed(velocity.seconds))
                    .transpose()?,
                books.available.0,
                books.held.0,
            ],
        )?;
        let id = self.0.last_insert_rowid();
        for instrument in &account.instruments {
            self.0.execute(
                "INSERT INTO instrument (look_up, account, kind, last_four, expiry, status)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                rusqlite::params![
                    instrument.index,
                    id,
                    instrument.kind,
                    instrument.last_four,
                    instrument.expiry.map(|expiry| expiry.to_string()),
                    instrument.status.as_str(),
                ],
            )?;
        }
        Ok(())
    }

    fn insert_event(&mut self, event: &NewEvent) -> Result<(), Fault> {
        outbox::insert(self.0, event)
    }

    fn stamp(&mut self, stamp: i64) -> Result<(), Fault> {
        self.0
            .prepare_cached(
                "INSERT INTO canary (id, stamp) VALUES (1, ?1)
                 ON CONFLICT DO UPDATE SET stamp = ?1",
            )?
            .execute([stamp])?;
        Ok(())
    }
}

impl Rows<'_> {
    /// Keeps what was asked for, and tells where.
    fn insert_evidence(&self, evidence: &Evidence) -> Result<i64, Fault> {
        self.0
            .prepare_cached(
                "INSERT INTO evidence (request, dual_signature, payment_information)
                 VALUES (?1, ?2, ?3)",
            )?
            .execute((
                &evidence.request,
                &evidence.dual_signature,
                &evidence.payment_information,
            ))?;
        Ok(self.0.last_insert_rowid())
    }
}

/// One row was changed, neither none nor more.
fn only(changed: usize) -> Result<(), Fault> {
    if changed == 1 {
        Ok(())
    } else {
        Err(rusqlite::Error::StatementChangedRows(changed).into())
    }
}
