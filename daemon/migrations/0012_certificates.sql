-- The life of certificates (§9.5-§9.7). The tables of this kind in 0011 were never written.
DROP TABLE standing_change;
DROP TABLE card_certificate;
DROP TABLE user_code_failure;

-- The certificates of the cards that were activated here, so that a card that is in no reader can be suspended and revoked.
-- `holder` is an HMAC of the codice fiscale, as in `user_code_attempt`; the certificate and the holder's names are in `sealed`,
-- JSON under the data key. `standing` is what the authority was last heard to say: 'good', 'suspended', 'revoked'. Portable
-- between SQLite and PostgreSQL.
CREATE TABLE card_certificate (
    sha256       TEXT NOT NULL PRIMARY KEY,
    card         TEXT NOT NULL,
    holder       TEXT NOT NULL,
    key_use      TEXT NOT NULL,
    sealed       BLOB NOT NULL,
    not_after    TEXT NOT NULL,
    standing     TEXT NOT NULL,
    since        TEXT NOT NULL,
    noted_at     TEXT NOT NULL,
    activated_at TEXT,
    removed_at   TEXT
);

CREATE INDEX card_certificate_by_card ON card_certificate (card);
CREATE INDEX card_certificate_by_holder ON card_certificate (holder);

-- What was asked for the certificates of a card, once for each request. `sealed` is who was identified and which paper was
-- shown, JSON under the data key.
CREATE TABLE standing_request (
    id        TEXT NOT NULL PRIMARY KEY,
    card      TEXT NOT NULL,
    act       TEXT NOT NULL,
    reason    TEXT,
    paragraph TEXT NOT NULL,
    channel   TEXT NOT NULL,
    uid       BIGINT,
    operator  TEXT,
    sealed    BLOB,
    asked_at  TEXT NOT NULL
);

CREATE INDEX standing_request_by_card ON standing_request (card);

-- What the authority is told of each certificate, in the order of `number`: `state` is 'open' until it has answered, then
-- 'done' or 'refused'. The CMP transaction is here before the authority hears of it, and the same in every repetition.
-- `next_at` is in seconds since 1970.
CREATE TABLE standing_change (
    sha256          TEXT   NOT NULL REFERENCES card_certificate (sha256),
    number          BIGINT NOT NULL,
    request         TEXT   NOT NULL REFERENCES standing_request (id),
    act             TEXT   NOT NULL,
    cmp_transaction TEXT   NOT NULL UNIQUE,
    state           TEXT   NOT NULL,
    said            TEXT,
    attempts        BIGINT NOT NULL,
    next_at         BIGINT NOT NULL,
    answered_at     TEXT,
    PRIMARY KEY (sha256, number)
);

CREATE INDEX standing_change_open ON standing_change (state, next_at);
