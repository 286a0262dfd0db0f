-- What an OCSP responder told of a certificate that is suspended or revoked, so that it stays so when the daemon is started
-- anew and nobody can be asked. `sha256` is the certificate's, as in `card_certificate`; `answer` is the signed answer as it
-- came: it is believed again for its signature, at the time `heard` at which it was, in seconds since 1970. `not_after` is the
-- end of the certificate's term, after which nobody asks. Portable between SQLite and PostgreSQL.
CREATE TABLE ocsp_out_of_force (
    sha256 TEXT NOT NULL PRIMARY KEY,
    answer BLOB NOT NULL,
    heard BIGINT NOT NULL,
    not_after BIGINT NOT NULL
);
