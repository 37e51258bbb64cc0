CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- SHA-256 of the secret, in hex; never the secret.
    hash TEXT NOT NULL,
    -- How often the secret was replaced, and the hash of the one before, which is taken until `former_until`.
    generation INTEGER NOT NULL DEFAULT 0,
    former_hash TEXT,
    former_until INTEGER,
    -- Seconds since 1970, as all times here.
    created INTEGER NOT NULL,
    rotated INTEGER,
    -- JSON; see rights_form.rs.
    rights TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE reservations (
    -- `demo`, `app.example.com`, `*.dev.example.com`, `tcp:20022`.
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    created INTEGER NOT NULL
) STRICT;

-- What a token's visitors used in a calendar month (UTC). It outlives the token.
CREATE TABLE usage (
    token TEXT NOT NULL,
    -- `2026-11`
    month TEXT NOT NULL,
    -- Bytes from visitors and to them.
    received INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    -- Web exchanges, and connections or flows of the other kinds.
    requests INTEGER NOT NULL DEFAULT 0,
    connections INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (token, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);

-- The tokens that were taken over from `tokens.json`, so that none is a second time after it was revoked.
CREATE TABLE imported (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
