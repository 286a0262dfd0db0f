-- The newest revocation list that was believed, by kind and issuer's key: an older one is a replay. `number` is the
-- crlNumber, hexadecimal of one width; `this_update` is in seconds since 1970. Portable between SQLite and PostgreSQL.
CREATE TABLE revocation_list_seen (
    name TEXT NOT NULL PRIMARY KEY,
    number TEXT NOT NULL,
    this_update BIGINT NOT NULL
);

-- The certificates on the holders' cards, noted whenever a counter works on a card, so that a card that is lost can be
-- suspended and revoked. `certificate` is DER, hexadecimal; `standing` what the authority was last brought to: 'good',
-- 'suspended', 'revoked'.
CREATE TABLE card_certificate (
    sha256 TEXT NOT NULL PRIMARY KEY,
    card TEXT NOT NULL,
    codice_fiscale TEXT NOT NULL,
    surname TEXT NOT NULL,
    name TEXT NOT NULL,
    key_use TEXT NOT NULL,
    certificate TEXT NOT NULL,
    standing TEXT NOT NULL,
    noted TEXT NOT NULL
);

CREATE INDEX card_certificate_by_holder ON card_certificate (codice_fiscale);

-- What the authority was asked for, one row for each certificate: `state` is 'open' until it has answered, then 'done' or
-- 'refused', or 'overtaken' by a later request. The CMP transaction is here before the authority hears of it.
CREATE TABLE standing_change (
    request TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES card_certificate (sha256),
    act TEXT NOT NULL,
    reason TEXT,
    paragraph TEXT NOT NULL,
    cmp_transaction TEXT NOT NULL,
    state TEXT NOT NULL,
    said TEXT,
    attempts BIGINT NOT NULL,
    asked TEXT NOT NULL,
    changed TEXT NOT NULL,
    PRIMARY KEY (request, sha256)
);

CREATE INDEX standing_change_open ON standing_change (state, asked);

-- Wrong user codes, by codice fiscale (§6.2): so many, and no more for a time.
CREATE TABLE user_code_failure (
    codice_fiscale TEXT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    latest BIGINT NOT NULL
);
