-- Words of corrections with greater numbers are in tables of their own, `words_N`, one for each
-- 65,536 numbers, so that a search is never longer than one of those takes.

INSERT INTO numbers (name, value)
SELECT 'words_split', value FROM numbers WHERE name = 'correction';
