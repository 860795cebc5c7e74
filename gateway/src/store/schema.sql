-- Version 1 of the gateway's store.

-- A book of the double-entry ledger. Money moves between two books by a transfer; only the card
-- issuer's own book may go below zero, by what it has handed out.
CREATE TABLE book (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('issuer', 'available', 'held', 'merchant')),
    owner TEXT NOT NULL,
    currency TEXT NOT NULL,
    balance INTEGER NOT NULL CHECK (kind = 'issuer' OR balance >= 0),
    UNIQUE (kind, owner, currency)
) STRICT;

-- What was moved, never changed. One row is both entries, so that no sum can be out of balance.
CREATE TABLE transfer (
    id INTEGER PRIMARY KEY,
    -- The payment that moved it; none for funds that an operator added.
    xid BLOB,
    debit INTEGER NOT NULL REFERENCES book (id),
    credit INTEGER NOT NULL REFERENCES book (id) CHECK (credit <> debit),
    amount INTEGER NOT NULL CHECK (amount > 0),
    at INTEGER NOT NULL
) STRICT;

-- An account of the embedded card issuer. Its instruments are good only with this client's name and
-- public key.
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    label TEXT NOT NULL,
    client TEXT NOT NULL,
    client_key BLOB NOT NULL CHECK (length(client_key) = 32),
    currency TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'blocked', 'do-not-honor')),
    amount_limit INTEGER CHECK (amount_limit > 0),
    -- At most so many approvals in a window of so many seconds, counted from the window's first.
    velocity_count INTEGER CHECK (velocity_count > 0),
    velocity_seconds INTEGER CHECK (velocity_seconds > 0),
    window_start INTEGER NOT NULL DEFAULT 0,
    window_count INTEGER NOT NULL DEFAULT 0,
    available INTEGER NOT NULL REFERENCES book (id),
    held INTEGER NOT NULL REFERENCES book (id),
    UNIQUE (client, label)
) STRICT;

-- A card or bank account number, as its HMAC under the token's index key and its last four.
CREATE TABLE instrument (
    look_up BLOB PRIMARY KEY CHECK (length(look_up) = 32),
    account INTEGER NOT NULL REFERENCES account (id),
    kind TEXT NOT NULL CHECK (kind IN ('card', 'account')),
    last_four TEXT NOT NULL CHECK (length(last_four) <= 4),
    expiry TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'blocked'))
) STRICT, WITHOUT ROWID;

-- A decided authorization, declined ones included, with all that its receipt says.
CREATE TABLE payment (
    xid BLOB PRIMARY KEY CHECK (length(xid) = 16),
    merchant TEXT NOT NULL,
    jti BLOB NOT NULL CHECK (length(jti) = 16),
    reqh BLOB NOT NULL CHECK (length(reqh) = 32),
    sid BLOB NOT NULL,
    client TEXT NOT NULL,
    client_x5t BLOB NOT NULL,
    nc BLOB NOT NULL,
    nm BLOB NOT NULL,
    dsh BLOB NOT NULL,
    code TEXT NOT NULL CHECK (length(code) = 2),
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    authorized INTEGER NOT NULL CHECK (authorized IN (0, amount)),
    captured INTEGER NOT NULL CHECK (captured >= 0),
    reversed INTEGER NOT NULL CHECK (reversed >= 0),
    refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    receipt_jti BLOB NOT NULL,
    decided_at INTEGER NOT NULL,
    authorization_id BLOB,
    capture_before INTEGER,
    account INTEGER REFERENCES account (id),
    last_four TEXT,
    UNIQUE (merchant, jti),
    CHECK (captured + reversed <= authorized)
) STRICT, WITHOUT ROWID;

-- What payer and merchant asked for, in their own signed bytes; PI only under the token's data key.
CREATE TABLE evidence (
    xid BLOB PRIMARY KEY REFERENCES payment (xid),
    authorization_request TEXT NOT NULL,
    dual_signature TEXT NOT NULL,
    payment_information BLOB NOT NULL
) STRICT;
