"""A small retailer with known sales, and settings in a folder of the test's own."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from data.schema import PLAN, SALES
from data.settings import Settings
from data.warehouse import known_at_morning

if TYPE_CHECKING:
    from checks.replay import Replay

os.environ["SODA_CORE_TELEMETRY_ENABLED"] = "false"  # before a test imports Soda by itself

FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 9, 10)
ZONE = "America/New_York"


class ByFile(LoadFileScheduling):
    """Keeps to one worker the tests of files of one name, and all that need the real stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "the real stack" if "/end_to_end/" in file else file.rsplit("/", 1)[-1]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real stack starts first: its tests take the longest."""
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Whoever runs the other tests gives way to the real stack, which takes the longest."""
    if item.get_closest_marker("end_to_end") is None and os.nice(0) == 0:
        os.nice(5)


@pytest.fixture(scope="session", autouse=True)
def quick_fits() -> Iterator[None]:
    """What is fitted with the default parameters has few trees, since few rows are made up."""
    from models import gbm

    few = {"num_iterations": 15, "learning_rate": 0.3, "min_data_in_leaf": 50}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in few.items():
            patch.setitem(gbm.DEFAULTS, name, value)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", _env_file=None)


def sales_of(days: list[date], stores: int, items: int, seed: int) -> pl.DataFrame:
    """Poisson sales with a level per series and a weekday profile; zero days have no row."""
    rng = np.random.default_rng(seed)
    profile = np.array([0.8, 0.8, 0.9, 1.0, 1.2, 1.5, 1.3])
    rows = []
    for s in range(stores):
        for i in range(items):
            level = rng.gamma(2, 3)
            y = rng.poisson(level * profile[[d.weekday() for d in days]])
            rows += [
                (f"s{s}", f"i{i}", d, float(v), 2.5, known_at_morning(d, ZONE))
                for d, v in zip(days, y, strict=True)
                if v > 0
            ]
    return pl.DataFrame(rows, schema=SALES, orient="row")


@pytest.fixture(scope="session")
def sales_since() -> Callable[[int, int, int], pl.DataFrame]:
    """Makes the sales of so many days from FIRST_DAY, stores and items."""

    def make(days: int, stores: int, items: int) -> pl.DataFrame:
        dates = [FIRST_DAY + timedelta(days=k) for k in range(days)]
        return sales_of(dates, stores, items, seed=1).drop("known_at")

    return make


@pytest.fixture(scope="session")
def sales() -> pl.DataFrame:
    """Sales of 4 stores x 3 items from 1 January to 10 September 2017."""
    n = (LAST_DAY - FIRST_DAY).days + 1
    return sales_of([FIRST_DAY + timedelta(days=k) for k in range(n)], 4, 3, seed=1)


@pytest.fixture(scope="session")
def plan() -> pl.DataFrame:
    """Two products of item i0 on display in store s0 in the last week and the two after it."""
    known = datetime.fromisoformat("2017-08-07T10:00:00+00:00")
    days = [LAST_DAY + timedelta(days=k) for k in range(-6, 15)]
    return pl.DataFrame([("s0", "i0", d, 2.0, 1.0, known) for d in days], schema=PLAN, orient="row")


@pytest.fixture(scope="session")
def series(sales: pl.DataFrame) -> pl.DataFrame:
    return sales.select("store_id", "item_id").unique().sort("store_id", "item_id")


@pytest.fixture
def results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[set[str], set[str]]]:
    """Benchmarks save to a folder of the test's own, and fill no document.

    Gives, of a result file, the metrics that were saved, and those that only the checkout's has.
    """
    from benchmarks import report

    monkeypatch.setattr(report, "fill_documents", lambda: None)
    folders = report.RESULTS, tmp_path / "results"
    monkeypatch.setattr(report, "RESULTS", folders[1])

    def metrics(name: str) -> tuple[set[str], set[str]]:
        rows = (json.loads((f / f"{name}.json").read_text())["rows"] for f in folders)
        kept, saved = ({row["metric"] for row in found} for found in rows)
        return saved, kept - saved

    return metrics


@pytest.fixture(scope="session")
def retailer(
    tmp_path_factory: pytest.TempPathFactory, sales_since: Callable[[int, int, int], pl.DataFrame]
) -> Settings:
    """Settings of a retailer whose till file holds 6 stores x 4 items until 15 October 2017."""
    folder = tmp_path_factory.mktemp("retailer")
    sales_since(288, 6, 4).write_csv(folder / "till.csv")
    return Settings(
        state_dir=folder / "state",
        source="csv",
        source_path=str(folder / "till.csv"),
        _env_file=None,
    )


@pytest.fixture(scope="session")
def replayed(retailer: Settings) -> "Replay":
    """Two weeks of that retailer, replayed under two policies."""
    from checks import replay as units
    from checks.policies import policy
    from checks.replay_decisions import walk

    replay = units.replay_of(retailer, LAST_DAY, 2, [policy("always"), policy("gated")])
    with pytest.MonkeyPatch.context() as patch:
        # A killed replay audits its days, and so does that of the deployments' day.
        for audit in ("audit_sales", "audit_features"):
            patch.setattr(units, audit, lambda *_: SimpleNamespace(require=lambda _subject: None))
        walk(replay, replay.since - timedelta(days=1), replay.end)
    return replay
