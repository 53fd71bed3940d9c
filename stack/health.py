"""Whether the processes of the stack are well, asked over HTTP."""

import secrets
from contextlib import suppress
from datetime import datetime
from tempfile import NamedTemporaryFile
from typing import Any

import httpx

from data.settings import Settings
from stack.programs import API, DEPLOYMENTS, MLFLOW, POOL, PREFECT, RAY, RUNNER, WORKER

SERVE = "/api/serve/applications/"


def call(
    method: str, url: str, body: object = None, *, token: str = "", seconds: float = 5.0
) -> tuple[int, Any]:
    """HTTP status and decoded JSON (or text) of the answer; (0, None) when there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:  # plain HTTP: a client that verifies certificates takes 20 ms of a core to build
        with httpx.Client(trust_env=False, verify=False, timeout=seconds) as client:
            answer = client.request(method, url, json=body, headers=headers)
    except httpx.HTTPError:
        return 0, None
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, answer.text


def url_of(settings: Settings, name: str) -> str:
    """Where a human finds it; empty for what has no page."""
    prefect = settings.prefect_ui_url
    pages = {PREFECT: prefect, DEPLOYMENTS: f"{prefect}/deployments", MLFLOW: settings.mlflow_url}
    pages |= {RAY: settings.ray_dashboard_url, API: f"{settings.serve_url}/docs"}
    return pages.get(name, "")


def health(settings: Settings, name: str, since: float = 0.0) -> str:
    """`healthy`, or what is wrong in a few words; a worker counts if heard of after `since`."""
    if name == PREFECT:
        return _answers(f"{settings.prefect_api_url}/health")
    if name == MLFLOW:
        return _answers(f"{settings.mlflow_url}/health")
    if name == RUNNER:
        _, workers = call(
            "POST", f"{settings.prefect_api_url}/work_pools/{POOL}/workers/filter", {}
        )
        for worker in workers if isinstance(workers, list) else []:
            heard = datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp()
            if worker["name"] == WORKER and worker["status"] == "ONLINE" and heard > since:
                return "healthy"
        return "not heard of"
    token = ray_token(settings)
    if name == RAY:
        return _answers(f"{settings.ray_dashboard_url}/api/version", token)
    _, serve = call("GET", f"{settings.ray_dashboard_url}{SERVE}", token=token)
    for application in serve["applications"].values() if isinstance(serve, dict) else ():
        if application["status"] != "RUNNING":
            return f"{application['status']} {application.get('message') or ''}".strip()
        return _answers(f"{settings.serve_url}/-/healthz")
    return "not deployed"


def _answers(url: str, token: str = "") -> str:
    status, _ = call("GET", url, token=token)
    return "healthy" if status == 200 else f"answers {status}" if status else "does not answer"


def ray_token(settings: Settings) -> str:
    """Ray's token; made on first use, whole or not at all, readable by its owner only."""
    path = settings.ray_token_path
    if not path.exists():
        # Such a file is readable by its owner only; it goes when it is closed.
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-") as part:
            part.write(secrets.token_hex(32))
            part.flush()
            with suppress(FileExistsError):  # another process made one meanwhile
                path.hardlink_to(part.name)
    return path.read_text().strip()
