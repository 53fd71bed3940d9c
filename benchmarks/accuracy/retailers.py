"""Made-up retailers of other kinds than the default data, as the files that their owner has."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

LAST = date(2023, 12, 31)  # a Sunday: the last day that is judged
WEEKDAYS = np.array([0.8, 0.8, 0.9, 1.0, 1.2, 1.5, 1.3])


@dataclass(frozen=True)
class Kind:
    """What a retailer is like, and the settings that its data asks for."""

    name: str
    stores: int = 4
    items: int = 6
    days: int = 420
    priced: bool = True
    ragged: bool = False
    write: Callable[[pl.DataFrame, Path], Path] = field(default=lambda sold, at: _csv(sold, at))
    settings: dict[str, object] = field(default_factory=dict)


def sold(kind: Kind, seed: int) -> pl.DataFrame:
    """Daily sales (store_id, item_id, ds, y, price); a day without a sale has no row.

    Levels wander from day to day, each in its own way and all with the chain; there is a profile of
    the week, wages at the month's start, a course of the year, the days before Christmas and, with
    prices, weeks at a lower one that sell more.
    """
    rng = np.random.default_rng(seed)
    days = [LAST - timedelta(days=k) for k in reversed(range(kind.days))]
    year = np.array([d.timetuple().tm_yday for d in days])
    chain = WEEKDAYS[[d.weekday() for d in days]]
    chain = chain * (1 + 0.25 * np.sin(2 * np.pi * (year - 80) / 365))
    chain = chain * np.where([d.day <= 4 for d in days], 1.2, 1.0)
    chain = chain * np.where(
        [(d.month, d.day) in ((12, 22), (12, 23), (12, 24)) for d in days], 1.6, 1
    )
    chain = chain * np.exp(np.cumsum(rng.normal(0, 0.006, len(days))))
    rows = []
    for s in range(kind.stores):
        size = rng.gamma(4, 0.25)
        for i in range(kind.items):
            level = size * rng.gamma(1.2, 4) * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
            price = round(float(rng.uniform(1, 9)), 2)
            cut = np.repeat(rng.random(len(days) // 7 + 1) < 0.12, 7)[: len(days)]
            lift = np.where(cut, 1.8, 1.0) if kind.priced else 1.0
            first, last = 0, len(days)
            if kind.ragged and i % 3 == 1:
                first = int(rng.integers(len(days) // 3, len(days) - 60))
            if kind.ragged and i % 3 == 2 and s % 2:
                last = int(rng.integers(len(days) // 2, len(days) - 30))
            y = rng.negative_binomial(4, 4 / (4 + level * chain * lift))
            rows += [
                (f"s{s}", f"d{i % 2}|i{i}", days[k], int(y[k]), price * (0.8 if cut[k] else 1.0))
                for k in range(first, last)
                if y[k] > 0
            ]
    schema = {"store_id": pl.String, "item_id": pl.String, "ds": pl.Date, "y": pl.Int64}
    return pl.DataFrame(rows, schema={**schema, "price": pl.Float64}, orient="row")


def _csv(sold: pl.DataFrame, folder: Path) -> Path:
    sold.write_csv(folder / "sales.csv")
    return folder / "sales.csv"


def _without_prices(sold: pl.DataFrame, folder: Path) -> Path:
    return _csv(sold.drop("price"), folder)


def _weekly(sold: pl.DataFrame, folder: Path) -> Path:
    """Sums of weeks that end on Sunday, named by it."""
    weeks = (
        sold.with_columns(ds=pl.col("ds").dt.truncate("1w").dt.offset_by("6d"))
        .group_by("store_id", "item_id", "ds")
        .agg(price=(pl.col("price") * pl.col("y")).sum() / pl.col("y").sum(), y=pl.col("y").sum())
    )
    return _csv(weeks.filter(pl.col("ds") <= LAST).sort("store_id", "item_id", "ds"), folder)


def _m5(sold: pl.DataFrame, folder: Path) -> Path:
    """The three files of M5: a column a day, prices by the week of the calendar."""
    keys = pl.col("store_id"), pl.col("item_id").str.split("|").list.last()
    first: date = sold["ds"].min()  # type: ignore[assignment]
    every = [first + timedelta(days=k) for k in range((LAST - first).days + 1 + 28)]
    calendar = pl.DataFrame({"date": every}).with_columns(
        wm_yr_wk=pl.col("date").dt.truncate("1w").rank("dense").cast(pl.Int64) + 11100,
        d=pl.format("d_{}", pl.int_range(1, pl.len() + 1)),
    )
    calendar.write_csv(folder / "calendar.csv")
    named = sold.with_columns(*keys, dept_id=pl.col("item_id").str.split("|").list.first()).join(
        calendar, left_on="ds", right_on="date"
    )
    wide = named.pivot(on="d", index=["store_id", "item_id", "dept_id"], values="y")
    names = calendar.filter(pl.col("date") <= LAST)["d"].to_list()
    missing = [pl.lit(0).alias(d) for d in names if d not in wide.columns]
    wide = wide.with_columns(
        *missing,
        cat_id=pl.lit("C"),
        state_id=pl.lit("S"),
        id=pl.concat_str("item_id", "store_id", separator="_"),
    )
    about = ["id", "item_id", "dept_id", "cat_id", "store_id", "state_id"]
    wide.select(*about, *(pl.col(d).fill_null(0) for d in names)).write_csv(
        folder / "sales_train_evaluation.csv"
    )
    prices = named.group_by("store_id", "item_id", "wm_yr_wk").agg(
        sell_price=pl.col("price").first()
    )
    prices.sort("store_id", "item_id", "wm_yr_wk").write_csv(folder / "sell_prices.csv")
    return folder


KINDS = (
    Kind(
        "weekly",
        days=1099,
        write=_weekly,
        settings={"frequency": "1w", "horizon": 8, "closed_days": ()},
    ),
    Kind("prices without promotions"),
    Kind("neither prices nor promotions", priced=False, write=_without_prices),
    Kind("late and early ends", ragged=True),
    Kind("single store", stores=1, items=12),
    Kind("M5 files", write=_m5, settings={"source": "m5"}),
)


def settings_of(kind: Kind, folder: Path, *, seed: int = 1) -> dict[str, Any]:
    """Writes the retailer's files to a folder; the settings that forecast from them.

    The first cutoff is one horizon before the last day: what follows it judges the forecast.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = kind.write(sold(kind, seed), folder)
    weekly = kind.settings.get("frequency") == "1w"
    ahead = 8 * 7 if weekly else 28
    return {
        "source": "csv",
        "source_path": str(path),
        "first_cutoff": LAST - timedelta(days=ahead),
        "series_min_days": 28,
        "series_active_days": kind.days,
        **kind.settings,
    }
