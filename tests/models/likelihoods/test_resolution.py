"""The noise floor of a Gaussian likelihood knows how finely the data was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from jensen.models.likelihoods import Gaussian
from jensen.models.likelihoods.resolution import resolution

RNG = np.random.default_rng(0)


def test_one_unit_for_all_columns_reaches_the_constant_ones():
    x = np.column_stack([np.arange(50) % 17 / 16, np.arange(50) % 2 * 3 / 16, np.zeros(50)])
    np.testing.assert_allclose(resolution(x, None), 1 / 16)


def test_columns_in_their_own_units_keep_them():
    x = np.column_stack([RNG.integers(0, 9, 60) * 0.3, RNG.integers(0, 9, 60) * 0.1718])
    np.testing.assert_allclose(resolution(x, None), [0.3, 0.1718])


def test_hidden_entries_do_not_count():
    x = np.array([[0.0], [0.1], [1.0], [2.0]])
    assert resolution(x, np.array([[True], [False], [True], [True]])) == pytest.approx([1.0])


def test_floor_is_the_spread_of_rounding_for_coarse_data_and_tiny_for_fine():
    coarse = RNG.integers(0, 17, (200, 3)) / 16
    likelihood, _ = Gaussian(3).start(coarse, None, None)
    floor = np.asarray(likelihood.floor.value * likelihood.frame.scale)
    np.testing.assert_allclose(floor, 1 / 16 / np.sqrt(12), rtol=1e-4)
    fine, _ = Gaussian(3).start(RNG.normal(size=(200, 3)), None, None)
    np.testing.assert_allclose(np.asarray(fine.floor.value), np.exp(-6), rtol=0.3)
