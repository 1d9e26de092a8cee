-- Schema 2.

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
