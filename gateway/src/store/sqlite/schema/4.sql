-- Version 4 of the gateway's store: keys for what is stored.

-- A key under the token's data key. What it encrypted begins with its id.
CREATE TABLE storage_key (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    -- Nonce, ciphertext, tag.
    wrapped BLOB NOT NULL,
    -- The label of the data key.
    wrapped_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
