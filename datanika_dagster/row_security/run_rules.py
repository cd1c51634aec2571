"""What a run may say about itself in Dagster's tables: rules in SQL, of its body, status, times and tags.

Gateway and daemon read these rows for every org: what they cannot read would stop them for all. Only
the owner of the tables is not asked.
"""

from typing import Final

from datanika_dagster.tags import MACHINERY_PREFIXES

LARGEST_BODY_BYTES: Final = 1 << 20
LARGEST_EVENT_BYTES: Final = 8 << 20
"""A job's message of the largest size (`launcher/messages.py`), in Dagster's many words."""

LARGEST_TAG_BYTES: Final = 64 << 10
MOST_SLOTS: Final = 1000
"""Dagster's own limit for a pool."""

_PREFIXES: Final = ("datanika/", "dagster/", ".dagster/", *MACHINERY_PREFIXES)
_OUR_TAGS: Final = f"'{{{','.join(_PREFIXES)}}}'"
_FAILURE_REASONS: Final = (
    "'{UNEXPECTED_TERMINATION,RUN_EXCEPTION,STEP_FAILURE,JOB_INITIALIZATION_FAILURE,START_TIMEOUT,"
    "RUN_WORKER_RESTART,UNKNOWN}'::text[]"
)

IS_OWN_KEY: Final = "datanika.is_own_key({table}.key)"
"""A tag that a run may change."""

IS_OWN_TAG: Final = "datanika.is_own_tag({table}.key, {table}.value)"
"""A tag that a run may write."""


def is_sane_time(column: str) -> str:
    """Returns the condition that Python can read a timestamp and that it is none of the far future."""
    return (
        f"({column} IS NULL OR {column} BETWEEN timestamp '2000-01-01'"
        " AND (now() AT TIME ZONE 'UTC') + interval '1 day')"
    )


RULE_FUNCTIONS: Final = (
    # What Dagster itself writes in a run's process (dagster 1.13.27): whether the run is to be done
    # again, and why it failed. All else that has a meaning to a machine is the platform's.
    f"""
    CREATE OR REPLACE FUNCTION datanika.is_own_key(key text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT key IN ('dagster/will_retry', 'dagster/failure_reason',
                       'dagster/retry_on_asset_or_op_failure')
            OR NOT EXISTS (SELECT FROM unnest({_OUR_TAGS}::text[]) AS ours (prefix)
                           WHERE starts_with(key, ours.prefix))
    $$
    """,  # noqa: S608 - constants of this module
    # The daemon stops at a reason that it does not know, for every org.
    f"""
    CREATE OR REPLACE FUNCTION datanika.is_own_tag(key text, value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT datanika.is_own_key(key)
            AND octet_length(key) + octet_length(value) <= {LARGEST_TAG_BYTES}
            AND CASE WHEN key IN ('dagster/will_retry', 'dagster/retry_on_asset_or_op_failure')
                    THEN value IN ('true', 'false')
                WHEN key = 'dagster/failure_reason' THEN value = ANY ({_FAILURE_REASONS})
                ELSE true END
    $$
    """,
    # The cast refuses what is no JSON. Its texts are not looked into: they may hold any code point.
    f"""
    CREATE OR REPLACE FUNCTION datanika.is_event(event text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT octet_length(event) <= {LARGEST_EVENT_BYTES}
            AND starts_with(event, '{{"__class__": "EventLogEntry", ')
            AND json_typeof(event::json) = 'object'
    $$
    """,
    # Sets are written in any order.
    """
    CREATE OR REPLACE FUNCTION datanika.sorted(items jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT jsonb_build_array(jsonb_typeof(items), jsonb_agg(item ORDER BY item)) FROM
            jsonb_array_elements(CASE jsonb_typeof(items) WHEN 'array' THEN items END) AS item
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION datanika.identity(body jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT jsonb_build_array(
            body - '{status,tags}'::text[] #- '{asset_selection,__frozenset__}'
                #- '{asset_check_selection,__frozenset__}' #- '{solids_to_execute,__frozenset__}'
                #- '{run_op_concurrency,all_pools,__set__}',
            datanika.sorted(body #> '{asset_selection,__frozenset__}'),
            datanika.sorted(body #> '{asset_check_selection,__frozenset__}'),
            datanika.sorted(body #> '{solids_to_execute,__frozenset__}'),
            datanika.sorted(body #> '{run_op_concurrency,all_pools,__set__}'))
    $$
    """,
    # The platform's tags stay as they are, silently: Dagster itself may write back a body that it
    # read before the launcher had added them.
    """
    CREATE OR REPLACE FUNCTION datanika.tags(before jsonb, after jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
        SELECT coalesce(jsonb_object_agg(tag.key, tag.value), '{}') FROM (
            SELECT key, value FROM jsonb_each_text(after) WHERE datanika.is_own_key(key)
                AND (datanika.is_own_tag(key, value) OR before ->> key = value)
            UNION ALL
            SELECT key, value FROM jsonb_each_text(before) WHERE NOT datanika.is_own_key(key)
        ) AS tag
    $$
    """,
    # From where to where a run's own process may bring it. What has ended stays as it ended first.
    """
    CREATE OR REPLACE FUNCTION datanika.next_status(before text, after text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        ended constant text[] := '{SUCCESS,FAILURE,CANCELED}';
    BEGIN
        IF after IS NOT DISTINCT FROM before OR (before = ANY (ended) AND after = ANY (ended))
            OR (before = 'CANCELING' AND after = 'STARTED') THEN
            RETURN before;
        ELSIF before IN ('STARTING', 'STARTED', 'CANCELING')
            AND (after = ANY (ended) OR after = 'CANCELING'
                 OR (before = 'STARTING' AND after = 'STARTED')) THEN
            RETURN after;
        END IF;
        RAISE insufficient_privilege USING MESSAGE =
            format('a run does not go from %s to %s by itself', before, left(after, 20));
    END $$
    """,
    f"""
    CREATE OR REPLACE FUNCTION datanika.keep_run_identity() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        before constant jsonb := OLD.run_body::jsonb;
        after jsonb;
        moment constant double precision := extract(epoch FROM now());
    BEGIN
        IF octet_length(NEW.run_body) > greatest({LARGEST_BODY_BYTES}, octet_length(OLD.run_body))
        THEN
            RAISE insufficient_privilege USING MESSAGE = 'a run''s body may not become so large';
        END IF;
        after := NEW.run_body::jsonb;
        IF jsonb_typeof(after) IS DISTINCT FROM 'object'
            OR jsonb_typeof(after -> 'tags') IS DISTINCT FROM 'object'
            OR EXISTS (SELECT FROM jsonb_each(after -> 'tags') AS tag
                       WHERE jsonb_typeof(tag.value) <> 'string')
            OR datanika.identity(before) IS DISTINCT FROM datanika.identity(after)
        THEN
            RAISE insufficient_privilege USING MESSAGE =
                'a run''s body may change in its status and tags only';
        END IF;
        NEW.status := datanika.next_status(OLD.status, NEW.status);
        -- The same as `after`, without what a text can hold twice.
        NEW.run_body := after || jsonb_build_object(
            'status', jsonb_build_object('__enum__', 'PipelineRunStatus.' || NEW.status),
            'tags', datanika.tags(before -> 'tags', after -> 'tags'));
        NEW.partition := OLD.partition;
        NEW.partition_set := OLD.partition_set;
        IF NEW.start_time IS NULL AND NEW.status = 'STARTED' THEN
            NEW.start_time := coalesce(OLD.start_time, moment);
        END IF;
        IF NEW.end_time IS NULL AND NEW.status IN ('SUCCESS', 'FAILURE', 'CANCELED') THEN
            NEW.end_time := coalesce(OLD.end_time, moment);
        END IF;
        NEW.update_timestamp := coalesce(NEW.update_timestamp, now() AT TIME ZONE 'UTC');
        IF NOT (coalesce(NEW.start_time, 0) BETWEEN 0 AND moment + 86400
                AND coalesce(NEW.end_time, 0) BETWEEN 0 AND moment + 86400
                AND {is_sane_time("NEW.update_timestamp")}) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a run''s times are of the past';
        END IF;
        RETURN NEW;
    END $$
    """,  # noqa: S608 - constants of this module
)
"""Made by the owner of the tables."""

RULE_SIGNATURES: Final = (
    *(
        "is_own_key(text)",
        "is_own_tag(text, text)",
        "is_event(text)",
        "sorted(jsonb)",
        "identity(jsonb)",
    ),
    *("tags(jsonb, jsonb)", "next_status(text, text)"),
)
"""A run executes them: policies and the trigger ask with its rights."""


def run_trigger(owner: str) -> str:
    """Returns the statement that has every change of a run asked, but not those of the owner."""
    return f"""
        CREATE OR REPLACE TRIGGER datanika_keep_run_identity
        BEFORE UPDATE ON public.runs FOR EACH ROW
        WHEN (current_user <> '{owner}') EXECUTE FUNCTION datanika.keep_run_identity()
    """
