-- Rows by when they were received, which is what a purge goes by: their numbers do not follow the
-- clock where it was set back.

CREATE INDEX corrections_by_receipt ON corrections (received_ms, no);
CREATE INDEX events_by_receipt ON events (received_ms, no);
CREATE INDEX cut_hashes_by_correction ON cut_hashes (correction);
