-- Version 2 of the merchant's store: what the gateway told without being asked.

CREATE TABLE notice (
    -- The webhook's id: what comes again is known by it.
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    happened_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    -- The transaction that it is about, where this version knows.
    xid BLOB CHECK (length(xid) = 16),
    -- As it was signed.
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX notice_of_purchase ON notice (xid) WHERE xid IS NOT NULL;
CREATE INDEX notice_age ON notice (happened_at);
