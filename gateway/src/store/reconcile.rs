//! Whether the ledger balances, and says what the payments say. Everything is added up anew; nothing is
//! changed. The queries are the same for every store.

use protocol::{identifiers::Xid, lifecycle::BatchTotals};

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

/// At most so many differences are told of one rule.
const DIFFERENCES_MAX: usize = 100;

/// What a rule names those with by whom it is broken.
pub(super) enum Named {
    /// A text.
    Text(String),
    /// A transaction.
    Xid([u8; 16]),
}

/// What has to hold of two sums.
pub(super) struct Rule {
    name: &'static str,
    /// Counts those that it is about.
    pub(super) count: &'static str,
    /// Gives each one's name and two sums; `one <> other` where it does not hold.
    sums: &'static str,
}

impl Rule {
    /// The query for a hundred of those for which it does not hold: `name`, `one`, `other`.
    pub(super) fn differences(&self) -> String {
        format!(
            "SELECT name, one, other FROM ({}) AS sums WHERE one <> other LIMIT {DIFFERENCES_MAX}",
            self.sums
        )
    }

    /// What was found.
    pub(super) fn found(&self, checked: i64, differing: Vec<(Named, i64, i64)>) -> Reconciliation {
        Reconciliation {
            rule: self.name,
            checked: checked.unsigned_abs(),
            differences: differing
                .into_iter()
                .map(|(name, one, other)| match name {
                    Named::Text(name) => format!("{name}: {one} instead of {other}"),
                    Named::Xid(xid) => {
                        format!("{}: {one} instead of {other}", Xid::from_bytes(xid))
                    }
                })
                .collect(),
        }
    }
}

/// What a booking adds to what its merchant is to be paid.
macro_rules! signed_amount {
    () => {
        "CASE WHEN action IN ('capture', 'authorization', 'refund-reversal') THEN amount
             WHEN action = 'batch' THEN 0 ELSE -amount END"
    };
}

/// Each merchant's book of a kind, beside the bookings of its batches that are closed or not.
macro_rules! booked {
    ($kind:literal, $closed:literal) => {
        concat!(
            "SELECT owner || ' ' || book.currency AS name, balance AS one,
                 CAST(coalesce(booked.value, 0) AS BIGINT) AS other
             FROM book LEFT JOIN (
                 SELECT batch.merchant AS merchant, batch.currency AS currency, sum(",
            signed_amount!(),
            ") AS value
                 FROM operation JOIN batch ON batch.id = operation.batch
                 WHERE closed_at ",
            $closed,
            " GROUP BY batch.merchant, batch.currency) AS booked
                 ON booked.merchant = owner AND booked.currency = book.currency
             WHERE kind = '",
            $kind,
            "'"
        )
    };
}

/// A sum of each payment, beside what its operations come to.
macro_rules! done {
    ($sum:literal, $cases:literal) => {
        concat!(
            "SELECT payment.xid AS name, payment.",
            $sum,
            " AS one, CAST(coalesce(done.value, 0) AS BIGINT) AS other
             FROM payment LEFT JOIN (
                 SELECT xid, sum(CASE action ",
            $cases,
            " ELSE 0 END) AS value
                 FROM operation WHERE xid IS NOT NULL GROUP BY xid) AS done
                 ON done.xid = payment.xid"
        )
    };
}

/// The rules that a query can check.
pub(super) const RULES: [Rule; 8] = [
    Rule {
        name: "all books of a currency together are zero",
        count: "SELECT count(DISTINCT currency) FROM book",
        sums: "SELECT currency AS name, CAST(sum(balance) AS BIGINT) AS one,
                   CAST(0 AS BIGINT) AS other
               FROM book GROUP BY currency",
    },
    Rule {
        name: "a book has what was moved to it and not from it",
        count: "SELECT count(*) FROM book",
        sums: "SELECT kind || ' ' || owner AS name, balance AS one,
                   CAST(coalesce(moved_to.value, 0) - coalesce(moved_from.value, 0) AS BIGINT)
                       AS other
               FROM book
               LEFT JOIN (SELECT credit, sum(amount) AS value FROM transfer GROUP BY credit)
                   AS moved_to ON moved_to.credit = book.id
               LEFT JOIN (SELECT debit, sum(amount) AS value FROM transfer GROUP BY debit)
                   AS moved_from ON moved_from.debit = book.id",
    },
    Rule {
        name: "what is held of an account is what its payments hold",
        count: "SELECT count(*) FROM account",
        sums: "SELECT client || ' ' || label AS name, balance AS one,
                   CAST(coalesce(holds.value, 0) AS BIGINT) AS other
               FROM account JOIN book ON book.id = account.held
               LEFT JOIN (SELECT account, sum(held) AS value FROM payment GROUP BY account)
                   AS holds ON holds.account = account.id",
    },
    Rule {
        name: "a merchant's open book is what its open batch comes to",
        count: "SELECT count(*) FROM book WHERE kind = 'merchant'",
        sums: booked!("merchant", "IS NULL"),
    },
    Rule {
        name: "a merchant's settled book is what its closed batches came to",
        count: "SELECT count(*) FROM book WHERE kind = 'settled'",
        sums: booked!("settled", "IS NOT NULL"),
    },
    Rule {
        name: "a payment has captured what its operations captured",
        count: "SELECT count(*) FROM payment",
        sums: done!(
            "captured",
            "WHEN 'authorization' THEN captured WHEN 'capture' THEN amount
             WHEN 'capture-reversal' THEN -amount"
        ),
    },
    Rule {
        name: "a payment has reversed what its operations reversed",
        count: "SELECT count(*) FROM payment",
        sums: done!("reversed", "WHEN 'reversal' THEN amount"),
    },
    Rule {
        name: "a payment has refunded what its operations refunded",
        count: "SELECT count(*) FROM payment",
        sums: done!(
            "refunded",
            "WHEN 'refund' THEN amount WHEN 'refund-reversal' THEN -amount"
        ),
    },
];

/// Gives each closed batch's merchant, the totals that were signed, and what its bookings come to.
pub(super) const CLOSED_BATCHES: &str = concat!(
    "SELECT batch.merchant, totals, CAST(coalesce(sum(",
    signed_amount!(),
    "), 0) AS BIGINT)
     FROM batch LEFT JOIN operation ON operation.batch = batch.id
     WHERE closed_at IS NOT NULL GROUP BY batch.id, batch.merchant, totals"
);

/// Holds the totals of closed batches against their bookings.
pub(super) fn closed_batches(rows: &[(String, String, i64)]) -> Reconciliation {
    let signed_sum = |totals: &str| {
        let totals: BatchTotals = serde_json::from_str(totals).ok()?;
        i64::try_from(totals.payable)
            .ok()?
            .checked_sub(i64::try_from(totals.receivable).ok()?)
    };
    Reconciliation {
        rule: "a closed batch's signed totals are what its bookings come to",
        checked: rows.len() as u64,
        differences: rows
            .iter()
            .filter(|(_, totals, booked)| signed_sum(totals) != Some(*booked))
            .map(|(merchant, totals, booked)| format!("{merchant}: {totals} instead of {booked}"))
            .take(DIFFERENCES_MAX)
            .collect(),
    }
}
