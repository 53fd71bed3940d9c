"""Scores of issued forecasts whose days are over."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from data.schema import KEYS
from data.steps import Steps
from models.baselines import SEASONAL_NAIVE
from models.conformal import Calibration
from models.dataset import actuals, history
from models.metrics import (
    COVERAGE,
    LEAD_WEEK,
    bias,
    coverage,
    coverage_of_counts,
    level_scales,
    pinball,
    summary,
    wape,
)

SCORES: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "cutoff": pl.Date,
    "level": pl.String,
    "lead_week": pl.Int32,
    "metric": pl.String,
    "value": pl.Float64,
    "n": pl.Int64,
}


@dataclass(frozen=True)
class Performance:
    """What matured forecasts say of one model version.

    `scores` is long (SCORES): per model, cutoff and lead week, and the rows of `table` with level
    `all` and no lead week. `table` holds the figures of the
    newest cutoff whose whole horizon is over: (model, metric, value); empty if there is none.
    `naive_ratio` is the model's mean WRMSSE over that of the seasonal naive forecast there.
    """

    cutoff: date | None
    naive_ratio: float | None
    coverage_80: float | None
    bias: float | None
    scores: pl.DataFrame
    table: pl.DataFrame


def with_actuals(
    issued: pl.DataFrame, sales: pl.DataFrame, *, until: date, steps: Steps
) -> pl.DataFrame:
    """The issued forecasts whose day is over by `until`, with `y`; closed days are left out."""
    matured = issued.filter(pl.col("ds") <= until)
    scored = actuals(matured, sales, until=until, steps=steps)
    return scored.filter(pl.col("y").is_not_null())


def score(
    issued: pl.DataFrame,
    sales: pl.DataFrame,
    *,
    version: str,
    calibration: Calibration,
    horizon: int,
    until: date,
    steps: Steps,
) -> Performance:
    """Scores the ledger's forecasts of a version and of the baselines against what was sold.

    `issued` has the columns FORECAST and `model` (a version or a baseline's name), `sales` what is
    known now (schema SALES), `calibration` is the version's.
    """
    matured = with_actuals(issued, sales, until=until, steps=steps)
    own = matured.filter(pl.col("model") == version)
    whole = own.group_by("cutoff").agg(pl.col("step").max()).filter(pl.col("step") == horizon)
    cutoff: date | None = whole["cutoff"].max() if whole.height else None  # type: ignore[assignment]
    table = _table(matured, sales, cutoff, steps) if cutoff else _long([])
    if cutoff:
        held = coverage_of_counts(own.filter(pl.col("cutoff") == cutoff), calibration)
        table = pl.concat([table, _long([(version, COVERAGE, held)])])
    figures = {(m, k): v for m, k, v in table.iter_rows()}
    mine, naive = (figures.get((m, "wrmsse mean")) for m in (version, SEASONAL_NAIVE))
    return Performance(
        cutoff=cutoff,
        naive_ratio=mine / naive if mine is not None and naive else None,
        coverage_80=figures.get((version, COVERAGE)),
        bias=figures.get((version, "bias")),
        scores=pl.concat([_scores(matured), _whole(table, cutoff)]),
        table=table,
    )


def _long(rows: list[tuple[str, str, float]]) -> pl.DataFrame:
    schema = {"model": pl.String, "metric": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _table(matured: pl.DataFrame, sales: pl.DataFrame, cutoff: date, steps: Steps) -> pl.DataFrame:
    """Figures of every model that forecast the same days from the same cutoff."""
    rows = matured.filter(pl.col("cutoff") == cutoff)
    scales = level_scales(
        history(sales, rows.select(KEYS).unique(), cutoff, steps), season=steps.season
    )
    return _long(
        [
            (str(model), metric, value)
            for (model,), group in rows.group_by("model", maintain_order=True)
            for metric, value in summary(group, scales).items()
        ]
    )


def _scores(matured: pl.DataFrame) -> pl.DataFrame:
    weekly = matured.with_columns(lead_week=LEAD_WEEK)
    rows = []
    for (model, cutoff, week), group in weekly.group_by("model", "cutoff", "lead_week"):
        figures = {"wape": wape(group), "bias": bias(group)}
        if group["q0.5"].is_not_null().all():
            figures["pinball"] = pinball(group)["mean"]
            figures["coverage 80"] = coverage(group, "q0.1", "q0.9")["inside"]
        rows += [(model, cutoff, "series", week, k, v, group.height) for k, v in figures.items()]
    return pl.DataFrame(rows, schema=SCORES, orient="row").sort(list(SCORES)[:5])


def _whole(table: pl.DataFrame, cutoff: date | None) -> pl.DataFrame:
    rows = [(model, cutoff, "all", None, k, v, None) for model, k, v in table.iter_rows()]
    return pl.DataFrame(rows, schema=SCORES, orient="row")
