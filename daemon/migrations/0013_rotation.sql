-- A request to replace a key that a second person has not decided yet. Portable between SQLite and PostgreSQL.
CREATE TABLE rotation_request (
    id           TEXT   NOT NULL PRIMARY KEY,
    key_name     TEXT   NOT NULL,
    user_id      BIGINT NOT NULL,
    operator_id  TEXT,
    requested_at TEXT   NOT NULL
);
