-- Version 1 of the merchant's store. There is no card in it, and no way to one.

CREATE TABLE shop_order (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    information TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A client session that was opened, with the signed response.
CREATE TABLE session (
    sid BLOB PRIMARY KEY CHECK (length(sid) = 16),
    shop_order BLOB NOT NULL REFERENCES shop_order (id),
    claims TEXT NOT NULL,
    merchant_x5t BLOB NOT NULL,
    gateway_x5t BLOB NOT NULL,
    response TEXT NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX session_of_order ON session (shop_order, ends_at);
CREATE INDEX session_end ON session (ends_at);
CREATE INDEX order_age ON shop_order (created_at);

-- A purchase that was verified. Its row consumes the session and the order together.
CREATE TABLE purchase (
    xid BLOB PRIMARY KEY CHECK (length(xid) = 16),
    sid BLOB NOT NULL UNIQUE REFERENCES session (sid),
    shop_order BLOB NOT NULL REFERENCES shop_order (id),
    client TEXT NOT NULL,
    client_x5t BLOB NOT NULL,
    nc BLOB NOT NULL,
    nm BLOB NOT NULL,
    dsh BLOB NOT NULL,
    pih BLOB NOT NULL,
    amount TEXT NOT NULL,
    dual_signature TEXT NOT NULL,
    order_disclosure TEXT NOT NULL,
    -- Sealed to the gateway; deleted with the outcome.
    payment_information TEXT,
    -- The exact bytes that are sent, and sent again.
    authorization_request TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'declined', 'failed')),
    -- Why it failed: a problem's name.
    problem TEXT,
    receipt TEXT,
    purchase_response TEXT,
    created_at INTEGER NOT NULL,
    CHECK ((state IN ('approved', 'declined')) = (receipt IS NOT NULL)),
    CHECK ((state IN ('approved', 'declined')) = (purchase_response IS NOT NULL)),
    CHECK ((state = 'failed') = (problem IS NOT NULL)),
    CHECK ((state = 'pending') = (payment_information IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- An order is paid once.
CREATE UNIQUE INDEX one_purchase_per_order ON purchase (shop_order)
    WHERE state IN ('pending', 'approved');

CREATE INDEX purchase_of_order ON purchase (shop_order);
CREATE INDEX pending_purchase ON purchase (created_at) WHERE state = 'pending';

-- What was asked of the gateway after an approval: captures, reversals, refunds, and undoing them.
CREATE TABLE operation (
    number INTEGER PRIMARY KEY,
    jti BLOB NOT NULL UNIQUE CHECK (length(jti) = 16),
    xid BLOB NOT NULL REFERENCES purchase (xid),
    action TEXT NOT NULL CHECK (action IN
        ('capture', 'capture-reversal', 'reversal', 'refund', 'refund-reversal')),
    -- The jti of the booking that is undone.
    target BLOB CHECK (length(target) = 16),
    amount TEXT NOT NULL,
    -- The exact bytes that are sent, and sent again.
    request TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'answered', 'failed')),
    -- Why it failed: a problem's name.
    problem TEXT,
    -- The gateway's receipt.
    answer TEXT,
    made_at INTEGER NOT NULL,
    -- Whether all that was open was asked for, without an amount.
    is_all INTEGER NOT NULL CHECK (is_all IN (0, 1)),
    -- Whether the operator was told what became of it: until then the same command asks for nothing new.
    is_told INTEGER NOT NULL DEFAULT 0 CHECK (is_told IN (0, 1)),
    CHECK ((state = 'answered') = (answer IS NOT NULL)),
    CHECK ((state = 'failed') = (problem IS NOT NULL)),
    CHECK (is_told = 0 OR state <> 'pending'),
    CHECK ((action IN ('capture-reversal', 'refund-reversal')) = (target IS NOT NULL))
) STRICT;

-- Nothing is asked of a purchase while something that was asked is open.
CREATE UNIQUE INDEX one_pending_operation ON operation (xid) WHERE state = 'pending';

CREATE INDEX pending_operation ON operation (number) WHERE state = 'pending';
CREATE INDEX operation_of_purchase ON operation (xid, number);

-- Batches that this merchant closed, or asked the gateway to close.
CREATE TABLE batch (
    number INTEGER PRIMARY KEY,
    jti BLOB NOT NULL UNIQUE CHECK (length(jti) = 16),
    currency TEXT NOT NULL,
    -- The exact bytes that are sent, and sent again.
    request TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'answered', 'failed')),
    problem TEXT,
    -- The gateway's signed totals.
    answer TEXT,
    made_at INTEGER NOT NULL,
    -- As for operations.
    is_told INTEGER NOT NULL DEFAULT 0 CHECK (is_told IN (0, 1)),
    CHECK (is_told = 0 OR state <> 'pending'),
    CHECK ((state = 'answered') = (answer IS NOT NULL)),
    CHECK ((state = 'failed') = (problem IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX one_pending_batch ON batch (currency) WHERE state = 'pending';
