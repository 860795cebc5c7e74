//! Reads ahead what a group of commands wants, with the locks that keep it as it is until they are done.
//!
//! Accounts are locked first, then payments, then merchants' books, each in one order, so that gateways wait for
//! one another and don't block one another. Everything else is read after that, in the same transaction: each
//! statement sees what was committed before it began.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::{try_join, try_join_all};
use protocol::{identifiers::Jti, money::Currency, names::MerchantName};
use tokio_postgres::{Row, types::ToSql};

use super::{
    group::{Connection, NotDone},
    working_set::{Ids, LoadedPayment, WorkingSet},
};
use crate::store::{
    columns::{
        self, BOOKING, CANCELLATION, CLOSED_BATCH, Columns, HOLD, INSTRUMENT, RECEIPT, id, integer,
        parsed, signed, unsigned,
    },
    tables::{AccountBooks, AccountId, BatchId, Book, BookId, Fault, HOLDS_MAX, Wanted},
};

impl Columns for Row {
    fn integer(&self, column: &str) -> Result<Option<i64>, Fault> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: &str) -> Result<Option<String>, Fault> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.try_get(column)?)
    }
}

type Parameter = Box<dyn ToSql + Sync + Send>;

/// A question, with what its rows say to the working set.
struct Read {
    query: String,
    parameters: Vec<Parameter>,
    take: fn(&mut WorkingSet, &Row) -> Result<(), Fault>,
}

/// What is wanted, as arrays.
struct Asked {
    merchants: Vec<String>,
    jtis: Vec<Vec<u8>>,
    xids: Vec<Vec<u8>>,
    instruments: Vec<Vec<u8>>,
}

/// Begins the transaction and reads. Everything is sent at once: one way there and back.
pub(super) async fn load(connection: &Connection, wanted: &Wanted) -> Result<WorkingSet, NotDone> {
    let mut set = nothing_found(wanted);
    let reads = reads(wanted)?;
    let mut statements = Vec::with_capacity(reads.len());
    for read in &reads {
        statements.push(connection.prepare_cached(&read.query).await?);
    }
    let begun = connection.batch_execute("BEGIN");
    let found = try_join_all(
        reads
            .iter()
            .zip(&statements)
            .map(async |(read, statement)| {
                let parameters: Vec<&(dyn ToSql + Sync)> = read
                    .parameters
                    .iter()
                    .map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync))
                    .collect();
                connection.query(statement, &parameters).await
            }),
    );
    let (_, found) = try_join(begun, found).await?;
    for (read, rows) in reads.iter().zip(found) {
        for row in &rows {
            (read.take)(&mut set, row)?;
        }
    }
    Ok(set)
}

/// A working set in which everything that is wanted is not there.
fn nothing_found(wanted: &Wanted) -> WorkingSet {
    fn absent<K: Clone + Eq + std::hash::Hash, V>(keys: &[K]) -> HashMap<K, Option<V>> {
        keys.iter().map(|key| (key.clone(), None)).collect()
    }
    WorkingSet {
        requests: absent(&wanted.requests),
        payments: absent(&wanted.payments),
        cancellations: absent(&wanted.cancellations),
        instruments: absent(&wanted.instruments),
        open_batches: absent(&wanted.open_batches),
        accounts: wanted
            .accounts
            .iter()
            .map(|account| (account.clone(), false))
            .collect(),
        ..WorkingSet::default()
    }
}

fn reads(wanted: &Wanted) -> Result<Vec<Read>, Fault> {
    let asked = Asked {
        merchants: wanted
            .requests
            .iter()
            .map(|(merchant, _)| merchant.to_string())
            .collect(),
        jtis: wanted
            .requests
            .iter()
            .map(|(_, jti)| jti.as_bytes().to_vec())
            .collect(),
        xids: wanted
            .payments
            .iter()
            .map(|xid| xid.as_bytes().to_vec())
            .collect(),
        instruments: wanted
            .instruments
            .iter()
            .map(|index| index.to_vec())
            .collect(),
    };
    let mut reads = Vec::new();
    lock(wanted, &asked, &mut reads);
    if let Some(now) = wanted.due_at {
        read_due(signed(now.0)?, &mut reads);
    }
    reads.push(Read {
        // Drawn with the locks held, so that of two groups that touch one payment the later has the higher numbers.
        query: "SELECT nextval('row_block') AS block".to_owned(),
        parameters: Vec::new(),
        take: |set, row| {
            set.ids = Ids::of_block(integer(row, "block")?);
            Ok(())
        },
    });
    if !wanted.requests.is_empty() {
        read_requests(&asked, &mut reads);
    }
    if !wanted.payments.is_empty() {
        read_payments(&asked, &mut reads);
    }
    if !wanted.cancellations.is_empty() {
        read_cancellations(wanted, &mut reads);
    }
    if !wanted.instruments.is_empty() {
        reads.push(Read {
            query: format!("{INSTRUMENT} WHERE look_up = ANY ($1::bytea[])"),
            parameters: vec![Box::new(asked.instruments)],
            take: |set, row| {
                let index = columns::array(row, "look_up")?;
                let found = columns::instrument(row)?;
                set.account_books.insert(found.account, found.books);
                set.instruments.insert(index, Some(found));
                Ok(())
            },
        });
    }
    if !wanted.accounts.is_empty() {
        read_accounts(wanted, &mut reads);
    }
    if !wanted.open_batches.is_empty() {
        read_batches(wanted, &mut reads);
    }
    Ok(reads)
}

/// Opens books that are not there, and locks what is going to change.
fn lock(wanted: &Wanted, asked: &Asked, reads: &mut Vec<Read>) {
    if !wanted.instruments.is_empty() || !wanted.payments.is_empty() {
        reads.push(Read {
            query: "SELECT id, available, held FROM account WHERE id IN (
                        SELECT account FROM instrument WHERE look_up = ANY ($1::bytea[])
                        UNION SELECT account FROM payment WHERE xid = ANY ($2::bytea[]))
                    ORDER BY id FOR NO KEY UPDATE"
                .to_owned(),
            parameters: vec![
                Box::new(asked.instruments.clone()),
                Box::new(asked.xids.clone()),
            ],
            take: |set, row| {
                let account = AccountId(integer(row, "id")?);
                set.account_books
                    .insert(account, columns::account_books(row)?);
                Ok(())
            },
        });
    }
    if !wanted.payments.is_empty() {
        reads.push(Read {
            query: "SELECT xid FROM payment WHERE xid = ANY ($1::bytea[])
                    ORDER BY xid FOR NO KEY UPDATE"
                .to_owned(),
            parameters: vec![Box::new(asked.xids.clone())],
            take: |_, _| Ok(()),
        });
    }
    if !wanted.books.is_empty() {
        lock_books(wanted, reads);
    }
    if !wanted.instruments.is_empty() || !wanted.payments.is_empty() {
        // The accounts are locked: nobody else changes what they have, but for holds that end.
        reads.push(Read {
            query: "SELECT book.id AS id, balance FROM account
                    JOIN book ON book.id IN (account.available, account.held)
                    WHERE account.id IN (
                        SELECT account FROM instrument WHERE look_up = ANY ($1::bytea[])
                        UNION SELECT account FROM payment WHERE xid = ANY ($2::bytea[]))"
                .to_owned(),
            parameters: vec![
                Box::new(asked.instruments.clone()),
                Box::new(asked.xids.clone()),
            ],
            take: take_balance,
        });
    }
}

fn take_balance(set: &mut WorkingSet, row: &Row) -> Result<(), Fault> {
    let book = BookId(integer(row, "id")?);
    set.balances.insert(book, integer(row, "balance")?);
    Ok(())
}

fn lock_books(wanted: &Wanted, reads: &mut Vec<Read>) {
    let (mut kinds, mut owners, mut currencies) = (Vec::new(), Vec::new(), Vec::new());
    let mut books: Vec<_> = wanted
        .books
        .iter()
        .map(|(book, currency)| (book.kind_and_owner(), currency.code().to_owned()))
        .collect();
    books.sort();
    books.dedup();
    for ((kind, owner), currency) in books {
        kinds.push(kind);
        owners.push(owner);
        currencies.push(currency);
    }
    reads.push(Read {
        // A number of its own for each, far from those of the blocks.
        query: "INSERT INTO book (id, kind, owner, currency, balance)
                SELECT -nextval('row_block'), kind, owner, currency, 0
                FROM unnest($1::text[], $2::text[], $3::text[]) AS new (kind, owner, currency)
                WHERE NOT EXISTS (SELECT FROM book WHERE book.kind = new.kind
                    AND book.owner = new.owner AND book.currency = new.currency)
                ON CONFLICT (kind, owner, currency) DO NOTHING"
            .to_owned(),
        parameters: vec![
            Box::new(kinds.clone()),
            Box::new(owners.clone()),
            Box::new(currencies.clone()),
        ],
        take: |_, _| Ok(()),
    });
    reads.push(Read {
        query: "SELECT book.id AS id, book.kind AS kind, book.owner AS owner,
                    book.currency AS currency, balance
                FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (kind, owner, currency)
                JOIN book ON book.kind = asked.kind AND book.owner = asked.owner
                    AND book.currency = asked.currency
                ORDER BY book.id FOR NO KEY UPDATE OF book"
            .to_owned(),
        parameters: vec![Box::new(kinds), Box::new(owners), Box::new(currencies)],
        take: |set, row| {
            let book = Book::named(
                &parsed::<String>(row, "kind")?,
                &parsed::<String>(row, "owner")?,
            )?;
            let id = BookId(integer(row, "id")?);
            set.books.insert((book, parsed(row, "currency")?), id);
            take_balance(set, row)
        },
    });
}

/// Holds that are over; those that another gateway is ending are left to it.
fn read_due(now: i64, reads: &mut Vec<Read>) {
    reads.push(Read {
        query: format!(
            "WITH due AS (
                 {HOLD} WHERE held > 0 AND capture_before <= $1
                 ORDER BY capture_before LIMIT {HOLDS_MAX} FOR NO KEY UPDATE SKIP LOCKED)
             SELECT due.*, payment.account AS account, account.available AS available,
                 account.held AS held_book, available.balance AS available_balance,
                 held_book.balance AS held_balance
             FROM due JOIN payment ON payment.xid = due.xid
             JOIN account ON account.id = payment.account
             JOIN book AS available ON available.id = account.available
             JOIN book AS held_book ON held_book.id = account.held
             ORDER BY due.capture_before"
        ),
        parameters: vec![Box::new(now)],
        take: |set, row| {
            let hold = columns::hold(row)?;
            let account = AccountId(integer(row, "account")?);
            let books = AccountBooks {
                available: BookId(integer(row, "available")?),
                held: BookId(integer(row, "held_book")?),
            };
            set.balances
                .insert(books.available, integer(row, "available_balance")?);
            set.balances
                .insert(books.held, integer(row, "held_balance")?);
            set.account_books.insert(account, books);
            set.due_accounts.insert(hold.xid, account);
            set.due.push(hold);
            Ok(())
        },
    });
}

fn read_requests(asked: &Asked, reads: &mut Vec<Read>) {
    const ASKED: &str = "JOIN unnest($1::text[], $2::bytea[]) AS asked (merchant, jti)";
    let parameters = || -> Vec<Parameter> {
        vec![
            Box::new(asked.merchants.clone()),
            Box::new(asked.jtis.clone()),
        ]
    };
    reads.push(Read {
        query: format!(
            "{RECEIPT} {ASKED} ON operation.merchant = asked.merchant
                 AND operation.jti = asked.jti"
        ),
        parameters: parameters(),
        take: |set, row| {
            let found = columns::request(row)?;
            set.requests.insert(request_key(row)?, Some(found));
            Ok(())
        },
    });
    reads.push(Read {
        query: format!(
            "{BOOKING} {ASKED} ON operation.merchant = asked.merchant
                 AND operation.jti = asked.jti WHERE action <> 'batch'"
        ),
        parameters: parameters(),
        take: |set, row| {
            let booking = (BatchId(integer(row, "batch")?), columns::booking(row)?);
            set.bookings.insert(request_key(row)?, booking);
            Ok(())
        },
    });
    reads.push(Read {
        query: format!(
            "{CLOSED_BATCH} {ASKED} ON batch.merchant = asked.merchant AND batch.jti = asked.jti"
        ),
        parameters: parameters(),
        take: |set, row| {
            let batch = columns::closed_batch(row)?;
            set.closed_batches.insert(request_key(row)?, batch);
            Ok(())
        },
    });
}

fn request_key(row: &Row) -> Result<(MerchantName, Jti), Fault> {
    Ok((parsed(row, "merchant")?, Jti::from_bytes(id(row, "jti")?)))
}

fn read_payments(asked: &Asked, reads: &mut Vec<Read>) {
    reads.push(Read {
        query: RECEIPT.replace(
            "FROM operation LEFT JOIN payment ON payment.xid = operation.xid",
            ", payment.account AS account, (SELECT count(*) FROM operation AS later
                 WHERE later.xid = payment.xid AND later.action NOT IN ('authorization', 'batch'))
                 AS operations
             FROM payment JOIN operation ON operation.merchant = payment.merchant
                 AND operation.jti = payment.jti
             WHERE payment.xid = ANY ($1::bytea[])",
        ),
        parameters: vec![Box::new(asked.xids.clone())],
        take: |set, row| {
            let record = columns::payment(row)?;
            let xid = record.decision.signed.xid;
            let loaded = LoadedPayment {
                record,
                account: row.integer("account")?.map(AccountId),
                operations: unsigned(row, "operations")?,
            };
            set.payments.insert(xid, Some(loaded));
            Ok(())
        },
    });
}

fn read_cancellations(wanted: &Wanted, reads: &mut Vec<Read>) {
    let (clients, xids): (Vec<_>, Vec<_>) = wanted
        .cancellations
        .iter()
        .map(|(client, xid)| (client.to_string(), xid.as_bytes().to_vec()))
        .unzip();
    reads.push(Read {
        query: format!(
            "{CANCELLATION} JOIN unnest($1::text[], $2::bytea[]) AS asked (client, xid)
                 ON cancellation.client = asked.client AND cancellation.xid = asked.xid"
        ),
        parameters: vec![Box::new(clients), Box::new(xids)],
        take: |set, row| {
            let receipt = columns::cancellation(row)?;
            let asked = (receipt.signed.client.clone(), receipt.signed.xid);
            set.cancellations.insert(asked, Some(receipt));
            Ok(())
        },
    });
}

fn read_accounts(wanted: &Wanted, reads: &mut Vec<Read>) {
    let (clients, labels): (Vec<_>, Vec<_>) = wanted
        .accounts
        .iter()
        .map(|(client, label)| (client.to_string(), label.clone()))
        .unzip();
    reads.push(Read {
        query: "SELECT account.client AS client, account.label AS label FROM account
                JOIN unnest($1::text[], $2::text[]) AS asked (client, label)
                    ON account.client = asked.client AND account.label = asked.label"
            .to_owned(),
        parameters: vec![Box::new(clients), Box::new(labels)],
        take: |set, row| {
            let asked = (parsed(row, "client")?, parsed(row, "label")?);
            set.accounts.insert(asked, true);
            Ok(())
        },
    });
}

/// Open batches: whoever books or closes has the merchant's book locked, so they stay open.
fn read_batches(wanted: &Wanted, reads: &mut Vec<Read>) {
    let arrays = |batches: &[(MerchantName, Currency)]| {
        // Each once, however many commands want it: what is joined with them is added up.
        let asked: BTreeSet<_> = batches
            .iter()
            .map(|(merchant, currency)| (merchant.to_string(), currency.code().to_owned()))
            .collect();
        let (merchants, currencies): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let parameters: Vec<Parameter> = vec![Box::new(merchants), Box::new(currencies)];
        parameters
    };
    reads.push(Read {
        query: "SELECT batch.id AS id, batch.merchant AS merchant, batch.currency AS currency
                FROM batch JOIN unnest($1::text[], $2::text[]) AS asked (merchant, currency)
                    ON batch.merchant = asked.merchant AND batch.currency = asked.currency
                WHERE closed_at IS NULL"
            .to_owned(),
        parameters: arrays(&wanted.open_batches),
        take: |set, row| {
            let batch = BatchId(integer(row, "id")?);
            let asked = (parsed(row, "merchant")?, parsed(row, "currency")?);
            set.open_batches.insert(asked, Some(batch));
            Ok(())
        },
    });
    if wanted.closing.is_empty() {
        return;
    }
    reads.push(Read {
        query: "SELECT batch.id AS batch, action, count(amount) AS bookings,
                    CAST(coalesce(sum(amount), 0) AS BIGINT) AS value
                FROM batch JOIN unnest($1::text[], $2::text[]) AS asked (merchant, currency)
                    ON batch.merchant = asked.merchant AND batch.currency = asked.currency
                LEFT JOIN operation ON operation.batch = batch.id
                WHERE closed_at IS NULL GROUP BY batch.id, action"
            .to_owned(),
        parameters: arrays(&wanted.closing),
        take: |set, row| {
            let lines = set
                .lines
                .entry(BatchId(integer(row, "batch")?))
                .or_default();
            // A batch without bookings has one row, without an action.
            if row.text("action")?.is_some() {
                lines.push(columns::line(row)?);
            }
            Ok(())
        },
    });
}
