-- For which households a card reader was asked for (X17): `household` is an HMAC of what the issuing body takes for its key.
-- Portable between SQLite and PostgreSQL.
CREATE TABLE reader_request (
    household    TEXT NOT NULL,
    procedure_id TEXT NOT NULL,
    card         TEXT NOT NULL,
    asked_at     TEXT NOT NULL,
    PRIMARY KEY (household, procedure_id)
);

CREATE INDEX reader_request_by_card ON reader_request (card);
