-- Interoperability: requests to the national system (`out`) and from it (`in`), by their idempotency keys. `document` is the
-- request as JSON, `state` is `queued`, `accepted` or `refused`; `first_part` is the first part of credentials as JSON,
-- random digits that tell nothing alone. Times `next_at` are seconds since 1970. Portable between SQLite and PostgreSQL.
CREATE TABLE national_request (
    direction  TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    card       TEXT   NOT NULL,
    document   TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    attempts   BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    first_part TEXT,
    created_at TEXT   NOT NULL,
    PRIMARY KEY (direction, id)
);

CREATE INDEX national_request_by_state ON national_request (state, next_at);

-- Second parts that wait for the mail; `sealed` is NULL once the mail has it.
CREATE TABLE national_mail (
    id        TEXT   NOT NULL PRIMARY KEY,
    card      TEXT   NOT NULL,
    recipient TEXT   NOT NULL,
    sealed    BLOB,
    attempts  BIGINT NOT NULL,
    next_at   BIGINT NOT NULL,
    handed_at TEXT
);
