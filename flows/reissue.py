"""Makes a past forecast again and proves that it comes out as it was issued."""

from datetime import date

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact

from data import ledger
from data.settings import Settings
from data.warehouse import connect
from flows.slots import done, writing
from models import registry
from models.baselines import PUBLISHED
from models.reissue import Reissue
from models.reissue import reissue as issue_again


@task
def issued_from(settings: Settings, cutoff: date) -> pl.DataFrame:
    """What models issued from a cutoff, by the ledger; baselines are left out."""
    with writing(), connect(settings) as con:
        rows = ledger.issued_forecasts(con, cutoff)
    own = rows.filter((pl.col("cutoff") == cutoff) & ~pl.col("model").is_in(PUBLISHED))
    if own.is_empty():
        raise LookupError(f"The ledger holds no forecast from the cutoff {cutoff}; choose another.")
    return own


@task
def repeat(settings: Settings, issued: pl.DataFrame, version: str) -> Reissue:
    """Issues a version's forecasts again and compares."""
    rows = issued.filter(pl.col("model") == version)
    return issue_again(settings, rows, registry.load(settings, version))


@flow(flow_run_name="reissue {cutoff}")
def reissue(cutoff: date) -> list[Reissue]:
    """Issues the forecasts of a past cutoff again, from their snapshot, model and features.

    Fails when one differs from what the ledger holds. Changes nothing.

    Args:
        cutoff: last day of sales that the forecasts rest on.
    """
    settings = Settings()
    issued = issued_from(settings, cutoff)
    versions = sorted(issued["model"].unique().to_list())
    found = [repeat(settings, issued, version) for version in versions]
    table = [{**vars(one), "cutoff": str(one.cutoff)} for one in found]
    create_table_artifact(key="reissue", table=table, description=f"Forecasts from {cutoff}")
    if wrong := [one.version for one in found if not one.is_identical]:
        raise ValueError(
            f"Forecasts of version {', '.join(wrong)} from {cutoff} do not come out as they were "
            "issued; see the artifact reissue, and compare the code with the one of that day."
        )
    rows = sum(one.rows for one in found)
    return done(message=f"{rows:,} rows from {cutoff} come out byte for byte", data=found)
