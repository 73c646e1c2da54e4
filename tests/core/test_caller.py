"""Warnings of a combination point at the line that made it."""

from __future__ import annotations

import inspect
import warnings

import jax
import jax.numpy as jnp

import jensen as jn
from jensen import core, families, gradients, objectives, posteriors
from jensen.errors import JensenWarning


class Reg(core.AbstractModel):
    def log_joint(self, z, datum):
        return -jnp.sum(z**2) - jnp.sum((datum.x - z) ** 2)


def test_unverified_names_the_users_own_line():
    q = posteriors.PerDatum(families.DiagGaussian(2), num_data=3, key=jax.random.key(0))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        here = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        jn.Inference(Reg(), q, objectives.ELBO(), gradients.Reparam())
    said = [w for w in seen if issubclass(w.category, JensenWarning)]
    assert [(w.filename, w.lineno) for w in said] == [(__file__, here)]
    assert "Reg: not jensen's own" in str(said[0].message)
