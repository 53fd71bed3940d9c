"""From features per (series, cutoff) to the matrix a booster reads, one row per target day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import EVENT_TIME, KEYS, WEEK, WINDOWS
from data.steps import Steps
from feature_repo.calendar import CALENDAR_FEATURES, calendar_matrix

Matrix = NDArray[np.float64]
Rows = NDArray[np.float32]  # what boosters read, (rows, len(INPUTS))

PLAIN = [
    *(f"mean_{w}" for w in WINDOWS),
    "mean_ever",
    *("std_28", "zero_share_28", "days_since_sale", "age_days", "price_28", "price_ratio"),
    *("display_28", "mailer_28", "store_mean_28", "store_mean_56"),
]
BY_WEEKDAY = ["lag", "dow_mean", "store_dow_index"]  # the target's weekday is picked of seven
INPUTS = ["step", *CALENDAR_FEATURES, *PLAIN, *BY_WEEKDAY, "display", "mailer", "item"]
CATEGORICAL = ["item"]


@dataclass(frozen=True)
class MatrixSpec:
    """What the matrix depends on besides its frames; kept with the model."""

    items: tuple[str, ...]
    holiday_country: str
    closed_days: tuple[str, ...]
    step_days: int = 1

    @property
    def steps(self) -> Steps:
        return Steps(self.step_days, self.closed_days)

    @cached_property
    def codes(self) -> dict[str, float]:
        """The number that stands for each item in the matrix."""
        return {item: float(i) for i, item in enumerate(self.items)}


def numbers(frame: pl.DataFrame, columns: Sequence[str]) -> Matrix:
    """Columns of a frame, (frame.height, len(columns)); NaN for null."""
    # Column by column, or as the one row: the frame's own way wakes the threads of Polars, which
    # for one series costs more than the booster.
    if frame.height == 1:
        return np.array(frame[columns].rows(), dtype=np.float64)
    return np.array([frame[c].to_numpy() for c in columns], dtype=np.float64).T


def cutoff_dates(features: pl.DataFrame) -> pl.Series:
    """The `cutoff` of feature rows as dates: the feature store keeps it as text."""
    cutoff = features["cutoff"]
    return cutoff.str.to_date() if cutoff.dtype == pl.String else cutoff


def target_days(features: pl.DataFrame, horizon: int, steps: Steps) -> pl.DataFrame:
    """Keys of every target step: (store_id, item_id, cutoff, ds, step), series by series."""
    # Series and arrays, no queries: for one series each query costs more than the booster.
    n = features.height
    row = pl.Series(np.repeat(np.arange(n, dtype=np.uint32), horizon))  # as Polars counts rows
    step = np.tile(np.arange(1, horizon + 1, dtype=np.int32), n)
    of = [features[c][row] for c in KEYS] + [cutoff_dates(features)[row]]
    ds = of[-1].to_numpy().astype("datetime64[D]") + step * steps.days
    return pl.DataFrame([*of, pl.Series("ds", ds), pl.Series("step", step)])


def _plan_columns(features: pl.DataFrame, plan: pl.DataFrame, horizon: int, steps: Steps) -> Matrix:
    """Planned display and mailer of each target day, (rows, 2); only what was known then."""
    values = np.zeros((features.height * horizon, 2))
    if plan.is_empty():
        return values
    if EVENT_TIME in features.columns and "known_at" in plan.columns:
        asked = pl.Series("asked", np.repeat(features[EVENT_TIME].to_numpy(), horizon))
        known = pl.col("known_at") <= pl.col("asked").dt.cast_time_unit("us")
        found = (
            target_days(features, horizon, steps)
            .with_row_index("row")
            .with_columns(asked.dt.replace_time_zone("UTC"))
            .join(plan, on=[*KEYS, "ds"])
            .filter(known)
            .sort("known_at", maintain_order=True)
            .unique("row", keep="last", maintain_order=True)
        )
        planned, row = numbers(found, ["display", "mailer"]), found["row"].to_numpy()
    else:
        own, series = _plan_of(features, plan)
        ds = plan["ds"].to_numpy().astype("datetime64[D]")[own]
        cutoff = cutoff_dates(features).to_numpy().astype("datetime64[D]")[series]
        days = (ds - cutoff).astype(np.int64)
        step, between = np.divmod(days, steps.days)
        reached = (between == 0) & (step >= 1) & (step <= horizon)
        planned = numbers(plan, ["display", "mailer"])[own[reached]]
        row = (series * horizon + step - 1)[reached]
    values[row] = np.where(np.isnan(planned), 0.0, planned)
    return values


def _plan_of(
    features: pl.DataFrame, plan: pl.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the plan that are of series in `features`, and the row of these that each is of."""
    if features.height == 1:  # a join costs more than the booster of one series
        key = features[KEYS].row(0)
        own = np.flatnonzero([planned == key for planned in plan[KEYS].rows()])
        return own, np.zeros(len(own), np.int64)
    rows = plan.select(KEYS).with_row_index("row")
    found = rows.join(features[KEYS].with_row_index("series"), on=KEYS)
    return found["row"].to_numpy().astype(np.int64), found["series"].to_numpy().astype(np.int64)


def design_matrix(
    features: pl.DataFrame, plan: pl.DataFrame, horizon: int, spec: MatrixSpec
) -> tuple[Rows, NDArray[np.bool_]]:
    """Matrix (features.height * horizon, len(INPUTS)) and the mask of closed target days.

    `features` holds the fields of the feature service with `cutoff` as text or date; `plan` the
    promotion plan by target day, with a `price` on the days of a what-if. Rows are ordered by
    series, then by step.
    """
    n, cutoffs = features.height, cutoff_dates(features).to_list()
    # In single precision and by broadcasting: of all series at once memory is what costs the time.
    x, closed = np.empty((n, horizon, len(INPUTS)), np.float32), np.empty((n, horizon), bool)
    x[:, :, 0] = np.arange(1, horizon + 1)
    at = 1 + len(CALENDAR_FEATURES)
    for cutoff in set(cutoffs):
        same = np.array([c == cutoff for c in cutoffs])
        calendar = calendar_matrix(cutoff, horizon, spec.holiday_country, spec.steps)
        x[same, :, 1:at], closed[same] = calendar
    weekday = _weekdays(cutoffs, horizon, spec.steps)
    x[:, :, at : at + len(PLAIN)] = numbers(features, PLAIN)[:, None]
    at += len(PLAIN)
    newest = _same_weekday_lag(features, cutoffs, spec.steps)
    x[:, :, at] = np.take_along_axis(newest, weekday, axis=1)
    for offset, name in enumerate(BY_WEEKDAY[1:], start=1):
        week = numbers(features, [f"{name}_{d}" for d in WEEK])
        x[:, :, at + offset] = np.take_along_axis(week, weekday, axis=1)
    x[:, :, -1] = np.array([[spec.codes.get(i, np.nan)] for i in features["item_id"].to_list()])
    rows = x.reshape(n * horizon, len(INPUTS))
    rows[:, -3:-1] = _plan_columns(features, plan, horizon, spec.steps)
    if "price" in plan.columns:
        ratio = INPUTS.index("price_ratio")
        given = _price_ratios(features, plan, horizon, spec.steps)
        rows[:, ratio] = np.where(np.isnan(given), rows[:, ratio], given)
    return rows, closed.ravel()


def _weekdays(cutoffs: list[date], horizon: int, steps: Steps) -> NDArray[np.int_]:
    """Weekday of each target step, 0 for Monday, (series, horizon)."""
    last = np.array([c.weekday() for c in cutoffs])[:, None]
    return (last + steps.days * np.arange(1, horizon + 1)) % 7


def _price_ratios(features: pl.DataFrame, plan: pl.DataFrame, horizon: int, steps: Steps) -> Matrix:
    """Each day's price in the plan over the series' mean price, NaN where the plan names none.

    It takes the place of price_ratio, the last week's price over that of twelve weeks: the model
    learned from it how a price that is lower than usual goes with what is sold.
    """
    grid = target_days(features, horizon, steps).select(*KEYS, "ds")
    priced = grid.join(
        plan.select(*KEYS, "ds", "price"), on=[*KEYS, "ds"], how="left", maintain_order="left"
    )
    usual = np.repeat(features["price_28"].to_numpy(), horizon)
    return np.asarray(priced["price"].cast(pl.Float64).fill_null(np.nan).to_numpy() / usual)


def _same_weekday_lag(features: pl.DataFrame, cutoffs: list[date], steps: Steps) -> Matrix:
    """Units of the newest Monday … Sunday up to each cutoff, (rows, 7).

    All weeks end on the same weekday, so that the newest of it is the newest week.
    """
    lags = numbers(features, [f"lag_{k}" for k in WEEK])
    weekday_of_cutoff = np.array([c.isoweekday() for c in cutoffs])[:, None]
    lag_of_weekday = (weekday_of_cutoff - np.arange(1, 8)[None, :]) % 7 // steps.days
    return np.take_along_axis(lags, lag_of_weekday, axis=1)


def actuals(grid: pl.DataFrame, sales: pl.DataFrame, *, until: date, steps: Steps) -> pl.DataFrame:
    """`grid` (store_id, item_id, ds, …) with `y`, in its order.

    A step of a series without a row is one in which nothing was sold: 0. Those after `until` and
    closed ones have no actual: null.
    """
    closed = [ds for ds in grid["ds"].unique().to_list() if steps.is_closed(ds)]
    y = grid.join(
        sales.select(*KEYS, "ds", "y"), on=[*KEYS, "ds"], how="left", maintain_order="left"
    )["y"]
    known = (pl.col("ds") <= until) & ~pl.col("ds").is_in(closed)
    return grid.with_columns(y).with_columns(
        y=pl.when(known).then(pl.col("y").fill_null(0.0)).otherwise(None)
    )


def dense_grid(sales: pl.DataFrame, cutoff: date, steps: Steps) -> pl.DataFrame:
    """Every step (store_id, item_id, ds) of each series from its first row to the cutoff."""
    return (
        sales.group_by(KEYS)
        .agg(first=pl.col("ds").min())
        .with_columns(ds=pl.date_ranges("first", pl.lit(cutoff), f"{steps.days}d"))
        .drop("first")
        .explode("ds")
        .sort(*KEYS, "ds")
    )


def history(sales: pl.DataFrame, series: pl.DataFrame, cutoff: date, steps: Steps) -> pl.DataFrame:
    """Every step (store_id, item_id, ds, y) of each series from its first sale to the cutoff.

    Closed ones are left out: they are no steps without demand.
    """
    known = sales.filter(pl.col("ds") <= cutoff).join(series.select(KEYS), on=KEYS, how="semi")
    grid = dense_grid(known, cutoff, steps)
    dense = actuals(grid, known, until=cutoff, steps=steps)
    return dense.filter(pl.col("y").is_not_null())


def training_cutoffs(last: date, first: date, steps: Steps) -> list[date]:
    """Every fifth day, or every week, between two dates, ascending; `last` is a step.

    Five has no factor in common with seven, so that every weekday is the cutoff's in turn and a
    lead is never one weekday alone. The grid is anchored to the calendar, not to `last`: later
    trainings meet the same cutoffs again.
    """
    every = max(5, steps.days)
    anchor = last.toordinal() % steps.days
    start = first.toordinal() + (anchor - first.toordinal()) % every
    return [date.fromordinal(day) for day in range(start, last.toordinal() + 1, every)]
