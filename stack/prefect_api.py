"""What the project asks of Prefect's REST API, patiently: its database has one writer."""

from typing import Any
from uuid import uuid4

import httpx
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from data.settings import Settings
from stack.programs import POOL, WRITER

BUSY_SECONDS = 60


def _is_busy(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.SERVICE_UNAVAILABLE
    return isinstance(error, httpx.TimeoutException)


class Prefect:
    """The few calls of the Prefect REST API that the stack and following a run take."""

    def __init__(self, settings: Settings) -> None:
        url = f"{settings.prefect_api_url}/"
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.runs_url = f"{settings.prefect_ui_url}/runs/flow-run"

    @retry(
        retry=retry_if_exception(_is_busy),
        stop=stop_after_delay(BUSY_SECONDS),
        wait=wait_fixed(1),
        reraise=True,
    )
    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of an answer, or None; asked again while the server is busy or silent.

        So what is asked must be harmless when it is done twice. Raises httpx.HTTPError.
        """
        answer = self.client.request(method, path, json=body).raise_for_status()
        return answer.json() if answer.content else None

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Starts a run of `FLOW/NAME`; returns its id."""
        found = self.ask("GET", f"deployments/name/{deployment}")
        body = {
            "parameters": parameters,
            "state": {"type": "SCHEDULED", "name": "Scheduled"},
            "idempotency_key": uuid4().hex,  # asked twice, it is one run
        }
        return str(self.ask("POST", f"deployments/{found['id']}/create_flow_run", body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        body: dict[str, Any] = self.ask("GET", f"flow_runs/{run}")
        return body

    def children(self, run: str) -> list[dict[str, Any]]:
        """Subflow runs of a run, oldest first."""
        body = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}, "sort": "START_TIME_ASC"}
        found: list[dict[str, Any]] = self.ask("POST", "flow_runs/filter", body)
        return found


def prepare(settings: Settings) -> None:
    """Makes the work pool and the writer's limit, and clears what a killed worker left behind.

    Runs that count as running are marked crashed and held slots are freed: no worker lives when
    this is called, so nobody else would ever do it. Raises httpx.HTTPError.
    """
    ask = Prefect(settings).ask
    if not ask("POST", "work_pools/filter", {"work_pools": {"name": {"any_": [POOL]}}}):
        ask("POST", "work_pools/", {"name": POOL, "type": "process"})
    stale = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    state = {"type": "CRASHED", "message": "The process of this run was stopped or killed."}
    ask("POST", "flow_runs/bulk_set_state", {"flow_runs": stale, "state": state})
    limits = ask("POST", "v2/concurrency_limits/filter", {})
    if WRITER not in [limit["name"] for limit in limits]:
        ask("POST", "v2/concurrency_limits/", {"name": WRITER, "limit": 1})
    for limit in limits:
        ask("PATCH", f"v2/concurrency_limits/{limit['id']}", {"active_slots": 0})
