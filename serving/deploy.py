"""Configures the forecast API in Ray Serve and swaps its model without dropping a request."""

import contextlib
import time
from pathlib import Path
from typing import Any

import httpx

from data.settings import Settings
from serving.keys import operator_headers

APPLICATION = "shelfcast"
CURRENT, PREVIOUS = "CURRENT", "PREVIOUS"  # files that name versions, beside their folders
DEPLOYMENT = "Forecasts"
IMPORT_PATH = "serving.app:app"
NETWORK_SECONDS = 15.0
PUT_ATTEMPTS = 4
POLL_SECONDS = 0.2
RESTORE_SECONDS = 30.0
MAX_IN_FLIGHT = 64  # being answered or waiting for a thread; about a second of work


class DeployFailed(RuntimeError):
    """The configuration or model version that was asked for is not the one that serves."""


class RayUnreachable(DeployFailed):
    """Ray was not asked at all: nothing is known of the version."""


class KeyRefused(DeployFailed):
    """The API does not take this machine's own key: nothing is known of the version."""


def application_config(settings: Settings, *, version: str | None) -> dict[str, Any]:
    """Ray Serve's whole configuration, serving model `version`; None starts without a model."""
    champion = None if version is None else str(_folder(settings, version).resolve())
    # One thread per prediction: a few dozen rows gain nothing from more, and idle OpenMP threads
    # that spin would take the processor from the proxy.
    threads = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    # Where replicas count together: the library's name for it, and the one that Feast looks for.
    names = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
    shared = dict.fromkeys(names, str(settings.replicas_dir.resolve()))
    deployment = {
        "name": DEPLOYMENT,
        "num_replicas": settings.replicas,
        # More than HAProxy and the API let in, so that one of them refuses: with a problem, in no
        # time, and with Retry-After.
        "max_ongoing_requests": 4 * MAX_IN_FLIGHT,
        "max_queued_requests": 8 * MAX_IN_FLIGHT,
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "ray_actor_options": {"num_cpus": 0.5},
        "user_config": {
            "state_dir": str(settings.state_dir.resolve()),
            "version": version,
            "champion": champion,
        },
    }
    return {
        "proxy_location": "HeadOnly",
        "http_options": {
            "host": settings.host,
            "port": settings.serve_port,
            "request_timeout_s": 30,
        },
        "logging_config": {"encoding": "JSON", "log_level": "INFO", "enable_access_log": False},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "runtime_env": {"env_vars": threads | shared},
                "deployments": [deployment],
            }
        ],
    }


def put(settings: Settings, config: dict[str, Any]) -> None:
    """Makes `config` Ray Serve's configuration; the same one twice changes nothing.

    Returns when Ray has accepted it, before its effect: GET /v1/model tells which version serves.
    Raises RayUnreachable when Ray is not reachable, DeployFailed when it refuses it or gives no
    answer: it may have taken it then.
    """
    try:
        answer = _send(settings, config)
    except FileNotFoundError as error:
        raise RayUnreachable(
            f"Ray's token is not at {settings.ray_token_path}; start the stack with `make up`."
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise RayUnreachable(
            f"Ray is not reachable at {settings.ray_dashboard_url} "
            f"({str(error) or type(error).__name__}); start the stack with `make up`."
        ) from error
    except httpx.HTTPError as error:
        raise DeployFailed(
            f"Ray at {settings.ray_dashboard_url} gave no answer to the configuration "
            f"({str(error) or type(error).__name__}); look into its log, then deploy again."
        ) from error
    if answer.is_error:
        said = (answer.text.strip().splitlines() or ["no reason given"])[0][:300]
        raise DeployFailed(f"Ray Serve refused the configuration ({answer.status_code}): {said}")


def _send(settings: Settings, config: dict[str, Any]) -> httpx.Response:
    client = httpx.Client(
        base_url=settings.ray_dashboard_url,
        headers={"Authorization": f"Bearer {settings.ray_token_path.read_text().strip()}"},
        timeout=NETWORK_SECONDS,
        trust_env=False,
    )
    with client:
        for _ in range(PUT_ATTEMPTS - 1):
            # The first configuration starts Ray Serve itself, 13 s on an idle machine. Sending
            # the same one again waits for that and changes nothing.
            with contextlib.suppress(httpx.ReadTimeout):
                return client.put("/api/serve/applications/", json=config)
        return client.put("/api/serve/applications/", json=config)


def served_model(settings: Settings) -> dict[str, Any] | None:
    """What GET /v1/model answers now; None when the forecast API does not answer.

    Raises KeyRefused when it answers 401: then no waiting helps.
    """
    try:
        answer = httpx.get(
            f"{settings.serve_url}/v1/model",
            headers=operator_headers(settings),
            timeout=NETWORK_SECONDS,
            trust_env=False,
        )
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise KeyRefused(
                f"The API at {settings.serve_url} refuses this machine's own key; create any key "
                "with `.venv/bin/python -m serving.keys create NAME`, which makes that one anew."
            )
        answer.raise_for_status()
        body = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def current_version(settings: Settings) -> str | None:
    """The version that was last deployed with success, to be served again after a restart."""
    return _read(settings.champions_dir / CURRENT)


def previous_version(settings: Settings) -> str | None:
    """The version that served before the current one, to be rolled back to."""
    return _read(settings.champions_dir / PREVIOUS)


def forget_previous(settings: Settings) -> None:
    """After a rollback the version before is the one that failed: nobody is to go back to it."""
    (settings.champions_dir / PREVIOUS).unlink(missing_ok=True)


def swap(settings: Settings, version: str, *, timeout_seconds: float = 60) -> dict[str, Any]:
    """Serves model `version` by every replica and returns what GET /v1/model then answers.

    Requests in flight are answered by the model that they met. When the version does not load
    or does not answer within `timeout_seconds`, or Ray gives no answer, the configuration of the
    previous version is put back and DeployFailed says why. Raises RayUnreachable and KeyRefused
    without that.
    """
    folder = _folder(settings, version)
    if not folder.is_dir():
        raise DeployFailed(
            f"Model version {version!r} is not exported to {folder.parent}; "
            "run the train deployment, then deploy."
        )
    before = served_model(settings)
    previous = before.get("version") if before else current_version(settings)
    if before and before.get("load_error"):
        # Ray Serve ignores a configuration that it already has: leave the failed one first.
        _restore(settings, previous)
    try:
        put(settings, application_config(settings, version=version))
        model, problem = _wait_for(settings, version, timeout_seconds)
    except (RayUnreachable, KeyRefused):
        raise
    except DeployFailed as error:
        model, problem = None, str(error).rstrip(".")
    if model is None:
        outcome = _restore(settings, previous)
        raise DeployFailed(f"Model version {version!r} was not deployed: {problem}. {outcome}")
    current = current_version(settings)
    if current not in (None, version):
        _write(settings.champions_dir / PREVIOUS, str(current))
    _write(settings.champions_dir / CURRENT, version)
    return model


def _wait_for(
    settings: Settings, version: str | None, seconds: float
) -> tuple[dict[str, Any] | None, str]:
    """The API's model once it is `version` in all replicas, or None and what went wrong."""
    deadline = time.monotonic() + seconds
    while True:
        model = served_model(settings)
        error = model.get("load_error") if model else None
        if error and error.get("version") == version:
            return None, str(error.get("error")).rstrip(".")
        serve = {model.get("version"), *model.get("versions", ())} if model else set()
        if serve == {version} and not error:
            return model, ""
        if time.monotonic() >= deadline:
            named = " and ".join(sorted(map(repr, serve)))
            seen = f"it serves {named}" if model else "it does not answer"
            return None, f"after {seconds:g} s {seen} at {settings.serve_url}/v1/model"
        time.sleep(POLL_SECONDS)


def _restore(settings: Settings, previous: str | None) -> str:
    """Puts the previous version's configuration back and says in a sentence whether it serves."""
    name = f"The previous version {previous!r}" if previous else "The API without a model"
    try:
        put(settings, application_config(settings, version=previous))
    except DeployFailed as error:
        return f"{name} was not put back: {error}"
    model, problem = _wait_for(settings, previous, RESTORE_SECONDS)
    return f"{name} serves on." if model else f"{name} was put back, but {problem}."


def _folder(settings: Settings, version: str) -> Path:
    if not version or version in (".", "..") or Path(version).name != version:
        raise ValueError(f"Model version {version!r} is not a plain name such as '7'.")
    return settings.champions_dir / version


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def _write(path: Path, version: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(version + "\n")
    part.replace(path)
