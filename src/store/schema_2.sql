-- Schema 2.

-- Look-alikes. Where a plane stands in its acquisition: numbers as in series.rs, written when the plane is done.
ALTER TABLE plane ADD COLUMN field INTEGER;
ALTER TABLE plane ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plane ADD COLUMN series_t INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plane ADD COLUMN series_z INTEGER NOT NULL DEFAULT 0;
ALTER TABLE plane ADD COLUMN is_stacked INTEGER NOT NULL DEFAULT 0;
CREATE INDEX plane_by_series ON plane (field, lane, series_t, series_z) WHERE is_live = 1 AND field IS NOT NULL;

-- What two pixel digests are to each other, a < b: evidence of the pair in this direction.
CREATE TABLE edge (
    a BLOB NOT NULL, b BLOB NOT NULL,
    relation TEXT NOT NULL, confidence REAL NOT NULL,
    s REAL, r REAL, q REAL,
    -- where b lies in a, and where a lies in b: orientation, scale, shift_row_px, shift_column_px
    b_in_a TEXT, a_in_b TEXT,
    reason TEXT NOT NULL,
    -- of the method; 0 where an original could not be read
    version INTEGER NOT NULL,
    -- both digests have live planes, no pair of which is an expected repeat
    is_counted INTEGER NOT NULL DEFAULT 0,
    -- it stands as a flag in duplicates.jsonl
    is_told INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (a, b)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_by_b ON edge (b);

-- Digests in groups of mapped copies; star is the digest of the group's representative.
CREATE TABLE star_member (digest BLOB PRIMARY KEY, star BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX star_member_by_star ON star_member (star);

-- Consecutive planes of one series that hold one exposure.
CREATE TABLE stuck (
    first INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    second INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    PRIMARY KEY (first, second)
) STRICT, WITHOUT ROWID;
CREATE INDEX stuck_by_second ON stuck (second);
-- Registration: what is known of the planes that have nuclei to be matched by (their centroids are a feature of the
-- kind 'centroids'), and what came of every pair that was tried. The table of schema 1 was never written to.
CREATE TABLE registrable (
    plane_id INTEGER PRIMARY KEY REFERENCES plane (id) ON DELETE CASCADE,
    height INTEGER NOT NULL, width INTEGER NOT NULL,
    pixel_size_um REAL, magnification REAL,
    -- stage position of the centre of the plane
    x_um REAL, y_um REAL
) STRICT;
DROP TABLE registration;
CREATE TABLE registration (
    moving INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    reference INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    -- the pixels that were compared
    moving_digest BLOB NOT NULL, reference_digest BLOB NOT NULL,
    is_accepted INTEGER NOT NULL,
    -- the keys of the line in registrations.jsonl, without those of the planes
    result TEXT NOT NULL,
    PRIMARY KEY (moving, reference)
) STRICT, WITHOUT ROWID;
CREATE INDEX registration_by_reference ON registration (reference);
-- Growing containers: what a plane was read from (equal for equal bytes in an equal meaning; null where a file cannot
-- grow), and the bytes by which a file is known that only grew.
ALTER TABLE plane ADD COLUMN place INTEGER;
CREATE TABLE growth (
    file_id INTEGER PRIMARY KEY REFERENCES file (id) ON DELETE CASCADE,
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    probes TEXT NOT NULL,
    -- whether the container may grow even after it was found whole, as a TIFF does
    is_open_ended INTEGER NOT NULL,
    -- how large it was when it was finished: only if it is larger did it grow since; null while it is not finished
    finished_bytes INTEGER
) STRICT;
