"""Models of one history that differ in one thing, judged on the same origins; each kept on disk."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl

from benchmarks.accuracy import judge
from models import gbm
from models.assembly import WARM_UP_DAYS
from models.backtest import Fold, TrainingData
from models.dataset import INPUTS, Matrix, Rows
from models.day_profile import SHARE, calendar_forecast
from models.search import best_parameters, tune

Keep = Callable[[str, Callable[[], pl.DataFrame]], pl.DataFrame]
LONGEST_SEARCH = 7200  # seconds


@dataclass(frozen=True)
class Variant:
    """How a model is made: its parameters, the inputs that it does not see, the sales it knows.

    `weeks` of sales before the fit are known, all where it is None; `share` is the calendar's in
    the point forecast.
    """

    name: str
    parameters: Mapping[str, object]
    hidden: tuple[str, ...] = ()
    weeks: int | None = None
    share: float = SHARE


@dataclass(frozen=True)
class Cell:
    """A variant that is fitted at the first of some origins and forecasts from all of them."""

    variant: Variant
    origins: tuple[date, ...]

    @property
    def fitted(self) -> date:
        return self.origins[0]


@dataclass
class Lab:
    """The data of all models, and what was computed of them; `keep` gives frames from disk.

    `data` has features of every origin. A booster learns what was known at its own fit.
    """

    data: TrainingData
    keep: Keep
    folder: Path
    seed: int
    _folds: dict[date, Fold] = field(default_factory=dict)
    _rows: dict[date, tuple[Rows, Matrix]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        files = [Path(__file__), Path(str(judge.__file__))]
        own = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:10]
        self.code = own
        memory = gbm.Memory(self.folder / "boosters" / own)
        self.data = replace(self.data, memory=memory)

    def name_of(self, *what: object) -> str:
        """The name that a result is kept under: of parameters, data, seed and code."""
        key = json.dumps([*what, self.data.snapshot_id, self.seed, self.code], default=str)
        return f"full-{hashlib.sha256(key.encode()).hexdigest()[:20]}"

    def fold(self, origin: date) -> Fold:
        if origin not in self._folds:
            self._folds[origin] = self.data.fold(origin)
        return self._folds[origin]

    def scales(self, origin: date) -> pl.DataFrame:
        """What errors at an origin are divided by and weigh, see judge.scale_table."""
        return self.keep(
            self.name_of("scales", origin),
            lambda: judge.scale_table(self.fold(origin).scales, origin),
        )

    def is_kept(self, cell: Cell) -> bool:
        return self._is_kept(self._name(cell))

    def is_searched(self, cutoffs: Sequence[date], trials: int) -> bool:
        return self._is_kept(self.name_of("search", cutoffs, trials))

    def _is_kept(self, name: str) -> bool:
        return (self.folder / "results" / f"{name}.parquet").exists()

    def _name(self, cell: Cell) -> str:
        return self.name_of(asdict(cell.variant), cell.origins)

    def errors(self, cell: Cell) -> pl.DataFrame:
        """Sums of errors of the cell's forecasts, see judge.errors, and `cpu_seconds` of all."""
        return self.keep(self._name(cell), lambda: self._errors(cell))

    def _errors(self, cell: Cell) -> pl.DataFrame:
        start, name = process_time(), pl.lit(cell.variant.name)
        sums = [judge.errors(rows.with_columns(model=name)) for rows in self.forecasts(cell)]
        return pl.concat(sums).with_columns(cpu_seconds=pl.lit(process_time() - start))

    def forecasts(self, cell: Cell) -> list[pl.DataFrame]:
        """The forecasts from each origin with their actuals; the fold's own way to forecast."""
        v, data = cell.variant, self._known(cell)
        unseen = [INPUTS.index(name) for name in v.hidden]
        x, y = self._training_rows(cell, data)
        assert data.memory is not None
        booster = data.memory.fit(_blank(x, unseen), y, v.parameters, self.seed)
        profile, found = data.profile(cell.fitted), []
        for origin in cell.origins:
            fold = self.fold(origin)
            seen = _blank(fold.x, unseen)
            features = self.data.features.filter(pl.col("cutoff") == origin)
            calendar = calendar_forecast(features, data.horizon, profile, data.spec, fold.closed)
            aged = replace(fold, fit=lambda *_: booster, x=seen, calendar=calendar)
            found.append(aged.forecast(v.parameters, self.seed, v.share))
        return found

    def _known(self, cell: Cell) -> TrainingData:
        """The data as if sales had begun `weeks` before the fit, but for the features' own past."""
        weeks, data = cell.variant.weeks, self.data
        if weeks is None:
            return data
        first = cell.fitted - timedelta(weeks=weeks)
        cutoff, later = pl.col("cutoff"), pl.col("ds") > first
        trained = cutoff.is_between(first + timedelta(days=WARM_UP_DAYS), cell.fitted)
        return replace(
            data,
            features=data.features.filter(trained),
            sales=data.sales.filter(later),
            versions=data.versions.filter(later),
        )

    def _training_rows(self, cell: Cell, data: TrainingData) -> tuple[Rows, Matrix]:
        """The rows of a fit; those of the newest fit on all sales stay in memory."""
        if data is not self.data:
            return data.training_rows(cell.fitted)
        if cell.fitted not in self._rows:
            self._rows = {cell.fitted: data.training_rows(cell.fitted)}
        return self._rows[cell.fitted]

    def search(self, cutoffs: Sequence[date], trials: int) -> pl.DataFrame:
        """The production search on folds at these cutoffs: one row of what came of it.

        Columns parameters (JSON), trials, pruned, cpu_seconds, and WRMSSE on its own folds of the
        best trial and of the defaults.
        """
        name = self.name_of("search", cutoffs, trials)

        def make() -> pl.DataFrame:
            start = process_time()
            features = self.data.features.filter(pl.col("cutoff") <= max(cutoffs))
            data = replace(self.data, memory=None, features=features)
            folds = [data.fold(cutoff) for cutoff in cutoffs]
            study = tune(
                folds,
                storage=self.folder / "tuning.journal",
                name=name,
                trials=trials,
                seconds=LONGEST_SEARCH,
                seed=self.seed,
            )
            best, first = study.best_value, study.trials[0].value
            assert first is not None
            return pl.DataFrame(
                {
                    "parameters": json.dumps(best_parameters(study)),
                    "trials": len([t for t in study.trials if t.state.is_finished()]),
                    "pruned": len([t for t in study.trials if t.state.name == "PRUNED"]),
                    "best": best,
                    "defaults": first,
                    "cpu_seconds": process_time() - start,
                }
            )

        return self.keep(name, make)


def _blank(x: Rows, columns: list[int]) -> Rows:
    """The matrix without what these columns hold: no tree can split on an input of NaN alone."""
    if not columns:
        return x
    seen = x.copy()
    seen[:, columns] = np.nan
    return seen
