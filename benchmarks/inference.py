"""Where the time of an answer goes, and forecasts of everything at once; all in one process."""

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
from pydantic_core import to_json

from benchmarks.load import Load, capacity
from benchmarks.rows import Row, paired, plain_row, ratio_row
from data.settings import ROOT, Settings
from feature_repo.store import newest_offline
from models import forecaster, gbm
from models.dataset import design_matrix
from models.forecaster import Forecaster
from serving import forecasting
from serving.api.forecasts import ForecastRequest
from serving.service import ForecastService

ROUNDS, SERIES = 200, 50
M5_SERIES, HORIZON = 30_490, 28


class Watch:
    """Seconds that calls took, by a name that each is given."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work, noted."""
        noted = self.seconds.setdefault(name, [])

        def call(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                noted.append(time.perf_counter() - start)

        return call


def _service(settings: Settings, version: str) -> ForecastService:
    service = ForecastService()
    folder = str(settings.champions_dir / version)
    state = {"state_dir": str(settings.state_dir), "version": version, "champion": folder}
    service.configure(state)
    return service


def profile_rows(settings: Settings, version: str, *, rounds: int = ROUNDS) -> list[Row]:
    """The parts of an answer of one series and 28 days, timed within it; what share they name.

    Matrix and booster are parts of the model's time.
    """
    service, watch, now = _service(settings, version), Watch(), datetime.now(UTC)
    model, source = service.champion()
    keys = source.snapshots.series(source.online_snapshot(model)[0])[:SERIES]
    requests = [
        ForecastRequest.model_validate({"series": [{"store_id": s, "item_id": i}], "horizon": 28})
        for s, i in keys
    ]
    parts = {
        "features": (source, "read"),
        "plan": (source.snapshots, "plan"),
        "model": (model, "forecast"),
        "nodes": (forecasting, "nodes"),
        "ledger": (forecasting, "_keep"),
        "matrix": (forecaster, "design_matrix"),
        "booster": (gbm, "predict"),
    }
    with contextlib.ExitStack() as watched:
        for name, (owner, attribute) in parts.items():
            timed = watch.timed(name, getattr(owner, attribute))
            watched.enter_context(mock.patch.object(owner, attribute, timed))
        to_text = watch.timed("json", to_json)
        answer = watch.timed("answer", lambda request: to_text(service.forecast(request, now)))
        for k in range(SERIES + rounds):
            answer(requests[k % len(requests)])
    taken = {name: np.array(seconds[SERIES:]) for name, seconds in watch.seconds.items()}
    whole = taken.pop("answer")
    named = sum(taken[name] for name in taken.keys() - {"matrix", "booster"}) / whole
    rows = [plain_row("answer_ms", "ms", float(np.median(whole)) * 1000)]
    rows += [
        plain_row(f"answer_{name}_ms", "ms", float(np.median(seconds)) * 1000)
        for name, seconds in taken.items()
    ]
    floor = float(np.median(taken["booster"] / whole))
    return [
        *rows,
        plain_row("answer_named_share", "of the answer", float(np.median(named)), target=0.85),
        plain_row("booster_floor_share", "of the answer", floor),
    ]


def batch_row(
    settings: Settings,
    version: str,
    series: list[dict[str, str]],
    *,
    rounds: int = 5,
    seconds: float = 5,
) -> Row:
    """All series at once from the offline Parquet, against a loop of requests for one each."""
    model = Forecaster.load(settings.champions_dir / version)
    features = newest_offline(settings)
    assert features is not None and model.booster is not None
    snapshot = settings.snapshots_dir / features["snapshot_id"][0]

    def at_once() -> None:
        plan = pl.read_parquet(snapshot / "plan.parquet")
        model.forecast(features, plan, HORIZON)

    took, _ = paired(at_once, lambda: None, rounds=rounds)
    ours = [features.height / s for s in took]
    loop = Load(settings.host, settings.serve_port, series)
    theirs = [capacity(loop, 1, seconds) for _ in range(rounds)]
    more = {"target": 20.0, "more_is_better": True}
    return ratio_row("batch_vs_loop", "series/s", ours, theirs, **more)  # type: ignore[arg-type]


def m5_rows(
    settings: Settings, version: str, *, series: int = M5_SERIES, rounds: int = 3
) -> list[Row]:
    """As many series as M5 has x 28 days in one process, against the booster on a ready matrix.

    Point forecasts. Each side is a process of its own, for its peak memory.
    """
    command = [sys.executable, "-m", "benchmarks.inference", str(settings.state_dir), version]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "raw": []}
    for _ in range(rounds):
        for side, found in runs.items():
            done = subprocess.run(
                [*command, side, str(series)], cwd=ROOT, check=True, capture_output=True, text=True
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
    pairs = {
        what: [[run[what] for run in runs[side]] for side in ("ours", "raw")]
        for what in ("seconds", "mebibytes")
    }
    return [
        ratio_row("m5_size_predict_vs_lightgbm", "s", *pairs["seconds"], target=1.5),
        ratio_row("m5_size_memory_vs_lightgbm", "MiB peak", *pairs["mebibytes"]),
    ]


def m5_side(settings: Settings, version: str, side: str, series: int) -> dict[str, float]:
    """One side of `m5_rows`: seconds of the forecast and peak memory of this process."""
    model = Forecaster.load(settings.champions_dir / version)
    features = newest_offline(settings)
    assert features is not None and model.booster is not None
    rows = np.resize(np.arange(features.height), series)
    many = features[rows].with_columns(
        store_id=pl.concat_str("store_id", pl.lit("-"), pl.int_range(series).cast(pl.String))
    )
    plan, spec = pl.DataFrame(), model.manifest.spec
    if side == "raw":
        ready, _ = design_matrix(many, plan, HORIZON, spec)
        start = time.perf_counter()
        model.booster.predict(ready, num_threads=2)
    else:
        start = time.perf_counter()
        model.expected(many, plan, HORIZON)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mebibytes": peak}


if __name__ == "__main__":
    folder, chosen, which, size = sys.argv[1:]
    print(json.dumps(m5_side(Settings(state_dir=Path(folder)), chosen, which, int(size))))
