"""Reads what was published with a data snapshot: its series and its promotion plan."""

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from datetime import date
from functools import lru_cache
from typing import Any

import polars as pl

from data.schema import KEYS, PLAN
from data.settings import Settings
from feature_repo.store import StaleFeatures
from models.beside import Beside, beside

Key = tuple[str, str]
PLAN_COLUMNS = [c for c in PLAN if c != "known_at"]
KEPT = 4  # snapshots in memory: the newest, and those that requests in flight may still ask for


def encode_cursor(key: Key) -> str:
    """Where a page ended, as a text that needs no escaping in a URL."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Key:
    """The key that a page ended with. Raises ValueError for what `encode_cursor` did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        store_id, item_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise ValueError("not a cursor of this API") from error
    return str(store_id), str(item_id)


class Snapshots:
    """The snapshots of a state folder; what never changes on disk is read once and kept."""

    def __init__(self, settings: Settings) -> None:
        self._folder, self._steps = settings.snapshots_dir, settings.steps
        self._active_days = settings.series_active_days
        self._series = lru_cache(maxsize=KEPT)(self._read_series)
        self._beside = lru_cache(maxsize=KEPT)(self._read_beside)
        self._plan = lru_cache(maxsize=KEPT)(self._read_plan)

    def series(self, snapshot_id: str) -> list[Key]:
        """The snapshot's series, sorted. Raises StaleFeatures when it is not there."""
        return self._series(snapshot_id)

    def beside(self, snapshot_id: str) -> Beside:
        """Series that are not the snapshot's and have sold (models.beside).

        Raises StaleFeatures when the snapshot is not there.
        """
        return self._beside(snapshot_id)

    def others(self, snapshot_id: str) -> list[Key]:
        """Those of them that can be forecast, sorted."""
        return list(self.beside(snapshot_id).at)

    def has_like(self, snapshot_id: str, key: Key) -> bool:
        """Whether both the store and the item of a series are among the snapshot's series."""
        series = self.series(snapshot_id)
        return any(key[0] == s for s, _ in series) and any(key[1] == i for _, i in series)

    def page(
        self,
        snapshot_id: str,
        store_id: str | None,
        *,
        search: str | None = None,
        after: Key | None,
        limit: int,
    ) -> tuple[list[Key], int, bool]:
        """Up to `limit` series after a key, how many match on all pages, and if some follow.

        They are all that are forecast, those that no training chose among them.
        """
        matching = sorted([*self.series(snapshot_id), *self.others(snapshot_id)])
        if store_id is not None:
            matching = [key for key in matching if key[0] == store_id]
        if search is not None:
            text = search.casefold()
            matching = [k for k in matching if text in k[0].casefold() or text in k[1].casefold()]
        start = bisect_right(matching, after) if after else 0
        return matching[start : start + limit], len(matching), start + limit < len(matching)

    def plan(self, features: pl.DataFrame, horizon: int) -> pl.DataFrame:
        """Promotion plan (store_id, item_id, ds, display, mailer) of the days to be forecast.

        `features` names the series with their cutoff (a date) and snapshot_id. The steps are those
        after the oldest cutoff up to `horizon` after the newest; the model takes each series' own.
        """
        cutoffs = features["cutoff"].to_list()
        first = self._steps.after(min(cutoffs), 1)
        last = self._steps.after(max(cutoffs), horizon)
        parts = []
        for *key, snapshot_id in features[[*KEYS, "snapshot_id"]].iter_rows():
            frame, days, spans = self._plan(snapshot_id)
            start, end = spans.get((key[0], key[1]), (0, 0))
            # Slices of a sorted frame, no query: a query costs more than the booster.
            at = bisect_left(days, first, start, end)
            parts.append(frame.slice(at, bisect_right(days, last, at, end) - at))
        return pl.concat(parts)

    def plan_of(self, snapshot_id: str, key: Key) -> pl.DataFrame:
        """The plan of one series, as a snapshot has it."""
        frame, _, spans = self._plan(snapshot_id)
        start, end = spans.get(key, (0, 0))
        return frame.slice(start, end - start)

    def sales(self, snapshot_id: str, rows: pl.Expr) -> pl.DataFrame:
        """Those of the snapshot's sales (schema SALES) that `rows` is true of."""
        return self.scan(snapshot_id, "sales.parquet").filter(rows).collect()

    def planned(self, snapshot_id: str, key: Key, after: date) -> list[dict[str, Any]]:
        """Promotions of a series on the days after a day: (ds, display, mailer), in order."""
        rows = self.plan_of(snapshot_id, key).select("ds", "display", "mailer")
        promoted = (pl.col("display") + pl.col("mailer")) > 0
        return rows.filter(promoted & (pl.col("ds") > after)).to_dicts()

    def _read_series(self, snapshot_id: str) -> list[Key]:
        frame = self._read(snapshot_id, "series.parquet", KEYS)
        return [(row[0], row[1]) for row in frame.sort(KEYS).iter_rows()]

    def _read_beside(self, snapshot_id: str) -> Beside:
        series = pl.DataFrame(self.series(snapshot_id), schema=KEYS, orient="row")
        sales = self.scan(snapshot_id, "sales.parquet")
        return beside(sales, series, active_days=self._active_days, steps=self._steps)

    def _read_plan(
        self, snapshot_id: str
    ) -> tuple[pl.DataFrame, list[date], dict[Key, tuple[int, int]]]:
        """The plan sorted by series and day, its days, and from where to where each series is."""
        frame = self._read(snapshot_id, "plan.parquet", PLAN_COLUMNS).sort(*KEYS, "ds")
        spans = (
            frame.with_row_index("row")
            .group_by(KEYS, maintain_order=True)
            .agg(pl.col("row").first(), pl.len())
        )
        where = {(s, i): (at, at + n) for s, i, at, n in spans.iter_rows()}
        return frame, frame["ds"].to_list(), where

    def _read(self, snapshot_id: str, name: str, columns: list[str]) -> pl.DataFrame:
        return self.scan(snapshot_id, name).select(columns).collect()

    def scan(self, snapshot_id: str, name: str) -> pl.LazyFrame:
        """A file of a snapshot. Raises StaleFeatures when it is not there."""
        path = self._folder / snapshot_id / name
        if not path.exists():
            raise StaleFeatures(
                f"Snapshot {snapshot_id} of the features is not published ({name} is missing); "
                "run the ingest and materialize deployments."
            )
        return pl.scan_parquet(path)
