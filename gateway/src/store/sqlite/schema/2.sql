-- Version 2 of the gateway's store: the outbox.

-- What a merchant is to be told, written together with what happened. It is called by what happened, so that nothing
-- is written down twice.
CREATE TABLE event (
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
) STRICT, WITHOUT ROWID;

CREATE INDEX event_due ON event (merchant, next_try) WHERE next_try IS NOT NULL;
CREATE INDEX event_age ON event (at);
