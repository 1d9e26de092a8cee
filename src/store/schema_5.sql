-- Schema 5. Wells of which a plane was written down, replaced, renamed or forgotten since their transform was last fitted,
-- by the names of their fields as JSON; numbers are never used twice.
CREATE TABLE well_due (id INTEGER PRIMARY KEY AUTOINCREMENT, lot TEXT NOT NULL) STRICT;
INSERT INTO well_due (lot) SELECT DISTINCT json_object('root', root.name, 'plate', plane.plate, 'run', plane.run,
    'cycle', plane.cycle, 'well', plane.well) FROM registrable JOIN plane ON plane.id = plane_id
    JOIN file ON file.id = file_id JOIN root ON root.id = root_id;
-- The transform of the fields of one well, as JSON; the key names which fields lie in which overviews.
CREATE TABLE well (key TEXT PRIMARY KEY, transform TEXT NOT NULL) STRICT, WITHOUT ROWID;
