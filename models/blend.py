"""The point forecast: a mean of booster and calendar, departments put right by past errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from models.dataset import Matrix
from models.metrics import DEPARTMENT

FADING = 0.3  # what a fold counts for beside the next newer one
PRIOR = 3000.0  # units that hold a department's factor at 1


@dataclass(frozen=True)
class Blend:
    """How a booster's and the calendar's forecast become one; kept in the manifest.

    `share` is that of the calendar in their mean, `factors` what the mean is multiplied by, by
    department; a department that is not there has 1.
    """

    share: float = 0.4
    factors: dict[str, float] = field(default_factory=dict)

    def weights(self, items: pl.Series) -> Matrix:
        """The factor of each item's department (n,)."""
        return np.array([self.factors.get(item.split("|")[0], 1.0) for item in items.to_list()])

    def of(self, boosted: Matrix, calendar: Matrix, weights: Matrix) -> Matrix:
        """The point forecast (n,) of both (n,), each row times its weight."""
        return weights * (boosted + self.share * (calendar - boosted))

    def applied(self, halves: pl.DataFrame) -> pl.DataFrame:
        """`halves` (item_id, boosted, calendar, …) with `y_hat` in place of both."""
        boosted, calendar = (halves[c].to_numpy() for c in ("boosted", "calendar"))
        y_hat = self.of(boosted, calendar, self.weights(halves["item_id"]))
        return halves.drop("boosted", "calendar").with_columns(y_hat=pl.Series(y_hat))


USUAL = Blend()  # until folds have taught one


def learnt(halves: Sequence[pl.DataFrame]) -> Blend:
    """The blend for days to come, from unseen days of folds, the oldest fold first.

    `halves` have item_id, y, boosted and calendar. A factor is units sold over units forecast,
    newer folds counting more, drawn to 1, relative to that of all departments: what they miss
    alike is the season, and passes.
    """
    sums = [
        USUAL.applied(fold)
        .filter(pl.col("y").is_not_null())
        .group_by(department=DEPARTMENT)
        .agg(pl.col("y", "y_hat").sum() * FADING**age)
        for age, fold in enumerate(reversed(halves))
    ]
    table = pl.concat(sums).group_by("department").agg(pl.col("y", "y_hat").sum())
    if not table["y"].sum():
        return USUAL  # where nothing sold, no department sold more than another
    common = pl.col("y").sum() / pl.col("y_hat").sum()
    ratio = (pl.col("y") / common + PRIOR) / (pl.col("y_hat") + PRIOR)
    return Blend(factors=dict(table.sort("department").select("department", ratio).iter_rows()))


def out_of_sample(halves: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Each of two or more folds with the factors that the others give, so that none knows itself.

    How far a forecast misses, once its departments are put right, is to be read off these.
    """
    return [learnt([*halves[:k], *halves[k + 1 :]]).applied(fold) for k, fold in enumerate(halves)]
