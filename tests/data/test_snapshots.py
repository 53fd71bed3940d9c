import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from data import ingest, schema, snapshots
from data.ingest import CONTENT
from data.snapshots import NothingKnown, choose_series, read_snapshot, snapshot
from data.steps import Steps
from data.warehouse import known_at_morning

FIRST = date(2017, 3, 31)
DAYS = [date(2017, 1, 1) + timedelta(days=n) for n in range(100)]


@pytest.fixture
def settings(settings):
    return settings.model_copy(
        update={"first_cutoff": FIRST, "series_min_days": 20, "series_active_days": 28}
    )


def morning(ds: date) -> datetime:
    return known_at_morning(ds, "America/New_York")


def rows(days, store="1", item="A", y=1.0) -> pl.DataFrame:
    return (
        pl.DataFrame(
            {"store_id": store, "item_id": item, "ds": days, "y": y, "price": 2.0},
            schema_overrides={"ds": pl.Date},
        )
        .with_columns(
            exclusion=pl.lit(None, dtype=pl.String), known_at=pl.lit(None, dtype=schema.UTC)
        )
        .select(CONTENT)
    )


def load(con, settings, frame, as_of, plan=None):
    batch = ingest.land(con, settings, frame, source="csv", as_of=as_of)
    ingest.publish(con, batch, [], plan)


@pytest.fixture
def loaded(con, settings):
    """Store 1 sells A every day and B from April on; the plan knows both for the whole spring."""
    plan = (
        pl.DataFrame({"ds": [date(2017, 3, 1) + timedelta(days=n) for n in range(90)]})
        .join(pl.DataFrame({"item_id": ["A", "B"]}), how="cross")
        .select(
            pl.lit("1").alias("store_id"),
            "item_id",
            "ds",
            display=pl.lit(1.0),
            mailer=pl.lit(0.0),
            known_at=(pl.col("ds") - timedelta(days=40))
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC"),
        )
    )
    sales = pl.concat([rows(DAYS), rows(DAYS[90:], item="B")])
    load(con, settings, sales, morning(DAYS[-1]), plan)
    return con


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def test_a_snapshot_holds_what_was_known_and_nothing_later(loaded, settings):
    taken = snapshot(loaded, settings, morning(FIRST), 28)
    assert taken.cutoff == FIRST
    assert taken.folder == settings.snapshots_dir / taken.snapshot_id
    sales = pl.read_parquet(taken.folder / "sales.parquet")
    assert sales.schema == pl.Schema(schema.SALES)
    assert sales["ds"].max() == FIRST
    assert sales["known_at"].max() == morning(FIRST)
    series = pl.read_parquet(taken.folder / "series.parquet")
    assert series.rows() == [("1", "A")]
    plan = pl.read_parquet(taken.folder / "plan.parquet")
    assert plan.schema == pl.Schema(schema.PLAN)
    assert plan["ds"].to_list() == [FIRST + timedelta(days=n) for n in range(1, 29)]
    assert set(plan["item_id"]) == {"A"}
    assert read_snapshot(taken.folder) == taken


def test_the_same_state_has_the_same_id_and_its_folder_is_left_alone(loaded, settings):
    first = snapshot(loaded, settings, morning(FIRST), 28)
    stamps = {f: f.stat().st_mtime_ns for f in first.folder.iterdir()}
    assert snapshot(loaded, settings, morning(FIRST), 28) == first
    later = snapshot(loaded, settings, morning(FIRST) + timedelta(hours=1), 28)
    assert later.snapshot_id == first.snapshot_id
    assert {f: f.stat().st_mtime_ns for f in first.folder.iterdir()} == stamps


def test_the_same_state_elsewhere_has_the_same_id(loaded, settings, tmp_path):
    other = settings.model_copy(update={"state_dir": tmp_path / "other"})
    first = snapshot(loaded, settings, morning(FIRST), 28)
    assert snapshot(loaded, other, morning(FIRST), 28).snapshot_id == first.snapshot_id


def test_a_revision_makes_another_snapshot_and_leaves_the_earlier_one(loaded, settings):
    as_of = morning(DAYS[-1])
    before = snapshot(loaded, settings, as_of, 28)
    kept = digests(before.folder)
    load(loaded, settings, rows(DAYS[:1], y=50.0), as_of + timedelta(days=1))
    assert snapshot(loaded, settings, as_of, 28).snapshot_id == before.snapshot_id
    after = snapshot(loaded, settings, as_of + timedelta(days=1), 28)
    assert after.snapshot_id != before.snapshot_id
    assert digests(before.folder) == kept
    revised = pl.read_parquet(after.folder / "sales.parquet").filter(item_id="A", ds=DAYS[0])
    assert revised["y"].to_list() == [50.0]


def test_more_days_or_a_longer_horizon_make_another_snapshot(loaded, settings):
    ids = {
        snapshot(loaded, settings, morning(FIRST), 28).snapshot_id,
        snapshot(loaded, settings, morning(FIRST), 14).snapshot_id,
        snapshot(loaded, settings, morning(FIRST + timedelta(days=1)), 28).snapshot_id,
    }
    assert len(ids) == 3


def test_series_are_chosen_on_the_first_cutoff_only(loaded, settings):
    newcomer_and_late = pl.concat([rows(DAYS, store="2"), rows(DAYS[:5])])
    load(loaded, settings, newcomer_and_late, morning(DAYS[-1]) + timedelta(days=1))
    taken = snapshot(loaded, settings, morning(DAYS[-1]) + timedelta(days=2), 28)
    assert pl.read_parquet(taken.folder / "series.parquet").rows() == [("1", "A")]
    assert "2" in set(pl.read_parquet(taken.folder / "sales.parquet")["store_id"])


def test_a_day_counts_once_it_is_over_on_the_stores_clock(loaded, settings):
    known = rows([date(2017, 4, 11)]).with_columns(
        known_at=pl.lit(datetime(2017, 4, 11, 15, tzinfo=UTC))
    )
    load(loaded, settings, known, datetime(2017, 4, 11, 15, tzinfo=UTC))
    still_open = datetime(2017, 4, 12, 3, 59, tzinfo=UTC)  # 23:59 in New York
    assert snapshots.last_day(loaded, settings, still_open) == DAYS[-1]
    taken = snapshot(loaded, settings, still_open, 28)
    assert pl.read_parquet(taken.folder / "sales.parquet")["ds"].max() == DAYS[-1]
    over = still_open + timedelta(minutes=1)
    assert snapshots.last_day(loaded, settings, over) == date(2017, 4, 11)


def test_a_day_that_the_source_calls_late_is_not_the_last_day_before_it_was_known(loaded, settings):
    came = morning(date(2017, 4, 14))
    late = rows([date(2017, 4, 11)]).with_columns(known_at=pl.lit(came))
    load(loaded, settings, late, came)
    assert snapshots.last_day(loaded, settings, morning(date(2017, 4, 13))) == DAYS[-1]
    assert snapshots.last_day(loaded, settings, morning(date(2017, 4, 14))) == date(2017, 4, 11)


def test_a_snapshot_that_cant_be_finished_leaves_no_folder(loaded, settings, monkeypatch):
    written = []
    write_parquet = pl.DataFrame.write_parquet

    def fail_at_the_second(frame, file):
        written.append(file)
        if len(written) == 2:
            raise OSError("No space left on device")
        write_parquet(frame, file)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail_at_the_second)
    with pytest.raises(OSError, match="No space"):
        snapshot(loaded, settings, morning(FIRST), 28)
    assert list(settings.snapshots_dir.iterdir()) == []
    monkeypatch.undo()
    assert snapshot(loaded, settings, morning(FIRST), 28).folder.exists()


def test_two_writers_of_one_snapshot_agree(loaded, settings, monkeypatch):
    twin = settings.model_copy(update={"state_dir": settings.state_dir / "twin"})
    finished = snapshot(loaded, twin, morning(FIRST), 28)
    rename = Path.rename

    def be_second(path, target):
        rename(finished.folder, target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", be_second)
    taken = snapshot(loaded, settings, morning(FIRST), 28)
    assert taken.snapshot_id == finished.snapshot_id
    assert [f.name for f in settings.snapshots_dir.iterdir()] == [taken.snapshot_id]


def test_before_anything_is_known_there_is_no_snapshot(con, settings):
    with pytest.raises(NothingKnown, match="run the ingest first") as caught:
        snapshot(con, settings, morning(FIRST), 28)
    assert "\n" not in str(caught.value)


def test_data_that_doesnt_suit_the_first_cutoff_says_so(con, settings):
    load(con, settings, rows([d.replace(year=2023) for d in DAYS]), morning(date(2023, 4, 11)))
    with pytest.raises(NothingKnown, match="SHELFCAST_FIRST_CUTOFF") as caught:
        snapshot(con, settings, morning(date(2023, 4, 11)), 28)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("days", "y", "chosen"),
    [
        (range(20), 1.0, True),
        (range(19), 1.0, False),  # one selling day too few
        (range(20), 0.0, False),  # zeros are no selling days
        (range(27, 47), 1.0, True),  # last sale on the oldest active day
        (range(28, 48), 1.0, False),
        (range(-5, 19), 1.0, False),  # days after the cutoff don't count
        (range(-5, 20), 1.0, True),
    ],
)
def test_a_series_is_chosen_by_its_selling_days_up_to_the_cutoff(days, y, chosen):
    sales = rows([FIRST - timedelta(days=n) for n in days], y=y)
    series = choose_series(sales, FIRST, min_days=20, active_days=28, steps=Steps())
    assert series.columns == schema.KEYS
    assert series.height == int(chosen)


def test_two_versions_of_a_day_are_one_selling_day():
    sales = pl.concat([rows(DAYS[70:85]), rows(DAYS[70:85], y=2.0)])
    assert choose_series(sales, FIRST, min_days=16, active_days=28, steps=Steps()).is_empty()
