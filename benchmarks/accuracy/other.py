"""Accuracy on made-up data of other kinds, with nothing but settings: rows of accuracy.json."""

import tempfile
from pathlib import Path

import polars as pl

from benchmarks.accuracy import methods, retailers
from benchmarks.accuracy.methods import OURS
from benchmarks.accuracy.retailers import KINDS, Kind
from benchmarks.rows import Row
from data.schema import KEYS
from data.settings import Settings
from models.baselines import BASELINES
from models.metrics import level_scales, wrmsse


def measured() -> list[Row]:
    """One row a kind: mean WRMSSE over the levels, ours and the best baseline's."""
    with tempfile.TemporaryDirectory() as folder:
        return [_row(kind, Path(folder) / kind.name.replace(" ", "-")) for kind in KINDS]


def _row(kind: Kind, folder: Path) -> Row:
    found = figures(kind, folder)
    best = min(BASELINES, key=lambda model: found[model])
    return Row(
        metric=f"other_data_wrmsse: {kind.name}",
        unit=f"WRMSSE, {best}",
        ours=round(found[OURS], 4),
        theirs=round(found[best], 4),
        ratio=round(found[OURS] / found[best], 4),
        target=1.0,
        met=found[OURS] < found[best],
    )


def figures(kind: Kind, folder: Path) -> dict[str, float]:
    """Mean WRMSSE over the levels of each method, from files to forecasts as in production."""
    settings = Settings(
        state_dir=folder / "state", _env_file=None, **retailers.settings_of(kind, folder / "files")
    )
    cutoff = settings.first_cutoff
    bench = methods.prepare(settings, [cutoff])
    made = [methods.ours(bench, cutoff), methods.baselines(bench, cutoff)]
    on = [*KEYS, "cutoff", "ds"]
    rows = pl.concat(made, how="diagonal_relaxed").join(bench.actuals.select(*on, "y"), on=on)
    scales = level_scales(bench.history(cutoff))
    return {
        str(model): wrmsse(part, scales)["mean"]
        for (model,), part in rows.group_by("model", maintain_order=True)
    }
