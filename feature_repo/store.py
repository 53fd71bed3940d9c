"""Reads and writes of the feature store; the only file that talks to Feast."""

import io
import os
import runpy
import threading
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import polars as pl
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, RepoConfig
from feast.errors import FeatureServiceNotFoundException, FeatureViewNotFoundException
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from data.schema import CREATED, EVENT_TIME, FEATURE_SERVICE, KEYS, UTC, VIEWS
from data.settings import Settings

REPO = Path(__file__).resolve().parent
# Feast's DuckDB store shares one connection per process, which two threads may not use at once.
_offline = threading.Lock()
SERVICE_SECONDS = 5.0
Views = list[tuple[FeatureView, list[str], list[str]]]  # with its join keys and fields
Rows = list[dict[str, Any]]
_service_views: WeakKeyDictionary[FeatureStore, tuple[float, Views]] = WeakKeyDictionary()


class UnknownSeries(KeyError):
    """A series that the feature store has no row for."""

    def __str__(self) -> str:
        return str(self.args[0])


class StaleFeatures(RuntimeError):
    """Features that were asked for are not in the feature store."""


def event_time(cutoff: date, timezone: str) -> datetime:
    """When the cutoff's business day is over: the midnight after it, in UTC."""
    midnight = datetime.combine(cutoff + timedelta(days=1), time(), ZoneInfo(timezone))
    return midnight.astimezone(ZoneInfo("UTC"))


def open_store(settings: Settings) -> FeatureStore:
    """The feature store of feature_store.yaml with its paths in `settings.state_dir`."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    text = (REPO / "feature_store.yaml").read_text()
    text = text.replace("${SHELFCAST_STATE_DIR}", str(settings.state_dir.resolve()))
    config = RepoConfig(**yaml.safe_load(text), repo_path=REPO)
    return FeatureStore(config=config)


def apply(settings: Settings) -> list[str]:
    """Registers the definitions of definitions.py; returns the names of what was applied."""
    # Run, not imported: the paths of its sources are those of this state folder, every time.
    os.environ["SHELFCAST_STATE_DIR"] = str(settings.state_dir.resolve())
    declared = runpy.run_path(str(REPO / "definitions.py")).values()
    objects = [o for o in declared if isinstance(o, (Entity, FeatureView, FeatureService))]
    open_store(settings).apply(objects)
    return [o.name for o in objects]


def write_offline(
    settings: Settings, view: str, frame: pl.DataFrame, *, cutoff: date, created: datetime
) -> Path:
    """Writes one view's rows of one cutoff, as known at `created` (UTC), to the offline store.

    A file that exists is what was known then and stays as it is.
    """
    folder = settings.features_dir / view / str(cutoff)
    path = folder / f"{created:%Y%m%dT%H%M%SZ}.parquet"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    keys, fields = VIEWS[view]
    rows = frame.with_columns(
        pl.lit(event_time(cutoff, settings.timezone)).cast(UTC).alias(EVENT_TIME),
        pl.lit(created).cast(UTC).alias(CREATED),
    ).select(*keys, EVENT_TIME, CREATED, *fields)
    part = path.with_suffix(".part")
    rows.write_parquet(part)
    part.rename(path)
    return path


def offline_cutoffs(settings: Settings) -> list[date]:
    """Cutoffs of which the offline store holds rows of every view, sorted.

    A cutoff whose writing was cut off between two views is none of them.
    """
    files = ((settings.features_dir / view).glob("*/*.parquet") for view in VIEWS)
    whole = set.intersection(*({file.parent.name for file in view} for view in files))
    return sorted(map(date.fromisoformat, whole))


def newest_offline(settings: Settings, cutoff: date | None = None) -> pl.DataFrame | None:
    """The rows of the newest cutoff (or of a past one) of every series, as the online store has it.

    Read from the offline store's Parquet without Feast, for when Feast does not answer; None when
    there are none. Kept in memory until a newer file is there.
    """
    newest: dict[str, Path] = {}
    for view in VIEWS:
        # The newest first: to look into each of a year's folders would cost what a forecast does.
        folders = sorted((settings.features_dir / view).glob(str(cutoff or "*")), reverse=True)
        file = next((max(f) for f in (list(g.glob("*.parquet")) for g in folders) if f), None)
        if file is None:
            return None
        newest[view] = file
    return _joined_views(tuple(newest.values()))


@lru_cache(maxsize=2)
def _joined_views(files: tuple[Path, ...]) -> pl.DataFrame:
    frames = {
        view: pl.read_parquet(file, columns=[*keys, *fields])
        for (view, (keys, fields)), file in zip(VIEWS.items(), files, strict=True)
    }
    return frames["demand"].join(frames["store_demand"], on="store_id", how="left")


def historical_features(settings: Settings, entities: pl.DataFrame) -> pl.DataFrame:
    """Features of (store_id, item_id, event_timestamp) as known at that time, through Feast.

    `event_timestamp` is a UTC time; only rows whose `created` is not after it are used. Returns the
    entities in their order with the service's fields; a row that nothing was known of holds nulls.
    Raises StaleFeatures when a view or the service is not in the registry.
    """
    rows = entities.with_row_index("row")
    store = open_store(settings)
    try:
        with _offline, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            job = store.get_historical_features(
                entity_df=rows.to_pandas(),
                features=store.get_feature_service(FEATURE_SERVICE),
                filter_by_created_timestamp=True,
            )
            table = job.to_arrow()
    except (FeatureViewNotFoundException, FeatureServiceNotFoundException) as error:
        raise StaleFeatures(
            f"{error}; run the materialize deployment to apply it again."
        ) from error
    frame = pl.DataFrame(pl.from_arrow(table))
    # Feast does not keep the order of rows.
    return frame.sort("row").drop("row")


def materialize(settings: Settings, cutoff: date) -> None:
    """Loads the offline rows of one cutoff into the online store; older ones are refused.

    Raises StaleFeatures when the online store already holds a newer cutoff: Feast would overwrite
    the newer values without a word.
    """
    marker = settings.state_dir / "online_cutoff"
    newest = date.fromisoformat(marker.read_text()) if marker.exists() else None
    if newest and cutoff < newest:
        raise StaleFeatures(
            f"The online store holds features of {newest}; loading those of {cutoff} would replace "
            "newer values by older ones. Materialize a cutoff that is not older."
        )
    end = event_time(cutoff, settings.timezone)
    with _offline, warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", DeprecationWarning)
        open_store(settings).materialize(end - timedelta(hours=1), end + timedelta(hours=1))
    part = marker.with_suffix(".part")  # an empty marker would stop every later load
    part.write_text(str(cutoff))
    part.rename(marker)


def _views(store: FeatureStore) -> Views:
    """The feature service's views with its fields of each, read anew every few seconds."""
    until, views = _service_views.get(store, (0.0, []))
    if monotonic() > until:
        service = store.get_feature_service(FEATURE_SERVICE, allow_cache=True)
        views = [
            (view, view.join_keys, [f.name for f in p.features])
            for p in service.feature_view_projections
            for view in [store.get_feature_view(p.name, allow_registry_cache=True)]
        ]
        _service_views[store] = (monotonic() + SERVICE_SECONDS, views)
    return views


def _add_online(
    store: FeatureStore, view: FeatureView, joins: list[str], fields: list[str], rows: Rows
) -> None:
    """Adds the fields of a view to the rows of KEYS, where the online store has any."""
    own = [tuple(row[name] for name in joins) for row in rows]
    once = list(dict.fromkeys(own))  # many series share a store
    wanted = [
        EntityKey(join_keys=joins, entity_values=[Value(string_val=v) for v in key]) for key in once
    ]
    # Feast's get_online_features calls the same; its own answer around it costs more than the read.
    read = store.provider.online_read(store.config, view, wanted, fields)
    found = {
        # Of numbers and texts, which all fields are, Feast's own conversion does the same slower.
        key: {n: getattr(v, of) for n, v in (row or {}).items() if (of := v.WhichOneof("val"))}
        for key, (_, row) in zip(once, read, strict=True)
    }
    for row, key in zip(rows, own, strict=True):
        row |= found[key]


def online_features(store: FeatureStore, keys: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Newest features of (store_id, item_id) keys from the online store, in the given order.

    Raises UnknownSeries naming the first key that was never materialized, StaleFeatures when a view
    or the service is no longer in the registry, LookupError when nothing is: the registry is lost.
    """
    rows: Rows = [dict(zip(KEYS, key, strict=True)) for key in keys]
    try:
        for view, joins, names in _views(store):
            _add_online(store, view, joins, names, rows)
    except (FeatureViewNotFoundException, FeatureServiceNotFoundException) as error:
        if not store.list_feature_views():
            raise LookupError("The feature registry holds no view.") from error
        raise StaleFeatures(
            f"{error}; run the materialize deployment to apply it again."
        ) from error
    for row in rows:
        if "cutoff" not in row:
            raise UnknownSeries(
                f"Series store_id={row['store_id']!r}, item_id={row['item_id']!r} is not known; "
                "GET /v1/series lists those that are."
            )
    fields = [name for _, names in VIEWS.values() for name in names]
    types = {n: pl.String if n in ("cutoff", "snapshot_id") else pl.Float64 for n in fields}
    # By rows: for one series, building a column costs more than reading it.
    return pl.from_dicts(rows, schema={**dict.fromkeys(KEYS, pl.String), **types})
