//! The transaction that closes a batch, once: its totals are those of its bookings, and of the ledger.

use protocol::{
    lifecycle::BatchTotals,
    notice::{BatchSettled, Happened},
};

use crate::store::{
    commands::{BatchClosed, CloseBatch},
    records::BatchRecord,
    tables::{Book, Fault, Tables, Transaction, Transfer, Wanted},
};

impl Transaction for CloseBatch {
    type Outcome = BatchClosed;

    fn wanted(&self, wanted: &mut Wanted) {
        wanted.requests.push((self.merchant.clone(), self.jti));
        for book in [Book::Merchant, Book::Settled] {
            wanted
                .books
                .push((book(self.merchant.clone()), self.currency));
        }
        let batch = (self.merchant.clone(), self.currency);
        wanted.open_batches.push(batch.clone());
        wanted.closing.push(batch);
    }

    fn run(&self, tables: &mut impl Tables) -> Result<BatchClosed, Fault> {
        if let Some(earlier) = tables.request(&self.merchant, self.jti)? {
            let known = tables.closed_batch(&self.merchant, self.jti)?;
            return Ok(match known {
                Some(known) if earlier.reqh == self.reqh => BatchClosed::Closed(known),
                _ => BatchClosed::IdempotencyConflict,
            });
        }
        let batch = tables.open_batch(&self.merchant, self.currency, self.now)?;
        let totals = tables.batch_totals(batch)?;
        settle(tables, self, &totals)?;
        tables.close_batch(batch, self, &totals)?;
        self.subscribers
            .tell(tables, &self.merchant, self.now, || {
                Ok(Happened::BatchClosed(BatchSettled {
                    batch: self.jti,
                    currency: self.currency,
                    totals,
                }))
            })?;
        Ok(BatchClosed::Closed(self.record(totals)))
    }
}

impl CloseBatch {
    /// The batch as it is closed.
    pub(crate) fn record(&self, totals: BatchTotals) -> BatchRecord {
        BatchRecord {
            batch: self.jti,
            merchant: self.merchant.clone(),
            currency: self.currency,
            closed_at: self.now,
            reqh: self.reqh,
            totals,
        }
    }
}

/// Moves what a batch came to from the merchant's open book to its settled one. The open book has exactly
/// that, or nothing is closed.
fn settle(
    tables: &mut impl Tables,
    command: &CloseBatch,
    totals: &BatchTotals,
) -> Result<(), Fault> {
    let merchant = &command.merchant;
    let open = tables.book(&Book::Merchant(merchant.clone()), command.currency)?;
    let settled = tables.book(&Book::Settled(merchant.clone()), command.currency)?;
    let sum = |value: u64| i64::try_from(value).map_err(|_| Fault::strange("a batch's sum"));
    if tables.balance(open)? != sum(totals.payable)? - sum(totals.receivable)? {
        return Err(Fault::strange("the ledger's sum of a batch"));
    }
    let (debit, credit, amount) = if totals.receivable > 0 {
        (settled, open, totals.receivable)
    } else {
        (open, settled, totals.payable)
    };
    if amount == 0 {
        return Ok(());
    }
    tables.transfer(Transfer {
        xid: None,
        debit,
        credit,
        amount,
        at: command.now,
    })
}
