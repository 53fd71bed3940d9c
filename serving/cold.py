"""Series that no training chose: features of what is like them, and it is said of what."""

from collections.abc import Callable, Sequence

import polars as pl

from data.schema import KEYS
from feature_repo.store import UnknownSeries
from models.beside import Beside
from models.cold_start import Known, analogue_features
from serving.snapshots import Key
from serving.source import Read, Source


def read(source: Source, keys: Sequence[Key]) -> Read:
    """Features of the keys, in their order; those of series that no training chose are borrowed.

    They come from analogues, with what they sold themselves mixed in (models.beside). A series
    that has never been on sale needs a store and an item that are known elsewhere. Raises
    UnknownSeries for any other, StaleFeatures when there are no features.
    """
    try:
        return source.read(keys)
    except UnknownSeries:
        known = source.newest()
        if known is None:
            raise
        new = [key for key in keys if key not in known.at]
        if not new:
            raise
    beside = source.snapshots.beside(known.rows["snapshot_id"][0])
    _require_like(new, known, beside)
    # Of those alone that are asked for: there may be tens of thousands.
    own = beside.own[[beside.at[key] for key in new if key in beside.at]]
    guessed = analogue_features(known, new, own)
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


def _require_like(new: Sequence[Key], known: Known, beside: Beside) -> None:
    """Raises UnknownSeries for a series that can't be forecast."""
    for store_id, item_id in new:
        why = beside.without.get((store_id, item_id), "is not known")
        like = why == "is not known" and store_id in known.stores and item_id in known.items
        if (store_id, item_id) not in beside.at and not like:
            raise UnknownSeries(
                f"Series store_id={store_id!r}, item_id={item_id!r} {why}; "
                "GET /v1/series lists those that are forecast."
            )


def rows(
    read: Read,
    *,
    make: Callable[[pl.DataFrame], pl.DataFrame],
    guess: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """What `make` gives for the features of series that were chosen, `guess` for those of others.

    `guess` is also given the features of all series, to see how far guesses miss.
    """
    if read.known is None:
        return make(read.features)
    new = pl.DataFrame(list(read.analogues), schema=KEYS, orient="row")
    parts = [guess(read.known, read.features.join(new, on=KEYS, how="semi"))]
    old = read.features.join(new, on=KEYS, how="anti", maintain_order="left")
    return pl.concat([*parts, *([make(old)] if old.height else [])])
