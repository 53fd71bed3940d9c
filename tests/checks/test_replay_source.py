"""What a replay asks of the source before it begins to walk."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from prefect.exceptions import ParameterTypeError

from checks.policies import policy
from checks.replay import Replay, replay_of, with_sales
from data.settings import Settings
from flows.replay import replay as flow

SINCE, SUNDAY = date(2017, 8, 20), 7
FUEL = date(2017, 8, 27)
Make = Callable[[int], Replay]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A replay of some weeks on a source that ends three weeks after `SINCE`, closed on Sundays.

    On the Sunday `FUEL` the fuel station sells, whose rows are excluded.
    """
    days = pl.date_range(date(2017, 8, 1), SINCE + timedelta(weeks=3), eager=True)
    rows = pl.DataFrame({"ds": days, "store_id": "1", "item_id": "A", "y": 1.0})
    path = tmp_path / "till.csv"
    rows = rows.with_columns(exclusion=pl.when(pl.col("ds") == FUEL).then(pl.lit("fuel")))
    rows.filter((pl.col("ds").dt.weekday() != SUNDAY) | (pl.col("ds") == FUEL)).write_csv(path)
    settings = Settings(
        _env_file=None, state_dir=tmp_path / "state", source="csv", source_path=str(path)
    )
    return lambda weeks: replay_of(settings, SINCE, weeks, [policy("never")])


def test_a_replay_longer_than_its_sales_says_how_many_weeks_fit(make: Make) -> None:
    said = "needs sales up to 2017-09-16, and there are some up to 2017-09-09: 2 weeks fit"
    with pytest.raises(ValueError, match=said):
        with_sales(make(3))
    assert with_sales(make(2)).end == date(2017, 9, 9)


def test_days_without_a_row_are_no_days_of_a_replay(make: Make) -> None:
    days = with_sales(make(2)).days
    assert days[0] == SINCE and len(days) == 19
    assert all(day.isoweekday() != SUNDAY for day in days[1:])


def test_a_source_that_was_corrected_is_replayed_anew(make: Make) -> None:
    first = make(2)
    assert make(2).folder == first.folder
    path = Path(first.settings.source_path)
    path.write_text(path.read_text().replace("1.0", "2.0", 1))
    assert make(2).folder != first.folder


def test_a_source_of_files_in_several_folders_is_replayed_anew_when_one_changes(
    tmp_path: Path,
) -> None:
    files = [tmp_path / f"year {k}" / "till.csv" for k in (1, 2)]
    for file in files:
        file.parent.mkdir()
        file.write_text("ds,store_id,item_id,y\n2017-08-01,1,A,1\n")
    settings = Settings(_env_file=None, state_dir=tmp_path / "state", source="csv")
    settings = settings.model_copy(update={"source_path": str(tmp_path / "year*" / "till.csv")})
    first = replay_of(settings, SINCE, 2, [policy("never")])
    files[1].write_text("ds,store_id,item_id,y\n2017-08-01,1,A,22\n")
    assert replay_of(settings, SINCE, 2, [policy("never")]).folder != first.folder


@pytest.mark.parametrize("asked", [{"weeks": 0}, {"policies": []}])
def test_a_replay_of_nothing_is_refused_before_it_begins(asked: dict[str, object]) -> None:
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters(asked)
