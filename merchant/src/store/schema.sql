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
    response TEXT NOT NULL
) STRICT, WITHOUT ROWID;

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

CREATE INDEX pending_purchase ON purchase (created_at) WHERE state = 'pending';
