"""What a run does to rows that it may not delete: functions that do it, for the org of the session.

PostgreSQL lets whoever may delete from a table lock it against everybody
(https://www.postgresql.org/docs/current/sql-lock.html), so no run has that right. Each function is
the owner's, whom no policy binds: its conditions say whose rows it touches.
"""

from typing import Final

_OWN_RUN: Final = (
    "run_id IN (SELECT owner.run_id FROM datanika.run_owners AS owner"
    " WHERE owner.org = datanika.org() AND owner.run_id = of_run)"
)
_OF_STEP: Final = "(coalesce(of_step, '') = '' OR step_key = of_step)"

SLOT_FUNCTIONS: Final = (
    # As `SqlEventLogStorage._remove_pending_steps` (dagster 1.13.27): the pools of those that had
    # been assigned.
    f"""
    CREATE OR REPLACE FUNCTION datanika.remove_pending_steps(of_run text, of_step text)
    RETURNS SETOF text
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        WITH removed AS (
            DELETE FROM public.pending_steps WHERE {_OWN_RUN} AND {_OF_STEP}
            RETURNING concurrency_key, assigned_timestamp
        )
        SELECT concurrency_key FROM removed WHERE assigned_timestamp IS NOT NULL
    $$
    """,  # noqa: S608 - constants of this module
    # As `_free_concurrency_slots`: the pools of the freed ones.
    f"""
    CREATE OR REPLACE FUNCTION datanika.free_slots(of_run text, of_step text) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        DELETE FROM public.concurrency_slots WHERE deleted AND {_OWN_RUN} AND {_OF_STEP};
        RETURN QUERY UPDATE public.concurrency_slots SET run_id = NULL, step_key = NULL
            WHERE {_OWN_RUN} AND {_OF_STEP} RETURNING concurrency_key;
    END $$
    """,  # noqa: S608 - constants of this module
    # The half of `_allocate_concurrency_slots` that removes slots, unclaimed ones first.
    """
    CREATE OR REPLACE FUNCTION datanika.shrink_pool(pool text, number integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF NOT coalesce(starts_with(pool, datanika.pool_prefix()), false) THEN
            RAISE insufficient_privilege USING MESSAGE = 'the pool is another organization''s';
        END IF;
        UPDATE public.concurrency_slots SET deleted = true WHERE id IN (
            SELECT id FROM public.concurrency_slots WHERE concurrency_key = pool AND NOT deleted
            ORDER BY (run_id IS NULL), id OFFSET greatest(number, 0)
        );
        DELETE FROM public.concurrency_slots
            WHERE concurrency_key = pool AND deleted AND run_id IS NULL;
    END $$
    """,
)
"""Made by the owner of the tables; a run may execute them."""

SLOT_SIGNATURES: Final = (
    *("remove_pending_steps(text, text)", "free_slots(text, text)"),
    "shrink_pool(text, integer)",
)
