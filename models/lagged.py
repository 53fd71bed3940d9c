"""The model that learns nothing: a step gets the last units of its weekday known at the cutoff."""

import numpy as np
from numpy.typing import NDArray

from data.steps import Steps
from models.baselines import NAIVE, SEASONAL_NAIVE
from models.dataset import INPUTS, Matrix, Rows

LEAST = 0.01  # units for a step whose lag is 0: a mean of 0 has no distribution around it
METHODS = (SEASONAL_NAIVE, NAIVE)


def method_of(steps: Steps) -> str:
    """Its name: seasonal naive; naive in weekly data, whose year is longer than the lags are."""
    return SEASONAL_NAIVE if steps.days == 1 else NAIVE


def last_units(x: Rows, closed: NDArray[np.bool_]) -> Matrix:
    """Forecasts (n,) of the rows of models.dataset.design_matrix; 0 on closed days."""
    lag = x[:, INPUTS.index("lag")].astype(np.float64)
    return np.where(closed, 0.0, np.maximum(lag, LEAST))
