"""M5 from the folder of its three files, which its user brings: WRMSSE of all twelve levels."""

import tempfile
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from benchmarks.accuracy import methods
from benchmarks.accuracy.methods import OURS, Bench
from benchmarks.accuracy.point import row
from benchmarks.rows import Row
from data.schema import KEYS
from data.settings import Settings
from data.warehouse import known_at_morning
from feature_repo.build import known_versions
from models.baselines import BASELINES
from models.metrics import DEPARTMENT, M5_LEVELS, level_scales, wrmsse

HORIZON = timedelta(days=28)


def measured(folder: Path) -> list[Row]:
    """A row for each level and for their mean: ours and the best baseline's.

    The last 28 days of the files judge. Nodes weigh by what they earned in the 28 days before.
    """
    with tempfile.TemporaryDirectory() as state:
        settings = settings_of(folder, Path(state))
        bench = methods.prepare(settings, [settings.first_cutoff])
        found = figures(bench)
    rows = []
    for level, mine in found[OURS].items():
        best = min(BASELINES, key=lambda model: found[model][level])
        theirs, unit = found[best][level], f"WRMSSE, {best}"
        rows.append(row(f"m5 {level}", unit, mine, theirs=theirs, target=1.0, met=mine < theirs))
    return rows


def settings_of(folder: Path, state: Path) -> Settings:
    """Every series that sold by the cutoff; Christmas is the day without sales, as by default.

    Raises ValueError where the folder lacks the calendar or the sales.
    """
    calendar = folder / "calendar.csv"
    files = sorted(folder.glob("sales_train_*.csv"))
    if not files or not calendar.exists():
        raise ValueError(
            f"{folder} holds no calendar.csv or no sales_train_*.csv; name the folder of the three "
            "files of M5."
        )
    last = [c for c in pl.scan_csv(files[0]).collect_schema().names() if c.startswith("d_")][-1]
    days = pl.read_csv(calendar, columns=["d", "date"], try_parse_dates=True)
    until: date = days.filter(pl.col("d") == last)["date"].item()
    return Settings(
        state_dir=state,
        source="m5",
        source_path=str(folder),
        grain="category",
        first_cutoff=until - HORIZON,
        series_min_days=1,
        series_active_days=days.height,
        _env_file=None,
    )


def figures(bench: Bench) -> dict[str, dict[str, float]]:
    """WRMSSE of each method per level of M5, and `mean`, at the bench's one cutoff."""
    (cutoff,) = bench.cutoffs
    scales = level_scales(with_levels(earned(bench, cutoff)), M5_LEVELS, weight="earned")
    made = [methods.ours(bench, cutoff), methods.baselines(bench, cutoff)]
    on = [*KEYS, "cutoff", "ds"]
    rows = pl.concat(made, how="diagonal_relaxed").join(bench.actuals.select(*on, "y"), on=on)
    return {
        str(model): wrmsse(with_levels(part), scales, M5_LEVELS)
        for (model,), part in rows.group_by("model", maintain_order=True)
    }


def with_levels(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with state, category and department, which the ids of M5 begin with."""
    return rows.with_columns(
        state=pl.col("store_id").str.split("_").list.first(),
        category=pl.col("item_id").str.split("_").list.first(),
        department=DEPARTMENT,
    )


def earned(bench: Bench, cutoff: date) -> pl.DataFrame:
    """Dense sales up to the cutoff with what each day earned: units times the price."""
    known = known_versions(bench.sales, known_at_morning(cutoff, bench.settings.timezone))
    prices = known.select(*KEYS, "ds", "price")
    priced = bench.history(cutoff).join(prices, on=[*KEYS, "ds"], how="left")
    return priced.with_columns(earned=(pl.col("y") * pl.col("price")).fill_null(0.0))
