"""Takes down forecasts that people set, and shows them beside what was sold."""

import json
from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
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
TYPES: dict[str, Callable[[str], date | datetime]] = {
    **dict.fromkeys(("since", "until"), date.fromisoformat),
    **dict.fromkeys(("created_at", "expires_at"), datetime.fromisoformat),
}


def take(
    model: Model, source: Source, request: OverrideRequest, author: str, now: datetime
) -> Override:
    """Spools an override beside the model's forecast of its days; every replica lists it at once.

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
    _keep(source, override, now)
    return override


def _keep(source: Source, override: Override, now: datetime) -> None:
    """Writes an override for the ledger, and for the replicas until it is published."""
    refused = "The override could not be written down; try again in a minute."
    told = override.model_dump(mode="json")
    note = source.settings.overrides_dir / f"{override.override_id}.json"
    part = note.with_suffix(".part")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(told))
        part.rename(note)
    except OSError as error:
        raise NotKept(refused) from error
    if not source.spool.keep("override", {"at": now.isoformat(), **told}):
        note.unlink()
        raise NotKept(refused)


def listed(source: Source, query: OverridesQuery, now: datetime) -> Overrides:
    """Published overrides and those taken since, newest first; active until they expire.

    Replayed data plays the calendar itself: the morning that it was published for is now.
    """
    about, folder = source.published.about(), source.settings.overrides_dir
    now = about["published_at"] if source.settings.mode == "replay" else now
    notes = {path.stem: note for path in folder.glob("*.json") if (note := _noted(path))}
    # After the notes: what another replica removed meanwhile is published.
    rows = publication.scan(source.settings.published_dir, "overrides").collect().to_dicts()
    found = {row["override_id"]: row for row in rows}
    for key in notes.keys() & found.keys():
        (folder / f"{key}.json").unlink(missing_ok=True)
    every = sorted((notes | found).values(), key=lambda row: row["created_at"], reverse=True)
    return Overrides(
        published_at=about["published_at"],
        # As they were taken: today's ranges are not asked of them again.
        overrides=[
            ScoredOverride.model_construct(**row, active=now < row["expires_at"])
            for row in every
            if query.store_id in (None, row["store_id"]) and query.item_id in (None, row["item_id"])
        ],
    )


@lru_cache(maxsize=1000)
def _noted(path: Path) -> dict[str, Any] | None:
    """An override that is not published yet, in its columns; None when it is by now."""
    try:
        row: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    typed = {name: parse(row[name]) for name, parse in TYPES.items()}
    return row | typed | {"actual": None, "value_added": None}
