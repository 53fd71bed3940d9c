"""How often the promotion rule promotes what is no better, and what is 2 % better.

A handful of real models is fitted once on the state that `make demo` leaves: one configuration with
several seeds, and another one, each at every origin of a promotion. The trials then resample them.
"""

import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import report
from benchmarks.rows import Row
from checks.gates import decide_promotion
from data.schema import KEYS
from data.settings import Settings, command_settings
from data.snapshots import read_snapshot
from data.warehouse import connect, query
from models import gbm
from models.assembly import training_data
from models.backtest import TrainingData
from models.comparison import compare, scales_of
from models.promotion import promotion_origins

TRIALS = 100
PLANTED = 0.98  # loss of the better challenger over the champion's
# Smaller than what the search finds, so that the fits take minutes.
QUICK = {**gbm.DEFAULTS, "num_iterations": 120, "learning_rate": 0.1, "num_leaves": 15}
OTHER = {**QUICK, "num_leaves": 24, "feature_fraction": 0.5, "lambda_l2": 20.0}
SEEDS, OTHER_SEEDS = (1, 2, 3, 4), (1, 2)


def promotion_rows(settings: Settings) -> list[Row]:
    """Fits on a copy of the state, then counts promotions in TRIALS trials of each kind."""
    newest_snapshot(settings)  # before a large folder is copied in vain
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        skip = shutil.ignore_patterns("prefect", "logs", "mlartifacts", "*.token", "spool")
        shutil.copytree(settings.state_dir, state, ignore=skip)
        data = newest_data(settings.model_copy(update={"state_dir": state}))
    return rows_of(pl.concat(fitted(data)))


def rows_of(losses: pl.DataFrame) -> list[Row]:
    """Promotions among the trials of each kind, from the losses of every fit."""
    same, better = trials(losses, planted=False), trials(losses, planted=True)
    return [
        _row("aa_promotions_per_100", same, 5, most=True),
        _row("planted_2pct_promotions_per_100", better, 80, most=False),
    ]


def newest_snapshot(settings: Settings) -> Path:
    """Folder of the newest snapshot of a state. Raises FileNotFoundError where there is none."""
    folders = [f.parent for f in settings.snapshots_dir.glob("*/snapshot.json")]
    if not folders:
        raise FileNotFoundError(f"{settings.snapshots_dir} has no snapshot: run `make demo` first.")
    return max(folders, key=lambda folder: read_snapshot(folder).cutoff)


def newest_data(settings: Settings) -> TrainingData:
    """What a training at the newest snapshot of a state reads."""
    newest = newest_snapshot(settings)
    with connect(settings) as con:
        versions = query(con, "sales_versions")
        plan = query(con, "plan_versions", since=None, until=None)
    return training_data(settings, newest, versions, plan)


def fitted(data: TrainingData) -> list[pl.DataFrame]:
    """Losses (store_id, item_id, cutoff, model, seed, loss) of every fit at every origin."""
    frames = []
    for origin in promotion_origins(data):
        fold = data.fold(origin)
        scales = scales_of(fold.grid, fold.scales["series"])
        for model, params, seeds in (("same", QUICK, SEEDS), ("other", OTHER, OTHER_SEEDS)):
            for seed in seeds:
                rows = fold.forecast(params, seed).join(scales, on=[*KEYS, "cutoff"])
                frames.append(summed(rows).with_columns(model=pl.lit(model), seed=pl.lit(seed)))
    return frames


def summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Scaled squared error of each series at an origin."""
    error = (pl.col("y") - pl.col("y_hat")) ** 2 / pl.col("scale") * pl.col("weight")
    return rows.filter(pl.col("y").is_not_null()).group_by(*KEYS, "cutoff").agg(loss=error.sum())


def trials(losses: pl.DataFrame, *, planted: bool) -> int:
    """Promotions in TRIALS trials under the superiority rule.

    A trial draws stores with replacement and at each origin a fit of the champion's configuration,
    and as its challenger a fit of the same one with another seed; a planted challenger is a fit of
    the other configuration, its loss scaled to PLANTED times the champion's over all fits: its
    noise by series and origin is that of two real models.
    """
    rng = np.random.default_rng(7)
    cells = {
        (str(model), int(str(seed)), cutoff): rows.sort(KEYS)
        for (model, seed, cutoff), rows in losses.group_by("model", "seed", "cutoff")
    }
    mean = dict(losses.group_by("model").agg(pl.col("loss").mean()).iter_rows())
    scale = PLANTED * mean["same"] / mean["other"] if planted else 1.0
    origins: list[date] = losses["cutoff"].unique().sort().to_list()
    return sum(_promoted(_trial(cells, origins, rng, planted, scale), k) for k in range(TRIALS))


def _trial(
    cells: dict[tuple[str, int, date], pl.DataFrame],
    origins: list[date],
    rng: np.random.Generator,
    planted: bool,
    scale: float,
) -> pl.DataFrame:
    frames = []
    for origin in origins:
        old, new = rng.choice(SEEDS, size=2, replace=False)
        kind, seed = ("other", rng.choice(OTHER_SEEDS)) if planted else ("same", new)
        challenger = cells[kind, int(seed), origin]["loss"] * scale
        frames.append(
            cells["same", int(old), origin].rename({"loss": "old"}).with_columns(new=challenger)
        )
    rows = pl.concat(frames)
    stores = rows["store_id"].unique().sort()
    seed = int(rng.integers(1 << 30))
    drawn = stores.sample(len(stores), with_replacement=True, seed=seed)
    copies = drawn.to_frame().with_row_index("copy").with_columns(pl.col("copy").cast(pl.String))
    return rows.join(copies, on="store_id").with_columns(store_id=pl.col("copy"))


def _promoted(losses: pl.DataFrame, seed: int) -> bool:
    """What the gate says, everything but the paired losses being fine."""
    found = compare(losses.drop("model", "seed"), seed=seed)
    decision = decide_promotion(
        ratio=found.ratio,
        ratio_upper=found.ratio_upper,
        origins=found.origins,
        refitted_origins=0,
        slices={"all": (found.ratio, found.ratio_upper)},
        paired_bias=0.0,
        champion_bias=0.0,
        moved=0.0,
        coverage_80=0.8,
        bias=0.0,
        naive_ratio=0.7,
        has_champion=True,
        champion_repeats=False,
        champion_refused="",
    )
    return decision.outcome == "pass"


def _row(metric: str, count: int, target: float, *, most: bool) -> Row:
    return Row(
        metric=metric,
        unit="promotions",
        ours=count,
        theirs=None,
        ratio=None,
        target=target,
        met=count <= target if most else count >= target,
    )


def main() -> int:
    """Fits, resamples and adds the rows to gates.json; 1 when a target is missed."""
    try:
        rows = promotion_rows(command_settings())
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    report.save("gates", rows, merge=True)
    for row in rows:
        print(f"{row['metric']}: {row['ours']} (target {row['target']}), met: {row['met']}")
    return int(any(row["met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
