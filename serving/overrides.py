"""Takes down forecasts that people set, and shows them beside what was sold."""

import threading
from datetime import datetime
from uuid import uuid4

import polars as pl

from data import publication
from serving import cold, forecasting
from serving.api.planning import (
    Override,
    OverrideRequest,
    Overrides,
    OverridesQuery,
    ScoredOverride,
)
from serving.problems import NotKept, OutOfRange
from serving.source import Model, Source

LONGEST_DAYS = 730  # from an override's last day to when it expires
KEPT = 1000  # of those taken since the last publication, by this replica


class OverrideBook:
    """Overrides go to the spool; until they are published, this replica remembers them."""

    def __init__(self) -> None:
        self._lock, self._taken = threading.Lock(), dict[str, Override]()

    def take(
        self, model: Model, source: Source, request: OverrideRequest, author: str, now: datetime
    ) -> Override:
        """Spools an override beside the model's forecast of its days.

        Raises OutOfRange for days that are not forecast, UnknownSeries, NotKept.
        """
        read = cold.read(source, [(request.store_id, request.item_id)])
        if request.expires_at.date() <= read.cutoff:
            said = f"expires_at lies after the last day of sales {read.cutoff}"
            raise OutOfRange("/expires_at", f"{said}, got {request.expires_at}.")
        if (request.expires_at.date() - request.until).days > LONGEST_DAYS:
            said = f"expires_at lies at most {LONGEST_DAYS} days after until, {request.until}"
            raise OutOfRange("/expires_at", f"{said}, got {request.expires_at}.")
        plan = source.snapshots.plan(read.features, model.horizon)
        frame = forecasting.frame(model, read, plan, "series", model.horizon)
        days = frame.filter(pl.col("ds").is_between(request.since, request.until))
        if (days["ds"].min(), days["ds"].max()) != (request.since, request.until):
            words = source.settings.steps.words
            said = f"{words} {frame['ds'].min()!s} to {frame['ds'].max()!s}"
            raise OutOfRange("/since", f"since and until are among the {said}.")
        override = Override(
            **request.model_dump(),
            override_id=uuid4().hex,
            author=author,
            created_at=now,
            baseline=float(days["y_hat"].sum()),
        )
        record = {"at": now.isoformat(), **override.model_dump(mode="json")}
        if not source.spool.keep("override", record):
            raise NotKept("The override could not be written down; try again in a minute.")
        with self._lock:
            self._taken[override.override_id] = override
            while len(self._taken) > KEPT:
                self._taken.pop(next(iter(self._taken)))
        return override

    def list(self, source: Source, query: OverridesQuery, now: datetime) -> Overrides:
        """Published overrides and those taken since, newest first; active until they expire."""
        about = source.published.about()
        rows = publication.scan(source.settings.published_dir, "overrides").collect().to_dicts()
        found = {row["override_id"]: row for row in rows}
        with self._lock:
            for key in found.keys() & self._taken.keys():
                self._taken.pop(key)
            taken = list(self._taken.values())
        fresh = [{**vars(o), "actual": None, "value_added": None} for o in taken]
        every = sorted([*fresh, *found.values()], key=lambda row: row["created_at"], reverse=True)
        return Overrides(
            published_at=about["published_at"],
            # As they were taken: today's ranges are not asked of them again.
            overrides=[
                ScoredOverride.model_construct(**row, active=now < row["expires_at"])
                for row in every
                if query.store_id in (None, row["store_id"])
                and query.item_id in (None, row["item_id"])
            ],
        )
