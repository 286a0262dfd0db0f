-- Several daemons may work with one database: who writes a procedure names the revision that it was read at.
ALTER TABLE procedures ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
