-- name: add_account!
-- Add an account; changes nothing where the name is taken.
INSERT INTO accounts (name, created_at_ms) VALUES (:name, :created_at_ms)
ON CONFLICT (name) DO NOTHING;

-- name: accounts
-- Every account by name.
SELECT name, created_at_ms FROM accounts ORDER BY name LIMIT :limit;

-- name: add_person!
-- Add a person; changes nothing where the name is taken.
INSERT INTO people (name, scope, account, password_hash, created_at_ms)
VALUES (:name, :scope, :account, :password_hash, :created_at_ms)
ON CONFLICT (name) DO NOTHING;

-- name: people
-- Everybody by name.
SELECT name, scope, account, password_hash, created_at_ms FROM people ORDER BY name LIMIT :limit;

-- name: person
-- One person.
SELECT name, scope, account, password_hash, created_at_ms FROM people WHERE name = :name;

-- name: set_password!
-- Set a person's password.
UPDATE people SET password_hash = :password_hash WHERE name = :name;

-- name: end_other_sessions!
-- End a person's sessions but one.
DELETE FROM sessions WHERE person = :name AND hash <> :keep;

-- name: add_session!
-- Add a session.
INSERT INTO sessions (hash, person, created_at_ms, expires_at_ms, used_at_ms, bound)
VALUES (:hash, :person, :created_at_ms, :expires_at_ms, :used_at_ms, :bound);

-- name: session
-- A session that has not expired, and whose it is.
SELECT s.hash, s.person, s.created_at_ms, s.expires_at_ms, s.used_at_ms, s.bound,
       p.name, p.scope, p.account, p.password_hash, p.created_at_ms
FROM sessions AS s JOIN people AS p ON p.name = s.person
WHERE s.hash = :hash AND s.expires_at_ms > :now_ms;

-- name: note_session_use!
-- Note when a session was last used, never earlier than noted already.
UPDATE sessions SET used_at_ms = max(used_at_ms, :at_ms) WHERE hash = :hash;

-- name: end_session!
-- End a session.
DELETE FROM sessions WHERE hash = :hash;

-- name: add_link!
-- Add a one-time link.
INSERT INTO links (hash, person, created_at_ms, expires_at_ms)
VALUES (:hash, :person, :created_at_ms, :expires_at_ms);

-- name: use_link
-- Use a link up; returns nothing where it is used, expired or unknown.
UPDATE links SET used_at_ms = :now_ms
WHERE hash = :hash AND used_at_ms IS NULL AND expires_at_ms > :now_ms
RETURNING person;

-- name: attempts
-- Failures counted under one key.
SELECT failures, last_at_ms FROM attempts WHERE key = :key;

-- name: put_attempts!
-- Count failures under one key.
INSERT INTO attempts (key, failures, last_at_ms) VALUES (:key, :failures, :last_at_ms)
ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, last_at_ms = excluded.last_at_ms;

-- name: drop_attempts!
-- Forget the failures under one key.
DELETE FROM attempts WHERE key = :key;

-- name: purge_sessions!
-- Delete sessions that ended before a time.
DELETE FROM sessions WHERE expires_at_ms < :before_ms;

-- name: purge_links!
-- Delete links that ended before a time.
DELETE FROM links WHERE expires_at_ms < :before_ms;

-- name: purge_attempts!
-- Delete failures whose last one was before a time.
DELETE FROM attempts WHERE last_at_ms < :before_ms;
