-- Schema 5. Wells: planes that were written down, replaced or forgotten since the transform of their well was last
-- fitted; numbers are never used twice.
CREATE TABLE well_due (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    plane_id INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX well_due_by_plane ON well_due (plane_id);
INSERT INTO well_due (plane_id) SELECT plane_id FROM registrable;
-- The transform of the fields of one well, as JSON; the key names which fields lie in which overviews.
CREATE TABLE well (key TEXT PRIMARY KEY, transform TEXT NOT NULL) STRICT, WITHOUT ROWID;
