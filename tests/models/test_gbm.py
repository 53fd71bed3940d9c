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


def test_one_thread_and_four_give_the_same_forecast() -> None:
    rng = np.random.default_rng(1)
    x = rng.gamma(1, 3, size=(20_000, len(INPUTS))).astype(np.float32)
    kinds = [INPUTS.index(name) for name in gbm.CATEGORICAL]
    x[:, kinds] = rng.integers(0, 7, size=(len(x), len(kinds)))
    y = rng.poisson(1 + x[:, 0] * x[:, 1]).astype(float)
    one, four = (
        gbm.fit(gbm.dataset(x, y), {**PARAMETERS, "num_iterations": 40, "num_threads": n}, 7)
        for n in (1, 4)
    )
    np.testing.assert_allclose(
        one.predict(x, num_threads=1), four.predict(x, num_threads=4), rtol=1e-9
    )
