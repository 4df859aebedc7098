-- The change feed's own tables, in schema `feed`; what users call lives in schema `freshet` (0002).
--
-- Promise: every committed change of a tracked record has one row in feed.outbox, written by its own
-- transaction, and a version from feed.vseq that is above every earlier version of the same key.
-- Needs PostgreSQL 14 or newer and a UTF-8 database. Takes no lock on tables that stood before.

CREATE SCHEMA feed;
CREATE SCHEMA freshet;

-- CACHE 1: a session that kept numbers back would hand out an older version after a newer one.
-- The maximum is 2^53 - 1, so that a JSON number carries every version exactly.
CREATE SEQUENCE feed.vseq AS bigint MINVALUE 1 MAXVALUE 9007199254740991 CACHE 1 NO CYCLE;

-- One row. `modulus` is the number of logical shards, fixed by the first create_shards or track.
-- The identity is the server's that `gen` was last recorded for; NULL until a node recorded one.
CREATE TABLE feed.meta (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema_version    integer NOT NULL,
    modulus           integer CHECK (modulus > 0),
    system_identifier bigint,
    timeline          integer
);
INSERT INTO feed.meta (schema_version) VALUES (1);

CREATE TABLE feed.collection (
    name           text PRIMARY KEY,
    relation       regclass NOT NULL UNIQUE,
    key_column     name NOT NULL,
    key_kind       text NOT NULL CHECK (key_kind IN ('text', 'uuid', 'int2', 'int4', 'int8')),
    version_column name NOT NULL,
    modulus        integer CHECK (modulus > 0)  -- NULL while a partitioned table has no partition yet
);

CREATE TABLE feed.shard_state (
    shard integer PRIMARY KEY CHECK (shard >= 0),
    epoch bigint NOT NULL DEFAULT 1,
    gen   bigint NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'active'
          CHECK (state IN ('active', 'frozen', 'moved', 'incoming', 'aborted'))
);

-- op: U a row stands with this version, D it was deleted; s and o seal and open a moving shard.
CREATE TABLE feed.outbox (
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    collection text NOT NULL,
    key        text NOT NULL,
    version    bigint NOT NULL,
    op         "char" NOT NULL
);
CREATE INDEX outbox_xid ON feed.outbox (xid);

-- xid lets pruning ask whether a tombstone was visible at an old mark. Its version can not tell:
-- a delete may commit long after it took its version, with an INSERT waiting for its tombstone.
CREATE TABLE feed.tomb (
    version    bigint PRIMARY KEY,
    collection text NOT NULL,
    key        text NOT NULL,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX tomb_key ON feed.tomb (collection, key, version);

CREATE TABLE feed.mark (
    n    bigint PRIMARY KEY,
    term bigint NOT NULL,
    snap pg_snapshot NOT NULL,
    at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE feed.leader (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    term bigint NOT NULL
);
INSERT INTO feed.leader (term) VALUES (0);

CREATE TABLE feed.idempotency (
    collection  text,
    key         text,
    token       text,
    fingerprint text NOT NULL,
    gen         bigint NOT NULL,
    version     bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection, key, token)
);
CREATE INDEX idempotency_at ON feed.idempotency (at);

-- Rows come at the new end and go at the old one; without frequent vacuum the index keeps their graves.
ALTER TABLE feed.outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE feed.tomb SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE feed.mark SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE feed.idempotency SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- The tables that hold a collection's records here, one a logical shard. A plain table is shard 0 of 1.
CREATE VIEW feed.shard_table (collection, shard, modulus, relation, schema_name, table_name) AS
SELECT c.name,
       coalesce(substring(b.bound FROM 'remainder (\d+)')::integer, 0),
       coalesce(substring(b.bound FROM 'modulus (\d+)')::integer, 1),
       t.oid::regclass, s.nspname, t.relname
  FROM feed.collection c
  JOIN pg_catalog.pg_class p ON p.oid = c.relation
  LEFT JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid AND NOT i.inhdetachpending
  JOIN pg_catalog.pg_class t ON t.oid = CASE p.relkind WHEN 'p' THEN i.inhrelid ELSE p.oid END
  JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace
 CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(t.relpartbound, t.oid)) b (bound);

-- The trigger functions run as freshet_feed, which may do nothing but write the feed, so that neither
-- an application's role needs rights here nor a trigger has more rights than its work. The role is
-- shared by the cluster's databases. A migrating role that may not create roles owns them itself.
DO $$ BEGIN
    CREATE ROLE freshet_feed NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$;

DO $$ BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT freshet_feed TO %I', current_user);
    END IF;
EXCEPTION WHEN undefined_object OR insufficient_privilege THEN NULL;
END $$;

DO $$ BEGIN
    GRANT USAGE, CREATE ON SCHEMA feed TO freshet_feed;
    GRANT USAGE ON SEQUENCE feed.vseq TO freshet_feed;
    GRANT INSERT ON feed.outbox TO freshet_feed;
    GRANT SELECT, INSERT ON feed.tomb TO freshet_feed;
EXCEPTION WHEN undefined_object THEN NULL;
END $$;
