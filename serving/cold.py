"""Answers about series without a history: from what is like them, and it is said from what."""

from collections.abc import Callable, Sequence

import polars as pl

from data.schema import KEYS
from feature_repo.store import UnknownSeries
from serving.snapshots import Key
from serving.source import Read, Source


def with_cold(
    source: Source,
    keys: Sequence[Key],
    horizon: int,
    unknown: UnknownSeries,
    *,
    guess: Callable[[pl.DataFrame, pl.DataFrame, Sequence[Key]], pl.DataFrame],
    make: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame],
) -> tuple[Read, pl.DataFrame, dict[Key, str]]:
    """Features and rows of the keys, and how the rows of those without a history were guessed.

    `guess` makes the rows of new series, with the column `method`, of (features of all series, plan
    of `horizon` steps, new keys), `make` those of the others of (features, plan). A series may be
    new when its store and its item are known elsewhere; raises `unknown` for any other. The
    features of new series tell snapshot and cutoff alone.
    """
    rows = source.newest()
    if rows is None:
        raise unknown
    known = set(rows.select(KEYS).iter_rows())
    stores, items = {s for s, _ in known}, {i for _, i in known}
    new = [key for key in keys if key not in known]
    if not new or any(s not in stores or i not in items for s, i in new):
        raise unknown
    same = rows.select("cutoff", "snapshot_id").head(1)
    of_new = pl.DataFrame(new, schema=KEYS, orient="row").join(same, how="cross")
    guessed = guess(rows, source.snapshots.plan(of_new, horizon), new)
    method = {(s, i): said for s, i, said in guessed[[*KEYS, "method"]].iter_rows()}
    frames, parts, degraded = [guessed.drop("method")], [of_new], source.failure
    if old := [key for key in keys if key in known]:
        read = source.read(old)
        frames.append(make(read.features, source.snapshots.plan(read.features, horizon)))
        parts.append(read.features.select(of_new.columns))
        degraded = read.degraded
    features = pl.DataFrame(keys, schema=KEYS, orient="row").join(
        pl.concat(parts), on=KEYS, maintain_order="left"
    )
    return Read(features, degraded), pl.concat(frames, how="diagonal"), method
