//! What docs/results.md says beside its figures.

pub const START: &str = "# Results

Made by one command, which measures everything in one run and writes this page, [results.json](results.json) and the
plots:

    cargo bench --bench results

but for [its last part](#many-nodes-and-redis), which `cargo bench --bench nodes` makes.

";

pub const METHOD: &str = "\
**How.** Tables have 64 shards, the default, unless a line says otherwise. In the lines of *durable patches* and in the
table of the naive build everybody has both cores and the threads of the defaults. Elsewhere servers, PostgreSQL included,
have the first core, and Freshet one thread (default: one for each core); the client, `freshet bench` or `pgbench`, has the
second. Freshet and what it is compared with take turns, and a ratio is taken round by round: the table
gives its median, least and most. A round with one wrong answer counts for nothing and fails the run: every answer is
matched with its request, one in 64 is read in full, every subscriber must see rising states and end on the last one, and
orders made are counted in the database. The yardsticks are in [benches/limits](../benches/limits/mod.rs), the naive build
is in [benches/naive](../benches/naive/mod.rs), and all use the same records of about 600 bytes.

- *tuned axum echo*, *plain axum echo*: axum's WebSocket with a fixed answer, with and without batched flushes.
- *bare epoll loop*: one thread, no framework.
- *pgbench*: PostgreSQL's own, 16 connections where no number is given, against the same server with the same settings (its
  defaults: `fsync` and `synchronous_commit` are on). A *plain table* has the same columns and is neither partitioned nor
  tracked.
- *PostgreSQL alone*: pgbench with the same work in the same batches and no node
  ([benches/results/ceiling.rs](../benches/results/ceiling.rs)), on the tables' parents: over one connection where
  PostgreSQL has one core, over four where it has both.

";

pub const HEADLINE_START: &str = "\
## Freshet and a naive build

The same messages over the same WebSocket, 64 connections x 16 in flight, one PostgreSQL, every write durable before its
answer. The naive build has no cache, makes one query (or transaction) for each request, and flushes each answer. The
product query is over a real shop's 4,064 products, by Zipf's law in the order of their sales.

<!-- headline: begin -->
| | naive, per second | Freshet, per second | | asked for |
|---|---|---|---|---|
";

pub const HEADLINE_END: &str = "<!-- headline: end -->

![Times the naive build](results/headline.svg)

";

pub const GOALS: &str = "\
## Goals

| | Freshet | beside | measure (least to most) | asked for | reached | what limits it |
|---|---|---|---|---|---|---|
";

pub const BESIDE: &str = "
![Times the yardstick](results/goals.svg)

## Beside

| | Freshet | beside | ratio (least to most) |
|---|---|---|---|
";

pub const USAGE: &str = "
Shares of a core in the last round (a client near 1 is what limits, or close to it), and the processor time that the
server side, PostgreSQL included, took for one answer or delivered state, which hardly depends on who else was busy:

| | shares of a core | Freshet | yardstick |
|---|---|---|---|
";

pub const OFFERED: &str = "
## Fan-out, offered and delivered

Writes to one record at a fixed rate, watched by 1,000 connections. *Share* is the states a watcher got of those written:
below 1 a slow watcher skips states, in both servers, and ends on the last one. Both keep up to 64 states of a record for
watchers that wait for their turn, and write what has come meanwhile at once. *Each* is the server's processor time for a
state delivered.

| writes/s offered | Freshet, states/s | share | each | tuned axum broadcast, states/s | share | each |
|---|---|---|---|---|---|---|
";

pub const COLD: &str = "
![States delivered by states offered](results/fan-out.svg)

## Cold start

![Gets a second after a cold start](results/cold-start.svg)
";

/// What `cargo bench --bench nodes` measures, until it has.
pub const NODES: &str = "
## Many nodes and Redis

<!-- nodes: begin -->
Not measured yet: `cargo bench --bench nodes -- --write`.
<!-- nodes: end -->
";
