-- Envelopes that a counter holds, and voiding that a second person confirms. Portable between SQLite and PostgreSQL.

-- The counter that has the envelope: with an operator's identifier beside it only that operator may use it, without one
-- whoever works there.
ALTER TABLE envelope ADD COLUMN counter TEXT;
-- The void request that keeps the envelope from every use until it is decided.
ALTER TABLE envelope ADD COLUMN void_request TEXT;

CREATE INDEX envelope_by_void_request ON envelope (void_request) WHERE void_request IS NOT NULL;

-- The stock report reads this index alone.
DROP INDEX envelope_by_state;
CREATE INDEX envelope_stock ON envelope (state, counter, operator_id);

-- A request to void envelopes that nobody has decided yet.
CREATE TABLE void_request (
    id           TEXT   NOT NULL PRIMARY KEY,
    reason       TEXT   NOT NULL,
    note         TEXT,
    envelopes    TEXT   NOT NULL,
    user_id      BIGINT NOT NULL,
    operator_id  TEXT,
    requested_at TEXT   NOT NULL
);
