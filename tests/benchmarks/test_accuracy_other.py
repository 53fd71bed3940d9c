"""Rows of made-up retailers: means over worlds, against one baseline that is best over them all."""

from pathlib import Path

import pytest

from benchmarks.accuracy import other
from benchmarks.accuracy.methods import OURS
from benchmarks.accuracy.retailers import KINDS, sold
from models.baselines import BASELINES


def test_a_row_is_the_mean_over_worlds_against_the_baseline_that_is_best_over_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady, lucky = BASELINES[:2]
    seen = []

    def figures(kind: object, folder: Path, *, seed: int) -> dict[str, float]:
        seen.append((folder, seed))
        by_luck = 0.1 if seed == 1 else 2.0  # best in one world, worst in the others
        return {**dict.fromkeys(BASELINES, 3.0), OURS: float(seed), steady: 1.5, lucky: by_luck}

    monkeypatch.setattr(other, "figures", figures)
    row = other._row(KINDS[1], tmp_path)
    assert [seed for _, seed in seen] == list(range(1, other.WORLDS + 1))
    assert len({folder for folder, _ in seen}) == other.WORLDS
    assert row["ours"] == (other.WORLDS + 1) / 2
    assert row["unit"] == f"WRMSSE, {steady}" and row["theirs"] == 1.5
    assert row["ratio"] == row["ours"] / 1.5 and row["met"] is False


def test_another_seed_is_another_world_and_the_same_one_the_same() -> None:
    first, again, second = (sold(KINDS[2], seed) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(second)
