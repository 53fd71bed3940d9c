"""Data of other kinds, from the owner's files to forecasts, by a source and settings alone."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy.retailers import KINDS, Kind, settings_of
from data.schema import KEYS, PLAN, QUANTILE_COLUMNS, SALES
from data.settings import Settings
from data.snapshots import choose_series
from data.sources import read_sales
from data.warehouse import connect
from feature_repo.build import feature_rows
from models.assembly import matrix_spec, needed_cutoffs
from models.backtest import TrainingData
from models.baselines import NAIVE, SEASONAL_NAIVE, baseline_forecasts
from models.dataset import actuals, history
from models.forecaster import Forecaster, HorizonTooLong
from models.metrics import level_scales, wrmsse
from models.performance import score
from models.training import refit

FAST = {"objective": "poisson", "num_iterations": 100, "num_leaves": 8, "min_data_in_leaf": 50}
SMALL = {
    **{kind.name: replace(kind, stores=2, items=4, days=300) for kind in KINDS},
    "single store": replace(KINDS[4], items=8, days=300),
    "weekly": replace(KINDS[0], stores=2, items=4, days=882),
}


def known_next_morning(sales: pl.DataFrame) -> pl.DataFrame:
    morning = pl.col("ds").cast(pl.Datetime("us", "UTC")).dt.offset_by("1d10h")
    return sales.filter(pl.col("exclusion").is_null()).with_columns(known_at=morning)


def read(kind: Kind, folder: Path) -> tuple[Settings, pl.DataFrame]:
    """The retailer's settings and all its sales (schema SALES), read through its source."""
    settings = Settings(
        state_dir=folder / "state", _env_file=None, **settings_of(kind, folder / "files")
    )
    with connect(settings) as con:
        rows = read_sales(con, settings, source=settings.source, since=None, until=None)
    return settings, known_next_morning(rows).select(list(SALES)).cast(pl.Schema(SALES))


def training_data(settings: Settings, sales: pl.DataFrame) -> TrainingData:
    cutoff = settings.first_cutoff
    known = sales.filter(pl.col("ds") <= cutoff)
    series = choose_series(
        known, cutoff, min_days=28, active_days=settings.series_active_days, steps=settings.steps
    )
    first: date = known["ds"].min()  # type: ignore[assignment]
    plan, rows = pl.DataFrame(schema=PLAN), []
    for day in needed_cutoffs(first, cutoff, settings.horizon, settings.steps):
        views = feature_rows(
            known, plan, series, cutoff=day, snapshot_id="snap", steps=settings.steps
        )
        one = views["demand"].join(views["store_demand"], on="store_id")
        rows.append(one.with_columns(cutoff=pl.lit(day)))
    return TrainingData(
        cutoff=cutoff,
        horizon=settings.horizon,
        snapshot_id="snap",
        features=pl.concat(rows),
        sales=known.join(series, on=KEYS, how="semi"),
        plan=plan,
        spec=matrix_spec(settings, series),
        versions=known.join(series, on=KEYS, how="semi"),
        timezone=settings.timezone,
    )


def trained(data: TrainingData) -> Forecaster:
    done = refit(data, FAST, seed=1)
    return Forecaster(done.booster, done.manifest)


def newest(data: TrainingData) -> pl.DataFrame:
    return data.features.filter(pl.col("cutoff") == data.cutoff)


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_other_data_is_forecast_better_than_by_repeating_it(name: str, tmp_path: Path) -> None:
    settings, sales = read(SMALL[name], tmp_path)
    data = training_data(settings, sales)
    features, horizon = newest(data), settings.horizon
    assert features["store_id"].n_unique() == SMALL[name].stores
    own = trained(data).forecast(features, data.plan, horizon)
    assert own["ds"].unique().sort().to_list() == settings.steps.ahead(data.cutoff, horizon)
    values = own.select("y_hat", *QUANTILE_COLUMNS).to_numpy()
    assert np.isfinite(values).all() and (values >= 0).all()
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()
    dense = data.history(data.cutoff)
    others = baseline_forecasts(features, dense, horizon, data.spec, [NAIVE, SEASONAL_NAIVE])
    until: date = sales["ds"].max()  # type: ignore[assignment]
    scales = level_scales(dense)

    def loss(rows: pl.DataFrame) -> float:
        return wrmsse(actuals(rows, sales, until=until, steps=settings.steps), scales)["mean"]

    naive = [loss(others.filter(pl.col("model") == m)) for m in (NAIVE, SEASONAL_NAIVE)]
    assert loss(own) < min(naive)


@pytest.fixture(scope="module")
def weekly(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, pl.DataFrame, TrainingData]:
    settings, sales = read(SMALL["weekly"], tmp_path_factory.mktemp("weekly"))
    return settings, sales, training_data(settings, sales)


def test_features_of_weeks_are_means_a_week_and_lags_in_weeks(
    weekly: tuple[Settings, pl.DataFrame, TrainingData],
) -> None:
    _, sales, data = weekly
    row = newest(data).row(0, named=True)
    week = timedelta(weeks=1)
    own = sales.filter(
        (pl.col("store_id") == row["store_id"]) & (pl.col("item_id") == row["item_id"])
    )
    sold = dict(own.select("ds", "y").iter_rows())
    last = [sold.get(data.cutoff - k * week, 0.0) for k in range(12)]
    assert [row[f"lag_{k}"] for k in range(1, 8)] == last[:7]
    assert [row[f"mean_{w}"] for w in (7, 14, 28, 84)] == pytest.approx(
        [np.mean(last[:n]) for n in (1, 2, 4, 12)]
    )
    assert row["std_28"] == pytest.approx(np.std(last[:4]))


def test_the_naive_season_of_weeks_is_a_year(
    weekly: tuple[Settings, pl.DataFrame, TrainingData],
) -> None:
    settings, sales, data = weekly
    dense = history(sales, newest(data), data.cutoff, settings.steps)
    rows = baseline_forecasts(newest(data), dense, 8, data.spec, [SEASONAL_NAIVE])
    ago = rows.with_columns(ds=pl.col("ds") - pl.duration(weeks=52)).join(
        dense, on=[*KEYS, "ds"], how="inner"
    )
    assert ago.height == rows.height and (ago["y_hat"] == ago["y"]).all()


def test_weeks_are_scored_by_weeks_ahead_and_a_longer_horizon_is_refused(
    weekly: tuple[Settings, pl.DataFrame, TrainingData],
) -> None:
    settings, sales, data = weekly
    model = trained(data)
    made = model.forecast(newest(data), data.plan, 8).with_columns(model=pl.lit("1"))
    until: date = sales["ds"].max()  # type: ignore[assignment]
    found = score(
        made,
        sales,
        version="1",
        horizon=8,
        until=until,
        steps=settings.steps,
        calibration=model.manifest.calibration,
    )
    assert found.cutoff == data.cutoff
    assert found.scores["lead_week"].drop_nulls().unique().sort().to_list() == list(range(1, 9))
    total = model.level_forecast(newest(data), data.plan, 8, "total")
    assert total["ds"].to_list() == settings.steps.ahead(data.cutoff, 8)
    with pytest.raises(HorizonTooLong, match=r"horizon is 9; .* forecasts 1 to 8 steps"):
        model.forecast(newest(data), data.plan, 9)
