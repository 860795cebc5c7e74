-- Version 3 of the shared store: keys for what is stored.

-- A key under the token's data key. What it encrypted begins with its id.
CREATE TABLE storage_key (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    -- Nonce, ciphertext, tag.
    wrapped BYTEA NOT NULL,
    -- The label of the data key.
    wrapped_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
