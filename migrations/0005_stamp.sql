-- The row trigger without a search_path of its own, and an insert's look at the newest tombstone by the index.
--
-- Setting a path for each row took 1.5 to 3 us of the 8 us of a row's insert and the 16 us of its update. max(version),
-- planned while there was no tombstone, went on reading all of them. All else in feed.define is as in 0002. Takes no lock
-- on tables: their triggers call the new functions from the next write on.

CREATE OR REPLACE FUNCTION feed.define(c feed.collection) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $define$
DECLARE
    forget text := (SELECT coalesce(string_agg(format('OLD.%I := NULL; ', attname), ''), '')
                      FROM pg_attribute WHERE attrelid = c.relation AND attgenerated <> '' AND NOT attisdropped);
    durable text := $$
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'local', true);  -- others see the version: it must not be lost
    END IF;$$;
    each text := 'CREATE OR REPLACE FUNCTION feed.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS %L';
    head text := replace(each, ' AS %L', ' SET search_path = pg_catalog, pg_temp AS %L');
BEGIN
    -- An UPDATE that changes nothing keeps its version; *= compares bytes, which json allows too.
    -- Generated columns are still NULL in NEW. Version 0 asks for a new version of an unchanged row.
    -- This one runs for each row, and setting a search_path each time would cost more than all else that it does: every
    -- name in it is qualified instead, operators too, and nothing in it looks an operator up by itself, as IN does.
    EXECUTE format(each, c.name || '_stamp', format($$
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        IF NEW.%1$I OPERATOR(pg_catalog.<>) OLD.%1$I THEN
            RAISE EXCEPTION 'the key of a record in %3$s can not change'
                USING ERRCODE = 'feature_not_supported', HINT = 'Delete the record and insert it under its new key.';
        END IF;
        IF NEW.%2$I IS NULL OR NEW.%2$I OPERATOR(pg_catalog.<>) 0 THEN
            NEW.%2$I := OLD.%2$I;
            %4$sIF NEW OPERATOR(pg_catalog.*=) OLD THEN RETURN NEW; END IF;
        END IF;
    END IF;
    NEW.%2$I := pg_catalog.nextval('feed.vseq'::pg_catalog.regclass);
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
    IF NOT hidden AND ((SELECT version FROM feed.tomb ORDER BY version DESC LIMIT 1) > (SELECT min(%2$I) FROM n)) IS NOT TRUE THEN
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

SELECT feed.define(c) FROM feed.collection c;
