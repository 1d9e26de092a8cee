-- Which points of both fields are the same nucleus, as analysis::registration::pairs_to_bytes writes them; null where the
-- fields were refused, or registered by a version that did not keep it.
ALTER TABLE registration ADD COLUMN pairs BLOB;
