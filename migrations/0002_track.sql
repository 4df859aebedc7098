-- freshet.track and freshet.create_shards: tables become collections.
--
-- Promise: after track() every committed INSERT, UPDATE and DELETE of a record, by any program and by
-- whatever table name, rises the record's version and writes one outbox row in its own transaction.
-- Not seen: logical replication's apply, session_replication_role = replica, ATTACH of a filled table,
-- and a transaction that sets synchronous_commit = off after its last write.
-- An application's own UPDATE triggers run as freshet_feed when a row is stamped again; those that
-- write elsewhere should be SECURITY DEFINER. A session that has written to all of 64 partitions
-- keeps 18 MB of functions and plans in the server, since PL/pgSQL compiles per trigger.

-- Reasons why a table can not be a collection, the most telling one first; no row when it can.
CREATE FUNCTION feed.unfit(relation regclass)
RETURNS TABLE (reason text, hint text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
WITH self AS (SELECT * FROM pg_class WHERE oid = relation),
family AS (
    SELECT oid FROM self
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN self s ON i.inhparent = s.oid AND s.relkind = 'p'
), pk AS (
    SELECT i.*, a.attname, a.atttypid, a.attcollation
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = i.indkey[0]
     WHERE i.indrelid = relation AND i.indisprimary
), found (n, reason, hint) AS (
    SELECT 1, 'it is not a table', 'Views, foreign tables and the like have no triggers that see every write.'
      FROM self WHERE relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT 2, 'it is a partition', 'Track its parent.' FROM self WHERE relispartition
    UNION ALL
    SELECT 3, 'it is temporary or unlogged', 'Its rows do not survive a crash. ALTER TABLE ... SET LOGGED first.'
      FROM family f JOIN pg_class c USING (oid) WHERE c.relpersistence <> 'p'
    UNION ALL
    SELECT 4, 'the database is not encoded in UTF8', 'Create the database with ENCODING UTF8; keys are routed by their UTF-8 bytes.'
     WHERE getdatabaseencoding() <> 'UTF8'
    UNION ALL
    SELECT 5, 'it takes part in inheritance', 'Use PARTITION BY HASH on the primary key, or a table of its own.'
      FROM self s JOIN pg_inherits i ON s.oid = i.inhrelid OR (s.oid = i.inhparent AND s.relkind = 'r')
     WHERE NOT s.relispartition
    UNION ALL
    SELECT 6, 'it has no primary key', 'Add a primary key of one column: text, uuid, smallint, integer or bigint.'
      FROM self WHERE relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pk)
    UNION ALL
    SELECT 7, 'its primary key has more than one column', 'Use one column; join the parts into a text key if need be.'
      FROM pk WHERE indnkeyatts > 1
    UNION ALL
    SELECT 8, 'its primary key is deferrable', 'Two rows could hold one key inside a transaction. Make it NOT DEFERRABLE.'
      FROM pk WHERE NOT indimmediate
    UNION ALL
    SELECT 9, format('its primary key column %I is of type %s', attname, format_type(atttypid, NULL)),
           'Use text, uuid, smallint, integer or bigint.'
      FROM pk WHERE atttypid <> ALL ('{text,uuid,int2,int4,int8}'::regtype[])
    UNION ALL
    SELECT 10, format('its primary key column %I has a nondeterministic collation', attname),
           'Keys that differ in bytes must differ. Give the column a deterministic collation such as "C".'
      FROM pk JOIN pg_collation c ON c.oid = attcollation WHERE NOT c.collisdeterministic
    UNION ALL
    SELECT 11, 'it is not partitioned by hash of its primary key alone', 'Use PARTITION BY HASH (primary key column).'
      FROM pg_partitioned_table t JOIN pg_opclass o ON o.oid = t.partclass[0]
     WHERE t.partrelid = relation
       AND (t.partstrat <> 'h' OR t.partnatts <> 1 OR t.partattrs[0] <> ALL (SELECT indkey[0] FROM pk)
            OR NOT o.opcdefault OR o.opcnamespace <> 'pg_catalog'::regnamespace)
    UNION ALL
    SELECT 12, format('its partition %s is not a plain table', f.oid::regclass), 'One partition, one logical shard: no partitions below it.'
      FROM family f JOIN pg_class c USING (oid) WHERE c.oid <> relation AND c.relkind <> 'r'
    UNION ALL
    SELECT 13, format('%s is UNIQUE without the primary key', i.indexrelid::regclass),
           'Each logical shard may live in another database, where no index sees them all. Drop it, or make its column the key.'
      FROM pg_index i JOIN family f ON f.oid = i.indrelid
     WHERE i.indisunique AND NOT i.indisprimary AND NOT EXISTS (
           SELECT FROM pg_attribute a JOIN pk ON a.attname = pk.attname
            WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
    UNION ALL
    SELECT 14, format('it has the exclusion constraint %I', conname), 'Each logical shard may live in another database. Drop it.'
      FROM pg_constraint JOIN family f ON f.oid = conrelid WHERE contype = 'x'
    UNION ALL
    SELECT 15, format('the foreign key %I ties it to another table', conname),
           'The other row may live in another database. Drop it and keep the reference in the application.'
      FROM pg_constraint JOIN family f ON f.oid IN (conrelid, confrelid) WHERE contype = 'f'
    UNION ALL
    SELECT 16, 'it has row level security', 'A new version could not be given to rows that a policy hides. Disable it.'
      FROM family f JOIN pg_class c USING (oid) WHERE c.relrowsecurity
    UNION ALL
    SELECT 17, 'its name is longer than 50 bytes', 'Partitions and functions are named after it. Rename it.'
      FROM self WHERE octet_length(relname) > 50
)
SELECT DISTINCT ON (n, found.reason) found.reason, found.hint FROM found ORDER BY n, found.reason
$$;

-- Gives `relation`'s function to freshet_feed where that role can be had; else the caller keeps it.
CREATE FUNCTION feed.hand_over(signature text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER FUNCTION %s OWNER TO freshet_feed', signature);
EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL;
END $$;

CREATE FUNCTION feed.refuse_truncate() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of % is refused: it would remove records without a change that anyone sees', TG_RELID::regclass
        USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE.';
END $$;

-- Writes the collection's four trigger functions. They are made for it, not shared, because PL/pgSQL
-- can not set a column of NEW by a name known only at run time without a detour through jsonb.
CREATE FUNCTION feed.define(c feed.collection) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $define$
DECLARE
    forget text := (SELECT coalesce(string_agg(format('OLD.%I := NULL; ', attname), ''), '')
                      FROM pg_attribute WHERE attrelid = c.relation AND attgenerated <> '' AND NOT attisdropped);
    durable text := $$
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);  -- others see the version: it must not be lost
    END IF;$$;
    head text := 'CREATE OR REPLACE FUNCTION feed.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
                 'SET search_path = pg_catalog, pg_temp AS %L';
BEGIN
    -- An UPDATE that changes nothing keeps its version; *= compares bytes, which json allows too.
    -- Generated columns are still NULL in NEW. Version 0 asks for a new version of an unchanged row.
    EXECUTE format(head, c.name || '_stamp', format($$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.%1$I <> OLD.%1$I THEN
            RAISE EXCEPTION 'the key of a record in %3$s can not change'
                USING ERRCODE = 'feature_not_supported', HINT = 'Delete the record and insert it under its new key.';
        END IF;
        IF NEW.%2$I IS DISTINCT FROM 0 THEN
            NEW.%2$I := OLD.%2$I;
            %4$sIF NEW *= OLD THEN RETURN NEW; END IF;
        END IF;
    END IF;
    NEW.%2$I := nextval('feed.vseq');
    RETURN NEW;
END $$, c.key_column, c.version_column, replace(replace(c.name, '%', '%%'), '''', ''''''), forget));

    -- An INSERT takes its version before it holds its key: it may have waited for a DELETE that took a
    -- later one. Then its rows are stamped again; only its own, as an old snapshot shows the deleted row
    -- too and an UPDATE of that one would fail. EXECUTE, because a plan cached for a bulk transition
    -- table made each later single INSERT of that session 45 times slower.
    EXECUTE format(head, c.name || '_inserted', format($$
DECLARE
    hidden boolean := current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
BEGIN%4$s
    IF NOT hidden AND ((SELECT max(version) FROM feed.tomb) > (SELECT min(%2$I) FROM n)) IS NOT TRUE THEN
        INSERT INTO feed.outbox (collection, key, version, op) SELECT %3$L, %1$I::text, %2$I, 'U' FROM n;
        RETURN NULL;
    END IF;
    EXECUTE format(%5$L, TG_RELID::regclass) USING hidden;  -- a tombstone may be hidden from an older snapshot
    RETURN NULL;
END $$, c.key_column, c.version_column, c.name, durable, format($$
        WITH again AS (
            UPDATE %%s t SET %2$I = 0 FROM n
             WHERE t.%1$I = n.%1$I AND t.%2$I = n.%2$I AND ($1 OR EXISTS (
                   SELECT FROM feed.tomb d
                    WHERE d.collection = %3$L AND d.key = n.%1$I::text AND d.version > n.%2$I))
            RETURNING t.%1$I)
        INSERT INTO feed.outbox (collection, key, version, op)
        SELECT %3$L, n.%1$I::text, n.%2$I, 'U' FROM n
         WHERE NOT EXISTS (SELECT FROM again a WHERE a.%1$I = n.%1$I)$$,
        c.key_column, c.version_column, replace(c.name, '%', '%%'))));

    -- EXCEPT and no join: its cost stays n log n whatever row count its cached plan was made for.
    EXECUTE format(head, c.name || '_updated', format($$
BEGIN%4$s
    INSERT INTO feed.outbox (collection, key, version, op)
    SELECT %3$L, c.key, c.version, 'U'
      FROM (SELECT %2$I, %1$I::text FROM n EXCEPT SELECT %2$I, %1$I::text FROM o) c (version, key);
    RETURN NULL;
END $$, c.key_column, c.version_column, c.name, durable));

    EXECUTE format(head, c.name || '_deleted', format($$
BEGIN%4$s
    WITH gone AS (
        INSERT INTO feed.tomb (version, collection, key)
        SELECT nextval('feed.vseq'), %3$L, %1$I::text FROM o RETURNING version, key)
    INSERT INTO feed.outbox (collection, key, version, op) SELECT %3$L, key, version, 'D' FROM gone;
    RETURN NULL;
END $$, c.key_column, c.version_column, c.name, durable));

    PERFORM feed.hand_over(format('feed.%I()', c.name || '_' || f))
       FROM unnest('{stamp,inserted,updated,deleted}'::text[]) f;
END $define$;

-- The triggers a table of a collection must have. The row trigger sorts last, after an application's own.
CREATE FUNCTION feed.triggers(c feed.collection)
RETURNS TABLE (name name, function text, definition text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT t.name, format('feed.%I', coalesce(c.name || t.suffix, 'refuse_truncate')), t.definition
  FROM (VALUES
    ('zz_freshet_stamp'::name, '_stamp', 'BEFORE INSERT OR UPDATE ON %s FOR EACH ROW'),
    ('freshet_inserted', '_inserted', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS n FOR EACH STATEMENT'),
    ('freshet_updated', '_updated', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT'),
    ('freshet_deleted', '_deleted', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS o FOR EACH STATEMENT'),
    ('freshet_truncated', NULL, 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT')) t (name, suffix, definition)
$$;

-- What is wrong with a trigger of a collection's tables: missing, disabled, or calling something else.
CREATE FUNCTION feed.trigger_faults(c feed.collection)
RETURNS TABLE (relation regclass, name name, fault text, definition text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT r.relation, t.name, f.fault, format(t.definition, r.relation) || format(' EXECUTE FUNCTION %s()', t.function)
  FROM (SELECT c.relation UNION SELECT s.relation FROM feed.shard_table s WHERE s.collection = c.name) r
 CROSS JOIN feed.triggers(c) t
  LEFT JOIN pg_trigger g ON g.tgrelid = r.relation AND g.tgname = t.name
 CROSS JOIN LATERAL (SELECT CASE
           WHEN g.oid IS NULL THEN 'missing'
           WHEN g.tgenabled = 'D' THEN 'disabled'
           WHEN g.tgenabled = 'R' THEN 'enabled for replica only'
           WHEN g.tgenabled = 'A' THEN 'enabled always'
           WHEN g.tgfoid IS DISTINCT FROM to_regproc(t.function) THEN 'calling another function' END) f (fault)
 WHERE f.fault IS NOT NULL
 ORDER BY r.relation = c.relation DESC, r.relation::text, t.name
$$;

-- Puts every missing or disabled trigger of the collection in place, and the rights they need.
-- Takes SHARE ROW EXCLUSIVE, for a moment, only on the tables that lack something.
CREATE FUNCTION feed.arm(c feed.collection) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE t record;
BEGIN
    FOR t IN SELECT * FROM feed.trigger_faults(c) LOOP
        -- A parent's row trigger has just come to its partitions by itself.
        IF EXISTS (SELECT FROM feed.trigger_faults(c) f WHERE (f.relation, f.name) = (t.relation, t.name)) THEN
            IF t.fault IN ('missing', 'calling another function') THEN
                EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', t.name, t.definition);
            END IF;
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', t.relation, t.name);
        END IF;
    END LOOP;
    IF to_regrole('freshet_feed') IS NULL THEN RETURN; END IF;
    FOR t IN SELECT r.relation, k.relnamespace::regnamespace AS schema
               FROM (SELECT c.relation UNION SELECT s.relation FROM feed.shard_table s WHERE s.collection = c.name) r
               JOIN pg_class k ON k.oid = r.relation LOOP
        CONTINUE WHEN has_column_privilege('freshet_feed', t.relation, c.version_column::text, 'UPDATE');
        IF NOT has_schema_privilege('freshet_feed', t.schema, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO freshet_feed', t.schema);
        END IF;
        EXECUTE format('GRANT SELECT (%1$I, %2$I), UPDATE (%2$I) ON %3$s TO freshet_feed', c.key_column, c.version_column, t.relation);
    END LOOP;
END $$;

-- Raises the first reason why a table can not be tracked.
CREATE FUNCTION feed.refuse(relation regclass, reason text, hint text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% can not be tracked: %', relation, reason
        USING ERRCODE = 'feature_not_supported', HINT = hint;
END $$;

-- Fixes the database's one modulus, or raises when it is another already. Holds feed.meta's row to the end.
CREATE FUNCTION feed.settle_modulus(wanted integer) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE settled integer;
BEGIN
    SELECT modulus INTO settled FROM feed.meta FOR UPDATE;
    IF settled <> wanted THEN
        RAISE EXCEPTION 'this database has % logical shards, not %', settled, wanted
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'All collections of a database share one number of shards. A plain table counts as one shard: partition it by hash, or give it a database of its own.';
    END IF;
    UPDATE feed.meta SET modulus = wanted WHERE modulus IS NULL AND wanted IS NOT NULL;
END $$;

-- Makes `relation` a collection named after it: adds the version column, arms the triggers and
-- registers it. A partitioned parent needs no partition yet; a plain table becomes shard 0 of 1.
--
-- Called again it repairs what is missing and keeps every version. The first call takes ACCESS
-- EXCLUSIVE and rewrites a table that has rows (about as long as VACUUM FULL), so that each row
-- has a version when the first reader comes; it waits at most 10 s for the lock, then fails: repeat it.
CREATE FUNCTION freshet.track(relation regclass, version_column name DEFAULT 'freshet_version')
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    c feed.collection;
    fault record;
BEGIN
    SELECT * INTO c FROM feed.collection k WHERE k.relation = track.relation;
    IF c.name IS NOT NULL AND c.version_column <> track.version_column THEN
        PERFORM feed.refuse(relation, format('it is tracked with the version column %I', c.version_column), 'Keep that column.');
    END IF;
    SELECT * INTO fault FROM feed.unfit(relation) LIMIT 1;
    IF FOUND THEN PERFORM feed.refuse(relation, fault.reason, fault.hint); END IF;
    IF c.name IS NULL THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
        c := feed.describe(relation, version_column);
        -- A default would be evaluated with the writer's rights, and hide a trigger that did not fire.
        EXECUTE format('ALTER TABLE %1$s ADD COLUMN %2$I bigint NOT NULL DEFAULT nextval(''feed.vseq'') CONSTRAINT %3$I CHECK (%2$I > 0)',
                       relation, version_column, left(version_column, 54) || '_positive');
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', relation, version_column);
        INSERT INTO feed.collection SELECT c.*;
    END IF;
    PERFORM feed.define(c);
    PERFORM feed.arm(c);
    INSERT INTO feed.shard_state (shard)
    SELECT s.shard FROM feed.shard_table s WHERE s.collection = c.name
    ON CONFLICT DO NOTHING;
END $$;

-- The row of feed.collection for a table not yet tracked, with the database's modulus settled by it.
CREATE FUNCTION feed.describe(relation regclass, version_column name) RETURNS feed.collection LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c feed.collection;
    moduli integer[];
    taken regclass;
BEGIN
    SELECT k.relname, k.oid, a.attname, t.typname, describe.version_column INTO c
      FROM pg_class k
      JOIN pg_index i ON i.indrelid = k.oid AND i.indisprimary
      JOIN pg_attribute a ON a.attrelid = k.oid AND a.attnum = i.indkey[0]
      JOIN pg_type t ON t.oid = a.atttypid
     WHERE k.oid = describe.relation;
    DELETE FROM feed.collection k WHERE NOT EXISTS (SELECT FROM pg_class t WHERE t.oid = k.relation);
    SELECT k.relation INTO taken FROM feed.collection k WHERE k.name = c.name;
    IF FOUND THEN
        PERFORM feed.refuse(relation, format('the collection %I is another table, %s', c.name, taken), 'Rename one of the tables.');
    END IF;
    IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = version_column) THEN
        PERFORM feed.refuse(relation, format('it has a column %I of its own', version_column),
                            'Name another: freshet.track(table, version_column => ...).');
    END IF;
    SELECT CASE k.relkind WHEN 'r' THEN '{1}' ELSE (
               SELECT array_agg(DISTINCT substring(pg_get_expr(p.relpartbound, p.oid) FROM 'modulus (\d+)')::integer)
                 FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhrelid WHERE i.inhparent = k.oid) END
      INTO moduli FROM pg_class k WHERE k.oid = relation;
    IF cardinality(moduli) > 1 THEN
        PERFORM feed.refuse(relation, 'its partitions differ in modulus', 'Give all partitions one modulus.');
    END IF;
    PERFORM feed.settle_modulus(moduli[1]);
    c.modulus := moduli[1];
    RETURN c;
END $$;

-- Creates the partitions of `collection` for the logical shards given, out of `modulus`, beside their
-- parent as <table>_NNN with its owner and grants. Returns how many were created; those that stand
-- already are armed again and not counted. Takes ACCESS EXCLUSIVE on the parent, for milliseconds each.
CREATE FUNCTION freshet.create_shards(collection text, modulus integer, shards integer[])
RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    c feed.collection;
    s integer;
    created integer := 0;
    wrong text;
BEGIN
    SELECT * INTO c FROM feed.collection k WHERE k.name = create_shards.collection;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no collection %', quote_ident(collection)
            USING ERRCODE = 'undefined_table', HINT = 'Call freshet.track(table) in a migration first.';
    END IF;
    SELECT string_agg(coalesce(x::text, 'NULL'), ', ') INTO wrong FROM unnest(shards) x WHERE (x >= 0 AND x < modulus) IS NOT TRUE;
    IF wrong IS NOT NULL OR shards IS NULL OR (modulus > 0) IS NOT TRUE THEN
        RAISE EXCEPTION 'shards % are not among the % of %', coalesce(wrong, 'NULL'), coalesce(modulus::text, 'NULL'), quote_ident(collection)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Shards count from 0 to the number of shards less 1.';
    END IF;
    PERFORM feed.settle_modulus(modulus);
    FOR s IN SELECT DISTINCT unnest(shards) ORDER BY 1 LOOP
        created := created + feed.create_shard(c, modulus, s);
    END LOOP;
    UPDATE feed.collection k SET modulus = create_shards.modulus WHERE k.name = c.name AND k.modulus IS NULL;
    PERFORM feed.arm(c);
    RETURN created;
END $$;

-- Creates one shard's partition unless it stands; returns how many it created.
CREATE FUNCTION feed.create_shard(c feed.collection, modulus integer, shard integer) RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent record;
    partition text;
    held text;
    g record;
BEGIN
    INSERT INTO feed.shard_state AS st (shard) VALUES (create_shard.shard) ON CONFLICT DO NOTHING;
    SELECT state INTO held FROM feed.shard_state st WHERE st.shard = create_shard.shard;
    IF EXISTS (SELECT FROM feed.shard_table t WHERE t.collection = c.name AND t.shard = create_shard.shard AND t.modulus = create_shard.modulus) THEN
        RETURN 0;
    ELSIF held <> 'active' THEN
        RAISE EXCEPTION 'shard % is % in this database', shard, held
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'A shard that left comes back only by a move.';
    END IF;
    SELECT n.nspname, k.relname, k.relowner, k.relacl INTO parent
      FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = c.relation;
    partition := format('%I.%I', parent.nspname, parent.relname || '_' || lpad(shard::text, greatest(3, length((modulus - 1)::text)), '0'));
    EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS %s, REMAINDER %s)', partition, c.relation, modulus, shard);
    IF parent.relowner <> current_user::regrole THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %s', partition, parent.relowner::regrole);
    END IF;
    FOR g IN SELECT privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee
               FROM aclexplode(parent.relacl) WHERE grantee <> parent.relowner LOOP
        EXECUTE format('GRANT %s ON %s TO %s', g.privilege_type, partition, g.grantee);
    END LOOP;
    RETURN 1;
END $$;
