"""The chart's colours stay apart for those who see red and green alike, in light and dark."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import serving

STYLE = (Path(serving.__file__).parent / "web" / "style.css").read_text()
SHOWN = ("sold", "accent", "whatif", "earlier", "promotion")
APART = 10.0  # CIE76 units; about 2.3 are just seen
# Machado, Oliveira, Fernandes, IEEE Trans. Vis. Comput. Graph. 15(6), 2009, severity 1, linear RGB.
SEEN = {
    "all": np.eye(3),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def colours(theme: str) -> dict[str, str]:
    light, dark = STYLE.split("prefers-color-scheme: dark", 1)
    found = re.findall(r"--([a-z-]+): (#[0-9a-f]{6}|#[0-9a-f]{3})\b", light)
    if theme == "dark":
        found += re.findall(r"--([a-z-]+): (#[0-9a-f]{6}|#[0-9a-f]{3})\b", dark.split("}", 1)[0])
    return dict(found)


def lab(colour: str, seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of a colour as it is seen."""
    srgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(seen @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, seen: str) -> float:
    return float(np.linalg.norm(lab(one, SEEN[seen]) - lab(other, SEEN[seen])))


def test_red_and_green_are_alike_to_those_who_cannot_tell_them() -> None:
    red, green = "#a05a2c", "#6b7a2c"
    assert distance(red, green, "all") > 3 * distance(red, green, "no green")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("seen", SEEN)
def test_no_two_colours_of_the_chart_look_alike(theme: str, seen: str) -> None:
    found = colours(theme)
    apart = {(a, b): distance(found[a], found[b], seen) for a, b in combinations(SHOWN, 2)}
    assert {pair: d for pair, d in apart.items() if d < APART} == {}
