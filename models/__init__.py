"""Turns features into forecasts, compares forecasts, names model versions."""

import os

# Read when LightGBM's OpenMP library is loaded, so before any module of this room imports it:
# threads that wait by spinning take a busy machine's cores from everybody else.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
