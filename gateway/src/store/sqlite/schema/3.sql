-- Version 3 of the gateway's store: rows in the order in which they were written, and narrow indices beside them.
--
-- A table WITHOUT ROWID keeps whole rows in the inner pages of its tree, too. Rows of this size leave a page a dozen
-- children, so that ten million payments were seven pages deep, and each insert, at a random place, split leaves.

CREATE TABLE payment_3 (
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
) STRICT;

CREATE TABLE operation_3 (
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
) STRICT;

CREATE TABLE event_3 (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    merchant TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- The transaction or batch that it is about.
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    at INTEGER NOT NULL,
    -- The JSON, byte for byte as it is sent.
    body TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    -- Not before then; of an event that is being sent, when the sender is taken for gone.
    next_try INTEGER,
    delivered_at INTEGER,
    given_up_at INTEGER,
    last_failure TEXT,
    CHECK ((next_try IS NOT NULL) + (delivered_at IS NOT NULL) + (given_up_at IS NOT NULL) = 1)
) STRICT;

INSERT INTO payment_3 SELECT * FROM payment;
INSERT INTO operation_3 SELECT * FROM operation ORDER BY evidence;
INSERT INTO event_3 SELECT * FROM event;

DROP TABLE event;
DROP TABLE operation;
DROP TABLE payment;
ALTER TABLE payment_3 RENAME TO payment;
ALTER TABLE operation_3 RENAME TO operation;
ALTER TABLE event_3 RENAME TO event;

-- Which holds end when.
CREATE INDEX hold_due ON payment (capture_before) WHERE held > 0;
CREATE INDEX operation_after ON operation (xid, at) WHERE action NOT IN ('authorization', 'batch');
-- With what a batch's totals are added up from.
CREATE INDEX operation_in_batch ON operation (batch, action, amount) WHERE batch IS NOT NULL;
CREATE INDEX event_due ON event (merchant, next_try) WHERE next_try IS NOT NULL;
CREATE INDEX event_age ON event (at);
