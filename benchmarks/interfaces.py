"""Pictures of the pages of Prefect, MLflow and Feast, each with the rows that have to be on it."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import Browser, TimeoutError, ViewportSize

from data.schema import FEATURE_SERVICE
from data.settings import ROOT, Settings
from models.registry import EXPERIMENT, MODEL
from stack.programs import environment

SIZE: ViewportSize = {"width": 1280, "height": 860}
SECONDS = 60
SETTLED = 2000  # milliseconds
# What the pages keep of their visitor's choices: light colours, no assistant beside the page.
CHOICES = {
    "color-scheme": '"light"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}


class NoRows(RuntimeError):
    """A page came up without what it should show."""


class Shot(NamedTuple):
    """A page, the picture's name, and how many of which element it has to show."""

    name: str
    url: str
    rows: str
    least: int


def shots(settings: Settings, feast: str) -> list[Shot]:
    """What is worth a look after `make demo`. Raises NoRows when something never ran."""
    prefect, mlflow = settings.prefect_ui_url, settings.mlflow_url
    gate = latest(
        f"{settings.prefect_api_url}/artifacts/filter",
        {"artifacts": {"key": {"any_": ["gate-retrain"]}}, "sort": "CREATED_DESC", "limit": 1},
    )
    experiment, training = newest_training(mlflow)
    return [
        Shot("prefect-deployments", f"{prefect}/deployments", "tbody tr", 5),
        Shot("prefect-run", f"{prefect}/runs/flow-run/{gate['flow_run_id']}", ".log-row", 1),
        Shot("prefect-gate", f"{prefect}/artifacts/artifact/{gate['id']}", "tbody tr", 3),
        Shot("mlflow-run", f"{mlflow}/#/experiments/{experiment}/runs/{training}", "[role=row]", 5),
        Shot("mlflow-model", f"{mlflow}/#/models/{MODEL}", "tbody tr, [role=row]", 2),
        Shot("feast-lineage", f"{feast}/p/shelfcast/lineage", ".react-flow__node", 5),
        Shot(
            "feast-service",
            f"{feast}/p/shelfcast/feature-service/{FEATURE_SERVICE}",
            "tbody tr",
            10,
        ),
    ]


def newest_training(mlflow: str) -> tuple[str, str]:
    """Ids of the experiment and of the run. Raises NoRows when nothing was trained."""
    experiment = httpx.get(
        f"{mlflow}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": EXPERIMENT}
    ).json()["experiment"]["experiment_id"]
    training = latest(
        f"{mlflow}/api/2.0/mlflow/runs/search",
        {"experiment_ids": [experiment], "filter": "run_name LIKE 'train %'", "max_results": 1},
    )
    return experiment, training["info"]["run_id"]


def forecast_plot(mlflow: str) -> bytes:
    """The plot of forecasts against sales of the newest training, as MLflow keeps it."""
    asked = {"run_id": newest_training(mlflow)[1], "path": "forecast_against_actuals.png"}
    return httpx.get(f"{mlflow}/get-artifact", params=asked).raise_for_status().content


def latest(url: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The first that a search finds."""
    found = httpx.post(url, json=asked).raise_for_status().json()
    items = found.get("runs", []) if isinstance(found, dict) else found
    if not items:
        raise NoRows(f"{url} finds nothing for {asked}; run `make demo` first.")
    return dict(items[0])


@contextmanager
def feast_ui(settings: Settings) -> Iterator[str]:
    """Feast's page on a free port, as long as it is needed."""
    with closing(socket.socket()) as probe:
        probe.bind((settings.host, 0))
        port = probe.getsockname()[1]
    command = ["feast", "-c", "feature_repo", "ui", "--host", settings.host, "--port", str(port)]
    url, quiet = f"http://{settings.host}:{port}", subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(settings), stdout=quiet, stderr=quiet
    )
    try:
        until = time.monotonic() + 2 * SECONDS
        while not answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise NoRows(f"Feast's page does not come up: try `{' '.join(command)}`.")
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def picture(browser: Browser, shot: Shot) -> bytes:
    """The page when its rows are there. Raises NoRows when they do not come."""
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.add_init_script(
        f"for (const [k, v] of Object.entries({CHOICES})) localStorage.setItem(k, v)"
    )
    page.goto(shot.url)
    rows = page.locator(shot.rows)
    try:
        rows.nth(shot.least - 1).wait_for(timeout=1000 * SECONDS)
    except TimeoutError as late:
        raise NoRows(
            f"{shot.url} shows {rows.count()} rows, expected {shot.least} or more."
        ) from late
    page.wait_for_timeout(SETTLED)  # pictures and graphs are drawn after the rows
    taken = page.screenshot()
    page.context.close()
    return taken
