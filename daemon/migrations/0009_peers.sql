-- Sealed orders of CMS systems, by signer and number: neither comes twice. `state` is `accepted` (its number is used up,
-- nothing was presented to the card), `begun` (the PUK may have been presented), `expired` (accepted, and never carried
-- out), or a result: `done`, `puk-refused`, `puk-blocked`, `unknown`. `message` is the order as it came, still encrypted,
-- until it is over. Portable between SQLite and PostgreSQL.
CREATE TABLE sealed_order (
    signer             TEXT NOT NULL,
    number             TEXT NOT NULL,
    sha256             TEXT NOT NULL,
    card               TEXT NOT NULL,
    certificate_sha256 TEXT,
    state              TEXT NOT NULL,
    not_after          TEXT NOT NULL,
    message            BLOB,
    puk_tries          BIGINT,
    receipt            BLOB,
    accepted_at        TEXT NOT NULL,
    ended_at           TEXT,
    PRIMARY KEY (signer, number)
);

CREATE INDEX sealed_order_by_sha256 ON sealed_order (sha256);
CREATE INDEX sealed_order_by_state ON sealed_order (state);

-- Attempts at user codes, by `holder/HMAC` of the codice fiscale (known or not) and by `peer/UID`. Times are seconds since
-- 1970.
CREATE TABLE user_code_attempt (
    subject      TEXT   NOT NULL PRIMARY KEY,
    attempts     BIGINT NOT NULL,
    since        BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);
