"""Odd series and faulty frames: a forecast that is a number, or an error that names the fault."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from data.schema import KEYS, PLAN, QUANTILE_COLUMNS, SALES
from data.steps import Steps
from data.warehouse import known_at_morning
from feature_repo.build import feature_rows
from models.assembly import history_begins, needed_cutoffs
from models.backtest import TrainingData
from models.baselines import BASELINES, baseline_forecasts
from models.dataset import MatrixSpec, history
from models.forecaster import Forecaster
from models.grid import BadGrid, check_grid, missing_cells, unplanned_steps
from models.training import refit

CUTOFF, HORIZON, CLOSED = date(2017, 9, 10), 28, ("12-25",)
STEPS = Steps(1, CLOSED)
ZONE = "America/New_York"
FAST = {"objective": "poisson", "num_iterations": 20, "num_leaves": 8, "learning_rate": 0.1}


def rows_of(item: str, days: list[date], y: float, price: float | None) -> list[tuple[object, ...]]:
    return [("odd", item, d, y, price, known_at_morning(d, ZONE)) for d in days]


@pytest.fixture(scope="module")
def odd_sales(sales: pl.DataFrame) -> pl.DataFrame:
    """The small retailer and a store of odd series, half of them without a price."""
    year = [date(2017, 1, 1) + timedelta(days=k) for k in range(253)]
    odd = [
        *rows_of("constant", year, 5.0, 2.0),
        *rows_of("zero", year, 0.0, None),
        *rows_of("one day", [CUTOFF], 3.0, 2.0),
        *rows_of("gap", [d for d in year if not 4 <= d.month <= 6], 4.0, None),
        *rows_of("ended", [d for d in year if d.month < 6], 4.0, 2.0),
        *rows_of("late", [d for d in year if d.month > 7], 4.0, 2.0),
    ]
    return pl.concat([sales, pl.DataFrame(odd, schema=SALES, orient="row")])


@pytest.fixture(scope="module")
def data(odd_sales: pl.DataFrame) -> TrainingData:
    """What a training reads of it; there is no promotion plan at all."""
    series = odd_sales.select(KEYS).unique().sort(KEYS)
    plan = pl.DataFrame(schema=PLAN)
    frames = []
    for cutoff in needed_cutoffs(odd_sales["ds"].min(), CUTOFF, HORIZON, STEPS):  # type: ignore[arg-type]
        views = feature_rows(
            odd_sales, plan, series, cutoff=cutoff, snapshot_id="snap", steps=STEPS
        )
        one = views["demand"].join(views["store_demand"], on="store_id")
        frames.append(one.with_columns(cutoff=pl.lit(cutoff)))
    spec = MatrixSpec(tuple(sorted(series["item_id"].unique())), "US", CLOSED)
    return TrainingData(
        CUTOFF, HORIZON, "snap", pl.concat(frames), odd_sales, plan, spec, odd_sales, ZONE
    )


@pytest.fixture(scope="module")
def model(data: TrainingData) -> Forecaster:
    done = refit(data, FAST, seed=1)
    return Forecaster(done.booster, done.manifest)


def newest(data: TrainingData) -> pl.DataFrame:
    return data.features.filter(pl.col("cutoff") == CUTOFF)


def test_odd_series_get_forecasts_that_are_numbers(data: TrainingData, model: Forecaster) -> None:
    rows = model.forecast(newest(data), data.plan, HORIZON)
    assert rows.filter(pl.col("store_id") == "odd")["item_id"].n_unique() == 6
    values = rows.select("y_hat", *QUANTILE_COLUMNS).to_numpy()
    assert np.isfinite(values).all() and (values >= 0).all()
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()


def test_many_series_are_forecast_in_blocks_and_the_same(
    data: TrainingData, model: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.expected(newest(data), data.plan, HORIZON)
    monkeypatch.setattr("models.forecaster.BLOCK", 4)
    assert newest(data).height % 4
    assert np.array_equal(model.expected(newest(data), data.plan, HORIZON), whole)


def test_series_that_sold_nothing_or_no_more_are_forecast_less_than_a_constant_one(
    data: TrainingData, model: Forecaster
) -> None:
    rows = model.forecast(newest(data), data.plan, HORIZON).filter(pl.col("store_id") == "odd")
    mean = dict(rows.group_by("item_id").agg(pl.col("y_hat").mean()).iter_rows())
    assert mean["zero"] < 0.5 * mean["constant"] and mean["ended"] < 0.5 * mean["constant"]


def test_every_baseline_forecasts_odd_series(data: TrainingData) -> None:
    features = newest(data)
    dense = history(data.sales, features, CUTOFF, STEPS)
    rows = baseline_forecasts(features, dense, HORIZON, data.spec, BASELINES)
    assert rows["y_hat"].is_finite().all() and (rows["y_hat"] >= 0).all()
    assert rows.group_by("model").len()["len"].unique().to_list() == [features.height * HORIZON]


def test_a_series_that_is_there_twice_is_named(data: TrainingData, model: Forecaster) -> None:
    features = newest(data)
    twice = pl.concat([features, features.filter(pl.col("item_id") == "gap")])
    with pytest.raises(BadGrid, match=r"features hold store_id=odd, item_id=gap.* more than once"):
        model.forecast(twice, data.plan, HORIZON)


def plan_of(**cells: object) -> pl.DataFrame:
    row = {"store_id": "s0", "item_id": "i0", "ds": CUTOFF + timedelta(days=1)}
    known = known_at_morning(CUTOFF - timedelta(days=30), ZONE)
    row |= {"display": 1.0, "mailer": 0.0, "known_at": known, **cells}
    return pl.DataFrame([row], schema=PLAN)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_planned_cell_that_is_no_count_is_named(
    data: TrainingData, model: Forecaster, value: float
) -> None:
    with pytest.raises(BadGrid, match=r"holds store_id=s0, item_id=i0, ds=2017-09-11, display="):
        model.forecast(newest(data), plan_of(display=value), HORIZON)


def test_a_day_that_is_planned_twice_is_named(data: TrainingData, model: Forecaster) -> None:
    twice = pl.concat([plan_of(), plan_of(display=2.0)])
    with pytest.raises(BadGrid, match=r"plan hold store_id=s0.*2017-09-11.* more than once"):
        model.forecast(newest(data), twice, HORIZON)


def test_a_good_grid_passes(data: TrainingData) -> None:
    check_grid(newest(data), plan_of())
    check_grid(data.features, pl.DataFrame(schema=PLAN))


def test_days_without_any_plan_are_listed_unless_there_are_no_promotions() -> None:
    assert unplanned_steps(plan_of(), CUTOFF, 3, STEPS) == [date(2017, 9, 12), date(2017, 9, 13)]
    assert unplanned_steps(pl.DataFrame(schema=PLAN), CUTOFF, 3, STEPS) == []


def test_forty_planned_cells_without_a_number_are_listed_and_count_as_unpromoted(
    data: TrainingData, model: Forecaster
) -> None:
    days = [CUTOFF + timedelta(days=k) for k in range(1, 21)]
    full = pl.concat(plan_of(ds=d, display=0.0) for d in days)
    holes = full.with_columns(display=pl.lit(None, pl.Float64), mailer=pl.lit(None, pl.Float64))
    listed = missing_cells(holes)
    assert listed.height == 40
    assert listed.row(0) == ("s0", "i0", days[0], "display")
    assert missing_cells(full).is_empty()
    features = newest(data)
    without = model.forecast(features, holes, HORIZON)
    assert without.equals(model.forecast(features, full, HORIZON))


def test_one_day_of_history_is_too_little_to_train_on_and_the_error_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"needs sales of at least 8 weeks .* begin on 2017-09-10"):
        needed_cutoffs(CUTOFF, CUTOFF, HORIZON, STEPS)


def old_row(series: pl.DataFrame, known: date, **key: str) -> pl.DataFrame:
    """One sale of 7 June 2004, of the first of the series or of another, known after a day."""
    sold = {**series.row(0, named=True), **key, "ds": date(2004, 6, 7), "y": 1.0, "price": 2.0}
    return pl.DataFrame([{**sold, "known_at": known_at_morning(known, ZONE)}], schema=SALES)


@pytest.mark.parametrize(
    ("known", "key"),
    [
        (date(2004, 6, 7), {"store_id": "closed since"}),
        (date(2004, 6, 7), {}),  # a mistyped year in the history
        (date(2017, 9, 5), {}),  # one that was delivered later
    ],
)
def test_an_old_row_makes_no_training_longer(
    sales: pl.DataFrame, series: pl.DataFrame, known: date, key: dict[str, str]
) -> None:
    begins = history_begins(sales, series, CUTOFF)
    assert begins == sales["ds"].min()
    with_old = pl.concat([sales, old_row(series, known, **key)])
    assert history_begins(with_old, series, CUTOFF) == begins


def test_a_year_without_deliveries_loses_no_history(
    sales: pl.DataFrame, series: pl.DataFrame
) -> None:
    years = pl.duration(days=2 * 366)
    later = sales.with_columns(pl.col("ds") + years, pl.col("known_at") + 2 * years)
    between = sales.with_columns(pl.col("ds") + years / 2, pl.col("known_at") + 2 * years)
    both = pl.concat([sales, between, later])
    assert history_begins(both, series, CUTOFF + timedelta(days=2 * 366)) == sales["ds"].min()


def test_sales_that_were_all_known_later_are_no_history(
    sales: pl.DataFrame, series: pl.DataFrame
) -> None:
    later = pl.lit(known_at_morning(CUTOFF + timedelta(days=30), ZONE)).cast(SALES["known_at"])
    assert history_begins(sales.with_columns(known_at=later), series, CUTOFF) == CUTOFF
