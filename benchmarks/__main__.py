"""Measures the pipeline against doing the same by hand; writes benchmarks/results/pipeline.json.

Needs the state that `make demo` leaves. It is copied: nothing is changed.
"""

import shutil
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.rows import Row, paired, plain_row, ratio_row
from checks import intake
from data import snapshots, sources
from data.schema import EVENT_TIME, KEYS
from data.settings import Settings, command_settings
from data.snapshots import read_snapshot
from data.warehouse import connect, known_at_morning, query
from feature_repo import store
from feature_repo.build import feature_rows_as_known
from models import gbm
from models.assembly import needed_cutoffs, training_data
from models.batch import batch_forecasts
from models.forecaster import Forecaster

SQL = Path(__file__).parent
ROUNDS = 5


def copied(settings: Settings, folder: Path) -> Settings:
    """The same settings on a copy of what the benchmark reads and writes."""
    state = folder / "state"
    skip = shutil.ignore_patterns("prefect", "logs", "mlartifacts", "*.token")
    shutil.copytree(settings.state_dir, state, ignore=skip)
    return settings.model_copy(update={"state_dir": state})


def ingest_row(settings: Settings, folder: Path) -> Row:
    """The history through its contract into a new warehouse, against CREATE TABLE AS."""
    until = settings.first_cutoff
    as_of = known_at_morning(until, settings.timezone)
    runs = iter(range(100))

    def ours() -> None:
        fresh = settings.model_copy(update={"state_dir": folder / f"ingest{next(runs)}"})
        with connect(fresh) as con:
            intake.take(
                con, fresh, source=fresh.source, path="", since=None, until=until, as_of=as_of
            )

    def theirs() -> None:
        with connect(
            settings.model_copy(update={"state_dir": folder / f"ctas{next(runs)}"})
        ) as con:
            rows = sources.read_sales(
                con, settings, source=settings.source, path="", since=None, until=until
            )
            con.register("rows", rows)
            con.execute("CREATE TABLE plain AS SELECT * FROM rows")

    return ratio_row("ingest_vs_create_table_as", "s", *paired(ours, theirs, rounds=3))


def feature_row(settings: Settings, snapshot: Path) -> Row:
    """Every feature at the training cutoffs, against a third of them by SQL window functions."""
    taken = read_snapshot(snapshot)
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    first: date = sales["ds"].min()  # type: ignore[assignment]
    cutoffs = needed_cutoffs(first, cutoff, settings.horizon, settings.steps)
    with connect(settings) as con:
        versions = query(con, "sales_versions")
        plans = query(con, "plan_versions", since=None, until=cutoff)

    def ours() -> None:
        for day in cutoffs:
            feature_rows_as_known(
                versions,
                plans,
                series,
                cutoff=day,
                as_of=known_at_morning(day, settings.timezone),
                snapshot_id=taken.snapshot_id,
                steps=settings.steps,
            )

    def theirs() -> None:
        con = duckdb.connect()
        con.register("sales", sales.join(series, on=KEYS, how="semi"))
        params = {"until": cutoff, "cutoffs": cutoffs}
        con.sql((SQL / "windows.sql").read_text(), params=params).pl()

    return ratio_row("feature_build_vs_sql_windows", "s", *paired(ours, theirs, rounds=3))


def retrieval_row(settings: Settings, snapshot: Path) -> Row:
    """Historical retrieval through Feast, against a hand-written ASOF join; equal rows."""
    taken = read_snapshot(snapshot)
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    first: date = sales["ds"].min()  # type: ignore[assignment]
    cutoffs = [
        c
        for c in needed_cutoffs(first, cutoff, settings.horizon, settings.steps)
        if c in set(store.offline_cutoffs(settings))
    ]
    times = [known_at_morning(c, settings.timezone) for c in cutoffs]
    entities = series.join(pl.DataFrame({EVENT_TIME: times}), how="cross")
    views = {
        v: str(settings.features_dir / v / "*" / "*.parquet") for v in ("demand", "store_demand")
    }

    def by_hand() -> pl.DataFrame:
        con = duckdb.connect()
        con.execute("SET TimeZone='UTC'")
        con.register("entities", entities)
        joined: pl.DataFrame = con.sql((SQL / "asof.sql").read_text(), params=views).pl()
        return joined

    order = [*KEYS, EVENT_TIME]
    ours = store.historical_features(settings, entities).sort(order)
    theirs = by_hand().select(ours.columns).sort(order)
    if not ours.drop(EVENT_TIME).equals(theirs.drop(EVENT_TIME)):
        raise AssertionError("Feast and the ASOF join do not give the same rows.")
    seconds = paired(lambda: store.historical_features(settings, entities), by_hand, rounds=ROUNDS)
    return ratio_row("historical_retrieval_vs_asof", "s", *seconds, target=3.0)


def online_row(settings: Settings, snapshot: Path) -> Row:
    """One series from the online store, against a filtered scan of the offline Parquet."""
    taken = read_snapshot(snapshot)
    cutoff, series = taken.cutoff, taken.series()
    opened, keys = store.open_store(settings), list(series.iter_rows())
    files = settings.features_dir / "demand" / str(cutoff) / "*.parquet"

    def ours() -> None:
        for key in keys[:100]:
            store.online_features(opened, [key])

    def theirs() -> None:
        for store_id, item_id in keys[:100]:
            wanted = (pl.col("store_id") == store_id) & (pl.col("item_id") == item_id)
            pl.scan_parquet(files).filter(wanted).collect()

    ours_s, theirs_s = paired(ours, theirs, rounds=ROUNDS)
    per_read = ([s * 10 for s in ours_s], [s * 10 for s in theirs_s])  # 100 reads, in ms
    return ratio_row("online_read_vs_parquet_scan", "ms", *per_read)


def training_row(settings: Settings, snapshot: Path) -> Row:
    """Matrix, binning and fit of one booster, against the fit alone on a matrix that is there."""
    with connect(settings) as con:
        versions = query(con, "sales_versions")
        plan = query(con, "plan_versions", since=None, until=None)
    data = training_data(settings, snapshot, versions, plan)
    ready = data.training_set(data.cutoff)

    def ours() -> None:
        fresh = training_data(settings, snapshot, versions, plan)
        gbm.fit(fresh.training_set(fresh.cutoff), gbm.DEFAULTS, settings.seed)

    def theirs() -> None:
        gbm.fit(ready, gbm.DEFAULTS, settings.seed)

    return ratio_row("training_vs_bare_fit", "s", *paired(ours, theirs, rounds=2))


def cycle_row(settings: Settings, day: date, model: Path) -> Row:
    """One daily cycle, delivery to forecasts of all series, against the forecasts alone."""
    champion = Forecaster.load(model)

    def features(cutoff: date) -> Path:
        as_of = known_at_morning(cutoff, settings.timezone)
        with connect(settings) as con:
            taken = snapshots.snapshot(con, settings, as_of, settings.horizon)
            versions = query(con, "sales_versions")
            plans = query(con, "plan_versions", since=None, until=cutoff)
        series = taken.series()
        rows = feature_rows_as_known(
            versions,
            plans,
            series,
            cutoff=cutoff,
            as_of=as_of,
            snapshot_id=taken.snapshot_id,
            steps=settings.steps,
        )
        for view, frame in rows.items():
            store.write_offline(settings, view, frame, cutoff=cutoff, created=as_of)
        store.materialize(settings, cutoff)
        return taken.folder

    def deliver(cutoff: date) -> None:
        as_of = known_at_morning(cutoff, settings.timezone)
        with connect(settings) as con:
            source = settings.source
            intake.take(
                con, settings, source=source, path="", since=cutoff, until=cutoff, as_of=as_of
            )

    days = iter(day + timedelta(days=k) for k in range(1, 60))
    newest: list[Path] = []

    def ours() -> None:
        cutoff = next(days)
        deliver(cutoff)
        newest[:] = [features(cutoff)]
        batch_forecasts(settings, str(newest[0]), champion)

    def theirs() -> None:
        batch_forecasts(settings, str(newest[0]), champion)

    return ratio_row("cycle_seconds", "s", *paired(ours, theirs, rounds=3))


def measure(settings: Settings) -> list[Row]:
    """Every row of the result file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = copied(settings, folder)
        store.apply(copy)
        with connect(copy) as con:
            day = query(con, "last_day")["ds"][0]
            as_of = known_at_morning(day, copy.timezone)
            snapshot = snapshots.snapshot(con, copy, as_of, copy.horizon).folder
        series = pl.read_parquet(snapshot / "series.parquet").height
        model = copy.champions_dir / (copy.champions_dir / "CURRENT").read_text().strip()
        return [
            ingest_row(copy, folder),
            feature_row(copy, snapshot),
            retrieval_row(copy, snapshot),
            online_row(copy, snapshot),
            training_row(copy, snapshot),
            cycle_row(copy, day, model),
            plain_row("demo_series", "series", series, target=700),
        ]


def main() -> int:
    """Measures, prints a table and writes the result file; 1 when a target is missed."""
    rows = measure(command_settings())
    report.save("pipeline", rows)
    table = Table(title=report.machine())
    for column in ("metric", "unit", "ours", "theirs", "ratio", "target", "met"):
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if v is None else str(v) for v in row.values()))
    Console().print(table)
    return int(any(row["met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
