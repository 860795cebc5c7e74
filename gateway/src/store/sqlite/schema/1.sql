-- Version 1 of the gateway's store.

-- A book of the double-entry ledger. Money moves between two books by a transfer. What a payer can spend and
-- what is held of it never goes below zero; the card issuer's book does, by what it has handed out, and a
-- merchant's two books may, when it gave back more than it booked.
CREATE TABLE book (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('issuer', 'available', 'held', 'merchant', 'settled')),
    owner TEXT NOT NULL,
    currency TEXT NOT NULL,
    balance INTEGER NOT NULL CHECK (balance >= 0 OR kind IN ('issuer', 'merchant', 'settled')),
    UNIQUE (kind, owner, currency)
) STRICT;

-- What was moved, never changed. One row is both entries, so that no sum can be out of balance.
CREATE TABLE transfer (
    id INTEGER PRIMARY KEY,
    -- The payment that moved it; none for funds that an operator added, and for settled batches.
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

-- A decided purchase, declined ones included: what was decided, and what it has come to.
CREATE TABLE payment (
    xid BLOB PRIMARY KEY CHECK (length(xid) = 16),
    merchant TEXT NOT NULL,
    -- The authorization request that decided it.
    jti BLOB NOT NULL CHECK (length(jti) = 16),
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
    held INTEGER NOT NULL CHECK (held >= 0),
    authorization_id BLOB,
    capture_before INTEGER,
    account INTEGER REFERENCES account (id),
    last_four TEXT,
    CHECK (captured + reversed + held <= authorized)
) STRICT, WITHOUT ROWID;

-- Which holds end when.
CREATE INDEX hold_due ON payment (capture_before) WHERE held > 0;

-- What was done for a merchant's request, once for ever, with what its receipt says.
CREATE TABLE operation (
    merchant TEXT NOT NULL,
    jti BLOB NOT NULL CHECK (length(jti) = 16),
    action TEXT NOT NULL CHECK (action IN ('authorization', 'capture', 'capture-reversal', 'reversal',
        'refund', 'refund-reversal', 'batch')),
    xid BLOB REFERENCES payment (xid) CHECK ((xid IS NULL) = (action = 'batch')),
    reqh BLOB NOT NULL CHECK (length(reqh) = 32),
    target BLOB CHECK ((target IS NOT NULL) = (action IN ('capture-reversal', 'refund-reversal'))),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    -- The payment's sums after it.
    authorized INTEGER NOT NULL,
    captured INTEGER NOT NULL,
    reversed INTEGER NOT NULL,
    refunded INTEGER NOT NULL,
    -- Of a capture or refund: what of it was not undone.
    net INTEGER NOT NULL CHECK (net BETWEEN 0 AND amount),
    -- The batch that it was booked in, or that it closed.
    batch INTEGER REFERENCES batch (id),
    receipt_jti BLOB NOT NULL,
    at INTEGER NOT NULL,
    evidence INTEGER NOT NULL REFERENCES evidence (id),
    PRIMARY KEY (merchant, jti)
) STRICT, WITHOUT ROWID;

CREATE INDEX operation_after ON operation (xid, at) WHERE action NOT IN ('authorization', 'batch');
-- With what a batch's totals are added up from.
CREATE INDEX operation_in_batch ON operation (batch, action, amount) WHERE batch IS NOT NULL;

-- What payer and merchant asked for, in their own signed bytes; PI only under the token's data key.
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    request TEXT NOT NULL,
    dual_signature TEXT,
    payment_information BLOB
) STRICT;

-- A purchase that its payer withdrew before it was decided.
CREATE TABLE cancellation (
    client TEXT NOT NULL,
    xid BLOB NOT NULL CHECK (length(xid) = 16),
    merchant TEXT NOT NULL,
    client_x5t BLOB NOT NULL,
    sid BLOB NOT NULL,
    nc BLOB NOT NULL,
    nm BLOB NOT NULL,
    dsh BLOB NOT NULL,
    reqh BLOB NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    receipt_jti BLOB NOT NULL,
    at INTEGER NOT NULL,
    evidence INTEGER NOT NULL REFERENCES evidence (id),
    PRIMARY KEY (client, xid)
) STRICT, WITHOUT ROWID;

-- What a merchant is settled by: the bookings of one currency until it is closed.
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    merchant TEXT NOT NULL,
    currency TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    -- What it came to, as JSON, and the request that closed it; once closed.
    totals TEXT,
    jti BLOB,
    CHECK ((closed_at IS NULL) = (totals IS NULL)),
    CHECK ((closed_at IS NULL) = (jti IS NULL)),
    UNIQUE (merchant, jti)
) STRICT;

CREATE UNIQUE INDEX open_batch ON batch (merchant, currency) WHERE closed_at IS NULL;

-- Written and read to see whether the store can be.
CREATE TABLE canary (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    stamp INTEGER NOT NULL
) STRICT;
