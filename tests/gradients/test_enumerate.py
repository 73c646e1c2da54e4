"""Sums over z are refused before the first step where they would be too long."""

from __future__ import annotations

import jax
import pytest

import jensen as jn
from jensen import gradients, models, objectives, posteriors
from jensen.errors import CombinationError


def enumerated(components: int, draws: int) -> jn.Inference:
    model = models.GaussianMixture(components, 2, key=jax.random.key(0))
    return jn.Inference(model, posteriors.Exact(), objectives.IWAE(draws), gradients.Enumerate())


def test_an_exact_posterior_is_sized_from_the_models_prior():
    with pytest.raises(CombinationError, match=r"10 values of z to the power of 8 .*LeaveOneOut"):
        enumerated(10, 8)
    assert enumerated(10, 3).check().kind == "exact"
