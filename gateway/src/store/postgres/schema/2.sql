-- Version 2 of the gateway's schema in PostgreSQL: the outbox, as in the embedded store.

CREATE TABLE event (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    merchant TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject BYTEA NOT NULL CHECK (length(subject) = 16),
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0 CHECK (tries >= 0),
    next_try BIGINT,
    delivered_at BIGINT,
    given_up_at BIGINT,
    last_failure TEXT,
    CHECK (num_nonnulls(next_try, delivered_at, given_up_at) = 1)
);

CREATE INDEX event_due ON event (merchant, next_try) WHERE next_try IS NOT NULL;
CREATE INDEX event_age ON event (at);
