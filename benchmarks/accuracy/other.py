"""Accuracy on made-up data of other kinds, with nothing but settings: rows of accuracy.json."""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.accuracy import methods, retailers
from benchmarks.accuracy.methods import OURS
from benchmarks.accuracy.retailers import KINDS, Kind
from benchmarks.rows import Row
from data.schema import KEYS
from data.settings import Settings
from models.baselines import BASELINES
from models.metrics import level_scales, wrmsse

WORLDS = 5  # seeds of each kind; the figures are means over them


def measured() -> list[Row]:
    """One row a kind: mean WRMSSE over worlds and levels, ours and the best baseline's."""
    with tempfile.TemporaryDirectory() as folder:
        return [_row(kind, Path(folder) / kind.name.replace(" ", "-")) for kind in KINDS]


def _row(kind: Kind, folder: Path) -> Row:
    print(f"{kind.name}: {WORLDS} worlds …", flush=True)
    worlds = [figures(kind, folder / str(seed), seed=seed) for seed in range(1, WORLDS + 1)]
    found = {model: float(np.mean([world[model] for world in worlds])) for model in worlds[0]}
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


def figures(kind: Kind, folder: Path, *, seed: int) -> dict[str, float]:
    """Mean WRMSSE over the levels of each method in one made-up world.

    From files to forecasts as in production; `seed` makes the world.
    """
    files = retailers.settings_of(kind, folder / "files", seed=seed)
    settings = Settings(state_dir=folder / "state", _env_file=None, **files)
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
