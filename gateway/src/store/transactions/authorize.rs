//! The transaction that decides: idempotency, uniqueness, the card issuer's decision, the hold and the
//! evidence, together or not at all.

use protocol::{
    authorization::Capture,
    receipt::{Action, Code, Decision, Totals},
};

use crate::{
    card_issuer::{self, Asked},
    payment::Payment,
    store::{
        commands::{Authorize, Authorized},
        records::ReceiptRecord,
        tables::{
            Book, Fault, FoundInstrument, NewOperation, NewPayment, Tables, Transaction, Transfer,
            Wanted,
        },
    },
};

impl Transaction for Authorize {
    type Outcome = Authorized;

    fn wanted(&self, wanted: &mut Wanted) {
        wanted.requests.push((self.merchant.clone(), self.jti));
        wanted.payments.push(self.signed.xid);
        let client = self.signed.client.clone();
        wanted.cancellations.push((client, self.signed.xid));
        wanted.instruments.push(self.instrument_index);
        if self.capture == Capture::Now {
            let currency = self.amount.currency();
            let book = Book::Merchant(self.merchant.clone());
            wanted.books.push((book, currency));
            wanted.open_batches.push((self.merchant.clone(), currency));
        }
    }

    fn run(&self, tables: &mut impl Tables) -> Result<Authorized, Fault> {
        if let Some(earlier) = tables.request(&self.merchant, self.jti)? {
            return Ok(match earlier.receipt {
                Some(receipt) if earlier.reqh == self.reqh => Authorized::Answered(receipt),
                _ => Authorized::IdempotencyConflict,
            });
        }
        let signed = &self.signed;
        if tables.is_decided(signed.xid)? {
            return Ok(Authorized::Replayed);
        }
        if tables.cancellation(&signed.client, signed.xid)?.is_some() {
            return decline(tables, self, Code::CustomerCancellation);
        }
        let found = tables.instrument(&self.instrument_index)?;
        let code = card_issuer::decide(
            found.as_ref().map(|found| &found.on_file),
            &Asked {
                client: &signed.client,
                client_key: self.client_key,
                expiry: self.instrument_expiry,
                amount: self.amount,
                now: self.now,
            },
        );
        match found {
            // Whose account it was is known only to who may know whose it is.
            Some(account) if code != Code::NotPermitted => {
                self.keep(tables, code, &account).map(Authorized::Decided)
            }
            _ => decline(tables, self, code),
        }
    }
}

impl Authorize {
    /// Keeps a decision that may touch the account.
    pub(in crate::store) fn keep(
        &self,
        tables: &mut impl Tables,
        code: Code,
        account: &FoundInstrument,
    ) -> Result<ReceiptRecord, Fault> {
        let decision = record(self, code);
        insert(tables, self, &decision, Some(account))?;
        if code == Code::Approved {
            hold(tables, self, account)?;
        }
        Ok(decision)
    }
}

/// Declines without an account being touched, or told.
fn decline(tables: &mut impl Tables, command: &Authorize, code: Code) -> Result<Authorized, Fault> {
    let decision = record(command, code);
    insert(tables, command, &decision, None)?;
    Ok(Authorized::Decided(decision))
}

/// What the receipt will say.
fn record(command: &Authorize, code: Code) -> ReceiptRecord {
    let is_approved = code.decision() == Decision::Approved;
    ReceiptRecord {
        action: Action::Authorization,
        target: None,
        receipt_jti: command.receipt_jti,
        iat: command.now,
        merchant: command.merchant.clone(),
        signed: command.signed.clone(),
        reqh: command.reqh,
        code,
        amount: command.amount,
        totals: if is_approved {
            approved(command).totals()
        } else {
            Totals::default()
        },
        authorization: is_approved.then_some(command.authorization),
        capture_before: is_approved.then_some(command.capture_before),
    }
}

/// The payment that an approval makes.
fn approved(command: &Authorize) -> Payment {
    Payment::approved(
        command.amount.value(),
        command.capture,
        command.capture_before,
    )
}

fn insert(
    tables: &mut impl Tables,
    command: &Authorize,
    decision: &ReceiptRecord,
    account: Option<&FoundInstrument>,
) -> Result<(), Fault> {
    let held = match decision.code {
        Code::Approved => approved(command).held(),
        _ => 0,
    };
    tables.insert_payment(&NewPayment {
        decision,
        jti: command.jti,
        held,
        account: account.map(|account| account.account),
        last_four: &command.instrument_last_four,
    })?;
    let captured = decision.totals.captured;
    let batch = (captured > 0)
        .then(|| {
            let currency = command.amount.currency();
            tables.open_batch(&command.merchant, currency, command.now)
        })
        .transpose()?;
    tables.insert_operation(&NewOperation {
        receipt: decision,
        jti: command.jti,
        net: captured,
        batch,
        evidence: &command.evidence,
    })
}

/// Holds the amount, books it when it is to be captured with the authorization, and counts the approval.
fn hold(
    tables: &mut impl Tables,
    command: &Authorize,
    account: &FoundInstrument,
) -> Result<(), Fault> {
    let now = command.now;
    let transfer = |debit, credit| Transfer {
        xid: Some(command.signed.xid),
        debit,
        credit,
        amount: command.amount.value(),
        at: now,
    };
    let held = account.books.held;
    tables.transfer(transfer(account.books.available, held))?;
    if command.capture == Capture::Now {
        let book = Book::Merchant(command.merchant.clone());
        let merchant = tables.book(&book, command.amount.currency())?;
        tables.transfer(transfer(held, merchant))?;
    }
    if account.on_file.velocity.is_some() {
        let start = card_issuer::window_start(&account.on_file, now);
        let count = if start == account.on_file.window_start {
            account.on_file.window_count + 1
        } else {
            1
        };
        tables.set_window(account.account, start, count)?;
    }
    Ok(())
}
