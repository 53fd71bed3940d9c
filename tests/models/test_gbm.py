"""Boosters that are fitted once."""

from pathlib import Path

import numpy as np
import pytest

from models import gbm
from models.dataset import INPUTS

PARAMETERS = {**gbm.DEFAULTS, "num_iterations": 3, "min_data_in_leaf": 5}


def test_a_fit_that_was_met_before_is_read_and_its_time_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, size=(400, len(INPUTS))).astype(np.float32)
    y = rng.poisson(1 + x[:, 0]).astype(float)
    fits, fit = [], gbm.fit
    monkeypatch.setattr(gbm, "fit", lambda *of: fits.append(of) or fit(*of))
    memory = gbm.Memory(tmp_path / "boosters")
    first = memory.fit(x, y, PARAMETERS, 7)
    assert memory.seconds == 0 and len(fits) == 1
    again = gbm.Memory(tmp_path / "boosters")
    assert (again.fit(x, y, PARAMETERS, 7).predict(x) == first.predict(x)).all()
    assert again.seconds > 0 and len(fits) == 1
    assert (fit(gbm.dataset(x, y), PARAMETERS, 7).predict(x) == first.predict(x)).all()
    for other in (
        (x[:-1], y[:-1], PARAMETERS, 7),
        (x, y + 1, PARAMETERS, 7),
        (x, y, {**PARAMETERS, "num_leaves": 4}, 7),
        (x, y, PARAMETERS, 8),
    ):
        memory.fit(*other)
    assert len(fits) == 5 and memory.seconds == 0
