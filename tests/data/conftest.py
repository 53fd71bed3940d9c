# DuckDB is imported inside the fixtures: a conftest lives until the interpreter is torn down, and
# one that holds the module makes DuckDB print a page about leaks after every run.
from pathlib import Path

import pytest

from data.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path / "state")


@pytest.fixture
def con(settings):
    from data.warehouse import connect

    with connect(settings) as con:
        yield con


@pytest.fixture(scope="session")
def year(tmp_path_factory):
    """Everything that the default source yields, read once."""
    from data.sources import read_sales
    from data.warehouse import connect

    settings = Settings(_env_file=None, state_dir=tmp_path_factory.mktemp("year"))
    with connect(settings) as con:
        return read_sales(con, settings, source="completejourney", since=None, until=None)
