-- What an envelope's PIN is for: NULL for a card's own codes, 'signature' for the signature area alone (X1). The user code of such
-- an envelope is nobody's. Portable between SQLite and PostgreSQL.
ALTER TABLE envelope ADD COLUMN purpose TEXT;
