//! What can not be tracked is refused with a reason and a way out.

use crate::harness;

/// Statements that make table `t`, what the refusal says, what its hint says.
const CASES: &[(&str, &str, &str)] = &[
    ("CREATE TABLE t (id integer)", "it has no primary key", "Add a primary key"),
    (
        "CREATE TABLE t (a integer, b integer, PRIMARY KEY (a, b))",
        "its primary key has more than one column",
        "text key",
    ),
    ("CREATE TABLE t (id integer PRIMARY KEY DEFERRABLE)", "its primary key is deferrable", "NOT DEFERRABLE"),
    ("CREATE TABLE t (id numeric PRIMARY KEY)", "its primary key column id is of type numeric", "Use text, uuid"),
    (
        "CREATE TABLE t (id varchar(9) PRIMARY KEY)",
        "its primary key column id is of type character varying",
        "Use text, uuid",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY, email text UNIQUE)",
        "public.t_email_key is UNIQUE without the primary key",
        "Drop it",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY, email text); CREATE UNIQUE INDEX lower_email ON t (lower(email))",
        "public.lower_email is UNIQUE without the primary key",
        "no index sees them all",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY, span int4range, EXCLUDE USING gist (span WITH &&))",
        "it has the exclusion constraint t_span_excl",
        "Drop it",
    ),
    (
        "CREATE TABLE o (id integer PRIMARY KEY); CREATE TABLE t (id integer PRIMARY KEY, o integer REFERENCES o)",
        "the foreign key t_o_fkey ties it to another table",
        "Drop it and keep the reference",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE o (t integer REFERENCES t)",
        "the foreign key o_t_fkey ties it to another table",
        "Drop it and keep the reference",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY, r integer) PARTITION BY RANGE (id)",
        "it is not partitioned by hash of its primary key alone",
        "Use PARTITION BY HASH",
    ),
    (
        "CREATE TABLE t (id text PRIMARY KEY) PARTITION BY HASH (id text_pattern_ops)",
        "it is not partitioned by hash of its primary key alone",
        "Use PARTITION BY HASH",
    ),
    (
        "CREATE TABLE t (id text PRIMARY KEY) PARTITION BY HASH (id); \
         CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0) PARTITION BY HASH (id)",
        "its partition public.t0 is not a plain table",
        "no partitions below",
    ),
    (
        "CREATE TABLE p (id text PRIMARY KEY) PARTITION BY HASH (id); \
         CREATE TABLE t PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "it is a partition",
        "Track its parent.",
    ),
    (
        "CREATE TABLE t (id text PRIMARY KEY) PARTITION BY HASH (id); \
         CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 4, REMAINDER 1)",
        "its partitions differ in modulus",
        "one modulus",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY, freshet_version text)",
        "it has a column freshet_version of its own",
        "Name another",
    ),
    ("CREATE UNLOGGED TABLE t (id integer PRIMARY KEY)", "it is temporary or unlogged", "SET LOGGED"),
    (
        "CREATE TABLE p (id integer); CREATE TABLE t (PRIMARY KEY (id)) INHERITS (p)",
        "it takes part in inheritance",
        "PARTITION BY HASH",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY); CREATE TABLE c () INHERITS (t)",
        "it takes part in inheritance",
        "PARTITION BY HASH",
    ),
    (
        "CREATE TABLE t (id integer PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "it has row level security",
        "Disable it",
    ),
    ("CREATE VIEW t AS SELECT 1 AS id", "it is not a table", "triggers"),
    (
        "CREATE EXTENSION IF NOT EXISTS file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
         CREATE FOREIGN TABLE t (id integer) SERVER files OPTIONS (filename '/dev/null')",
        "it is not a table",
        "foreign tables",
    ),
];

#[tokio::test]
async fn a_table_that_can_not_be_tracked_is_refused_with_reason_and_hint() {
    let database = harness::blank_database().await;
    for (make, reason, way_out) in CASES {
        // Statements sent as one are one transaction: the refusal takes the table back too.
        let (message, hint) = database.refusal(&format!("{make}; SELECT freshet.track('t')")).await;
        assert_eq!(message, format!("public.t can not be tracked: {reason}"), "{make}");
        assert!(hint.contains(way_out), "{make}: {hint}");
    }
}

#[tokio::test]
async fn a_key_whose_collation_equates_different_bytes_is_refused() {
    let database = harness::blank_database().await;
    let sql = "CREATE COLLATION dull (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
               CREATE TABLE t (id text COLLATE dull PRIMARY KEY); SELECT freshet.track('t')";
    let (message, hint) = database.refusal(sql).await;
    if message == "ICU is not supported in this build" {
        return; // Then there are no such collations either.
    }
    assert!(message.ends_with("its primary key column id has a nondeterministic collation"), "{message}");
    assert!(hint.contains("deterministic collation"), "{hint}");
}

#[tokio::test]
async fn a_temporary_table_is_refused() {
    let database = harness::blank_database().await;
    let sql = "CREATE TEMP TABLE t (id integer PRIMARY KEY); SELECT freshet.track('t')";
    let (message, _) = database.refusal(sql).await;
    assert!(message.ends_with("can not be tracked: it is temporary or unlogged"), "{message}");
}

#[tokio::test]
async fn a_name_too_long_for_its_partitions_is_refused() {
    let database = harness::blank_database().await;
    let name = "t".repeat(51);
    let sql = format!("CREATE TABLE {name} (id integer PRIMARY KEY); SELECT freshet.track('{name}')");
    let (message, _) = database.refusal(&sql).await;
    assert!(message.ends_with("its name is longer than 50 bytes"), "{message}");
}

#[tokio::test]
async fn two_tables_of_one_name_are_not_one_collection() {
    let database = harness::database().await;
    let sql = "CREATE SCHEMA other; CREATE TABLE other.products (id text PRIMARY KEY) PARTITION BY HASH (id); \
               SELECT freshet.track('other.products')";
    let (message, hint) = database.refusal(sql).await;
    assert_eq!(message, "other.products can not be tracked: the collection products is another table, public.products");
    assert_eq!(hint, "Rename one of the tables.");
}

#[tokio::test]
async fn a_plain_table_is_refused_beside_sharded_ones() {
    let database = harness::database().await;
    let sql = "CREATE TABLE t (id integer PRIMARY KEY); SELECT freshet.track('t')";
    let (message, hint) = database.refusal(sql).await;
    assert_eq!(message, "this database has 64 logical shards, not 1");
    assert!(hint.contains("plain table counts as one shard"), "{hint}");
}

#[tokio::test]
async fn a_refused_table_is_left_as_it_was() {
    let database = harness::blank_database().await;
    database.run("CREATE TABLE t (id integer PRIMARY KEY, email text UNIQUE)").await;
    database.refusal("SELECT freshet.track('t')").await;
    let traces = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass) \
                  + (SELECT count(*) FROM feed.collection WHERE name = 't') \
                  + (SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'freshet_version')";
    assert_eq!(database.value::<i64>(traces).await, 0);
}
