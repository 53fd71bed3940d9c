"""Beyond series with a history: levels by their paths, and series that are hidden as if new."""

from datetime import date

import numpy as np
import polars as pl

from benchmarks.accuracy.methods import OURS, Bench, trained
from benchmarks.accuracy.point import row
from benchmarks.rows import Row, plain_row
from data.schema import KEYS, QUANTILE_COLUMNS, WEEK
from data.steps import Steps
from data.warehouse import known_at_morning
from feature_repo.build import known_versions
from models.cold_start import hidden, level_error, widened
from models.conformal import pit
from models.dataset import target_days
from models.levels import level_forecast, level_pit
from models.metrics import LEVELS, aggregate, level_scales, pit_coverage, wrmsse

LEVEL = "mean_84"


def beyond_rows(bench: Bench, rows: pl.DataFrame) -> list[Row]:
    """Coverage of levels by their sample paths, sums, and series hidden as if they were new."""
    mine = rows.filter((pl.col("model") == OURS) & pl.col("cutoff").is_in(list(bench.cutoffs)))
    levels = [level for level in bench.levels if level != "series"]
    print("sample paths of levels, and each series hidden …", flush=True)
    covered = {level: level_coverage(bench, mine, level) for level in levels}
    result = [
        row(f"coverage_80_{level}", "share", share, target=0.8, met=0.78 <= share <= 0.82)
        for level, share in covered.items()
    ]
    apart = max(sums_apart(bench, mine, level) for level in levels)
    unit = "units, largest gap"
    sums = plain_row("means_add_up", unit, apart, 1e-6, more_is_better=False)
    found = [hidden_series(bench, cutoff) for cutoff in bench.cutoffs]
    own, theirs, inside = (sum(values) / len(found) for values in zip(*found, strict=True))
    met = own < theirs
    cold = row("cold_start_vs_store_share", "WRMSSE", own, theirs=theirs, target=1.0, met=met)
    return [*result, sums, cold, row("cold_start_coverage_80", "share", inside)]


def sums_apart(bench: Bench, rows: pl.DataFrame, level: str) -> float:
    """Largest gap in units between a node's mean and the sum of the means of its series."""
    gaps = []
    for cutoff in bench.cutoffs:
        m = trained(bench, cutoff).manifest
        own = rows.filter(pl.col("cutoff") == cutoff)
        nodes = level_forecast(own, m.calibration, m.dependence_at(cutoff), level, draws=2)
        summed = aggregate(own, LEVELS[level], ["y_hat"]).rename({"y_hat": "summed"})
        both = nodes.join(summed, on=["node", "ds"], how="full")
        assert both.height == nodes.height == summed.height
        gaps.append(both.select((pl.col("y_hat") - pl.col("summed")).abs().max()).item())
    return float(max(gaps))


def level_coverage(bench: Bench, rows: pl.DataFrame, level: str) -> float:
    """Share of the days of a level's nodes whose rank among the sample paths is in the middle 80 %.

    `rows`: our scored forecasts (FORECAST and y) of the headline cutoffs.
    """
    parts = []
    for cutoff in bench.cutoffs:
        m = trained(bench, cutoff).manifest
        own = rows.filter(pl.col("cutoff") == cutoff)
        parts.append(level_pit(own, m.calibration, m.dependence_at(cutoff), level).ravel())
    u = np.concatenate(parts)
    return pit_coverage(u[~np.isnan(u)], 0.8)


def share_forecast(known: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """What one would do by hand for a new series: keys, ds and y_hat.

    The mean of the item in the other stores times the share of the store in all other sales, by
    the weekday profile of the store. NaN where no other store sells the item.
    """
    level, others = pl.col(LEVEL), pl.len().over("item_id") - 1
    rows = known.with_columns(rest=level.sum().over("store_id") - level)
    item = (level.sum().over("item_id") - level) / others
    store = (pl.col("rest").sum().over("item_id") - pl.col("rest")) / others
    rows = rows.with_columns(guess=item * pl.col("rest") / store)
    days = target_days(rows, horizon, Steps())
    profile = rows.select(f"store_dow_index_{d}" for d in WEEK).to_numpy()
    row = np.repeat(np.arange(rows.height), horizon)
    weekday = days["ds"].dt.weekday().to_numpy() - 1
    y_hat = rows["guess"].to_numpy()[row] * profile[row, weekday]
    return days.select(*KEYS, "ds", y_hat=pl.Series(y_hat))


def hidden_series(bench: Bench, cutoff: date) -> tuple[float, float, float]:
    """Series WRMSSE of ours and of share_forecast, each series hidden in turn; 80 % coverage.

    Only series whose item another store sells too.
    """
    model, known = trained(bench, cutoff), bench.features(cutoff)
    plan = known_versions(bench.plan, known_at_morning(cutoff, bench.settings.timezone))
    guessed = model.forecast(hidden(known).drop("method"), plan, model.horizon)
    actuals = bench.actuals.filter((pl.col("cutoff") == cutoff) & pl.col("y").is_not_null())
    by_share = share_forecast(known, model.horizon).rename({"y_hat": "by_share"})
    rows = guessed.drop(QUANTILE_COLUMNS).join(actuals.select(*KEYS, "ds", "y"), on=[*KEYS, "ds"])
    rows = rows.join(by_share, on=[*KEYS, "ds"]).filter(pl.col("by_share").is_finite())
    scales = {"series": level_scales(bench.history(cutoff))["series"]}
    own = wrmsse(rows, scales)["series"]
    theirs = wrmsse(rows.with_columns(y_hat="by_share"), scales)["series"]
    table = model.manifest.calibration
    wide = widened(table, level_error(known, table))
    u = pit(rows.filter(pl.col("y_hat") > 0), wide)
    return own, theirs, float(((u > 0.1) & (u < 0.9)).mean())
