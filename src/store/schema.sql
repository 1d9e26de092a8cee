-- Schema 1. Times are RFC 3339 in UTC; paths are the bytes of the file system; states are the names in state.rs.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE root (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, path BLOB NOT NULL) STRICT;

-- One row per path. version moves on when something already reported under it turns out to be different.
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    root_id INTEGER NOT NULL REFERENCES root (id),
    folder BLOB NOT NULL,
    name BLOB NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    since TEXT NOT NULL,
    device INTEGER NOT NULL, inode INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    -- the stat above is not the one at which the planes were read
    is_stale INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 1,
    -- version and outcome (with the reason of a rejection) of the last line in files.jsonl; 0 for none
    reported_version INTEGER NOT NULL DEFAULT 0,
    reported_outcome TEXT NOT NULL DEFAULT '',
    claim INTEGER NOT NULL DEFAULT 0,
    claim_run TEXT NOT NULL DEFAULT '',
    -- since that claim, pixels of the file have been worked on
    is_begun INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    is_complete INTEGER NOT NULL DEFAULT 0,
    is_confirmed INTEGER NOT NULL DEFAULT 0,
    quality_rank INTEGER NOT NULL DEFAULT 0,
    -- equal for files that were found equal byte by byte
    byte_class INTEGER NOT NULL DEFAULT 0,
    n_planes INTEGER NOT NULL DEFAULT 0,
    n_todo INTEGER NOT NULL DEFAULT 0,
    n_rejected INTEGER NOT NULL DEFAULT 0,
    -- planes that the container names without samples: counted, not listed
    n_missing INTEGER NOT NULL DEFAULT 0,
    -- the object table holds the rows of planes done in claims up to this one
    tabled_claim INTEGER NOT NULL DEFAULT 0,
    format TEXT, plate TEXT, run TEXT, cycle TEXT, well TEXT, site TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    UNIQUE (root_id, folder, name)
) STRICT;
CREATE INDEX file_unsettled ON file (since) WHERE state NOT IN ('done', 'rejected');
CREATE INDEX file_by_byte_class ON file (byte_class);

CREATE TABLE file_event (
    id INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES file (id),
    time TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX file_event_by_file ON file_event (file_id);

CREATE TABLE plane (
    id INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES file (id),
    t INTEGER NOT NULL, p INTEGER NOT NULL, z INTEGER NOT NULL, c INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- version of the last line in planes.jsonl; 0 for none
    reported_version INTEGER NOT NULL DEFAULT 0,
    -- the results below, from the last time the plane was done or rejected, stand until the plane is done anew
    digest BLOB, blank TEXT, stage TEXT, reason TEXT,
    -- done, not blank, not superseded: stands in the groups
    is_live INTEGER NOT NULL DEFAULT 0,
    nuclei INTEGER,
    -- the claim in which these results were made
    claim INTEGER NOT NULL DEFAULT 0,
    -- not used any more
    is_reread INTEGER NOT NULL DEFAULT 0,
    plate TEXT, run TEXT, cycle TEXT, well TEXT, site TEXT, channel TEXT, t_known INTEGER, z_known INTEGER,
    figures TEXT NOT NULL DEFAULT '{}',
    UNIQUE (file_id, t, p, z, c)
) STRICT;
CREATE INDEX plane_by_digest ON plane (digest) WHERE is_live = 1;

CREATE TABLE feature (
    plane_id INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    kind TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (plane_id, kind)
) STRICT;

CREATE TABLE plane_attempt (
    id INTEGER PRIMARY KEY,
    plane_id INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    time TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX plane_attempt_by_plane ON plane_attempt (plane_id);

CREATE TABLE dup_group (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL, key BLOB NOT NULL,
    representative INTEGER NOT NULL REFERENCES plane (id),
    n_members INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX dup_group_by_representative ON dup_group (representative);

CREATE TABLE dup_member (
    group_id INTEGER NOT NULL REFERENCES dup_group (id) ON DELETE CASCADE,
    plane_id INTEGER NOT NULL REFERENCES plane (id),
    PRIMARY KEY (group_id, plane_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dup_member_by_plane ON dup_member (plane_id);

CREATE TABLE registration (
    id INTEGER PRIMARY KEY,
    moving INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    reference INTEGER NOT NULL REFERENCES plane (id) ON DELETE CASCADE,
    result TEXT NOT NULL
) STRICT;
CREATE INDEX registration_by_moving ON registration (moving);
CREATE INDEX registration_by_reference ON registration (reference);

-- Report lines not yet known to be in their files; last_seq counts them per stream.
CREATE TABLE outbox (
    stream TEXT NOT NULL, seq INTEGER NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (
    stream TEXT PRIMARY KEY,
    last_seq INTEGER NOT NULL, written_seq INTEGER NOT NULL, written_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO cursor VALUES
    ('files', 0, 0, 0), ('planes', 0, 0, 0), ('duplicates', 0, 0, 0), ('registrations', 0, 0, 0), ('alerts', 0, 0, 0);
