"""Additive drivers of a forecast: units that each input adds to what an average day would give."""

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.dataset import INPUTS, Matrix, Rows

LAST = "last week"  # the one input of a model without a booster

# What a person would call the inputs whose names begin so.
GROUPS = {
    "promotion": ("display", "mailer"),
    "price": ("price",),
    "day of the week": ("dow", "store_dow", "lag"),
    "holidays and season": ("is_holiday", "days_to_", "days_since_", "dom"),
    "recent sales": ("mean_7", "mean_14", "mean_28", "std_", "zero_share", "days_since_sale"),
    "usual level": ("mean_", "age_days"),
    "the store": ("store_",),
    "days ahead": ("step",),
    "the item": ("item",),
    "the chain's calendar": ("calendar",),
    "what was sold a week ago": (LAST,),
}
OTHER = "other inputs"


def group_of(name: str) -> str:
    """What a person would call an input of the model; its longest known beginning decides."""
    fitting = [
        (len(start), group)
        for group, starts in GROUPS.items()
        for start in starts
        if name.startswith(start)
    ]
    return max(fitting)[1] if fitting else OTHER


def drivers(
    booster: lgb.Booster, x: Rows, closed: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Matrix]:
    """Units (rows, inputs) that each input adds, and the base (rows,) that they are added to.

    base + sum of units = the booster's forecast, exactly. The booster sums SHAP values (Lundberg
    et al., Nature Machine Intelligence 2, 2020) on the logarithm of units. A sum of logarithms is
    a product of factors; the logarithmic mean L = (y - b) / ln(y / b) of forecast y and base b
    turns it into a sum, each input getting L times its SHAP value: no rest is left, and the order
    of inputs plays no part (LMDI: Ang, Energy Policy 32, 2004). On closed days all is 0.
    """
    shap = np.asarray(booster.predict(x, pred_contrib=True, num_threads=1))
    parts, base = shap[:, : len(INPUTS)], np.exp(shap[:, -1])
    total = parts.sum(axis=1)
    # expm1(t) / t tends to 1 where forecast and base are the same.
    mean = base * np.where(np.abs(total) < 1e-9, 1.0, np.expm1(total) / np.where(total, total, 1))
    units = parts * mean[:, None]
    units[closed], base = 0.0, np.where(closed, 0.0, base)
    return base, units
