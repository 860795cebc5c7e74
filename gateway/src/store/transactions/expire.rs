//! The transaction that ends holds whose time is over.

use protocol::{
    money::Amount,
    notice::{Happened, PaymentExpired},
};

use crate::store::{
    commands::EndHolds,
    records::ExpiredHold,
    tables::{Fault, Tables, Transaction, Transfer, Wanted},
};

impl Transaction for EndHolds {
    /// Those that were ended, a number of them at a time; none when none is left.
    type Outcome = Vec<ExpiredHold>;

    fn wanted(&self, wanted: &mut Wanted) {
        wanted.due_at = Some(self.now);
    }

    fn run(&self, tables: &mut impl Tables) -> Result<Vec<ExpiredHold>, Fault> {
        let mut expired = Vec::new();
        for hold in tables.due_holds(self.now)? {
            let Some((ended, released)) = hold.payment.expire(self.now) else {
                continue;
            };
            tables.update_payment(hold.xid, &hold.payment, &ended)?;
            let books = tables.books_of(hold.xid)?;
            tables.transfer(Transfer {
                xid: Some(hold.xid),
                debit: books.held,
                credit: books.available,
                amount: released,
                at: self.now,
            })?;
            self.subscribers
                .tell(tables, &hold.merchant, self.now, || {
                    Ok(Happened::PaymentExpired(PaymentExpired {
                        xid: hold.xid,
                        released: Amount::new(released, hold.currency)
                            .map_err(|_| Fault::strange("what is held"))?,
                        totals: ended.totals(),
                    }))
                })?;
            expired.push(ExpiredHold {
                xid: hold.xid,
                merchant: hold.merchant,
                released,
            });
        }
        Ok(expired)
    }
}
