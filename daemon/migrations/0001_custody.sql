-- Custody: keys, cards' PUKs, blind envelopes. Everything named `sealed` is AES-256-GCM under the data key, bound to
-- its table, column and primary key. Portable between SQLite and PostgreSQL (there with `CREATE DOMAIN blob AS bytea`).

-- The data key, wrapped by the key-encryption key, which is not in the database.
CREATE TABLE data_key (
    id         BIGINT NOT NULL PRIMARY KEY,
    kek_id     TEXT   NOT NULL,
    sealed     BLOB   NOT NULL,
    created_at TEXT   NOT NULL
);

-- What the daemon itself keeps secret, by name; `public` is the half that may be known, such as a certificate.
CREATE TABLE daemon_secret (
    name       TEXT NOT NULL PRIMARY KEY,
    sealed     BLOB NOT NULL,
    public     BLOB,
    created_at TEXT NOT NULL
);

-- A card by the 16 digits of its EF_ID_Carta; the codice fiscale is known of imported cards only.
CREATE TABLE card (
    serial         TEXT NOT NULL PRIMARY KEY,
    codice_fiscale TEXT,
    created_at     TEXT NOT NULL
);

-- `kind` is `cns` or `signature`. `refused_at` is set once a chip refused the PUK: it is never presented again.
CREATE TABLE puk (
    serial     TEXT NOT NULL REFERENCES card (serial),
    kind       TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at TEXT NOT NULL,
    refused_at TEXT,
    tries_left BIGINT,
    PRIMARY KEY (serial, kind)
);

-- `state` is `available`, `assigned`, `reserved`, `used` or `void`. `sealed_pin` is NULL once the PIN was destroyed.
-- The user code cannot be read back: `user_code_verifier` is HMAC-SHA256 under a sealed key, over salt and code.
CREATE TABLE envelope (
    code               TEXT NOT NULL PRIMARY KEY,
    state              TEXT NOT NULL,
    sealed_pin         BLOB,
    user_code_salt     BLOB NOT NULL,
    user_code_verifier BLOB NOT NULL,
    created_at         TEXT NOT NULL,
    operator_id        TEXT,
    assigned_at        TEXT,
    procedure_id       TEXT,
    card_serial        TEXT,
    reserved_at        TEXT,
    used_at            TEXT,
    voided_at          TEXT,
    void_reason        TEXT
);

CREATE INDEX envelope_by_state ON envelope (state);
CREATE INDEX envelope_by_procedure ON envelope (procedure_id);
