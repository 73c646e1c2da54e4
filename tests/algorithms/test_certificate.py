from __future__ import annotations

import math

import numpy as np
import pytest

from jensen.algorithms.certificate import interval
from jensen.errors import InputError


def test_allowance_is_log_two_over_alpha_over_n():
    low, high, confidence = interval(np.zeros(100), np.zeros(100))
    assert confidence == 0.95
    assert math.isclose(-low, math.log(40) / 100) and math.isclose(high, math.log(40) / 100)
    assert math.isclose(interval([0.0], [0.0], 0.99).width, 2 * math.log(200))


def test_covers_even_with_weights_of_infinite_variance():
    # p̂ = E[p̂]·w with w Pareto of index 1.5: the mean exists, the variance does not.
    rng = np.random.default_rng(0)
    w = (rng.pareto(1.5, size=(4000, 20)) + 1) / 3.0
    low = np.log(w).mean(1) - math.log(40) / 20
    assert (low > 0).mean() <= 0.025


def test_shared_noise_between_data_breaks_it():
    # One draw of the noise used for every datum: the product is w^N, and nothing bounds it.
    rng = np.random.default_rng(0)
    w = (rng.pareto(1.5, size=(4000, 1)) + 1) / 3.0 * np.ones((1, 100))
    low = np.log(w).mean(1) - math.log(40) / 100
    assert (low > 0).mean() > 0.1


def test_vacuous_sides_stay_vacuous():
    assert interval([-np.inf, 0.0], [0.0, np.inf])[:2] == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("lower", "upper", "confidence", "message"),
    [
        ([0.0], [0.0, 1.0], 0.95, "got 1 and 2"),
        ([], [], 0.95, "got 0 and 0"),
        ([np.nan], [0.0], 0.95, "NaN"),
        ([0.0], [0.0], 1.0, "strictly between 0 and 1"),
    ],
)
def test_refusals(lower, upper, confidence, message):
    with pytest.raises(InputError, match=message):
        interval(lower, upper, confidence)
