-- Schema 3. What an operator says of two pixel digests, a < b: it holds for every plane that has or will have them.
CREATE TABLE verdict (
    a BLOB NOT NULL, b BLOB NOT NULL,
    -- 'same' or 'not-duplicate'
    says TEXT NOT NULL,
    time TEXT NOT NULL,
    PRIMARY KEY (a, b)
) STRICT, WITHOUT ROWID;
CREATE INDEX verdict_by_b ON verdict (b);
