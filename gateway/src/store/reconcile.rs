//! Whether the ledger balances, and says what the payments say. Everything is added up anew; nothing is
//! changed.

use rusqlite::Connection;

/// One thing that has to hold, with those for which it does not.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Reconciliation {
    /// What has to hold.
    pub(crate) rule: &'static str,
    /// For how many it was looked at.
    pub(crate) checked: u64,
    /// Whose sums differ, with both sums; at most a hundred.
    pub(crate) differences: Vec<String>,
}

/// A rule, how many it is about, and a query that names each one with two different sums.
const RULES: [(&str, &str, &str); 8] = [
    (
        "all books of a currency together are zero",
        "SELECT count(DISTINCT currency) FROM book",
        "SELECT currency, sum(balance) AS one, 0 AS other FROM book
         GROUP BY currency HAVING one <> other",
    ),
    (
        "a book has what was moved to it and not from it",
        "SELECT count(*) FROM book",
        "SELECT kind || ' ' || owner, balance AS one,
             coalesce(moved_to.value, 0) - coalesce(moved_from.value, 0) AS other
         FROM book
         LEFT JOIN (SELECT credit, sum(amount) AS value FROM transfer GROUP BY credit) AS moved_to
             ON moved_to.credit = book.id
         LEFT JOIN (SELECT debit, sum(amount) AS value FROM transfer GROUP BY debit) AS moved_from
             ON moved_from.debit = book.id
         WHERE one <> other",
    ),
    (
        "what is held of an account is what its payments hold",
        "SELECT count(*) FROM account",
        "SELECT client || ' ' || label, balance AS one, coalesce(holds.value, 0) AS other
         FROM account JOIN book ON book.id = account.held
         LEFT JOIN (SELECT account, sum(held) AS value FROM payment GROUP BY account) AS holds
             ON holds.account = account.id
         WHERE one <> other",
    ),
    (
        "a merchant's open book is what its open batch comes to",
        "SELECT count(*) FROM book WHERE kind = 'merchant'",
        "SELECT owner || ' ' || book.currency, balance AS one,
             coalesce((SELECT sum(CASE WHEN action IN ('capture', 'authorization', 'refund-reversal')
                     THEN amount ELSE -amount END)
                 FROM operation JOIN batch ON batch.id = operation.batch
                 WHERE batch.merchant = owner AND batch.currency = book.currency
                     AND closed_at IS NULL), 0) AS other
         FROM book WHERE kind = 'merchant' AND one <> other",
    ),
    (
        "a merchant's settled book is what its closed batches came to",
        "SELECT count(*) FROM book WHERE kind = 'settled'",
        "SELECT owner || ' ' || book.currency, balance AS one,
             coalesce((SELECT sum(json_extract(totals, '$.payable')
                     - json_extract(totals, '$.receivable'))
                 FROM batch WHERE merchant = owner AND batch.currency = book.currency
                     AND closed_at IS NOT NULL), 0) AS other
         FROM book WHERE kind = 'settled' AND one <> other",
    ),
    (
        "a payment has captured what its operations captured",
        "SELECT count(*) FROM payment",
        "SELECT lower(hex(xid)), captured AS one, coalesce(done.value, 0) AS other
         FROM payment LEFT JOIN (
             SELECT xid, sum(CASE action WHEN 'authorization' THEN captured
                 WHEN 'capture' THEN amount
                 WHEN 'capture-reversal' THEN -amount ELSE 0 END) AS value
             FROM operation WHERE xid IS NOT NULL GROUP BY xid) AS done USING (xid)
         WHERE one <> other",
    ),
    (
        "a payment has reversed what its operations reversed",
        "SELECT count(*) FROM payment",
        "SELECT lower(hex(xid)), reversed AS one, coalesce(done.value, 0) AS other
         FROM payment LEFT JOIN (
             SELECT xid, sum(CASE action WHEN 'reversal' THEN amount ELSE 0 END) AS value
             FROM operation WHERE xid IS NOT NULL GROUP BY xid) AS done USING (xid)
         WHERE one <> other",
    ),
    (
        "a payment has refunded what its operations refunded",
        "SELECT count(*) FROM payment",
        "SELECT lower(hex(xid)), refunded AS one, coalesce(done.value, 0) AS other
         FROM payment LEFT JOIN (
             SELECT xid, sum(CASE action WHEN 'refund' THEN amount
                 WHEN 'refund-reversal' THEN -amount ELSE 0 END) AS value
             FROM operation WHERE xid IS NOT NULL GROUP BY xid) AS done USING (xid)
         WHERE one <> other",
    ),
];

/// Adds everything up anew, as it is at one moment: the gateway may go on meanwhile.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Vec<Reconciliation>> {
    let moment = connection.unchecked_transaction()?;
    let found = rules(&moment)?;
    moment.finish()?;
    Ok(found)
}

fn rules(connection: &Connection) -> rusqlite::Result<Vec<Reconciliation>> {
    RULES
        .into_iter()
        .map(|(rule, count, query)| {
            let checked: i64 = connection.query_row(count, [], |row| row.get(0))?;
            let differences = connection
                .prepare(&format!("{query} LIMIT 100"))?
                .query_map([], |row| {
                    let (name, one, other): (String, i64, i64) =
                        (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(format!("{name}: {one} instead of {other}"))
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Reconciliation {
                rule,
                checked: checked.unsigned_abs(),
                differences,
            })
        })
        .collect()
}
