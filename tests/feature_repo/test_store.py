"""The real Feast on files of the test's own."""

import errno
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from data.schema import FEATURE_SERVICE, KEYS, VIEWS
from data.settings import Settings
from data.steps import Steps
from data.warehouse import known_at_morning
from feature_repo import definitions, store
from feature_repo.build import feature_rows
from feature_repo.parity import parity
from models.assembly import features_as_known
from serving.source import Source, feast_reader

CUTOFF = date(2017, 9, 10)


@pytest.fixture
def filled(
    settings: Settings, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> Settings:
    """A feature store with the rows of three days, the newest one online."""
    for day in (CUTOFF - timedelta(days=2), CUTOFF - timedelta(days=1), CUTOFF):
        rows = feature_rows(
            sales, plan, series, cutoff=day, snapshot_id="snap", steps=Steps(1, ("12-25",))
        )
        for view, frame in rows.items():
            created = known_at_morning(day, settings.timezone)
            store.write_offline(settings, view, frame, cutoff=day, created=created)
    store.apply(settings)
    store.materialize(settings, CUTOFF)
    return settings


@pytest.mark.score("data", 1)
def test_definitions_declare_the_columns_of_the_schema() -> None:
    views = {v.name: v for v in (definitions.demand, definitions.store_demand)}
    keys = {"store": "store_id", "item": "item_id"}
    assert set(views) == set(VIEWS)
    for name, (join_keys, fields) in VIEWS.items():
        assert [keys[e] for e in views[name].entities] == join_keys
        declared = [f.name for f in views[name].schema if f.name not in join_keys]
        assert sorted(declared) == sorted(fields)
    assert definitions.demand_v1.name == FEATURE_SERVICE


@pytest.mark.score("data", 4)
def test_every_definition_says_who_owns_it_and_what_it_is() -> None:
    for view in (definitions.demand, definitions.store_demand):
        assert view.owner and view.description and view.tags and view.ttl
        assert all(f.description for f in view.schema if f.name not in KEYS)


@pytest.mark.score("monitoring", 3)
def test_online_features_equal_offline_ones(filled: Settings, series: pl.DataFrame) -> None:
    keys = list(series.iter_rows())
    online = store.online_features(store.open_store(filled), keys)
    offline = features_as_known(filled, series, [CUTOFF])
    table = parity(online, offline.with_columns(pl.col("cutoff").cast(pl.String)))
    assert table["different"].sum() == 0
    assert online["cutoff"].unique().to_list() == [str(CUTOFF)]
    assert list(online.select(KEYS).iter_rows()) == keys


def test_parity_sees_a_single_value_that_differs(filled: Settings, series: pl.DataFrame) -> None:
    online = store.online_features(store.open_store(filled), list(series.iter_rows()))
    other = online.with_columns(mean_28=pl.col("mean_28") + 1e-9 * (pl.col("item_id") == "i0"))
    table = parity(online, other).filter(pl.col("different") > 0)
    assert table["feature"].to_list() == ["mean_28"]


@pytest.mark.score("data", 4)
def test_features_are_those_known_at_the_time_not_those_of_a_later_revision(
    filled: Settings, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    before = features_as_known(filled, series, [CUTOFF])
    revised = sales.with_columns(y=pl.col("y") * 10)
    rows = feature_rows(
        revised, plan, series, cutoff=CUTOFF, snapshot_id="later", steps=Steps(1, ("12-25",))
    )
    later = known_at_morning(CUTOFF, filled.timezone) + timedelta(days=3)
    for view, frame in rows.items():
        store.write_offline(filled, view, frame, cutoff=CUTOFF, created=later)
    assert features_as_known(filled, series, [CUTOFF]).equals(before)


def test_rows_come_back_in_the_order_they_were_asked(
    filled: Settings, series: pl.DataFrame
) -> None:
    at = known_at_morning(CUTOFF, filled.timezone)
    asked = series.sample(fraction=1, shuffle=True, seed=5).with_columns(event_timestamp=pl.lit(at))
    got = store.historical_features(filled, asked)
    assert got.select(KEYS).equals(asked.select(KEYS))


def test_an_unknown_series_is_named(filled: Settings) -> None:
    with pytest.raises(store.UnknownSeries, match="store_id='s0', item_id='nothing'"):
        store.online_features(store.open_store(filled), [("s0", "i0"), ("s0", "nothing")])


def test_an_older_cutoff_does_not_overwrite_a_newer_one(filled: Settings) -> None:
    with pytest.raises(store.StaleFeatures, match="would replace newer values"):
        store.materialize(filled, CUTOFF - timedelta(days=1))


def test_a_full_disk_after_a_load_does_not_stop_the_next_one(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _text: str) -> None:
        path.open("w").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "write_text", full)
        store.materialize(filled, CUTOFF)
    store.materialize(filled, CUTOFF)


KILLED = """
import os, signal, sys
from datetime import date
from data.settings import Settings
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feature_repo import store

write, left = SqliteOnlineStore.online_write_batch, int(sys.argv[2])

def write_or_die(*given, **named):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*given, **named)

SqliteOnlineStore.online_write_batch = write_or_die
store.materialize(Settings(_env_file=None, state_dir=sys.argv[1]), date.fromisoformat(sys.argv[3]))
"""


def test_a_load_that_was_killed_between_views_is_finished_by_the_next_one(
    filled: Settings, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    cutoff, keys = CUTOFF + timedelta(days=1), list(series.iter_rows())
    rows = feature_rows(sales, plan, series, cutoff=cutoff, snapshot_id="next", steps=Steps())
    for view, frame in rows.items():
        created = known_at_morning(cutoff, filled.timezone)
        store.write_offline(filled, view, frame, cutoff=cutoff, created=created)
    command = [sys.executable, "-c", KILLED, filled.state_dir, "1", str(cutoff)]
    run = subprocess.run(command, check=False, capture_output=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    left = store.online_features(store.open_store(filled), keys)["cutoff"].unique().to_list()
    assert len(left) == 1  # whole views only: no series is ahead of another

    store.materialize(filled, cutoff)
    online = store.online_features(store.open_store(filled), keys)
    offline = features_as_known(filled, series, [cutoff])
    table = parity(online, offline.with_columns(pl.col("cutoff").cast(pl.String)))
    assert table["different"].sum() == 0
    assert online["cutoff"].unique().to_list() == [str(cutoff)]


def test_a_cutoff_without_rows_is_named(filled: Settings, series: pl.DataFrame) -> None:
    with pytest.raises(store.StaleFeatures, match="2017-08-01"):
        features_as_known(filled, series, [date(2017, 8, 1), CUTOFF])


def test_a_cutoff_that_was_written_by_half_is_missing_until_it_is_whole(
    filled: Settings, series: pl.DataFrame
) -> None:
    day = CUTOFF - timedelta(days=1)
    (rows,) = (filled.features_dir / "store_demand" / str(day)).glob("*.parquet")
    killed = rows.rename(rows.with_suffix(".part"))
    assert store.offline_cutoffs(filled) == [day - timedelta(days=1), CUTOFF]
    with pytest.raises(store.StaleFeatures, match=f"all rows of cutoff {day}"):
        features_as_known(filled, series, [day, CUTOFF])
    killed.rename(rows)
    assert store.offline_cutoffs(filled) == [day - timedelta(days=1), day, CUTOFF]
    assert features_as_known(filled, series, [day])["store_mean_28"].null_count() == 0


def test_a_deleted_view_fails_training_and_serving_by_its_name(
    filled: Settings, series: pl.DataFrame
) -> None:
    feast_store = store.open_store(filled)
    feast_store.delete_feature_service(FEATURE_SERVICE)
    feast_store.delete_feature_view("demand")
    with pytest.raises(store.StaleFeatures, match=f"demand.*{FEATURE_SERVICE}|{FEATURE_SERVICE}"):
        features_as_known(filled, series, [CUTOFF])
    with pytest.raises(store.StaleFeatures, match=FEATURE_SERVICE):
        store.online_features(store.open_store(filled), [("s0", "i0")])


@pytest.mark.parametrize("lost", ["feast_registry.db", "online.db"])
def test_without_one_of_feasts_files_the_last_good_features_answer_and_it_is_said(
    filled: Settings, lost: str
) -> None:
    (filled.state_dir / lost).unlink()
    for _ in range(2):  # Feast makes an empty file at the first try
        source = Source.of(str(filled.state_dir), feast_reader)
        read = source.read([("s0", "i0")])
        assert read.degraded and read.cutoff == CUTOFF
        assert source.failure == read.degraded


def test_a_file_of_the_offline_store_is_never_rewritten(filled: Settings) -> None:
    folder = filled.features_dir / "demand" / str(CUTOFF)
    (path,) = folder.glob("*.parquet")
    digest = path.read_bytes()
    created = known_at_morning(CUTOFF, filled.timezone)
    empty = pl.read_parquet(path).clear()
    store.write_offline(filled, "demand", empty, cutoff=CUTOFF, created=created)
    assert path.read_bytes() == digest
