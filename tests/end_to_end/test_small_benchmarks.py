"""Benchmarks of the running stack, each for a moment; after all other tests, which they would
disturb."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks import (
    hostile,
    inference,
    interfaces,
    planner,
    resilience,
    rest,
    rollback,
    screenshots,
    serving,
)
from benchmarks.rows import Row
from data.settings import Settings

pytestmark = pytest.mark.end_to_end

Metrics = Callable[[str], tuple[set[str], set[str]]]


def inferred(settings: Settings) -> list[Row]:
    version, series = rest.served(settings)
    return [
        *inference.profile_rows(settings, version, rounds=5),
        inference.batch_row(settings, version, series, rounds=1, seconds=0.5),
        *inference.m5_rows(settings, version, series=300, rounds=1),
    ]


def mlflow(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        shortly = [settings, Path(folder)]
        return [
            *rest.mlflow_rows(*shortly, rounds=1, seconds=0.5),
            *rest.ready_matrix_rows(*shortly, rounds=1, seconds=0.5),
        ]


# A part of benchmarks.serving in small, and how the metrics begin that it gives. The kill stands
# for those of the proxy and of replicas, which are the same function.
PARTS: dict[str, tuple[Callable[[Settings], list[Row]], tuple[str, ...]]] = {
    "rest": (partial(rest.rest_rows, rounds=1, seconds=0.5), ("rest_",)),
    "mlflow": (mlflow, ("rest_",)),
    "inference": (inferred, ("answer_", "batch_", "booster_", "m5_")),
    "swap": (partial(resilience.swap_rows, swaps=2, requests=20), ("swap_",)),
    "overload": (partial(resilience.overload_rows, seconds=2, rounds=1), ("overload_",)),
    "hostile": (partial(hostile.hostile_rows, rounds=1, seconds=1), ("hostile_",)),
    "page": (planner.measure, ("page_",)),
    "controller": (
        partial(resilience.kill_rows, part="controller", title="ray::ServeController", kills=1),
        ("controller_",),
    ),
    "fuzz": (serving.fuzzing, ("fuzz_",)),
    "soak": (partial(resilience.soak_rows, minutes=0.05, step=1), ("soak_",)),
}


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALM_SECONDS", "WARM_SECONDS"):
        monkeypatch.setattr(resilience, name, 0.5)
    monkeypatch.setattr(rest, "WARM_SECONDS", 0.2)
    monkeypatch.setattr(planner, "ROUNDS", 1)
    monkeypatch.setattr(serving, "EXAMPLES", 1)


@pytest.mark.usefixtures("demo", "moment")
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_benchmark_of_the_api_saves_its_rows(
    running: Settings, results: Metrics, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    measured, names = PARTS[part]
    monkeypatch.setattr(serving, "command_settings", lambda: running)
    monkeypatch.setitem(serving.PARTS, part, measured)
    assert serving.main([part]) in (0, 1)  # 1: no target is met in a moment
    saved, missing = results("serving")
    assert saved and all(metric.startswith(names) for metric in saved)
    if part not in ("rest", "mlflow"):  # these two share the beginning of their names
        assert [metric for metric in missing if metric.startswith(names)] == []


@pytest.mark.usefixtures("demo")
def test_a_rollback_is_timed(
    running: Settings, results: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"make rollback": rollback.COMMANDS["make rollback"]}
    monkeypatch.setattr(rollback, "COMMANDS", one)
    monkeypatch.setattr(rollback, "command_settings", lambda: running)
    assert rollback.main() in (0, 1)
    assert results("gates")[0] == {"rollback_seconds", "make rollback"}


@pytest.mark.usefixtures("demo")
def test_every_page_shows_its_rows_on_a_picture(
    running: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screenshots, "command_settings", lambda: running)
    monkeypatch.setattr(screenshots, "IMAGES", tmp_path)
    monkeypatch.setattr(interfaces, "SETTLED", 0)
    screenshots.main("")
    kept = {p.name for p in Path(__file__).parents[2].glob("docs/images/*.png")}
    taken = {p.name for p in tmp_path.glob("*.png")}
    assert taken == {name for name in kept if not name.startswith("accuracy-")}
