-- Which shards are here is read without a lock on any of them: pg_get_expr opens the relation it is given, and so waited for
-- whoever had locked one partition, while a bound names no column and needs none. Replacing the view locks the view alone,
-- for a moment.

CREATE OR REPLACE VIEW feed.shard_table (collection, shard, modulus, relation, schema_name, table_name) AS
SELECT c.name,
       coalesce(substring(b.bound FROM 'remainder (\d+)')::integer, 0),
       coalesce(substring(b.bound FROM 'modulus (\d+)')::integer, 1),
       t.oid::regclass, s.nspname, t.relname
  FROM feed.collection c
  JOIN pg_catalog.pg_class p ON p.oid = c.relation
  LEFT JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid AND NOT i.inhdetachpending
  JOIN pg_catalog.pg_class t ON t.oid = CASE p.relkind WHEN 'p' THEN i.inhrelid ELSE p.oid END
  JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace
 CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(t.relpartbound, 0)) b (bound);
