-- Who was identified for a request about a card that was in no reader, and which paper was shown: `sealed` is JSON under the data
-- key, as in `standing_request`. Portable between SQLite and PostgreSQL.
ALTER TABLE national_request ADD COLUMN sealed BLOB;
