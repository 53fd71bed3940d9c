"""Seconds until the planner's page can be used, with 2,000 series, on a copy of the state."""

import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import uvicorn
from playwright.sync_api import Browser

from benchmarks.browser import USABLE, chromium
from benchmarks.rows import Row, plain_row
from data.schema import KEYS
from data.settings import Settings
from serving.routes.application import create_api
from serving.service import ForecastService

SERIES = 2000
ROUNDS = 7
TARGET_SECONDS = 1.0
KEPT = ("champions", "snapshots", "published", "online.db", "feast_registry.db", "online_cutoff")


def widened(settings: Settings, folder: Path) -> Settings:
    """A copy of the state in which every snapshot lists as many series as are measured."""
    state = folder / "state"
    state.mkdir()
    for name in KEPT:
        source = settings.state_dir / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, state / name)
    for path in state.glob("snapshots/*/series.parquet"):
        known = pl.read_parquet(path)
        added = [(f"x{n // 20}", f"ITEM {n % 20}") for n in range(SERIES - known.height)]
        pl.concat([known, pl.DataFrame(added, schema=KEYS, orient="row")]).write_parquet(path)
    return settings.model_copy(update={"state_dir": state})


@contextmanager
def served(settings: Settings, version: str) -> Iterator[str]:
    """The address of the API and its page, served without Ray on a free port."""
    service = ForecastService()
    champion = str(settings.champions_dir / version)
    service.configure(
        {"state_dir": str(settings.state_dir), "version": version, "champion": champion}
    )
    config = uvicorn.Config(create_api(service), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def usable_after(browser: Browser, url: str) -> float:
    """Seconds from asking for the page until it can be used, with nothing cached."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector(USABLE, state="attached")
    milliseconds = page.locator("html").get_attribute("data-usable")
    page.close()
    return float(str(milliseconds)) / 1000


def measure(settings: Settings) -> list[Row]:
    """Medians over several visits, after one that is not counted."""
    version = (settings.champions_dir / "CURRENT").read_text().strip()
    with tempfile.TemporaryDirectory() as folder:
        wide = widened(settings, Path(folder))
        with served(wide, version) as url, chromium() as browser:
            seconds = [usable_after(browser, url) for _ in range(ROUNDS + 1)][1:]
    return [
        plain_row(
            "page_usable_2000_series",
            "s",
            statistics.median(seconds),
            TARGET_SECONDS,
            more_is_better=False,
        )
    ]
