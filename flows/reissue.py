"""Makes a past forecast again and proves that it comes out as it was issued."""

from datetime import date

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact

from data import ledger
from data.settings import Settings
from data.warehouse import connect, query
from flows.slots import done, writing
from models import registry
from models.reissue import MADE_FROM, Reissue, is_baseline
from models.reissue import reissue as issue_again


@task
def issued_from(settings: Settings, cutoff: date) -> pl.DataFrame:
    """What models and baselines issued in batches from a cutoff, by the ledger."""
    with writing(), connect(settings) as con:
        rows = ledger.issued_forecasts(con, cutoff).filter(pl.col("cutoff") == cutoff)
    if rows.is_empty():
        raise LookupError(f"The ledger holds no forecast from the cutoff {cutoff}; choose another.")
    return rows


@task
def answered(settings: Settings, request_id: str) -> pl.DataFrame:
    """What the API answered to a request, by the ledger."""
    with writing(), connect(settings) as con:
        rows = query(con, "served_on_request", request_id=request_id)
    if rows.is_empty():
        raise LookupError(
            f"The ledger holds no forecast of request {request_id!r}: run the collect deployment "
            "if it was answered within the last hour; sums of levels are not kept."
        )
    if rows["what_if"].any():
        raise ValueError(
            f"Request {request_id!r} was a what-if: the ledger keeps its answer and not the "
            "changes that it asked for, so it can't be issued again; send it to the API again."
        )
    return rows


@task
def repeat(settings: Settings, rows: pl.DataFrame) -> Reissue:
    """Issues again what one model or baseline issued at one time, and compares."""
    version = str(rows["model"][0])
    model = None if is_baseline(version) else registry.load(settings, version)
    return issue_again(settings, rows, model)


@flow(flow_run_name="reissue {cutoff} {request_id}")
def reissue(cutoff: date | None = None, request_id: str = "") -> list[Reissue]:
    """Issues past forecasts again from their snapshot, model and features, and compares.

    Fails when one differs from what the ledger holds. Changes nothing.

    Args:
        cutoff: last day of sales of a batch, whose models and baselines are issued again.
        request_id: or the X-Request-ID of an answer of the API, what-ifs and sums of levels apart.
    """
    settings = Settings()
    if (cutoff is None) == (not request_id):
        raise ValueError("Give either a cutoff or a request_id: which forecast is to be reissued?")
    of = f"from {cutoff}" if cutoff else f"of request {request_id}"
    issued = issued_from(settings, cutoff) if cutoff else answered(settings, request_id)
    forecasts = issued.partition_by(*MADE_FROM, "issued_at", maintain_order=True)
    found = [repeat(settings, rows) for rows in forecasts]
    table = [{**vars(one), "cutoff": str(one.cutoff)} for one in found]
    create_table_artifact(key="reissue", table=table, description=f"Forecasts {of}")
    if wrong := sorted({one.version for one in found if not one.is_identical}):
        raise ValueError(
            f"Forecasts of {', '.join(wrong)} {of} do not come out as they were issued; see the "
            "artifact reissue, and compare the code with the one of that day."
        )
    rows = sum(one.rows for one in found)
    return done(message=f"{rows:,} rows {of} come out byte for byte", data=found)
