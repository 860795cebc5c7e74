//! The transaction that adds an account of the embedded card issuer.

use crate::store::{
    commands::AddAccount,
    tables::{AccountBooks, Book, Fault, Tables, Transaction, Transfer, Wanted},
};

impl AddAccount {
    fn books(&self) -> [Book; 3] {
        let (client, label) = (&self.account.client, &self.account.label);
        [
            Book::Available(client.clone(), label.clone()),
            Book::Held(client.clone(), label.clone()),
            Book::Issuer,
        ]
    }
}

impl Transaction for AddAccount {
    /// Whether it was added; one that is there stays as it is.
    type Outcome = bool;

    fn wanted(&self, wanted: &mut Wanted) {
        let account = &self.account;
        wanted
            .accounts
            .push((account.client.clone(), account.label.clone()));
        for book in self.books() {
            wanted.books.push((book, account.currency));
        }
    }

    fn run(&self, tables: &mut impl Tables) -> Result<bool, Fault> {
        let account = &self.account;
        if tables.has_account(&account.client, &account.label)? {
            return Ok(false);
        }
        let [available, held, issuer] = self.books();
        let books = AccountBooks {
            available: tables.book(&available, account.currency)?,
            held: tables.book(&held, account.currency)?,
        };
        if account.funds > 0 {
            let issuer = tables.book(&issuer, account.currency)?;
            tables.transfer(Transfer {
                xid: None,
                debit: issuer,
                credit: books.available,
                amount: account.funds,
                at: self.now,
            })?;
        }
        tables.insert_account(account, books)?;
        Ok(true)
    }
}
