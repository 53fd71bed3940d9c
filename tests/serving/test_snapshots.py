"""Reading snapshots: the plan of the right days, pages that add up, and little memory."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.settings import Settings
from feature_repo.store import StaleFeatures
from serving.snapshots import KEPT, Snapshots

GROCERY, MEAT = ("1", "GROCERY"), ("1", "MEAT")


def snapshots_in(state: Path) -> Snapshots:
    return Snapshots(Settings(state_dir=state, _env_file=None))


def features(*rows: tuple[tuple[str, str], date, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(*key, cutoff, snapshot_id) for key, cutoff, snapshot_id in rows],
        schema=["store_id", "item_id", "cutoff", "snapshot_id"],
        orient="row",
    )


def test_the_plan_is_that_of_the_series_and_the_target_days(state: Path) -> None:
    asked = features((GROCERY, date(2017, 9, 10), "s1"))
    plan = snapshots_in(state).plan(asked, 2)
    assert plan.rows() == [("1", "GROCERY", date(2017, 9, 12), 3.0, 0.0)]
    assert snapshots_in(state).plan(asked, 1).is_empty()


def test_a_series_without_a_plan_has_an_empty_one_with_the_columns(state: Path) -> None:
    plan = snapshots_in(state).plan(features((MEAT, date(2017, 9, 10), "s1")), 28)
    assert plan.is_empty()
    assert plan.columns == ["store_id", "item_id", "ds", "display", "mailer"]


def test_a_snapshot_is_read_once(state: Path) -> None:
    snapshots = snapshots_in(state)
    asked = features((GROCERY, date(2017, 9, 10), "s1"))
    before = snapshots.plan(asked, 2)
    for file in (state / "snapshots" / "s1").iterdir():
        file.unlink()
    assert snapshots.plan(asked, 2).equals(before)


def test_only_a_few_snapshots_are_kept_in_memory(state: Path) -> None:
    folder = state / "snapshots"
    snapshots = snapshots_in(state)
    for i in range(KEPT + 1):
        (folder / f"x{i}").symlink_to(folder / "s1")
        snapshots.series(f"x{i}")
    assert snapshots._series.cache_info().currsize == KEPT


def test_a_snapshot_that_is_not_there_is_named(state: Path) -> None:
    with pytest.raises(StaleFeatures, match=r"Snapshot s9 .*series\.parquet"):
        snapshots_in(state).series("s9")


keys = st.tuples(st.sampled_from("abc"), st.text("xyz", min_size=1, max_size=3))


@given(series=st.lists(keys, unique=True, max_size=30), limit=st.integers(1, 7))
def test_pages_put_together_are_the_whole_list(series: list[tuple[str, str]], limit: int) -> None:
    snapshots = snapshots_in(Path("unused"))
    snapshots._series = lambda _id: sorted(series[1:])  # type: ignore[assignment]
    snapshots.others = lambda _id: series[:1]  # type: ignore[assignment]
    for store_id in (None, "a"):
        wanted = sorted(k for k in series if store_id in (None, k[0]))
        seen: list[tuple[str, str]] = []
        more, after = True, None
        while more:
            page, count, more = snapshots.page("s", store_id, after=after, limit=limit)
            assert count == len(wanted)
            assert len(page) == limit or not more
            seen += page
            after = page[-1] if page else None
        assert seen == wanted
