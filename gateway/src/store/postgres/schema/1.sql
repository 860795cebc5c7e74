-- Version 1 of the gateway's schema in PostgreSQL. It has the tables and the rules of the embedded store, so that
-- everything moves from one to the other row by row. Rows are called by numbers that the gateway takes from one
-- sequence, a block at a time, so that it knows them before it writes.

CREATE SEQUENCE row_block;

-- A book of the double-entry ledger. What a payer can spend and what is held of it never goes below zero.
CREATE TABLE book (
    id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('issuer', 'available', 'held', 'merchant', 'settled')),
    owner TEXT NOT NULL,
    currency TEXT NOT NULL,
    balance BIGINT NOT NULL CHECK (balance >= 0 OR kind IN ('issuer', 'merchant', 'settled')),
    UNIQUE (kind, owner, currency)
);

-- What was moved, never changed. One row is both entries, so that no sum can be out of balance.
CREATE TABLE transfer (
    id BIGINT PRIMARY KEY,
    xid BYTEA,
    debit BIGINT NOT NULL REFERENCES book (id),
    credit BIGINT NOT NULL REFERENCES book (id) CHECK (credit <> debit),
    amount BIGINT NOT NULL CHECK (amount > 0),
    at BIGINT NOT NULL
);

CREATE TABLE account (
    id BIGINT PRIMARY KEY,
    label TEXT NOT NULL,
    client TEXT NOT NULL,
    client_key BYTEA NOT NULL CHECK (length(client_key) = 32),
    currency TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'blocked', 'do-not-honor')),
    amount_limit BIGINT CHECK (amount_limit > 0),
    velocity_count BIGINT CHECK (velocity_count > 0),
    velocity_seconds BIGINT CHECK (velocity_seconds > 0),
    window_start BIGINT NOT NULL DEFAULT 0,
    window_count BIGINT NOT NULL DEFAULT 0,
    available BIGINT NOT NULL REFERENCES book (id),
    held BIGINT NOT NULL REFERENCES book (id),
    UNIQUE (client, label)
);

CREATE TABLE instrument (
    look_up BYTEA PRIMARY KEY CHECK (length(look_up) = 32),
    account BIGINT NOT NULL REFERENCES account (id),
    kind TEXT NOT NULL CHECK (kind IN ('card', 'account')),
    last_four TEXT NOT NULL CHECK (length(last_four) <= 4),
    expiry TEXT,
    status TEXT NOT NULL CHECK (status IN ('active', 'blocked'))
);

CREATE TABLE payment (
    xid BYTEA PRIMARY KEY CHECK (length(xid) = 16),
    merchant TEXT NOT NULL,
    jti BYTEA NOT NULL CHECK (length(jti) = 16),
    sid BYTEA NOT NULL,
    client TEXT NOT NULL,
    client_x5t BYTEA NOT NULL,
    nc BYTEA NOT NULL,
    nm BYTEA NOT NULL,
    dsh BYTEA NOT NULL,
    code TEXT NOT NULL CHECK (length(code) = 2),
    currency TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    authorized BIGINT NOT NULL CHECK (authorized IN (0, amount)),
    captured BIGINT NOT NULL CHECK (captured >= 0),
    reversed BIGINT NOT NULL CHECK (reversed >= 0),
    refunded BIGINT NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    held BIGINT NOT NULL CHECK (held >= 0),
    authorization_id BYTEA,
    capture_before BIGINT,
    account BIGINT REFERENCES account (id),
    last_four TEXT,
    CHECK (captured + reversed + held <= authorized)
);

CREATE INDEX hold_due ON payment (capture_before) WHERE held > 0;

CREATE TABLE evidence (
    id BIGINT PRIMARY KEY,
    request TEXT NOT NULL,
    dual_signature TEXT,
    payment_information BYTEA
);

CREATE TABLE batch (
    id BIGINT PRIMARY KEY,
    merchant TEXT NOT NULL,
    currency TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    totals TEXT,
    jti BYTEA,
    CHECK ((closed_at IS NULL) = (totals IS NULL)),
    CHECK ((closed_at IS NULL) = (jti IS NULL)),
    UNIQUE (merchant, jti)
);

CREATE UNIQUE INDEX open_batch ON batch (merchant, currency) WHERE closed_at IS NULL;

CREATE TABLE operation (
    merchant TEXT NOT NULL,
    jti BYTEA NOT NULL CHECK (length(jti) = 16),
    action TEXT NOT NULL CHECK (action IN ('authorization', 'capture', 'capture-reversal', 'reversal',
        'refund', 'refund-reversal', 'batch')),
    xid BYTEA REFERENCES payment (xid) CHECK ((xid IS NULL) = (action = 'batch')),
    reqh BYTEA NOT NULL CHECK (length(reqh) = 32),
    target BYTEA CHECK ((target IS NOT NULL) = (action IN ('capture-reversal', 'refund-reversal'))),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    authorized BIGINT NOT NULL,
    captured BIGINT NOT NULL,
    reversed BIGINT NOT NULL,
    refunded BIGINT NOT NULL,
    net BIGINT NOT NULL CHECK (net BETWEEN 0 AND amount),
    batch BIGINT REFERENCES batch (id),
    receipt_jti BYTEA NOT NULL,
    at BIGINT NOT NULL,
    evidence BIGINT NOT NULL REFERENCES evidence (id),
    PRIMARY KEY (merchant, jti)
);

CREATE INDEX operation_after ON operation (xid) WHERE action NOT IN ('authorization', 'batch');
CREATE INDEX operation_in_batch ON operation (batch, action, amount) WHERE batch IS NOT NULL;

CREATE TABLE cancellation (
    client TEXT NOT NULL,
    xid BYTEA NOT NULL CHECK (length(xid) = 16),
    merchant TEXT NOT NULL,
    client_x5t BYTEA NOT NULL,
    sid BYTEA NOT NULL,
    nc BYTEA NOT NULL,
    nm BYTEA NOT NULL,
    dsh BYTEA NOT NULL,
    reqh BYTEA NOT NULL,
    currency TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    receipt_jti BYTEA NOT NULL,
    at BIGINT NOT NULL,
    evidence BIGINT NOT NULL REFERENCES evidence (id),
    PRIMARY KEY (client, xid)
);

-- Who had the first word on a payer's purchase: a decision or a cancellation. Two gateways that don't see each
-- other's can't both write it. (The embedded store has one writer.)
CREATE TABLE first_word (
    client TEXT NOT NULL,
    xid BYTEA NOT NULL,
    PRIMARY KEY (client, xid)
);

CREATE TABLE canary (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    stamp BIGINT NOT NULL
);
