from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from data import sources, warehouse
from data.settings import Settings
from data.warehouse import Connection


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path / "state")


@pytest.fixture
def con(settings: Settings) -> Iterator[Connection]:
    with warehouse.connect(settings) as con:
        yield con


@pytest.fixture(scope="session")
def year() -> pl.DataFrame:
    """Everything that the default source yields, read once."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        settings = Settings(_env_file=None)
        return sources.read_sales(con, settings, source="completejourney", since=None, until=None)
