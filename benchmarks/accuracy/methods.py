"""Forecasts of every method from the same origins, as known there; each kept on disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from time import perf_counter

import lightgbm as lgb
import polars as pl

from benchmarks.accuracy import world
from data.schema import KEYS
from data.settings import ROOT, Settings
from data.warehouse import connect, known_at_morning, query
from feature_repo.build import known_versions
from models import forecaster, gbm
from models.assembly import features_as_known, matrix_spec, needed_cutoffs, training_data
from models.baselines import BASELINES, baseline_forecasts, regular, statistical_forecasts
from models.dataset import MatrixSpec, actuals, history, target_days
from models.forecaster import Forecaster
from models.metrics import DEPARTMENT, LEVELS, aggregate, levels_of
from models.training import refit

OURS, MLFORECAST, AUTO_ETS, ORACLE = "shelfcast", "mlforecast", "AutoETS per level", "oracle"
WEEK_STEP = 7
ROOMS, KINDS = ("data", "checks", "feature_repo", "models"), ("*.py", "*.sql", "*.yml", "*.yaml")
ALONE = ("benchmarks/accuracy/methods.py", "benchmarks/accuracy/world.py", "uv.lock")
PROCESSES = 2  # that fit AutoETS


def code_of() -> str:
    """Digest of all that makes sales, features and forecasts, the libraries' versions included.

    The name of the folder that they are kept in: other code computes everything again. Plots are
    drawn from figures and change none.
    """
    found = [f for room in ROOMS for kind in KINDS for f in (ROOT / room).rglob(kind)]
    rooms = [f for f in found if "state" not in f.parts and f.name != "plots.py"]
    files = sorted([*rooms, *(ROOT / name for name in ALONE)])
    named = (f"{f.relative_to(ROOT)}".encode() + f.read_bytes() for f in files)
    return hashlib.sha256(b"".join(named)).hexdigest()[:10]


def since(settings: Settings, first: date) -> Settings:
    """Settings with the series that could be chosen at an earlier cutoff, in a state of their own.

    Chosen later, series that died in between would be missing.
    """
    folder = settings.state_dir / str(first)
    return settings.model_copy(
        update={"first_cutoff": first, "series_min_days": 20, "state_dir": folder}
    )


@dataclass
class Bench:
    """The data of one benchmark: series, sales and plan, and the origins that are judged."""

    settings: Settings
    cutoffs: Sequence[date]

    @property
    def origins(self) -> list[date]:
        """Weekly origins from the first cutoff to the last."""
        first, last = min(self.cutoffs), max(self.cutoffs)
        days = range(0, (last - first).days + 1, WEEK_STEP)
        return sorted({*(first + timedelta(days=d) for d in days), *self.cutoffs})

    @property
    def calibration_origins(self) -> list[date]:
        """The origins one horizon before, whose errors were known at each origin."""
        return [self.settings.steps.after(o, -self.settings.horizon) for o in self.origins]

    @cached_property
    def sales(self) -> pl.DataFrame:
        sales = world.all_sales(self.settings)
        return sales.join(self.series, on=KEYS, how="semi")

    @cached_property
    def plan(self) -> pl.DataFrame:
        with connect(self.settings) as con:
            plan = query(con, "plan_versions", since=None, until=None)
        return plan.join(self.series, on=KEYS, how="semi")

    @cached_property
    def series(self) -> pl.DataFrame:
        folder = world.snapshot_of(self.settings, min(self.cutoffs))
        return pl.read_parquet(folder / "series.parquet")

    @cached_property
    def spec(self) -> MatrixSpec:
        return matrix_spec(self.settings, self.series)

    @cached_property
    def levels(self) -> list[str]:
        """The levels that the items of the data have."""
        return list(levels_of(self.series))

    def features(self, cutoff: date) -> pl.DataFrame:
        return features_as_known(self.settings, self.series, [cutoff])

    def history(self, cutoff: date) -> pl.DataFrame:
        """Dense sales of the series as known the morning after the cutoff."""
        known = known_versions(self.sales, known_at_morning(cutoff, self.settings.timezone))
        return history(known, self.series, cutoff, self.settings.steps)

    @cached_property
    def actuals(self) -> pl.DataFrame:
        """What was sold on the target days of every origin: keys, cutoff, ds, step, y."""
        horizon, rows = self.settings.horizon, []
        until: date = self.sales["ds"].max()  # type: ignore[assignment]
        for origin in sorted({*self.origins, *self.calibration_origins}):
            days = self.series.with_columns(cutoff=pl.lit(origin))
            grid = target_days(days, horizon, self.settings.steps)
            rows.append(actuals(grid, self.sales, until=until, steps=self.settings.steps))
        return pl.concat(rows)

    def kept(self, name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """The frame that `make` returns, from disk when it was made before."""
        path = self.settings.state_dir / "results" / f"{name}.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            start = perf_counter()
            frame = make().with_columns(seconds=pl.lit(perf_counter() - start))
            print(f"{name}: {frame['seconds'][0]:.0f} s", flush=True)
            frame.write_parquet(path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
        return pl.read_parquet(path)


def prepare(settings: Settings, cutoffs: Sequence[date]) -> Bench:
    """Loads the data and writes the features of every origin and training cutoff."""
    print(f"sales and features, into {settings.state_dir} …", flush=True)
    world.load(settings)
    bench = Bench(settings, cutoffs)
    first: date = bench.sales["ds"].min()  # type: ignore[assignment]
    wanted = {*bench.origins, *bench.calibration_origins}
    for cutoff in cutoffs:
        wanted |= set(needed_cutoffs(first, cutoff, settings.horizon, settings.steps))
    folder = world.snapshot_of(settings, min(cutoffs))
    world.build_features(settings, folder, sorted(wanted))
    return bench


def trained(bench: Bench, cutoff: date) -> Forecaster:
    """The model of a training with the default parameters at a cutoff, by the production path."""
    settings = bench.settings
    folder = settings.champions_dir / str(cutoff)
    if not (folder / forecaster.DIGESTS).exists():
        snapshot, versions = world.snapshot_of(settings, cutoff), world.all_sales(settings)
        data = training_data(settings, snapshot, versions, bench.plan)
        done = refit(data, gbm.DEFAULTS, seed=settings.seed)
        forecaster.save(folder, done.booster_text, done.manifest)
    return Forecaster.load(folder)


def ours(bench: Bench, origin: date) -> pl.DataFrame:
    """Forecasts of the model that was trained at the newest cutoff up to the origin."""
    cutoff = max(c for c in bench.cutoffs if c <= origin)

    def make() -> pl.DataFrame:
        as_of = known_at_morning(origin, bench.settings.timezone)
        ahead = bench.settings.steps.after(origin, bench.settings.horizon)
        plan = bench.plan.filter(pl.col("ds").is_between(origin, ahead, closed="right"))
        model = trained(bench, cutoff)
        rows = model.forecast(bench.features(origin), known_versions(plan, as_of), model.horizon)
        return rows.with_columns(model=pl.lit(OURS))

    return bench.kept(f"ours-{cutoff}-{origin}", make)


def baselines(bench: Bench, origin: date) -> pl.DataFrame:
    """Every baseline of models.baselines from one origin."""

    def make() -> pl.DataFrame:
        features = bench.features(origin)
        dense = bench.history(origin)
        return baseline_forecasts(features, dense, bench.settings.horizon, bench.spec, BASELINES)

    return bench.kept(f"baselines-{origin}", make)


def auto_ets(bench: Bench, origin: date, level: str) -> pl.DataFrame:
    """AutoETS fitted to the nodes of a level themselves: (level, node, ds, y_hat)."""

    def make() -> pl.DataFrame:
        horizon, steps = bench.settings.horizon, bench.settings.steps
        dense = regular(bench.history(origin), bench.features(origin), bench.spec)
        nodes = aggregate(dense, LEVELS[level], ["y"]).sort("node", "ds")
        fitted = statistical_forecasts(
            nodes, ["node"], horizon, ["AutoETS"], steps, processes=PROCESSES
        )
        return fitted.select("node", "ds", y_hat="AutoETS", level=pl.lit(level))

    return bench.kept(f"auto-ets-{level.replace(' ', '-')}-{origin}", make).drop("seconds")


def mlforecast(bench: Bench, origin: date) -> pl.DataFrame:
    """mlforecast with LightGBM's defaults: lags and means, calendar, and the same promotions."""

    def make() -> pl.DataFrame:
        from mlforecast import MLForecast
        from mlforecast.lag_transforms import RollingMean

        horizon, settings = bench.settings.horizon, bench.settings
        dense = regular(bench.history(origin), bench.features(origin), bench.spec)
        as_of = known_at_morning(origin, settings.timezone)
        plan = known_versions(bench.plan, as_of).select(*KEYS, "ds", "display", "mailer")
        series = bench.series.with_row_index("unique_id").with_columns(
            pl.col("store_id").rank("dense").alias("store"),
            pl.col("item_id").rank("dense").alias("item"),
            DEPARTMENT.rank("dense").alias("department"),
        )
        grid = target_days(
            bench.series.with_columns(cutoff=pl.lit(origin)), horizon, settings.steps
        )

        def with_plan(rows: pl.DataFrame) -> pl.DataFrame:
            joined = rows.join(plan, on=[*KEYS, "ds"], how="left").join(series, on=KEYS)
            return joined.with_columns(pl.col("display", "mailer").fill_null(0.0))

        static = ["store", "item", "department"]
        columns = ["unique_id", "ds", "display", "mailer"]
        library = MLForecast(
            models={"y_hat": lgb.LGBMRegressor(verbosity=-1, n_jobs=2)},
            freq="1d",
            lags=[1, 7, 14, 28],
            lag_transforms={1: [RollingMean(7), RollingMean(28)], 7: [RollingMean(28)]},
            date_features=["weekday", "day", "month"],
            num_threads=2,
        )
        library.fit(with_plan(dense).select(*columns, "y", *static), static_features=static)
        rows = library.predict(horizon, X_df=with_plan(grid).select(columns))
        return _closed(bench, grid, rows.join(series, on="unique_id"))

    return bench.kept(f"mlforecast-{origin}", make)


def _closed(bench: Bench, grid: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The forecasts on the grid, 0 on closed days and never negative."""
    closed = pl.col("ds").dt.strftime("%m-%d").is_in(list(bench.settings.closed_days))
    joined = grid.join(rows.select(*KEYS, "ds", "y_hat"), on=[*KEYS, "ds"], how="left")
    return joined.with_columns(
        y_hat=pl.when(closed).then(0.0).otherwise(pl.col("y_hat").cast(pl.Float64).clip(0)),
        model=pl.lit(MLFORECAST),
    )


def oracle(bench: Bench) -> pl.DataFrame:
    """Each series' true mean of the horizon times the true day profile of the chain."""
    rows = bench.actuals.filter(pl.col("cutoff").is_in(bench.origins))
    chain = pl.col("y").sum().over("cutoff", "ds") / pl.col("y").sum().over("cutoff")
    days = pl.col("ds").n_unique().over("cutoff")
    scored = rows.filter(pl.col("y").is_not_null()).with_columns(profile=chain * days)
    return scored.with_columns(
        y_hat=pl.col("y").mean().over(*KEYS, "cutoff") * pl.col("profile"), model=pl.lit(ORACLE)
    ).drop("y", "profile")
