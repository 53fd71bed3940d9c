"""Turns a forecast request into an answer: features, plan, what-if, model, and the shape."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from data.schema import KEYS, quantile_column
from feature_repo.store import UnknownSeries
from models.dataset import numbers
from models.metrics import LEVELS
from serving import cold
from serving.api.forecasts import ForecastRequest
from serving.problems import UnknownLevel
from serving.snapshots import Key
from serving.source import Model, Read, Source, provenance
from serving.what_if import changed_plan, idle, warnings

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def answer(
    model: Model,
    source: Source,
    request: ForecastRequest,
    now: datetime,
    request_id: str | None = None,
) -> dict[str, Any]:
    """The answer in the shape of ForecastResponse, generated at `now` (UTC).

    The ledger keeps all of the model's quantiles of each series, whichever are asked for; it counts
    a degraded answer among the errors.
    Raises UnknownLevel, OutOfRange, HorizonTooLong, UnknownSeries, NotPublished or StaleFeatures.
    """
    _check_levels(model, request)
    # A model may reach less far than the longest horizon that the API takes.
    horizon = request.horizon if "horizon" in request.model_fields_set else model.horizon
    read = cold.read(source, _keys(request, model, source))
    if read.analogues and request.level != "series":
        (store_id, item_id), *_ = read.analogues
        raise UnknownSeries(
            f"Series store_id={store_id!r}, item_id={item_id!r} is not among those that the model "
            "learnt, so that no sum can hold it; ask for the level series, or leave the series out."
        )
    plan = source.snapshots.plan(read.features, horizon)
    made = frame(model, read, plan, request.level, horizon)
    forecasts, told = nodes(made, read, request), list[str]()
    if request.what_if:
        made, told = _with_changes(model, source, request, read, plan, horizon)
        changed = nodes(made, read, request)
        forecasts = [
            {**new, "baseline": old["days"]} for new, old in zip(changed, forecasts, strict=True)
        ]
    if request.level == "series":
        asked = {"at": str(now), "request_id": request_id, "what_if": bool(request.what_if)}
        _keep(source, read.features, made, model, asked)
    if read.degraded:  # a success to its client, and something that somebody has to look at
        record = {"at": str(now), "status": 200, "problem": "degraded", "place": "forecasts"}
        source.spool.append("error", {**record, "request_id": request_id})
    for node in forecasts if read.analogues else ():
        node["method"] = read.analogues.get((node["store_id"], node["item_id"]))
    return {
        **provenance(model, read),
        "level": request.level,
        "generated_at": now,
        "warnings": told,
        "forecasts": forecasts,
    }


def _check_levels(model: Model, request: ForecastRequest) -> None:
    for level in request.quantiles:
        if level not in model.quantiles:
            raise UnknownLevel(
                f"{level:g} is not a quantile level of model {model.version}; "
                f"it gives {', '.join(f'{q:g}' for q in model.quantiles)}."
            )


def _with_changes(
    model: Model,
    source: Source,
    request: ForecastRequest,
    read: Read,
    plan: pl.DataFrame,
    horizon: int,
) -> tuple[pl.DataFrame, list[str]]:
    """Forecasts with the plan as the what-if changes it, and warnings of what was never seen."""
    steps = source.settings.steps
    plan, changes = changed_plan(plan, request.what_if, read.features, horizon, steps)
    told = idle(model) or warnings(changes, source.published.seen())
    return frame(model, read, plan, request.level, horizon), told


def _keys(request: ForecastRequest, model: Model, source: Source) -> Sequence[Key]:
    """The series that are asked for; all of the snapshot when none is named."""
    if request.series is not None:
        return [(s.store_id, s.item_id) for s in request.series]
    return source.snapshots.series(source.online_snapshot(model)[0])


def frame(model: Model, read: Read, plan: pl.DataFrame, level: str, horizon: int) -> pl.DataFrame:
    """Forecasts of the nodes of a level: its keys, cutoff, ds, y_hat and all quantiles.

    Raises ArithmeticError for a number that is not finite.
    """
    if level == "series":
        made = cold.rows(
            read,
            make=lambda features: model.forecast(features, plan, horizon),
            guess=lambda known, features: model.cold_forecast(known, features, plan, horizon),
        )
    else:
        made = model.level_forecast(read.features, plan, horizon, level)
    _check(made, model)
    return made


def _check(made: pl.DataFrame, model: Model) -> None:
    values = numbers(made, ["y_hat", *(quantile_column(q) for q in model.quantiles)])
    if not np.isfinite(values).all():
        raise ArithmeticError(f"Model {model.version} gave a forecast that is not a finite number.")


def nodes(made: pl.DataFrame, read: Read, request: ForecastRequest) -> list[dict[str, Any]]:
    """One entry per node: series in the order of the request, sums in that of their keys."""
    keys = LEVELS[request.level]
    columns = ["y_hat", *(quantile_column(q) for q in request.quantiles)]
    names = [f"{q:g}" for q in request.quantiles]
    days: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    width = len(keys) + 1
    for row in made[[*keys, "cutoff", "ds", *columns]].iter_rows():
        day = {"ds": row[width], "y_hat": row[width + 1]}
        day["quantiles"] = dict(zip(names, row[width + 2 :], strict=True))
        days.setdefault(row[:width], []).append(day)
    if request.level == "series":
        made_of = read.features[[*KEYS, "snapshot_id", "cutoff"]].iter_rows()
        return [
            {"store_id": s, "item_id": i, "snapshot_id": n, "cutoff": c, "days": days[s, i, c]}
            for s, i, n, c in made_of
        ]
    snapshots = dict(read.features.select("cutoff", "snapshot_id").unique().iter_rows())
    return [
        {
            **dict(zip(keys, of, strict=False)),
            "snapshot_id": snapshots[of[-1]],
            "cutoff": of[-1],
            "days": found,
        }
        for of, found in days.items()
    ]


def _keep(
    source: Source,
    features: pl.DataFrame,
    made: pl.DataFrame,
    model: Model,
    request: Mapping[str, object],
) -> None:
    """Hands an answer to the ledger, with the snapshot of each series."""
    snapshots = {(s, i): n for s, i, n in features[[*KEYS, "snapshot_id"]].iter_rows()}
    of = [snapshots[key] for key in made[KEYS].iter_rows()]
    rows = made.hstack([pl.Series("snapshot_id", of)])
    service = {
        "model": model.version,
        "method": model.method,
        "feature_service": model.feature_service,
    }
    source.spool.append("forecasts", {**request, **service, "rows": rows})


def to_csv(answer: Mapping[str, Any]) -> str:
    """The answer as CSV, one line per node and day, for a spreadsheet: no cell is a formula."""
    of = ("store_id", "item_id", "department", "snapshot_id", "cutoff")
    said = ("model_version", "method", "feature_service", "degraded", "degraded_reason")
    same = [*(answer[name] for name in said), " ".join(answer["warnings"])]
    levels = list(answer["forecasts"][0]["days"][0]["quantiles"]) if answer["forecasts"] else []
    head = [*of, "ds", "y_hat", *(f"q{q}" for q in levels)]
    head += ["baseline", "analogues", *said, "warnings"]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(head)
    for node in answer["forecasts"]:
        baseline = node.get("baseline") or [{}] * len(node["days"])
        for day, before in zip(node["days"], baseline, strict=True):
            values = [day["ds"], day["y_hat"], *day["quantiles"].values(), before.get("y_hat")]
            row = [*(node.get(n) for n in of), *values, node.get("method"), *same]
            lines.writerow(_inert(row))
    return text.getvalue()


def _inert(cells: Iterable[object]) -> list[object]:
    """Texts that a spreadsheet would run as a formula get a quote in front (OWASP)."""
    return [f"'{c}" if isinstance(c, str) and c.startswith(FORMULA) else c for c in cells]
