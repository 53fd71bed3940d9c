"""Scores of the ledger's forecasts as their actuals mature: one row per forecast and actual."""

from datetime import date, datetime, timedelta

import polars as pl

from data.schema import KEYS, QUANTILE_COLUMNS, UTC
from data.steps import Steps
from models.baselines import BASELINES, SEASONAL_NAIVE
from models.comparison import deciles
from models.dataset import actuals, history
from models.metrics import DEPARTMENT, LEAD_WEEK, bias, coverage, wape

ID = ["model", "cutoff", *KEYS, "ds"]
PROVISIONAL, FINAL = "provisional", "final"
CHAMPION = "champion"  # of stability: whatever version served
KEPT = ["step", "state", "y", "y_hat", *QUANTILE_COLUMNS, *("scaled_error", "pinball")]
KEPT += ["volume", "promoted"]
SLICES = ("all", "lead week", "store", "department", "volume decile", "promoted")


def new_scores(
    issued: pl.DataFrame,
    scored: pl.DataFrame,
    sales: pl.DataFrame,
    plan: pl.DataFrame,
    *,
    until: date,
    maturity_days: int,
    steps: Steps,
) -> pl.DataFrame:
    """Scores to add for issued forecasts whose day is over by `until`, given those in the ledger.

    `issued` has FORECAST and `model`; `scored` the ledger's scores of them; `sales` (schema SALES)
    and `plan` what is known now. A score is final once its day is `maturity_days` old, provisional
    before. A forecast gets another score when its actual was revised or became final; none is ever
    changed. Columns: ID, step, state, y, y_hat, the quantiles, scaled_error (squared error over
    the series' mean squared one-day difference up to the cutoff), pinball (mean over the levels,
    in units; null without quantiles), volume (units a step in the 28 days up to the cutoff) and
    promoted.
    """
    matured = actuals(issued.filter(pl.col("ds") <= until), sales, until=until, steps=steps).filter(
        pl.col("y").is_not_null()
    )
    final = pl.col("ds") <= until - timedelta(days=maturity_days)
    rows = matured.with_columns(
        state=pl.when(final).then(pl.lit(FINAL)).otherwise(pl.lit(PROVISIONAL))
    )
    newest = scored.sort("scored_at").unique(ID, keep="last", maintain_order=True)
    known = rows.join(newest.select(*ID, before="y", was="state"), on=ID, how="left")
    changed = (
        pl.col("was").is_null()
        | (pl.col("before") != pl.col("y"))
        | ((pl.col("was") == PROVISIONAL) & (pl.col("state") == FINAL))
    )
    due = known.filter(changed).drop("before", "was")
    if due.is_empty():
        return due
    planned = plan.filter(pl.col("display") + pl.col("mailer") > 0).select(*KEYS, "ds").unique()
    scales = _scales(sales, due, until, steps)
    return (
        due.sort("cutoff")
        .join_asof(scales, left_on="cutoff", right_on="day", by=KEYS, check_sortedness=False)
        .join(planned.with_columns(promoted=pl.lit(True)), on=[*KEYS, "ds"], how="left")
        .with_columns(
            pl.col("promoted").fill_null(False),
            scaled_error=(pl.col("y") - pl.col("y_hat")) ** 2 / pl.col("scale"),
            pinball=_pinball(),
        )
        .select(*ID, *KEPT)
        .sort(ID)
    )


def stamped(scores: pl.DataFrame, scored_at: datetime) -> pl.DataFrame:
    """The scores with the instant at which they were made."""
    return scores.with_columns(scored_at=pl.lit(scored_at, dtype=UTC))


def _scales(sales: pl.DataFrame, series: pl.DataFrame, until: date, steps: Steps) -> pl.DataFrame:
    """Mean squared one-day difference and volume of each series up to each day."""
    dense = history(sales, series.select(KEYS).unique(), until, steps)
    change = pl.col("y").diff() ** 2
    mean = change.cum_sum() / change.is_not_null().cum_sum()
    return (
        dense.sort(*KEYS, "ds")
        .select(
            *KEYS,
            day="ds",
            scale=mean.over(KEYS),
            volume=pl.col("y").rolling_mean(28 // steps.days, min_samples=1).over(KEYS),
        )
        .filter(pl.col("scale") > 0)
        .sort("day")
    )


def _pinball() -> pl.Expr:
    losses = [
        pl.max_horizontal(
            float(column[1:]) * (pl.col("y") - pl.col(column)),
            (float(column[1:]) - 1) * (pl.col("y") - pl.col(column)),
        )
        for column in QUANTILE_COLUMNS
    ]
    return sum(losses[1:], losses[0]) / len(losses)


def pinned(scored: pl.DataFrame) -> pl.DataFrame:
    """One score a forecast: its first final one, or its last provisional one.

    What is revised after that has scores of its own and changes no figure.
    """
    ordered = scored.sort("scored_at")
    final = ordered.filter(pl.col("state") == FINAL).unique(ID, keep="first", maintain_order=True)
    open_ = ordered.filter(pl.col("state") == PROVISIONAL).unique(
        ID, keep="last", maintain_order=True
    )
    return pl.concat([final, open_.join(final, on=ID, how="anti")])


def performance(scores: pl.DataFrame) -> pl.DataFrame:
    """Figures by slice: (model, slice, value, metric, figure, n), from pinned scores.

    Metrics: wape (pooled), bias, pinball (over the mean actual), coverage 80, and skill: one minus
    the scaled squared error over that of seasonal naive on the same forecasts.
    """
    naive = scores.filter(pl.col("model") == SEASONAL_NAIVE)
    on = [c for c in ID if c != "model"]
    units = scores.group_by(KEYS).agg(weight=pl.col("volume").mean())
    rows = scores.join(deciles(units, KEYS, "volume decile"), on=KEYS).join(
        naive.select(*on, naive_error="scaled_error"), on=on, how="left"
    )
    sliced = rows.with_columns(
        pl.lit("all").alias("all"),
        LEAD_WEEK.cast(pl.String).alias("lead week"),
        pl.col("store_id").alias("store"),
        DEPARTMENT.alias("department"),
        pl.when("promoted").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("promoted"),
    )
    found = []
    for name in SLICES:
        for (model, value), group in sliced.group_by("model", name, maintain_order=True):
            found += [
                (model, name, value, metric, figure, group.height)
                for metric, figure in _figures(group).items()
            ]
    schema = ["model", "slice", "value", "metric", "figure", "n"]
    return pl.DataFrame(found, schema=schema, orient="row")


def _figures(group: pl.DataFrame) -> dict[str, float]:
    paired = group.filter(pl.col("naive_error").is_not_null())
    naive = float(paired["naive_error"].sum())
    found: dict[str, float | None] = {
        "wape": wape(group),
        "bias": bias(group),
        "skill": 1 - float(paired["scaled_error"].sum()) / naive if naive else None,
    }
    if group["pinball"].null_count() == 0:
        units = float(group["y"].sum())
        found["pinball"] = float(group["pinball"].sum()) / units if units else None
        found["coverage 80"] = coverage(group, "q0.1", "q0.9")["inside"]
    return {k: v for k, v in found.items() if v is not None and v == v}


def stability(issued: pl.DataFrame) -> pl.DataFrame:
    """How far forecasts for one day moved from one issue to the next: (model, lead week, moved, n).

    `moved` is the sum of the absolute changes of y_hat over the sum of y_hat before, by the lead
    of the newer forecast. `issued` has ID, step and y_hat, one row per forecast. All versions are
    one `model`, CHAMPION: whoever orders by them meets a change of version as any other change.
    """
    chain = pl.when(pl.col("model").is_in(BASELINES)).then("model").otherwise(pl.lit(CHAMPION))
    changes = (
        issued.sort("cutoff", pl.col("model").cast(pl.Int64, strict=False))
        .with_columns(model=chain)
        .with_columns(before=pl.col("y_hat").shift().over("model", *KEYS, "ds"))
    )
    return (
        changes.filter(pl.col("before").is_not_null())
        .group_by("model", LEAD_WEEK.alias("lead_week"))
        .agg(
            moved=(pl.col("y_hat") - pl.col("before")).abs().sum() / pl.col("before").sum(),
            n=pl.len(),
        )
        .sort("model", "lead_week")
    )
