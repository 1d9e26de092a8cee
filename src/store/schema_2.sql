-- Schema 2.

-- Growing containers: what a plane was read from (equal for equal bytes in an equal meaning; null where a file cannot
-- grow), and the bytes by which a file is known that only grew.
ALTER TABLE plane ADD COLUMN place INTEGER;
CREATE TABLE growth (
    file_id INTEGER PRIMARY KEY REFERENCES file (id) ON DELETE CASCADE,
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    probes TEXT NOT NULL
) STRICT;
