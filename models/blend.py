"""What the backtest says of a point forecast: how its halves weigh, what departments it misses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from models.dataset import Matrix
from models.metrics import DEPARTMENT, wrmsse

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)  # never all of it: boosters alone know of promotions
FADING = 0.6  # what a fold counts for beside the next newer one
PRIOR = 1000.0  # units of a department that hold its factor at 1


@dataclass(frozen=True)
class Blend:
    """How a booster's and the calendar's forecast become one; kept in the manifest.

    `share` is that of the calendar in their mean, `factors` what the sum is multiplied by, by
    department; a department that is not there has 1.
    """

    share: float = 0.4
    factors: dict[str, float] = field(default_factory=dict)

    def weights(self, items: pl.Series) -> Matrix:
        """The factor of each item's department (n,)."""
        return np.array([self.factors.get(item.split("|")[0], 1.0) for item in items.to_list()])

    def of(self, boosted: Matrix, calendar: Matrix, weights: Matrix) -> Matrix:
        """The point forecast (n,) of both halves (n,), each row times its weight."""
        return weights * (boosted + self.share * (calendar - boosted))

    def applied(self, halves: pl.DataFrame) -> pl.DataFrame:
        """`halves` (item_id, boosted, calendar, …) with `y_hat` in place of both."""
        boosted, calendar = (halves[c].to_numpy() for c in ("boosted", "calendar"))
        y_hat = self.of(boosted, calendar, self.weights(halves["item_id"]))
        return halves.drop("boosted", "calendar").with_columns(y_hat=pl.Series(y_hat))


USUAL = Blend()  # until a backtest has chosen


def choose(halves: Sequence[pl.DataFrame], scales: Sequence[Mapping[str, pl.DataFrame]]) -> Blend:
    """The blend for days to come, from unseen days of folds, the oldest fold first.

    `halves` have item_id, y, boosted and calendar, `scales` are those of models.metrics. The share
    is the one of SHARES with the least mean WRMSSE; with it the factors of the departments are
    worked out.
    """

    def loss(share: float) -> float:
        blend = Blend(share)
        pairs = zip(halves, scales, strict=True)
        return sum(wrmsse(blend.applied(fold), scale)["mean"] for fold, scale in pairs)

    share = min(SHARES, key=loss)
    return Blend(share, _factors([Blend(share).applied(fold) for fold in halves]))


def out_of_sample(halves: Sequence[pl.DataFrame], share: float) -> list[pl.DataFrame]:
    """Each fold's forecasts with the factors that the other folds give, so that none knows itself.

    How far a forecast misses, once its departments are put right, is to be read off these.
    """
    plain = [Blend(share).applied(fold) for fold in halves]
    return [
        Blend(share, _factors([*plain[:k], *plain[k + 1 :]])).applied(fold)
        for k, fold in enumerate(halves)
    ]


def _factors(folds: Sequence[pl.DataFrame]) -> dict[str, float]:
    """Units sold over units forecast by department, newer folds counting more, drawn to 1."""
    sums = [
        fold.filter(pl.col("y").is_not_null())
        .group_by(department=DEPARTMENT)
        .agg(pl.col("y", "y_hat").sum() * FADING**age)
        for age, fold in enumerate(reversed(folds))
    ]
    ratio = (pl.col("y").sum() + PRIOR) / (pl.col("y_hat").sum() + PRIOR)
    table = pl.concat(sums).group_by("department").agg(ratio=ratio).sort("department")
    return dict(table.iter_rows())
