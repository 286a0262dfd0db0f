-- Import files on their way into custody: lines are staged, sealed already, and move in one transaction when all of them
-- are right. Portable between SQLite and PostgreSQL.

-- A file that is being taken in, or was. `digest` is the SHA-256 of the whole file, hexadecimal. `kind` is `cards` or
-- `envelopes`, `state` is `staging` or `done`.
CREATE TABLE import_file (
    id         BIGINT NOT NULL PRIMARY KEY,
    digest     TEXT   NOT NULL UNIQUE,
    state      TEXT   NOT NULL,
    kind       TEXT,
    records    BIGINT NOT NULL,
    started_at TEXT   NOT NULL,
    ended_at   TEXT
);

CREATE TABLE import_card (
    import_id      BIGINT NOT NULL,
    line           BIGINT NOT NULL,
    serial         TEXT   NOT NULL,
    codice_fiscale TEXT   NOT NULL,
    sealed         BLOB   NOT NULL,
    PRIMARY KEY (import_id, line)
);

CREATE TABLE import_envelope (
    import_id          BIGINT NOT NULL,
    line               BIGINT NOT NULL,
    code               TEXT   NOT NULL,
    sealed_pin         BLOB   NOT NULL,
    user_code_salt     BLOB   NOT NULL,
    user_code_verifier BLOB   NOT NULL,
    PRIMARY KEY (import_id, line)
);
