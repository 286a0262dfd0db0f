-- The counter's procedures. `document` is the whole procedure as JSON, `intent` what is being done to the card or to
-- custody and is not yet known to be done. Portable between SQLite and PostgreSQL.
CREATE TABLE procedures (
    id TEXT NOT NULL PRIMARY KEY,
    card TEXT NOT NULL,
    operator TEXT NOT NULL,
    state TEXT NOT NULL,
    intent TEXT,
    document TEXT NOT NULL,
    started TEXT NOT NULL,
    changed TEXT NOT NULL
);

-- One procedure at a time for a card.
CREATE UNIQUE INDEX procedures_one_per_card ON procedures (card) WHERE state IN ('open', 'unsettled');
