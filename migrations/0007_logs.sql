-- The condition of freshet_updated as one call. PostgreSQL reads a trigger's condition anew for each statement and
-- partition; as an expression of three calls that took 14 of the 65 us of a row's update, as one call it takes 3.
-- What it says is as before (0006). Takes SHARE ROW EXCLUSIVE on each tracked table and partition, for milliseconds, and
-- waits at most 10 s for each.

-- Whether the session logs this UPDATE itself: it says so, its role may, and the statement is no trigger's. Without a
-- search_path of its own, which would take longer than the rest, so each name is qualified. The outbox is given, because
-- most roles may look nothing up in its schema.
CREATE FUNCTION feed.logs_itself(outbox regclass) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN pg_catalog.current_setting('freshet.logs', true) OPERATOR(pg_catalog.=) 'updates'
       AND pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.=) 0
       AND pg_catalog.has_table_privilege(outbox, 'INSERT');
END $$;

CREATE OR REPLACE FUNCTION feed.triggers(c feed.collection)
RETURNS TABLE (name name, function text, definition text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
SELECT t.name, format('feed.%I', coalesce(c.name || t.suffix, 'refuse_truncate')), t.definition
  FROM (VALUES
    ('zz_freshet_stamp'::name, '_stamp', 'BEFORE INSERT OR UPDATE ON %s FOR EACH ROW'),
    ('freshet_inserted', '_inserted', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS n FOR EACH STATEMENT'),
    ('freshet_updated', '_updated', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT'
        ' WHEN (feed.logs_itself(''feed.outbox'') IS NOT TRUE)'),
    ('freshet_deleted', '_deleted', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS o FOR EACH STATEMENT'),
    ('freshet_truncated', NULL, 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT')) t (name, suffix, definition)
$$;

-- A trigger that stands keeps its old definition until it is replaced. A disabled one stays disabled.
DO $$
DECLARE t record;
BEGIN
    SET LOCAL lock_timeout = '10s';
    FOR t IN SELECT r.relation, g.definition, g.function, p.tgenabled
               FROM feed.collection c
              CROSS JOIN LATERAL (SELECT c.relation UNION SELECT s.relation FROM feed.shard_table s WHERE s.collection = c.name) r
              CROSS JOIN LATERAL feed.triggers(c) g
               JOIN pg_catalog.pg_trigger p ON p.tgrelid = r.relation AND p.tgname = g.name
              WHERE g.name = 'freshet_updated' LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER freshet_updated ' || t.definition || ' EXECUTE FUNCTION %s()', t.relation, t.function);
        IF t.tgenabled = 'D' THEN
            EXECUTE format('ALTER TABLE %s DISABLE TRIGGER freshet_updated', t.relation);
        END IF;
    END LOOP;
END $$;
