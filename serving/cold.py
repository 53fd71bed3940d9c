"""Series without a history of their own: features of what is like them, and it is said of what."""

from collections.abc import Callable, Sequence

import polars as pl

from data.schema import KEYS
from feature_repo.store import UnknownSeries
from models.cold_start import analogue_features
from serving.snapshots import Key
from serving.source import Read, Source


def read(source: Source, keys: Sequence[Key]) -> Read:
    """Features of the keys, in their order; those of new series are borrowed from analogues.

    A series may be new when its store and its item are known elsewhere; raises UnknownSeries for
    any other, StaleFeatures when there are no features.
    """
    try:
        return source.read(keys)
    except UnknownSeries:
        known = source.newest()
        if known is None:
            raise
        new = [key for key in keys if key not in known.at]
        if not new or any(s not in known.stores or i not in known.items for s, i in new):
            raise
    guessed = analogue_features(known, new)
    method = {(s, i): said for s, i, said in guessed[[*KEYS, "method"]].iter_rows()}
    parts, degraded = [guessed.drop("method")], source.failure
    if others := [key for key in keys if key in known.at]:
        found = source.read(others)
        parts.append(found.features.select(known.rows.columns))
        degraded = found.degraded
    features = pl.DataFrame(keys, schema=KEYS, orient="row").join(
        pl.concat(parts, how="vertical_relaxed"), on=KEYS, maintain_order="left"
    )
    return Read(features, degraded, known.rows, method)


def rows(
    read: Read,
    *,
    make: Callable[[pl.DataFrame], pl.DataFrame],
    guess: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """What `make` gives for the features of series with a history, `guess` for those of new ones.

    `guess` is also given the features of all series, to see how far guesses miss.
    """
    if read.known is None:
        return make(read.features)
    new = pl.DataFrame(list(read.analogues), schema=KEYS, orient="row")
    parts = [guess(read.known, read.features.join(new, on=KEYS, how="semi"))]
    old = read.features.join(new, on=KEYS, how="anti", maintain_order="left")
    return pl.concat([*parts, *([make(old)] if old.height else [])])
