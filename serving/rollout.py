"""Tries a new model on the requests that the old one answers, before and after it takes over."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import psutil

from checks.rollout import (
    FAST_MS,
    PLAUSIBLE,
    PLAUSIBLE_AFTER_REPEATS,
    PLAUSIBLE_REQUEST,
    Tried,
)
from data.collection import ERROR
from data.schema import KEYS, QUANTILE_COLUMNS, SPOOL_CLOSED, SPOOL_OPEN
from data.settings import Settings
from models.forecaster import Forecaster
from models.lagged import METHODS
from serving.deploy import served_model
from serving.keys import operator_headers
from serving.problems import NOT_PUBLISHED
from serving.snapshots import Key, Snapshots
from serving.source import Model, ReadFeatures, feast_reader

GOLDEN_SERIES, GOLDEN_HORIZONS = 20, (1, 7, 28)
SHADOW_REQUESTS = 1000
SHADOW_SERIES = 20_000  # of recorded requests together: a thousand for all series take an hour
TRIAL_SECONDS = 180.0  # golden requests or shadow
WATCH_REQUESTS, WATCH_SECONDS = 100, 30.0


@dataclass(frozen=True)
class Request:
    """Series and horizon that were asked for."""

    keys: tuple[Key, ...]
    horizon: int


class Desk:
    """Answers requests with any model, from the features and plans that replicas read."""

    def __init__(
        self, settings: Settings, reader: Callable[[Settings], ReadFeatures] = feast_reader
    ) -> None:
        self._read = reader(settings)
        self._snapshots = Snapshots(settings)

    def series(self, snapshot_id: str) -> list[Key]:
        """The series of a snapshot, sorted."""
        return self._snapshots.series(snapshot_id)

    def inputs(self, request: Request) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """Features, plan and horizon that a model answers a request from."""
        features = self._read(list(request.keys)).with_columns(pl.col("cutoff").str.to_date())
        return features, self._snapshots.plan(features, request.horizon), request.horizon


def timed(
    model: Model, inputs: tuple[pl.DataFrame, pl.DataFrame, int]
) -> tuple[pl.DataFrame, float]:
    """A forecast and the milliseconds that the model took."""
    start = time.perf_counter()
    frame = model.forecast(*inputs)
    return frame, 1000 * (time.perf_counter() - start)


def golden_requests(series: Sequence[Key], longest: int) -> list[Request]:
    """The fixed requests: series evenly spread over the sorted list, one by one and together."""
    at = np.linspace(0, len(series) - 1, min(GOLDEN_SERIES, len(series))).astype(int)
    chosen = tuple(series[i] for i in at)
    return [Request(chosen, h) for h in GOLDEN_HORIZONS if h <= longest] + [
        Request((key,), longest) for key in chosen
    ]


def recorded_requests(served: pl.DataFrame, longest: int) -> list[Request]:
    """Requests of the ledger's served forecasts, the newest first, at most SHADOW_REQUESTS."""
    asked = (
        served.group_by("request_id")
        .agg(pl.col("issued_at").max(), pl.col("step").max(), key=pl.struct(KEYS).unique())
        .sort("issued_at", descending=True)
        .head(SHADOW_REQUESTS)
    )
    return [
        Request(tuple((k["store_id"], k["item_id"]) for k in keys), min(step, longest))
        for step, keys in asked.select("step", "key").iter_rows()
    ]


def made_up_requests(series: Sequence[Key], longest: int, count: int) -> list[Request]:
    """One series a request, all series in turn."""
    return [Request((series[i % len(series)],), longest) for i in range(count)]


def try_out(
    desk: Desk,
    requests: Sequence[Request],
    load: Callable[[], Model],
    champion: Model | None,
    *,
    each_plausible: bool = False,
) -> Tried:
    """Answers every request with both models, compares, and returns none of the answers.

    A request reaches as far as both models do, at most.
    It ends after TRIAL_SECONDS; requests that are left over then are a problem.
    `each_plausible` holds each answer's sum to PLAUSIBLE_REQUEST, not only the sum of all. A
    champion that repeats the last week moves as far as weeks do: then only the sum of all is held,
    to PLAUSIBLE_AFTER_REPEATS. A model that repeats is compared with no champion, which was just
    found to be no better. One that doesn't load, raises, or gives what is no forecast has faults;
    nothing is raised.
    """
    before = _resident_mb()
    try:
        model = load()
    except Exception as error:
        return Tried(0, (_fault("it does not load", error),), 0.0, None, 0.0, None)
    heavier = _resident_mb() - before
    if model.repeats:
        champion = None
    reach = min(m.horizon for m in (model, champion) if m is not None)
    requests = [replace(r, horizon=min(r.horizon, reach)) for r in requests]
    after_repeats = champion is not None and champion.repeats
    faults, units, old_units = dict[str, None](), 0.0, 0.0
    times: list[float] = []
    old_times: list[float] = []
    deadline = time.monotonic() + TRIAL_SECONDS
    for request in requests:
        if time.monotonic() > deadline:
            break
        try:
            inputs = desk.inputs(request)
            frame, took = timed(model, inputs)
            times.append(took)
            faults |= dict.fromkeys(_faults_of(frame, request))
        except Exception as error:
            faults[_fault("it raises", error)] = None
            continue
        units += (total := float(frame["y_hat"].sum()))
        if champion is not None:
            old, took = timed(champion, inputs)
            old_times.append(took)
            old_units += (old_total := float(old["y_hat"].sum()))
            held = each_plausible and not after_repeats
            if held and not _is_plausible(total, old_total):
                keys = f"{len(request.keys)} series from {request.keys[0]}"
                faults[f"{keys}: {total:.0f} units, {old_total:.0f} by the champion"] = None
    return Tried(
        requests=len(times),
        faults=tuple(faults)[:10],
        units=units,
        champion_units=old_units if champion else None,
        p95_ms=_p95(times),
        champion_p95_ms=_p95(old_times) if champion else None,
        heavier_mb=heavier,
        least=len(requests),
        plausible=PLAUSIBLE_AFTER_REPEATS if after_repeats else PLAUSIBLE,
    )


def _is_plausible(units: float, champion_units: float) -> bool:
    low, high = PLAUSIBLE_REQUEST
    return champion_units <= 10 or low <= units / champion_units <= high


def _faults_of(frame: pl.DataFrame, request: Request) -> list[str]:
    """What makes an answer no forecast."""
    values = frame.select("y_hat", *QUANTILE_COLUMNS).to_numpy()
    found = []
    if frame.height != len(request.keys) * request.horizon:
        found.append("it gives too few or too many days")
    if not np.isfinite(values).all():
        found.append("it gives numbers that are not finite")
    elif (values < 0).any():
        found.append("it gives negative units")
    elif (np.diff(values[:, 1:], axis=1) < -1e-9).any():
        found.append("its quantiles cross")
    return found


def _fault(what: str, error: Exception) -> str:
    return f"{what}: {type(error).__name__}: {error}"[:300]


def _p95(times: Sequence[float]) -> float:
    return float(np.quantile(times, 0.95)) if times else 0.0


def _resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def probe(settings: Settings, requests: Sequence[Request], seconds: float) -> Tried:
    """Sends requests to the running API, at most for `seconds`."""
    deadline, faults, times, units = time.monotonic() + seconds, dict[str, None](), [], 0.0
    with httpx.Client(
        base_url=settings.serve_url,
        headers=operator_headers(settings),
        timeout=10,
        trust_env=False,
    ) as client:
        for request in requests:
            if time.monotonic() > deadline:
                break
            start = time.perf_counter()
            series = [{"store_id": s, "item_id": i} for s, i in request.keys]
            body = {"series": series, "horizon": request.horizon, "quantiles": [0.5]}
            try:
                answer = client.post("/v1/forecasts", json=body).raise_for_status().json()
                days = [d for f in answer["forecasts"] for d in f["days"]]
                units += sum(d["y_hat"] for d in days)
            except httpx.HTTPStatusError as error:
                faults[f"the API answers {error.response.status_code}"] = None
            except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
                faults[_fault("the API does not answer", error)] = None
            times.append(1000 * (time.perf_counter() - start))
    return Tried(len(times), tuple(faults), units, None, _p95(times), None)


def observe(settings: Settings) -> Tried | None:
    """What the API answers now to the requests of a watch; None while no model serves.

    Who follows a model that repeats the last week is held to wider bounds (try_out).
    """
    model = served_model(settings)
    if not model or not model.get("version"):
        return None
    seen = probe(settings, _watch_requests(settings, model), WATCH_SECONDS)
    return replace(seen, plausible=PLAUSIBLE_AFTER_REPEATS) if _repeats(model) else seen


def watch(settings: Settings, version: str, before: Tried | None, since: datetime) -> Tried:
    """The same requests after a swap to `version`, compared with those of before.

    Faults are answers that fail, here or to live requests since `since`, and an API that serves
    another version, or none, or does not answer. Units and times of a model that repeats the last
    week are not compared with those of the model that it takes over from (try_out).
    """
    model = served_model(settings)
    if not model or not model.get("version"):
        said = "the API serves no model" if model else "the API does not answer"
        return Tried(0, (said,), 0.0, None, 0.0, None)
    requests = _watch_requests(settings, model)
    after = probe(settings, requests, WATCH_SECONDS)
    if after.p95_ms > FAST_MS:  # the first answers of a new model may be slow, and so is a busy day
        again = probe(settings, requests, WATCH_SECONDS)
        after = replace(again, faults=tuple(dict.fromkeys((*after.faults, *again.faults))))
    faults = list(after.faults)
    if model["version"] != version:
        faults.append(f"version {model['version']} answers instead of {version}")
    if met := live_5xx(settings.spool_dir, since):
        faults.append(f"live requests met {met} answers 5xx")
    if before is None or _repeats(model):
        return replace(after, faults=tuple(faults))
    fair = before.units * after.requests / before.requests if before.requests else 0.0
    return replace(
        after,
        faults=tuple(faults),
        champion_units=fair,
        champion_p95_ms=before.p95_ms,
        plausible=before.plausible,
    )


def _repeats(model: Mapping[str, Any]) -> bool:
    """Whether what GET /v1/model describes only repeats the last week."""
    return model.get("method") in METHODS


def golden(desk: Desk, folder: Path, champion: Model | None, snapshot_id: str) -> Tried:
    """Answers the golden requests with the version in a folder, beside the champion if any."""
    requests = golden_requests(desk.series(snapshot_id), max(GOLDEN_HORIZONS))
    return try_out(desk, requests, lambda: Forecaster.load(folder), champion, each_plausible=True)


def shadow(
    desk: Desk, folder: Path, champion: Model, snapshot_id: str, served: pl.DataFrame
) -> Tried:
    """Answers SHADOW_REQUESTS with both: what the API was asked lately, made-up ones fill up.

    `served` are rows of the ledger's served forecasts. Large requests are left out where all have
    more than SHADOW_SERIES together.
    """
    series = desk.series(snapshot_id)
    known = set(series)  # a new series has no features to try a model on
    recorded = recorded_requests(served, champion.horizon)
    small = sorted((r for r in recorded if known.issuperset(r.keys)), key=lambda r: len(r.keys))
    together = accumulate(len(r.keys) for r in small)
    requests = [r for r, n in zip(small, together, strict=True) if n <= SHADOW_SERIES]
    lacking = SHADOW_REQUESTS - len(requests)
    requests += made_up_requests(series, champion.horizon, lacking)
    return try_out(desk, requests, lambda: Forecaster.load(folder), champion)


def _watch_requests(settings: Settings, model: Mapping[str, Any]) -> list[Request]:
    """One series a request, the same ones for every model of the same series."""
    series = Snapshots(settings).series(str(model["snapshot_id"]))
    return made_up_requests(series, int(model["horizon"]), WATCH_REQUESTS)


def live_5xx(spool_dir: Path, since: datetime) -> int:
    """Answers 5xx that replicas have noted since an instant, before the ledger takes them in.

    Without those that say that nothing is published yet: the pages meet them whatever model serves,
    until the first run of `forecast`, which the first deployment goes before.
    """
    return sum(
        datetime.fromisoformat(error["at"]) >= since
        and int(error["status"]) >= 500
        and error["problem"] != NOT_PUBLISHED
        for suffix in (SPOOL_OPEN, SPOOL_CLOSED)  # a file that is closed meanwhile is met then
        for path in spool_dir.glob(f"*{suffix}")
        for error in _errors(path, since)
    )


def _errors(path: Path, since: datetime) -> list[dict[str, Any]]:
    """Errors in a file that was written to since then; none when it was renamed or collected."""
    try:
        if path.stat().st_mtime < since.timestamp():
            return []
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):  # the line that is being written
            record = json.loads(line)
            if record["kind"] == ERROR:
                found.append(record)
    return found
