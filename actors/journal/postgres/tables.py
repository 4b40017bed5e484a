"""The tables of a journal on PostgreSQL, and the function that appends to many streams at once."""

from __future__ import annotations

_TABLES = """
CREATE TABLE streams (
    key text COLLATE "C" PRIMARY KEY, owner text COLLATE "C" NOT NULL, model text NOT NULL, epoch bigint NOT NULL,
    created_at float8 NOT NULL, last_used_at float8 NOT NULL, expires_at float8,
    title text NOT NULL DEFAULT '', is_listed boolean NOT NULL DEFAULT true);
CREATE INDEX streams_by_expiry ON streams (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX streams_by_owner ON streams (owner, last_used_at);
CREATE TABLE records (
    key text COLLATE "C" NOT NULL, position bigint NOT NULL, record bytea NOT NULL, PRIMARY KEY (key, position));
CREATE TABLE entries (
    key text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, owner text COLLATE "C" NOT NULL,
    at float8 NOT NULL, state text COLLATE "C" NOT NULL, value bytea NOT NULL, PRIMARY KEY (key, name));
CREATE INDEX entries_by_time ON entries (owner, at, name);
CREATE INDEX entries_by_state ON entries (owner, state, at, name);
CREATE TABLE items (
    space text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, value bytea NOT NULL, PRIMARY KEY (space, name));
"""

_APPEND = """
CREATE FUNCTION append(
    keys text[], epochs bigint[], positions bigint[], counts integer[], records bytea[],
    expiries float8[], titles text[], models text[], listings boolean[], now float8,
    entry_of integer[], entry_names text[], entry_times float8[], entry_states text[], entry_values bytea[])
    RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    ends bigint[] := '{}';
    stop bigint;
    first integer := 1;
BEGIN
    FOR one IN 1 .. cardinality(keys) LOOP
        PERFORM 1 FROM streams WHERE key = keys[one] AND epoch = epochs[one] FOR UPDATE;
        IF NOT FOUND THEN
            stop := NULL;
        ELSE
            SELECT coalesce(max(position) + 1, 0) INTO stop FROM records AS r WHERE r.key = keys[one];
            IF positions[one] <= stop THEN
                UPDATE streams SET last_used_at = now, expires_at = expiries[one],
                    title = coalesce(titles[one], title), model = coalesce(models[one], model),
                    is_listed = coalesce(listings[one], is_listed)
                    WHERE key = keys[one];
                INSERT INTO records
                    SELECT keys[one], positions[one] + nth - 1, record
                    FROM unnest(append.records[first : first + counts[one] - 1]) WITH ORDINALITY AS new (record, nth)
                    WHERE positions[one] + nth - 1 >= stop;
                INSERT INTO entries
                    SELECT keys[one], new.name, s.owner, new.at, new.state, new.value
                    FROM unnest(entry_of, entry_names, entry_times, entry_states, entry_values)
                        AS new (nth, name, at, state, value), streams AS s
                    WHERE new.nth = one AND s.key = keys[one]
                    ON CONFLICT (key, name)
                        DO UPDATE SET at = excluded.at, state = excluded.state, value = excluded.value;
            END IF;
        END IF;
        ends := ends || stop;
        first := first + counts[one];
    END LOOP;
    RETURN ends;
END $$;
"""
"""Where each stream ended before, in the order of the keys; NULL where the epoch is not the stream's."""

MIGRATIONS = (_TABLES + _APPEND,)
"""Each brings the tables from one format to the next."""

APPEND = (
    "SELECT append($1::text[], $2::bigint[], $3::bigint[], $4::integer[], $5::bytea[],"
    " $6::float8[], $7::text[], $8::text[], $9::boolean[], $10::float8,"
    " $11::integer[], $12::text[], $13::float8[], $14::text[], $15::bytea[])"
)


def shown(title: str) -> str:
    """What lists show of a title: PostgreSQL's texts have no zeros."""
    return title.replace("\0", "\N{REPLACEMENT CHARACTER}")
