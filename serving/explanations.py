"""Explains a forecast: what drives it, and why it is another than in the run before."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import polars as pl

from data import publication
from data.schema import KEYS
from feature_repo.build import feature_rows
from models.explain import group_of
from serving import cold
from serving.api.planning import Changed, ChangePart, Driver, Explanation, ExplanationRequest
from serving.problems import OutOfRange
from serving.published import of_series
from serving.snapshots import Key
from serving.source import Model, Read, Source, provenance

logger = logging.getLogger("ray.serve.shelfcast")

UNITS = " units"
CAUSES = ("revised data", "new actuals", "changed plan", "new model")


@dataclass(frozen=True)
class Run:
    """A forecast of some days that was issued, in units; `until` is the last of them."""

    model: str
    snapshot_id: str
    cutoff: date
    until: date
    units: float


class Explainer:
    """Explanations by the served model; older models are loaded once and kept."""

    def __init__(self, load: Callable[[Path], Model]) -> None:
        self._load = lru_cache(maxsize=2)(load)

    def explain(self, model: Model, source: Source, request: ExplanationRequest) -> Explanation:
        """The drivers of one series' forecast on a day, or over the horizon, and its change.

        Raises OutOfRange for a day that is not forecast, UnknownSeries, StaleFeatures.
        """
        key = (request.store_id, request.item_id)
        read = cold.read(source, [key])
        steps = source.settings.steps
        ahead = steps.ahead(read.cutoff, model.horizon)
        first, last = ahead[0], ahead[-1]
        if request.ds is not None and request.ds not in ahead:
            said = f"ds is one of the {steps.words} {first} to {last}, got {request.ds}."
            raise OutOfRange("/ds", said)
        since, until = (request.ds, request.ds) if request.ds else (first, last)
        plan = source.snapshots.plan(read.features, model.horizon)
        days = pl.col("ds").is_between(since, until)
        driven = model.drivers(read.features, plan, model.horizon).filter(days)
        units = driven.select(pl.selectors.ends_with(UNITS).sum()).row(0, named=True)
        base = float(driven["base"].sum())
        return Explanation(
            **provenance(model, read),
            store_id=key[0],
            item_id=key[1],
            since=since,
            until=until,
            base=base,
            y_hat=max(base + sum(units.values()), 0.0),
            drivers=_grouped({k.removesuffix(UNITS): v for k, v in units.items()}),
            changed=self._changed(model, source, key, read, since, until),
            analogues=read.analogues.get(key),
        )

    def _changed(
        self, model: Model, source: Source, key: Key, read: Read, since: date, until: date
    ) -> Changed | None:
        """Why the forecast of the days is another than in the run before; None without one.

        The run before is changed into the present one cause after the other, in the order of
        CAUSES; what each step changes is its part, so that the parts sum to the whole.
        """
        before = None if read.analogues else _run_before(source, key, read, since, until)
        if before is None:
            return None
        until = before.until  # it may have reached less far, by its cutoff or by its horizon
        try:
            old = model if before.model == model.version else self._old(source, before.model)
            revised = _features(source, read.snapshot_id, key, before)
            plans = [
                source.snapshots.plan_of(s, key) for s in (before.snapshot_id, read.snapshot_id)
            ]
        except (LookupError, ValueError, RuntimeError) as error:
            logger.warning("The run before can not be compared with: %s", error)
            return None

        def units(by: Model, features: pl.DataFrame, plan: pl.DataFrame) -> float:
            frame = by.forecast(features, plan, by.horizon)
            return float(frame.filter(pl.col("ds").is_between(since, until))["y_hat"].sum())

        steps = [
            before.units,
            units(old, revised, plans[0]),
            units(old, read.features, plans[0]),
            units(old, read.features, plans[1]),
            units(model, read.features, plans[1]),
        ]
        parts = [after - prior for prior, after in pairwise(steps)]
        return Changed(
            since=since,
            until=until,
            previous_version=before.model,
            previous_snapshot_id=before.snapshot_id,
            previous_cutoff=before.cutoff,
            previous=steps[0],
            current=steps[-1],
            units=steps[-1] - steps[0],
            parts=[
                ChangePart(cause=cause, units=part)
                for cause, part in zip(CAUSES, parts, strict=True)
            ],
        )

    def _old(self, source: Source, version: str) -> Model:
        return self._load(source.settings.champions_dir / Path(version).name)


def _grouped(units: dict[str, float]) -> list[Driver]:
    """Units by group of inputs, the largest first."""
    groups: dict[str, dict[str, float]] = {}
    for name, value in units.items():
        groups.setdefault(group_of(name), {})[name] = value
    found = [Driver(name=g, units=sum(v.values()), inputs=v) for g, v in groups.items()]
    return sorted(found, key=lambda d: -abs(d.units))


def _run_before(source: Source, key: Key, read: Read, since: date, until: date) -> Run | None:
    """The newest issued forecast of older data that has the first of the days."""
    rows = (
        publication.scan(source.settings.published_dir, "forecasts")
        .filter(
            of_series(key)
            & pl.col("ds").is_between(since, until)
            & (pl.col("cutoff") < read.cutoff)
        )
        .collect()
    )
    number = pl.col("model").cast(pl.Int64, strict=False)
    rows = rows.filter(pl.col("cutoff") == pl.col("cutoff").max()).sort(number, "ds")
    rows = rows.filter(pl.col("model") == pl.col("model").last())
    if rows.is_empty() or rows["ds"].min() != since:
        return None
    model, snapshot_id, cutoff = rows.select("model", "snapshot_id", "cutoff").row(0)
    return Run(model, snapshot_id, cutoff, rows["ds"].item(-1), float(rows["y_hat"].sum()))


def _features(source: Source, snapshot_id: str, key: Key, before: Run) -> pl.DataFrame:
    """The series' features at the cutoff of the run before, from the data as known now."""
    of_store = pl.col("store_id") == key[0]
    sales = source.snapshots.sales(snapshot_id, of_store)
    series = pl.DataFrame(source.snapshots.series(snapshot_id), schema=KEYS, orient="row")
    views = feature_rows(
        sales,
        publication.scan(source.settings.published_dir, "plan").filter(of_store).collect(),
        series.filter(of_store),
        cutoff=before.cutoff,
        snapshot_id=snapshot_id,
        steps=source.settings.steps,
    )
    return views["demand"].join(views["store_demand"], on="store_id").filter(of_series(key))
