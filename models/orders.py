"""Order quantities from the distribution of demand: periodic review, order up to a level.

Stock ordered now arrives after the lead time and must last until the delivery after the next:
demand of lead time plus review period counts (Silver, Pyke, Thomas, Inventory and Production
Management in Supply Chains, 4th ed., 2017, ch. 7). The level is the newsvendor's: the quantile at
the service level, which is shortage cost / (shortage cost + leftover cost) when costs are given
(Arrow, Harris, Marschak, Econometrica 19(3), 1951).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.dataset import Matrix

# The middle of 200 slices of equal probability: means over them are means over the distribution.
GRID = tuple((k + 0.5) / 200 for k in range(200))


@dataclass(frozen=True)
class OrderUpTo:
    """What to order, in units; expectations are of the period that the stock must last."""

    order_up_to: float
    order_quantity: float
    expected_shortage: float
    expected_leftover: float


def critical_ratio(shortage_cost: float, leftover_cost: float) -> float:
    """The service level that costs least."""
    return shortage_cost / (shortage_cost + leftover_cost)


def order_up_to(level: float, demand: Sequence[float] | Matrix, on_hand: float) -> OrderUpTo:
    """The order that lifts `on_hand` to the level, in whole units.

    `level` is the quantile of demand at the service level, `demand` its quantiles at GRID.
    """
    target = float(math.ceil(level - 1e-9))
    quantity = max(0.0, float(math.ceil(target - on_hand - 1e-9)))
    rest = on_hand + quantity - np.asarray(demand)
    return OrderUpTo(
        order_up_to=target,
        order_quantity=quantity,
        expected_shortage=float(np.clip(-rest, 0, None).mean()),
        expected_leftover=float(np.clip(rest, 0, None).mean()),
    )
