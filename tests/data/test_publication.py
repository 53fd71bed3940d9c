"""Published Parquet: whole files, typed columns, and nothing that nobody named."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from data import publication

NOW = datetime(2017, 10, 9, 10, tzinfo=UTC)
DECISION = {
    "decided_at": [NOW],
    "gate": ["retrain"],
    "outcome": ["pass"],
    "reasons": [["nothing drifted"]],
    "measurements": ["{}"],
}


def test_what_was_written_is_read_with_its_types(tmp_path: Path) -> None:
    publication.write(tmp_path / "p", {"decisions": pl.DataFrame(DECISION)}, {"cutoff": "x"}, NOW)
    read = publication.scan(tmp_path / "p", "decisions").collect()
    assert dict(read.schema) == publication.TABLES["decisions"]
    assert read["reasons"].to_list() == [["nothing drifted"]]
    about = publication.about(tmp_path / "p")
    assert about == {"published_at": str(NOW), "cutoff": "x"}
    assert not list((tmp_path / "p").glob(".*"))


def test_before_the_first_publication_tables_are_empty_and_nothing_is_said(tmp_path: Path) -> None:
    assert publication.about(tmp_path) is None
    empty = publication.scan(tmp_path, "exceptions").collect()
    assert empty.is_empty() and empty.columns == list(publication.TABLES["exceptions"])


def test_an_unknown_table_or_a_missing_column_is_refused_and_the_old_file_stays(
    tmp_path: Path,
) -> None:
    publication.write_table(tmp_path, "decisions", pl.DataFrame(DECISION))
    with pytest.raises(ValueError, match="expected one of forecasts"):
        publication.write_table(tmp_path, "sales", pl.DataFrame())
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        publication.write_table(tmp_path, "decisions", pl.DataFrame({"gate": ["x"]}))
    assert publication.scan(tmp_path, "decisions").collect().height == 1
