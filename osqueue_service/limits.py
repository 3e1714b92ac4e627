"""Every limit of the queue, by name, with its default and the error it answers with.

`docs/limits.md` is this table for readers; a test keeps the two alike. A value may be
lowered or raised where a broker is built; what is already stored is never refused for
a limit that shrank.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one queue. `_ms` are milliseconds, `_bytes` bytes, `_chars` characters."""

    # One job. Beyond: INVALID_REQUEST naming the field, PAYLOAD_TOO_LARGE for bytes.
    payload_bytes: int = 1 * MIB
    result_bytes: int = 1 * MIB
    type_chars: int = 128
    id_chars: int = 128
    metadata_bytes: int = 8 * KIB
    error_type_bytes: int = 256
    error_message_bytes: int = 8 * KIB
    progress_message_bytes: int = 1 * KIB
    priority_max: int = 1_000
    max_attempts: int = 1_000
    lease_ms_min: int = 100
    lease_ms_max: int = 12 * HOUR_MS
    timeout_ms_max: int = 7 * DAY_MS
    delay_ms_max: int = 365 * DAY_MS
    retention_ms_max: int = 30 * DAY_MS
    retry_multiplier_max: int = 1_000
    job_limits: int = 4
    limit_key_bytes: int = 128
    limit_cost_max: int = 1_000_000_000
    unique_key_chars: int = 128
    sequence_key_chars: int = 128
    fairness_key_bytes: int = 64
    fairness_weight_max: int = 1_000
    unique_ttl_ms_max: int = 365 * DAY_MS
    unique_wait_ms_max: int = 3_650 * DAY_MS

    # One schedule. Beyond: INVALID_REQUEST naming the field.
    cron_chars: int = 256
    every_ms_min: int = 1 * SECOND_MS
    every_ms_max: int = 365 * DAY_MS
    jitter_ms_max: int = 1 * HOUR_MS
    catchup_window_ms_min: int = 1 * MINUTE_MS
    catchup_window_ms_max: int = 365 * DAY_MS
    max_fires: int = 1_000_000_000
    pause_after_dead: int = 1_000

    # What one schedule does by itself. Beyond: counted as dropped or missed.
    buffered_firings: int = 100
    caught_up_firings: int = 100
    late_firing_ms: int = 1 * MINUTE_MS
    firing_retry_ms: int = 5 * SECOND_MS

    # One call. Beyond: INVALID_REQUEST, except wait_ms, which is cut to the cap and answers empty.
    batch_items: int = 1_000
    follow_ups: int = 100
    workflow_nodes: int = 1_000
    workflow_needs: int = 10_000
    inputs_bytes: int = 1 * MIB
    batch_depth: int = 8
    seal_after_ms_max: int = 30 * DAY_MS
    claim_types: int = 128
    filter_labels: int = 8
    reason_bytes: int = 1 * KIB
    limit_types: int = 100
    limit_period_ms_max: int = 1 * DAY_MS
    limit_debt_ms_max: int = 1 * DAY_MS
    wait_ms_max: int = 60 * SECOND_MS
    message_bytes: int = 4 * MIB
    message_ms: int = 30 * SECOND_MS
    page_items: int = 1_000
    page_bytes: int = 3 * MIB
    page_candidates: int = 10_000
    backfill_jobs: int = 1_000
    preview_times: int = 100

    # The queue. Beyond: QUEUE_FULL.
    jobs: int = 2_000_000
    bytes: int = 4 * GIB
    workflows: int = 100_000
    batches: int = 10_000
    batch_members: int = 1_000_000
    pinned_bytes: int = 256 * MIB
    reserve_jobs: int = 100_000
    reserve_bytes: int = 256 * MIB
    idempotency_keys: int = 1_000_000
    unique_keys: int = 1_000_000
    held_dead: int = 100_000
    held_dead_bytes: int = 256 * MIB
    paused_types: int = 10_000
    schedules: int = 100_000
    schedules_bytes: int = 64 * MIB
    named_limits: int = 1_000
    limit_overrides: int = 10_000
    fairness_weights: int = 10_000

    # What is remembered. Beyond: the oldest is forgotten and counted.
    request_ids: int = 1_000_000
    settled_tokens: int = 1_000_000
    history_attempts: int = 20
    history_bytes: int = 256 * MIB
    outcome_jobs: int = 10_000
    outcome_bytes: int = 16 * MIB
    history_firings: int = 10
    finished_jobs: int = 100_000
    finished_bytes: int = 64 * MIB
    dead_jobs: int = 100_000
    dead_bytes: int = 256 * MIB

    # Explicit `retention_ms` is a promise. Beyond: QUEUE_FULL for the next job that asks for one.
    promised_jobs: int = 100_000
    promised_bytes: int = 64 * MIB

    # What accepted promises may come to. Beyond: the one that would leave next is evicted and counted.
    kept_promises_bytes: int = 1 * GIB

    # The broker. Beyond: TOO_MANY_REQUESTS.
    inbox_commands: int = 50_000
    inbox_bytes: int = 256 * MIB
    waiting_claims: int = 20_000
    waiting_reads: int = 20_000
    work_streams: int = 10_000
    work_slots: int = 10_000
    watchers: int = 1_000
    watch_events: int = 10_000
    health_watches: int = 1_000
    scaler_streams: int = 1_000
    calls: int = 100_000
    connection_calls: int = 20_000
    workers: int = 100_000
    worker_types: int = 1_000_000
    metric_types: int = 200
    metric_limits: int = 200
    standbys: int = 100
    open_queues: int = 1_000
    idle_queue_ms: int = 5 * MINUTE_MS
    sweep_jobs: int = 250
    commit_bytes: int = 8 * MIB

    # Defaults of a job that does not say otherwise.
    default_max_attempts: int = 3
    default_timeout_ms: int = 0
    default_lease_ms: int = 30 * SECOND_MS
    default_retention_ms: int = 1 * HOUR_MS
    dead_retention_ms: int = 14 * DAY_MS
    idempotency_ttl_ms: int = 24 * HOUR_MS
    request_ttl_ms: int = 10 * MINUTE_MS
    settled_ttl_ms: int = 10 * MINUTE_MS
    outcome_ttl_ms: int = 1 * MINUTE_MS
    seal_after_ms: int = 24 * HOUR_MS
    batch_retention_ms: int = 14 * DAY_MS


DEFAULT_LIMITS = Limits()
