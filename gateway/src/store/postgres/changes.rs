//! What a group of commands changes, written with one statement per table, however many rows.

use std::collections::{BTreeMap, HashMap};

use protocol::{
    identifiers::{Digest, Jti, Xid},
    money::Currency,
    names::MerchantName,
    receipt::{Code, Totals},
    time::Timestamp,
};
use tokio_postgres::types::ToSql;

use crate::{
    payment::Payment,
    store::{
        columns::signed,
        commands::{Evidence, NewAccount},
        outbox::NewEvent,
        records::ReceiptRecord,
        tables::{AccountBooks, AccountId, BatchId, BookId, Fault, Transfer},
    },
};

/// Rows to be written.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) new_batches: Vec<NewBatch>,
    pub(super) accounts: Vec<AccountRow>,
    pub(super) evidence: Vec<(i64, Evidence)>,
    pub(super) payments: Vec<PaymentRow>,
    pub(super) payment_updates: HashMap<Xid, PaymentUpdate>,
    pub(super) operations: Vec<OperationRow>,
    pub(super) nets: HashMap<(MerchantName, Jti), u64>,
    pub(super) cancellations: Vec<(ReceiptRecord, i64)>,
    pub(super) transfers: Vec<(i64, Transfer)>,
    /// By how much each book changes; in the order in which all gateways change them.
    pub(super) balances: BTreeMap<BookId, i64>,
    pub(super) windows: HashMap<AccountId, (Timestamp, u32)>,
    pub(super) closings: Vec<BatchClosing>,
    pub(super) events: Vec<NewEvent>,
    pub(super) stamp: Option<i64>,
}

pub(super) struct NewBatch {
    pub(super) id: BatchId,
    pub(super) merchant: MerchantName,
    pub(super) currency: Currency,
    pub(super) opened_at: Timestamp,
}

pub(super) struct AccountRow {
    pub(super) id: AccountId,
    pub(super) account: NewAccount,
    pub(super) books: AccountBooks,
}

pub(super) struct PaymentRow {
    pub(super) decision: ReceiptRecord,
    pub(super) jti: Jti,
    pub(super) held: u64,
    pub(super) account: Option<AccountId>,
    pub(super) last_four: String,
}

/// A payment's sums, as they were when they were read, and as they are to be.
pub(super) struct PaymentUpdate {
    pub(super) before: Payment,
    pub(super) after: Payment,
}

pub(super) struct OperationRow {
    pub(super) merchant: MerchantName,
    pub(super) jti: Jti,
    /// None when it closed a batch.
    pub(super) receipt: Option<ReceiptRecord>,
    pub(super) reqh: Digest,
    pub(super) net: u64,
    pub(super) batch: Option<BatchId>,
    pub(super) receipt_jti: Jti,
    pub(super) at: Timestamp,
    pub(super) evidence: i64,
}

pub(super) struct BatchClosing {
    pub(super) batch: BatchId,
    pub(super) at: Timestamp,
    pub(super) totals: String,
    pub(super) jti: Jti,
}

/// A statement with its parameters, and how many rows it has to touch.
pub(super) struct Write {
    pub(super) query: &'static str,
    pub(super) parameters: Vec<Box<dyn ToSql + Sync + Send>>,
    pub(super) rows: u64,
}

/// A column of many rows, as one array.
fn column<R, T: ToSql + Sync + Send + 'static>(
    rows: &[R],
    value: impl Fn(&R) -> T,
) -> Box<dyn ToSql + Sync + Send>
where
    Vec<T>: ToSql,
{
    Box::new(rows.iter().map(value).collect::<Vec<T>>())
}

/// A column of numbers that are not negative.
fn numbers<R>(
    rows: &[R],
    value: impl Fn(&R) -> u64,
) -> Result<Box<dyn ToSql + Sync + Send>, Fault> {
    let numbers: Vec<i64> = rows
        .iter()
        .map(|row| signed(value(row)))
        .collect::<Result<_, _>>()?;
    Ok(Box::new(numbers))
}

/// A column of numbers that may be absent.
fn optional_numbers<R>(
    rows: &[R],
    value: impl Fn(&R) -> Option<u64>,
) -> Result<Box<dyn ToSql + Sync + Send>, Fault> {
    let numbers: Vec<Option<i64>> = rows
        .iter()
        .map(|row| value(row).map(signed).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Box::new(numbers))
}

impl Changes {
    /// All statements, one per table at most; rows come before those that refer to them.
    pub(super) fn writes(&self) -> Result<Vec<Write>, Fault> {
        let mut writes = Vec::new();
        self.write_batches(&mut writes)?;
        self.write_accounts(&mut writes)?;
        self.write_evidence(&mut writes);
        self.write_payments(&mut writes)?;
        self.write_payment_updates(&mut writes)?;
        self.write_operations(&mut writes)?;
        self.write_nets(&mut writes)?;
        self.write_cancellations(&mut writes)?;
        self.write_transfers(&mut writes)?;
        self.write_balances(&mut writes);
        self.write_windows(&mut writes)?;
        self.write_events(&mut writes)?;
        if let Some(stamp) = self.stamp {
            writes.push(Write {
                query: "INSERT INTO canary (id, stamp) VALUES (1, $1)
                        ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp",
                parameters: vec![Box::new(stamp)],
                rows: 1,
            });
        }
        writes.retain(|write| write.rows > 0);
        Ok(writes)
    }

    /// A merchant has one open batch of a currency, so each is closed before the next one is there. The first new one is
    /// there as an open one in any case: that another gateway opened one meanwhile is found out by that.
    fn write_batches(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let is_new = |batch| self.new_batches.iter().any(|new| new.id == batch);
        let (mut first, mut further) = (Vec::<&NewBatch>::new(), Vec::new());
        for new in &self.new_batches {
            let is_same = |other: &&NewBatch| {
                (&other.merchant, other.currency) == (&new.merchant, new.currency)
            };
            if first.iter().any(is_same) {
                further.push(new);
            } else {
                first.push(new);
            }
        }
        let (of_first, of_others): (Vec<_>, Vec<_>) = self
            .closings
            .iter()
            .partition(|closing| first.iter().any(|new| new.id == closing.batch));
        let of_known: Vec<_> = of_others
            .into_iter()
            .filter(|closing| !is_new(closing.batch))
            .collect();
        write_closings(writes, &of_known)?;
        self.write_new_batches(writes, &first, false)?;
        write_closings(writes, &of_first)?;
        self.write_new_batches(writes, &further, true)
    }

    fn write_new_batches(
        &self,
        writes: &mut Vec<Write>,
        rows: &[&NewBatch],
        with_closings: bool,
    ) -> Result<(), Fault> {
        let closing = |row: &NewBatch| {
            let mut closings = self.closings.iter();
            closings.find(|closing| with_closings && closing.batch == row.id)
        };
        writes.push(Write {
            query: "INSERT INTO batch (id, merchant, currency, opened_at, closed_at, totals, jti)
                    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[],
                        $5::bigint[], $6::text[], $7::bytea[])",
            parameters: vec![
                column(rows, |row| row.id.0),
                column(rows, |row| row.merchant.to_string()),
                column(rows, |row| row.currency.code().to_owned()),
                numbers(rows, |row| row.opened_at.0)?,
                optional_numbers(rows, |row| closing(row).map(|closing| closing.at.0))?,
                column(rows, |row| {
                    closing(row).map(|closing| closing.totals.clone())
                }),
                column(rows, |row| {
                    closing(row).map(|closing| closing.jti.as_bytes().to_vec())
                }),
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_accounts(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows = &self.accounts;
        writes.push(Write {
            query: "INSERT INTO account (id, label, client, client_key, currency, status,
                        amount_limit, velocity_count, velocity_seconds, available, held)
                    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[],
                        $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[],
                        $10::bigint[], $11::bigint[])",
            parameters: vec![
                column(rows, |row| row.id.0),
                column(rows, |row| row.account.label.clone()),
                column(rows, |row| row.account.client.to_string()),
                column(rows, |row| row.account.client_key.as_bytes().to_vec()),
                column(rows, |row| row.account.currency.code().to_owned()),
                column(rows, |row| row.account.status.as_str()),
                optional_numbers(rows, |row| row.account.amount_limit)?,
                optional_numbers(rows, |row| {
                    row.account.velocity.map(|velocity| velocity.count.into())
                })?,
                optional_numbers(rows, |row| {
                    row.account.velocity.map(|velocity| velocity.seconds)
                })?,
                column(rows, |row| row.books.available.0),
                column(rows, |row| row.books.held.0),
            ],
            rows: rows.len() as u64,
        });
        let instruments: Vec<_> = rows
            .iter()
            .flat_map(|row| {
                let of_account = |instrument| (row.id, instrument);
                row.account.instruments.iter().map(of_account)
            })
            .collect();
        let rows = &instruments;
        writes.push(Write {
            query: "INSERT INTO instrument (look_up, account, kind, last_four, expiry, status)
                    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[],
                        $5::text[], $6::text[])",
            parameters: vec![
                column(rows, |(_, instrument)| instrument.index.to_vec()),
                column(rows, |(account, _)| account.0),
                column(rows, |(_, instrument)| instrument.kind),
                column(rows, |(_, instrument)| instrument.last_four.clone()),
                column(rows, |(_, instrument)| {
                    instrument.expiry.map(|expiry| expiry.to_string())
                }),
                column(rows, |(_, instrument)| instrument.status.as_str()),
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_evidence(&self, writes: &mut Vec<Write>) {
        let rows = &self.evidence;
        writes.push(Write {
            query: "INSERT INTO evidence (id, request, dual_signature, payment_information)
                    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])",
            parameters: vec![
                column(rows, |(id, _)| *id),
                column(rows, |(_, evidence)| evidence.request.clone()),
                column(rows, |(_, evidence)| evidence.dual_signature.clone()),
                column(rows, |(_, evidence)| evidence.payment_information.clone()),
            ],
            rows: rows.len() as u64,
        });
    }

    fn write_payments(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        // A decline of what was withdrawn before is not the first word about it.
        let first: Vec<_> = self
            .payments
            .iter()
            .map(|row| &row.decision)
            .filter(|decision| decision.code != Code::CustomerCancellation)
            .collect();
        write_first_words(writes, &first);
        let rows = &self.payments;
        let payer = |row: &PaymentRow| row.decision.signed.clone();
        writes.push(Write {
            query: "INSERT INTO payment (xid, merchant, jti, sid, client, client_x5t, nc, nm, dsh,
                        code, currency, amount, authorized, captured, reversed, refunded, held,
                        authorization_id, capture_before, account, last_four)
                    SELECT xid, merchant, jti, sid, client, client_x5t, nc, nm, dsh, code,
                        currency, amount, authorized, captured, 0, 0, held, authorization_id,
                        capture_before, account, last_four
                    FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::text[],
                        $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[], $10::text[],
                        $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
                        $16::bytea[], $17::bigint[], $18::bigint[], $19::text[])
                        AS new (xid, merchant, jti, sid, client, client_x5t, nc, nm, dsh, code,
                            currency, amount, authorized, captured, held, authorization_id,
                            capture_before, account, last_four)",
            parameters: vec![
                column(rows, |row| payer(row).xid.as_bytes().to_vec()),
                column(rows, |row| row.decision.merchant.to_string()),
                column(rows, |row| row.jti.as_bytes().to_vec()),
                column(rows, |row| payer(row).sid.as_bytes().to_vec()),
                column(rows, |row| payer(row).client.to_string()),
                column(rows, |row| payer(row).client_x5t.as_bytes().to_vec()),
                column(rows, |row| payer(row).nc.as_bytes().to_vec()),
                column(rows, |row| payer(row).nm.as_bytes().to_vec()),
                column(rows, |row| payer(row).dsh.as_bytes().to_vec()),
                column(rows, |row| row.decision.code.digits()),
                column(rows, |row| row.decision.amount.currency().code().to_owned()),
                numbers(rows, |row| row.decision.amount.value())?,
                numbers(rows, |row| row.decision.totals.authorized)?,
                numbers(rows, |row| row.decision.totals.captured)?,
                numbers(rows, |row| row.held)?,
                column(rows, |row| {
                    let id = row.decision.authorization.as_ref();
                    id.map(|id| id.as_bytes().to_vec())
                }),
                optional_numbers(rows, |row| row.decision.capture_before.map(|time| time.0))?,
                column(rows, |row| row.account.map(|account| account.0)),
                column(rows, |row| row.last_four.clone()),
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_payment_updates(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let mut rows: Vec<_> = self.payment_updates.iter().collect();
        rows.sort_by_key(|(xid, _)| *xid.as_bytes());
        let rows = &rows;
        let (was, is) = (
            |row: &(&Xid, &PaymentUpdate)| row.1.before.totals(),
            |row: &(&Xid, &PaymentUpdate)| row.1.after.totals(),
        );
        // What this group inserted itself is there as it was inserted.
        writes.push(Write {
            query: "UPDATE payment SET captured = new.captured, reversed = new.reversed,
                        refunded = new.refunded, held = new.held
                    FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[],
                        $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
                        AS new (xid, captured, reversed, refunded, held, was_captured,
                            was_reversed, was_refunded, was_held)
                    WHERE payment.xid = new.xid AND payment.captured = was_captured
                        AND payment.reversed = was_reversed AND payment.refunded = was_refunded
                        AND payment.held = was_held",
            parameters: vec![
                column(rows, |row| row.0.as_bytes().to_vec()),
                numbers(rows, |row| is(row).captured)?,
                numbers(rows, |row| is(row).reversed)?,
                numbers(rows, |row| is(row).refunded)?,
                numbers(rows, |row| row.1.after.held())?,
                numbers(rows, |row| was(row).captured)?,
                numbers(rows, |row| was(row).reversed)?,
                numbers(rows, |row| was(row).refunded)?,
                numbers(rows, |row| row.1.before.held())?,
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_operations(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows = &self.operations;
        let totals = |row: &OperationRow| {
            let receipt = row.receipt.as_ref();
            receipt.map_or_else(Totals::default, |receipt| receipt.totals)
        };
        writes.push(Write {
            query: "INSERT INTO operation (merchant, jti, action, xid, reqh, target, amount,
                        authorized, captured, reversed, refunded, net, batch, receipt_jti, at,
                        evidence)
                    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[],
                        $5::bytea[], $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[],
                        $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[],
                        $15::bigint[], $16::bigint[])",
            parameters: vec![
                column(rows, |row| row.merchant.to_string()),
                column(rows, |row| row.jti.as_bytes().to_vec()),
                column(rows, |row| {
                    let receipt = row.receipt.as_ref();
                    receipt.map_or("batch", |receipt| receipt.action.as_str())
                }),
                column(rows, |row| {
                    let receipt = row.receipt.as_ref();
                    receipt.map(|receipt| receipt.signed.xid.as_bytes().to_vec())
                }),
                column(rows, |row| row.reqh.as_bytes().to_vec()),
                column(rows, |row| {
                    let target = row.receipt.as_ref().and_then(|receipt| receipt.target);
                    target.map(|target| target.as_bytes().to_vec())
                }),
                numbers(rows, |row| {
                    let receipt = row.receipt.as_ref();
                    receipt.map_or(0, |receipt| receipt.amount.value())
                })?,
                numbers(rows, |row| totals(row).authorized)?,
                numbers(rows, |row| totals(row).captured)?,
                numbers(rows, |row| totals(row).reversed)?,
                numbers(rows, |row| totals(row).refunded)?,
                numbers(rows, |row| row.net)?,
                column(rows, |row| row.batch.map(|batch| batch.0)),
                column(rows, |row| row.receipt_jti.as_bytes().to_vec()),
                numbers(rows, |row| row.at.0)?,
                column(rows, |row| row.evidence),
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_nets(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows: Vec<_> = self.nets.iter().collect();
        let rows = &rows;
        writes.push(Write {
            query: "UPDATE operation SET net = new.net
                    FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS new (merchant, jti, net)
                    WHERE operation.merchant = new.merchant AND operation.jti = new.jti",
            parameters: vec![
                column(rows, |((merchant, _), _)| merchant.to_string()),
                column(rows, |((_, jti), _)| jti.as_bytes().to_vec()),
                numbers(rows, |(_, net)| **net)?,
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_cancellations(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows = &self.cancellations;
        let first: Vec<_> = rows.iter().map(|(receipt, _)| receipt).collect();
        write_first_words(writes, &first);
        writes.push(Write {
            query: "INSERT INTO cancellation (client, xid, merchant, client_x5t, sid, nc, nm, dsh,
                        reqh, currency, amount, receipt_jti, at, evidence)
                    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::bytea[],
                        $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[],
                        $10::text[], $11::bigint[], $12::bytea[], $13::bigint[], $14::bigint[])",
            parameters: vec![
                column(rows, |(receipt, _)| receipt.signed.client.to_string()),
                column(rows, |(receipt, _)| receipt.signed.xid.as_bytes().to_vec()),
                column(rows, |(receipt, _)| receipt.merchant.to_string()),
                column(rows, |(receipt, _)| {
                    receipt.signed.client_x5t.as_bytes().to_vec()
                }),
                column(rows, |(receipt, _)| receipt.signed.sid.as_bytes().to_vec()),
                column(rows, |(receipt, _)| receipt.signed.nc.as_bytes().to_vec()),
                column(rows, |(receipt, _)| receipt.signed.nm.as_bytes().to_vec()),
                column(rows, |(receipt, _)| receipt.signed.dsh.as_bytes().to_vec()),
                column(rows, |(receipt, _)| receipt.reqh.as_bytes().to_vec()),
                column(rows, |(receipt, _)| {
                    receipt.amount.currency().code().to_owned()
                }),
                numbers(rows, |(receipt, _)| receipt.amount.value())?,
                column(rows, |(receipt, _)| receipt.receipt_jti.as_bytes().to_vec()),
                numbers(rows, |(receipt, _)| receipt.iat.0)?,
                column(rows, |(_, evidence)| *evidence),
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_transfers(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows = &self.transfers;
        writes.push(Write {
            query: "INSERT INTO transfer (id, xid, debit, credit, amount, at)
                    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[],
                        $5::bigint[], $6::bigint[])",
            parameters: vec![
                column(rows, |(id, _)| *id),
                column(rows, |(_, transfer)| {
                    transfer.xid.map(|xid| xid.as_bytes().to_vec())
                }),
                column(rows, |(_, transfer)| transfer.debit.0),
                column(rows, |(_, transfer)| transfer.credit.0),
                numbers(rows, |(_, transfer)| transfer.amount)?,
                numbers(rows, |(_, transfer)| transfer.at.0)?,
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    fn write_balances(&self, writes: &mut Vec<Write>) {
        let rows: Vec<_> = self.balances.iter().collect();
        let rows = &rows;
        writes.push(Write {
            query: "UPDATE book SET balance = balance + change
                    FROM unnest($1::bigint[], $2::bigint[]) AS new (id, change)
                    WHERE book.id = new.id",
            parameters: vec![
                column(rows, |(book, _)| book.0),
                column(rows, |(_, change)| **change),
            ],
            rows: rows.len() as u64,
        });
    }

    fn write_windows(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows: Vec<_> = self.windows.iter().collect();
        let rows = &rows;
        writes.push(Write {
            query: "UPDATE account SET window_start = new.start, window_count = new.count
                    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (id, start, count)
                    WHERE account.id = new.id",
            parameters: vec![
                column(rows, |(account, _)| account.0),
                numbers(rows, |(_, (start, _))| start.0)?,
                numbers(rows, |(_, (_, count))| (*count).into())?,
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }

    /// What happened once is told once: an event that is there stays as it is, and is counted.
    fn write_events(&self, writes: &mut Vec<Write>) -> Result<(), Fault> {
        let rows = &self.events;
        writes.push(Write {
            query: "INSERT INTO event (id, merchant, kind, subject, at, body, next_try)
                    SELECT id, merchant, kind, subject, at, body, at
                    FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[],
                        $6::text[]) AS new (id, merchant, kind, subject, at, body)
                    ON CONFLICT (id) DO UPDATE SET id = event.id",
            parameters: vec![
                column(rows, |row| row.id.as_bytes().to_vec()),
                column(rows, |row| row.merchant.to_string()),
                column(rows, |row| row.kind),
                column(rows, |row| row.subject.to_vec()),
                numbers(rows, |row| row.at.0)?,
                column(rows, |row| row.body.clone()),
            ],
            rows: rows.len() as u64,
        });
        Ok(())
    }
}

fn write_first_words(writes: &mut Vec<Write>, receipts: &[&ReceiptRecord]) {
    writes.push(Write {
        query: "INSERT INTO first_word (client, xid) SELECT * FROM unnest($1::text[], $2::bytea[])",
        parameters: vec![
            column(receipts, |receipt| receipt.signed.client.to_string()),
            column(receipts, |receipt| receipt.signed.xid.as_bytes().to_vec()),
        ],
        rows: receipts.len() as u64,
    });
}

fn write_closings(writes: &mut Vec<Write>, rows: &[&BatchClosing]) -> Result<(), Fault> {
    writes.push(Write {
        query: "UPDATE batch SET closed_at = new.at, totals = new.totals, jti = new.jti
                FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[])
                    AS new (id, at, totals, jti)
                WHERE batch.id = new.id AND batch.closed_at IS NULL",
        parameters: vec![
            column(rows, |row| row.batch.0),
            numbers(rows, |row| row.at.0)?,
            column(rows, |row| row.totals.clone()),
            column(rows, |row| row.jti.as_bytes().to_vec()),
        ],
        rows: rows.len() as u64,
    });
    Ok(())
}
