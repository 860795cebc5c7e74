//! The transaction of a cancellation: it and a decision exclude one another.

use protocol::{
    notice::{Happened, PaymentCancelled},
    receipt::{Action, Code, Totals},
};

use crate::store::{
    commands::Cancel,
    records::ReceiptRecord,
    tables::{Fault, Tables, Transaction, Wanted},
};

impl Transaction for Cancel {
    /// `None`, when the transaction was decided for another payer.
    type Outcome = Option<ReceiptRecord>;

    fn wanted(&self, wanted: &mut Wanted) {
        let client = self.signed.client.clone();
        wanted.cancellations.push((client, self.signed.xid));
        wanted.payments.push(self.signed.xid);
    }

    /// Withdraws, now or before; or tells what was decided before it.
    fn run(&self, tables: &mut impl Tables) -> Result<Option<ReceiptRecord>, Fault> {
        let (client, xid) = (&self.signed.client, self.signed.xid);
        if let Some(withdrawn) = tables.cancellation(client, xid)? {
            return Ok(Some(withdrawn));
        }
        if let Some(decided) = tables.payment(xid)? {
            return Ok(Some(decided.decision).filter(|decision| &decision.signed.client == client));
        }
        tables.insert_cancellation(self)?;
        self.subscribers
            .tell(tables, &self.merchant, self.now, || {
                Ok(Happened::PaymentCancelled(PaymentCancelled {
                    xid,
                    client: client.clone(),
                    amount: self.amount,
                }))
            })?;
        Ok(Some(self.receipt()))
    }
}

impl Cancel {
    /// What its receipt says.
    pub(crate) fn receipt(&self) -> ReceiptRecord {
        ReceiptRecord {
            action: Action::Cancellation,
            target: None,
            receipt_jti: self.receipt_jti,
            iat: self.now,
            merchant: self.merchant.clone(),
            signed: self.signed.clone(),
            reqh: self.reqh,
            code: Code::Approved,
            amount: self.amount,
            totals: Totals::default(),
            authorization: None,
            capture_before: None,
        }
    }
}
