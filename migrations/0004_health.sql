-- feed.health(): does everything still hold that capture rests on?

-- One row per promise that the catalogues can break: what was checked, whether it holds, and what to do.
-- Cheap enough for every minute; `deep` also reads every tracked row. Reports, never repairs.
CREATE FUNCTION feed.health(deep boolean DEFAULT false)
RETURNS TABLE ("check" text, ok boolean, detail text, hint text) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE c feed.collection;
BEGIN
    RETURN QUERY SELECT 'sequence', q.fine, format('cache %s, cycle %s, max %s', q.seqcache, q.seqcycle, q.seqmax),
                        CASE WHEN NOT q.fine THEN 'ALTER SEQUENCE feed.vseq CACHE 1 NO CYCLE MAXVALUE 9007199254740991' END
                   FROM (SELECT *, seqcache = 1 AND NOT seqcycle AND seqmax = 9007199254740991 AS fine
                           FROM pg_sequence WHERE seqrelid = 'feed.vseq'::regclass) q;
    RETURN QUERY SELECT * FROM feed.health_of_settings();
    RETURN QUERY SELECT * FROM feed.health_of_subscriptions();
    FOR c IN SELECT * FROM feed.collection ORDER BY name LOOP
        RETURN QUERY SELECT * FROM feed.health_of_collection(c);
        RETURN QUERY SELECT * FROM feed.health_of_shards(c);
        IF deep AND EXISTS (SELECT FROM pg_class WHERE oid = c.relation) THEN
            RETURN QUERY SELECT * FROM feed.health_of_rows(c);
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION feed.health_of_settings()
RETURNS TABLE ("check" text, ok boolean, detail text, hint text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT 'replication role', count(*) = 0,
       coalesce(string_agg(coalesce('role ' || s.setrole::regrole, 'database ' || d.datname, 'every database'), ', ' ORDER BY s.setdatabase, s.setrole)
                || ' sets session_replication_role = replica', 'no role or database sets session_replication_role'),
       CASE WHEN count(*) > 0 THEN 'ALTER ROLE or DATABASE ... RESET session_replication_role: its writes are not captured' END
  FROM (SELECT setdatabase, nullif(setrole, 0) AS setrole FROM pg_db_role_setting
         WHERE 'session_replication_role=replica' = ANY (setconfig)) s
  LEFT JOIN pg_database d ON d.oid = s.setdatabase
 WHERE s.setdatabase = 0 OR d.datname = current_database()
$$;

CREATE FUNCTION feed.health_of_subscriptions()
RETURNS TABLE ("check" text, ok boolean, detail text, hint text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT 'subscriptions', count(*) = 0,
       coalesce('logical replication writes into ' || string_agg(DISTINCT s.srrelid::regclass::text, ', '), 'none writes into a tracked table'),
       CASE WHEN count(*) > 0 THEN 'Its changes are not captured. Drop the subscription, or write through the table.' END
  FROM pg_subscription_rel s
 WHERE s.srrelid IN (SELECT relation FROM feed.collection UNION SELECT relation FROM feed.shard_table)
$$;

CREATE FUNCTION feed.health_of_collection(c feed.collection)
RETURNS TABLE ("check" text, ok boolean, detail text, hint text) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = c.relation) THEN
        RETURN QUERY SELECT c.name || ': table', false, 'the table was dropped',
                            format('DELETE FROM feed.collection WHERE name = %L', c.name);
        RETURN;
    END IF;
    RETURN QUERY SELECT c.name || ': table', count(*) = 0, coalesce(string_agg(u.reason, '; '), 'fit to be tracked'), min(u.hint)
                   FROM feed.unfit(c.relation) u;
    RETURN QUERY SELECT c.name || ': triggers', count(*) = 0,
                        coalesce(string_agg(format('%s on %s is %s', f.name, f.relation, f.fault), '; '), 'all present and enabled'),
                        CASE WHEN count(*) > 0 THEN format('SELECT freshet.track(%L, %L); changes made meanwhile were not captured', c.relation, c.version_column) END
                   FROM feed.trigger_faults(c) f;
    RETURN QUERY SELECT c.name || ': version column', count(*) = 0,
                        coalesce(string_agg(format('%s of %s %s', c.version_column, v.relation, v.fault), '; '), 'bigint, not null, above 0'),
                        CASE WHEN count(*) > 0 THEN 'Restore the column: bigint NOT NULL CHECK (> 0), without a default.' END
                   FROM feed.version_faults(c) v;
END $$;

CREATE FUNCTION feed.version_faults(c feed.collection)
RETURNS TABLE (relation regclass, fault text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT r.relation, f.fault
  FROM (SELECT c.relation UNION SELECT s.relation FROM feed.shard_table s WHERE s.collection = c.name) r
  LEFT JOIN pg_attribute a ON a.attrelid = r.relation AND a.attname = c.version_column AND NOT a.attisdropped
 CROSS JOIN LATERAL (SELECT CASE
           WHEN a.attname IS NULL THEN 'is missing'
           WHEN a.atttypid <> 'bigint'::regtype THEN 'is not bigint'
           WHEN NOT a.attnotnull THEN 'may be null'
           WHEN a.atthasdef THEN 'has a default'
           WHEN NOT EXISTS (
               SELECT FROM pg_constraint k
                WHERE k.conrelid = r.relation AND k.contype = 'c' AND k.convalidated
                  AND pg_get_expr(k.conbin, k.conrelid) = format('(%I > 0)', c.version_column))
           THEN 'has no CHECK (> 0)' END) f (fault)
 WHERE f.fault IS NOT NULL
$$;

-- A collection without a modulus has never had a shard here: it is not in use, and no fault.
CREATE FUNCTION feed.health_of_shards(c feed.collection)
RETURNS TABLE ("check" text, ok boolean, detail text, hint text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT c.name || ': shards', count(f.fault) = 0,
       coalesce(string_agg(f.fault, '; ' ORDER BY f.shard), format('%s here, of %s', (SELECT count(*) FROM feed.shard_table t WHERE t.collection = c.name), coalesce(c.modulus::text, 'none yet'))),
       CASE WHEN count(f.fault) > 0 THEN 'feed.shard_state and the partitions must agree: freshet.create_shards, or finish the move' END
  FROM (SELECT coalesce(t.shard, s.shard) AS shard, CASE
           WHEN t.modulus <> m.modulus THEN format('%s has modulus %s, the database %s', t.relation, t.modulus, m.modulus)
           WHEN s.shard IS NULL THEN format('%s has no row in feed.shard_state', t.relation)
           WHEN t.shard IS NULL AND c.modulus IS NOT NULL AND s.state IN ('active', 'frozen') THEN format('shard %s is %s but has no partition', s.shard, s.state)
        END AS fault
          FROM feed.meta m
         CROSS JOIN (SELECT * FROM feed.shard_table WHERE collection = c.name) t
          FULL JOIN feed.shard_state s ON s.shard = t.shard) f
$$;

-- Reads the sequence after the rows, so that a write in between is not taken for a fault.
CREATE FUNCTION feed.health_of_rows(c feed.collection)
RETURNS TABLE ("check" text, ok boolean, detail text, hint text) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE highest bigint; last bigint;
BEGIN
    EXECUTE format('SELECT max(%I) FROM %s', c.version_column, c.relation) INTO highest;
    SELECT last_value INTO last FROM feed.vseq;
    RETURN QUERY SELECT c.name || ': rows', coalesce(highest <= last, true),
                        format('highest version %s, sequence at %s', coalesce(highest::text, 'none'), last),
                        CASE WHEN highest > last THEN format('SELECT setval(''feed.vseq'', %s), then a new gen: versions were given twice', highest + 1000) END;
END $$;
