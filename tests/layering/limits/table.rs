//! The limits by section, and the keys of the configuration that are none.

use self::{
    Kind::{Bytes, Count, Time},
    Limit::{Constant, Setting},
};

/// A limit, and the tests that show it, each as its file and name.
pub enum Limit {
    /// A key of the configuration.
    Setting(&'static str, &'static str, Tests),
    /// What it limits, the file and name of a constant, and what that counts.
    Constant(&'static str, (&'static str, &'static str, Kind), &'static str, Tests),
}

pub type Tests = &'static [(&'static str, &'static str)];

/// What a constant counts.
#[derive(Clone, Copy)]
pub enum Kind {
    Bytes,
    Count,
    Time,
}

/// Sections of the page: title, introduction, limits.
pub const SECTIONS: &[(&str, &str, &[Limit])] = &[
    (
        "A message or request",
        "A request beyond one of these is refused by itself; the connection stays, but where the table says otherwise.",
        &[
            Setting(
                "session.message_max",
                "the WebSocket is closed with 1009",
                &[("tests/it/breaches.rs", "each_breach_has_its_close_code_and_harms_no_other_connection")],
            ),
            Setting(
                "session.batch_max",
                "`too_large`, reason `batch`: nothing of the batch is carried out",
                &[("tests/it/bad_input.rs", "batches_are_limited_and_bad_members_are_answered_one_by_one")],
            ),
            Setting(
                "gateway.body_max",
                "413, `too_large`",
                &[("src/gateway/tests/records.rs", "bodies_that_are_no_value_are_named")],
            ),
            Constant(
                "the head of an HTTP request",
                ("src/gateway/listener.rs", "HEAD_BYTES_MAX", Bytes),
                "431, and the connection is closed",
                &[("src/gateway/tests/edge.rs", "a_head_that_is_too_large_is_refused")],
            ),
            Setting(
                "gateway.header_limit",
                "the connection is closed",
                &[("src/gateway/tests/edge.rs", "slow_headers_and_slow_bodies_time_out")],
            ),
            Setting(
                "gateway.body_limit",
                "408, `body_timeout`",
                &[("src/gateway/tests/edge.rs", "slow_headers_and_slow_bodies_time_out")],
            ),
            Constant(
                "a key",
                ("wire/src/record/key.rs", "KEY_BYTES_MAX", Bytes),
                "`invalid_key`",
                &[("tests/it/bad_input.rs", "hostile_keys_are_refused_or_opaque")],
            ),
            Setting(
                "service.value_max",
                "`too_large`: nothing is written. SQL may write more",
                &[("tests/it/bad_input.rs", "a_value_over_the_limit_is_too_large_and_one_below_fits")],
            ),
            Constant(
                "levels of a value",
                ("wire/src/protocol/methods/write.rs", "VALUE_DEPTH_MAX", Count),
                "`invalid_value`",
                &[("tests/it/bad_input.rs", "deep_nesting_is_refused_and_harms_nobody")],
            ),
            Constant(
                "an idempotency key",
                ("wire/src/protocol/methods/write.rs", "IDEMPOTENCY_KEY_BYTES_MAX", Bytes),
                "`invalid_params`",
                &[("wire/src/protocol/methods/write.rs", "refusals_name_the_parameter")],
            ),
            Setting(
                "service.keys_max",
                "`too_large`; of `get_many`, `freshness` and the page of a list",
                &[("tests/it/bad_input.rs", "get_many_beyond_its_limit_is_too_large")],
            ),
            Constant(
                "keys of an event stream",
                ("src/gateway/rest/events.rs", "KEYS_MAX", Count),
                "413, `too_large`",
                &[("src/gateway/tests/events.rs", "a_stream_of_too_many_keys_is_refused")],
            ),
            Constant(
                "records of a page of a list",
                ("src/service/list.rs", "BYTES_MAX", Bytes),
                "the page ends earlier, and its cursor goes on",
                &[(
                    "tests/it/list/paging.rs",
                    "a_page_of_large_records_ends_before_it_is_too_large_and_the_list_goes_on",
                )],
            ),
            Setting(
                "service.answer_max",
                "`too_large`, reason `answer`; of a batch, for what no longer fits. A write is answered without its value",
                &[("tests/it/large_answers.rs", "answers_beyond_the_limit_are_refused_and_those_within_it_come_whole")],
            ),
            Setting(
                "service.deadline",
                "`deadline`: a write did not happen",
                &[
                    ("tests/it/held_rows.rs", "a_held_row_ends_its_write_by_the_deadline_and_delays_no_other"),
                    (
                        "tests/it/locked_reads.rs",
                        "a_read_of_a_locked_table_ends_by_its_deadline_and_holds_no_connection_of_others",
                    ),
                ],
            ),
        ],
    ),
    (
        "A connection",
        "What one client may make a node hold. Others do not notice it.",
        &[
            Setting(
                "session.requests_max",
                "the node reads no more from it until some are answered",
                &[("tests/it/sessions.rs", "requests_of_one_read_are_begun_up_to_the_limit_only")],
            ),
            Setting(
                "session.subscriptions_max",
                "`too_large`, reason `subscriptions`",
                &[("tests/it/bad_input.rs", "a_socket_watches_as_many_keys_as_allowed_and_says_so_beyond")],
            ),
            Setting(
                "session.unsent_max",
                "its requests wait; changes mark its keys and go out as the latest state",
                &[
                    ("tests/it/sessions.rs", "reading_pauses_while_answers_are_not_read_and_goes_on_later"),
                    ("tests/it/slow_readers.rs", "stuck_readers_are_cheap_and_their_neighbour_sees_every_state"),
                ],
            ),
            Setting(
                "session.send_limit",
                "the connection is cut, if more than 32 KiB wait",
                &[("tests/it/large_answers.rs", "when_large_answers_hold_all_they_may_small_ones_still_come")],
            ),
            Setting(
                "gateway.send_limit",
                "the HTTP connection is closed",
                &[("tests/it/large_answers.rs", "http_clients_that_do_not_read_are_let_go")],
            ),
            Setting(
                "session.heartbeat_interval",
                "a silent client is pinged",
                &[("tests/it/breaches.rs", "a_silent_client_is_pinged_and_then_closed_with_4408")],
            ),
            Setting(
                "session.heartbeat_timeout",
                "the ping is missed",
                &[("tests/it/breaches.rs", "a_silent_client_is_pinged_and_then_closed_with_4408")],
            ),
            Setting(
                "session.heartbeat_failures",
                "so many missed pings in a row close it with 4408",
                &[("tests/it/breaches.rs", "a_client_that_answers_pings_stays")],
            ),
            Setting(
                "session.reconnect_spread",
                "a drained client comes back at a moment drawn within it",
                &[("tests/it/drain.rs", "the_rust_client_moves_to_the_next_node_and_never_steps_back")],
            ),
        ],
    ),
    (
        "A node",
        "",
        &[
            Setting(
                "session.connections_max",
                "503 with `Retry-After: 2`, for a WebSocket",
                &[("src/gateway/tests/upgrade.rs", "a_full_or_leaving_node_says_when_to_come_back")],
            ),
            Setting(
                "gateway.connections_max",
                "503 with `Retry-After: 1`, and the socket is closed. The operations listener counts its own",
                &[("src/gateway/tests/edge.rs", "a_connection_above_the_limit_is_told_so")],
            ),
            Setting(
                "service.answers_max",
                "`overloaded` for answers above 32 KiB; small ones still come",
                &[("tests/it/large_answers.rs", "when_large_answers_hold_all_they_may_small_ones_still_come")],
            ),
            Constant(
                "lists at once",
                ("src/service/list.rs", "RUNNING_MAX", Count),
                "the next one waits",
                &[("src/service/list.rs", "lists_wait_for_two_and_those_beyond_are_refused_at_once")],
            ),
            Constant(
                "lists that wait",
                ("src/service/list.rs", "WAITING_MAX", Count),
                "`overloaded`",
                &[(
                    "tests/it/list/bystanders.rs",
                    "lists_that_wait_for_a_locked_table_cost_others_nothing_and_one_too_many_is_refused",
                )],
            ),
            Setting(
                "tiers.local.capacity",
                "the least recently used records leave L1",
                &[("src/tiers/local.rs", "memory_stays_within_its_bound")],
            ),
            Setting(
                "tiers.local.ttl",
                "the record is read anew",
                &[("src/tiers/thread_cache.rs", "an_entry_is_not_used_past_its_lifetime")],
            ),
            Setting(
                "tiers.local.absent_ttl",
                "the absence is looked up anew",
                &[("tests/it/coherence.rs", "a_late_fill_is_neither_served_nor_kept_after_a_newer_state")],
            ),
            Setting(
                "tiers.window",
                "a read that was under way for so many marks is refused and repeated",
                &[("src/tiers/floors.rs", "a_read_older_than_the_window_is_refused_even_where_no_floor_is_left")],
            ),
            Setting(
                "tiers.floors_max",
                "the window becomes shorter",
                &[(
                    "tests/it/feed/marks.rs",
                    "the_memory_of_floors_is_bounded_and_reads_are_answered_though_no_mark_is_written",
                )],
            ),
            Setting(
                "tiers.filter.false_positive_rate",
                "so many requests for absent keys still reach the database",
                &[("tests/it/filter.rs", "absent_keys_reach_the_store_no_more_than_the_target_rate")],
            ),
            Setting(
                "tiers.freshness.fresh",
                "answers carry `stale_ms`, and watchers are told",
                &[(
                    "tests/it/freshness.rs",
                    "watchers_of_a_silent_database_are_told_once_with_the_age_and_once_when_it_is_proven_again",
                )],
            ),
            Setting(
                "tiers.freshness.usable",
                "the database is asked before what is cached is used",
                &[("tests/it/outage.rs", "a_database_that_says_nothing_is_survived")],
            ),
            Setting(
                "tiers.freshness.stale_max",
                "`unavailable` in place of what is cached; `max_stale_ms` of a request wins",
                &[("tests/it/outage.rs", "what_is_older_than_may_be_served_is_refused_unless_more_is_asked_for")],
            ),
            Setting(
                "tiers.audit.share",
                "further reads are not compared",
                &[("src/tiers/audit/sampling.rs", "about_the_share_is_picked")],
            ),
            Setting(
                "tiers.audit.per_second_max",
                "further samples are dropped",
                &[("tests/it/coherence.rs", "no_more_records_are_audited_in_a_second_than_allowed")],
            ),
        ],
    ),
    (
        "A database",
        "For each `[[database]]`, on each node.",
        &[
            Setting(
                "database.connect_limit",
                "what waits for the connection is answered `unavailable`",
                &[("tests/it/outage.rs", "a_connection_that_cannot_be_had_in_time_is_given_up")],
            ),
            Setting(
                "database.statement_limit",
                "the server cancels the statement; a long poll of the feed goes on page by page",
                &[(
                    "tests/it/feed/backlog.rs",
                    "a_poll_that_takes_longer_than_a_statement_may_neither_stops_the_feed_nor_delays_others",
                )],
            ),
            Setting(
                "database.read_connections",
                "reads wait, to their deadline; one collection has two thirds at most",
                &[("tests/it/locked_reads.rs", "slow_reads_of_one_collection_leave_connections_to_the_others")],
            ),
            Setting(
                "database.write_lanes",
                "further writes wait for the next group",
                &[("tests/it/group_commit.rs", "the_oldest_write_of_a_lane_always_goes_in_its_next_group")],
            ),
            Setting(
                "database.write_connections",
                "held keys wait together, on fewer connections by one",
                &[("tests/it/held_rows.rs", "writes_of_one_held_row_leave_connections_for_another")],
            ),
            Constant(
                "writes that wait",
                ("src/store/postgres/write/mod.rs", "QUEUE_LEN_MAX", Count),
                "`overloaded`, besides those in groups: nothing was done",
                &[("tests/it/group_commit.rs", "writes_beyond_the_queue_are_refused_and_those_in_it_are_made")],
            ),
            Constant(
                "writes of held rows",
                ("src/store/postgres/write/wait_queues.rs", "HELD_MAX", Count),
                "`overloaded`: nothing was done",
                &[("tests/it/write_path/held.rs", "held_writes_beyond_the_bound_are_refused_and_no_others")],
            ),
            Constant(
                "silence of a database",
                ("src/store/postgres/breaker.rs", "SILENCE", Time),
                "`unavailable` at once, and a request every 250 ms finds out",
                &[(
                    "tests/it/silent_database.rs",
                    "requests_for_a_silent_database_do_not_keep_those_behind_them_waiting",
                )],
            ),
            Constant(
                "silence of a replica",
                ("src/store/postgres/read/replica.rs", "LIMIT", Time),
                "the primary is asked",
                &[("tests/it/replicas/away.rs", "a_replica_that_is_killed_or_stopped_costs_no_answer")],
            ),
            Setting(
                "database.replica_lag_max",
                "the replica is asked nothing until it has caught up",
                &[(
                    "tests/it/replicas/reads.rs",
                    "a_replica_that_falls_too_far_behind_is_asked_again_when_it_has_caught_up",
                )],
            ),
            Setting(
                "database.retention",
                "marks, outbox and tombstones are deleted; a node that was away for longer reads everything anew",
                &[
                    ("tests/it/feed/prune.rs", "what_is_past_the_retention_goes_but_the_newest_mark"),
                    ("tests/it/feed/resync.rs", "a_node_that_slept_past_the_retention_reads_every_watched_key_anew"),
                ],
            ),
            Setting(
                "database.idempotency_retention",
                "a write under that key is a new one",
                &[("tests/it/feed/prune.rs", "an_idempotency_key_past_its_retention_is_a_new_one")],
            ),
        ],
    ),
    (
        "Redis",
        "For each node, if `[redis]` is there.",
        &[
            Setting(
                "redis.limit",
                "the operation is given up and the database asked; after five, Redis is not asked for a while",
                &[(
                    "tests/it/shared_cache/faults.rs",
                    "a_redis_that_says_nothing_costs_readers_little_and_is_used_again",
                )],
            ),
            Setting(
                "redis.value_max",
                "the value is not put there",
                &[("tests/it/shared_cache/reads.rs", "a_value_beyond_its_limit_is_not_put_into_redis")],
            ),
            Setting(
                "redis.ttl",
                "the record leaves Redis; a tenth earlier at most",
                &[("tests/it/shared_cache/reads.rs", "records_and_absences_leave_redis_within_their_lifetimes")],
            ),
            Setting(
                "redis.absent_ttl",
                "the absence leaves Redis",
                &[("tests/it/shared_cache/reads.rs", "records_and_absences_leave_redis_within_their_lifetimes")],
            ),
            Constant(
                "`redis.slices`",
                ("src/shared/config.rs", "SLICES_MAX", Count),
                "the configuration is refused",
                &[("src/config.rs", "a_redis_that_cannot_be_used_is_refused_with_the_key_and_the_cure")],
            ),
            Constant(
                "entries of a stream of changes",
                ("src/shared/scripts.rs", "STREAM_ENTRIES", Count),
                "the oldest go; readers look again at what they hold",
                &[("tests/it/shared_cache/stream.rs", "a_worker_is_told_where_changes_may_be_missing")],
            ),
        ],
    ),
    (
        "Commands",
        "",
        &[
            Constant(
                "a line of JSON that `load` reads",
                ("src/cli/lines.rs", "LINE_BYTES_MAX", Bytes),
                "the row is rejected, and the next one read",
                &[("src/cli/lines.rs", "a_line_beyond_the_limit_is_skipped_whole")],
            ),
            Constant(
                "unsettled rows that `load` notes",
                ("src/cli/load/book.rs", "AHEAD_MAX", Count),
                "it waits for the oldest",
                &[("src/cli/load/book.rs", "rows_count_only_when_all_before_them_are_settled")],
            ),
        ],
    ),
];

/// Keys of the configuration that hold a number and limit nothing.
pub const NO_LIMITS: &[&str] = &[
    "shards",                               // how collections are divided
    "gateway.listen",                       // an address
    "gateway.operations",                   // an address
    "gateway.cache.max_age",                // what HTTP caches are told
    "gateway.cache.stale_while_revalidate", // the same
    "gateway.cache.stale_if_error",         // the same
    "tiers.filter.keys_min",                // the least room that is made
    "tiers.filter.headroom",                // the room that is made
    "redis.switches.shadow",                // how much is compared
];
