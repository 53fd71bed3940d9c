"""Benchmarks of the running stack, each for a moment; after all other tests, which they would
disturb."""

from collections.abc import Callable

import pytest

from benchmarks import hostile, inference, resilience, rest, serving
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


# A part of benchmarks.serving in small, and how the metrics begin that it gives. Left out are
# `rest`, `mlflow` and `page`, which start servers and a browser of their own, and kills, each of
# which takes the API away for up to a minute. What they share with others runs here: load
# (`overload`), clients (`swap`), the processes of the stack (`hostile`, `soak`).
PARTS: dict[str, tuple[Callable[[Settings], list[Row]], tuple[str, ...]]] = {
    "inference": (inferred, ("answer_", "batch_", "booster_", "m5_")),
    "swap": (lambda s: resilience.swap_rows(s, swaps=2, requests=20), ("swap_",)),
    "overload": (lambda s: resilience.overload_rows(s, seconds=2, rounds=1), ("overload_",)),
    "hostile": (lambda s: hostile.hostile_rows(s, rounds=1, seconds=1), ("hostile_",)),
    "fuzz": (serving.fuzzing, ("fuzz_",)),
    "soak": (lambda s: resilience.soak_rows(s, minutes=0.05, step=1), ("soak_",)),
}


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CALM_SECONDS", "WARM_SECONDS"):
        monkeypatch.setattr(resilience, name, 0.5)
    monkeypatch.setattr(serving, "EXAMPLES", 1)


@pytest.mark.usefixtures("demo", "moment")
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_benchmark_of_the_api_saves_its_rows(
    running: Settings, results: Metrics, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    measured, names = PARTS[part]
    monkeypatch.setattr(serving, "Settings", lambda: running)
    monkeypatch.setitem(serving.PARTS, part, measured)
    assert serving.main([part]) in (0, 1)  # 1: no target is met in a moment
    saved, missing = results("serving")
    assert saved and all(metric.startswith(names) for metric in saved)
    assert [metric for metric in missing if metric.startswith(names)] == []
