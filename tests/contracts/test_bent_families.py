"""Flows, mixtures and moved draws: gradients said to be unbiased, against sums over grids in one dimension."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Inference

from . import small
from .test_unbiased import verify

GRID = np.linspace(-20, 20, 801)
STEP = GRID[1] - GRID[0]
FAMILIES = {"planar": families.PlanarFlow(1, 2), "mixture": families.Mixture(families.DiagGaussian(1), 2)}
WAYS = {
    "elbo/reparam": (objectives.ELBO(2), gradients.Reparam()),
    "elbo/stl": (objectives.ELBO(2), gradients.StickTheLanding()),
    "iwae/dreg": (objectives.IWAE(2), gradients.DoublyReparam()),
    "iwae/reparam": (objectives.IWAE(2), gradients.Reparam()),
    "elbo/loo": (objectives.ELBO(4), gradients.ScoreFunction(gradients.LeaveOneOut())),
}
QUICK = {("planar", "elbo/stl"), ("mixture", "iwae/dreg")}
CASES = [
    pytest.param(f, w, id=f"{f}-{w}", marks=[] if (f, w) in QUICK else [pytest.mark.slow])
    for f in FAMILIES
    for w in WAYS
]


def decoder():
    return small.decoder(models.priors.LearnedGaussian(1), "gaussian")


def density_loss(inference, datum, num_data):
    """−bound by a sum over z, or pairs of them: any law of one real number that has a density."""
    q = inference.posterior(inference.model, datum, key=jax.random.key(0))
    z = jnp.asarray(GRID)[:, None]
    log_q = jax.vmap(q.log_prob)(z)
    log_w = jax.vmap(lambda z: inference.model.log_joint(z, datum))(z) - log_q
    weight = jnp.exp(log_q) * STEP
    if isinstance(inference.objective, objectives.ELBO):
        return -weight @ log_w
    return -weight @ (jnp.logaddexp(log_w[:, None], log_w) - jnp.log(2.0)) @ weight


@pytest.mark.parametrize(("family", "way"), CASES)
def test_bent_family(family, way):
    q = small.posterior("per-datum", FAMILIES[family])
    draws = 200_000 if "loo" in way else 100_000  # scores are noisier
    verify(Inference(decoder(), q, *WAYS[way]), density_loss, small.REAL, draws=draws)


def moved(steps: int):
    q = small.posterior("amortized", families.DiagGaussian(1))
    return small.moved(posteriors.HamiltonianRefined(q, steps, step_size=0.2), seed=4)


def weights_on_grid(inference, datum):
    """Return the log-weights of the moved draws over a grid of start and momentum, and the grid's mass."""
    q = inference.posterior(inference.model, datum, key=jax.random.key(0))
    noise = jnp.asarray(np.linspace(-7, 7, 141))
    mass = jnp.exp(-0.5 * noise**2)
    mass = mass / mass.sum()

    def one(start, kick):
        first = q.start.from_noise(start[None])
        z, momentum = q.follow(first, kick[None])
        log_q = q.start.log_prob(first) + 0.5 * jnp.sum(momentum**2 - kick**2)
        return inference.model.log_joint(z, datum) - log_q

    each = jax.vmap(lambda start: jax.vmap(lambda kick: one(start, kick))(noise))(noise)
    return each, mass[:, None] * mass


def test_moved_draws_weigh_p_of_x():
    """E[p(x, z)/q] = p(x) over z and momentum: the temperature's volume and the steps' are both right."""
    inference = Inference(decoder(), moved(3), objectives.ELBO(), gradients.Reparam())
    log_w, mass = eqx.filter_jit(weights_on_grid)(inference, small.REAL)
    z = jnp.asarray(GRID)[:, None]
    joint = jax.vmap(lambda z: inference.model.log_joint(z, small.REAL))(z)
    evidence = jax.nn.logsumexp(joint) + np.log(STEP)
    np.testing.assert_allclose(jax.nn.logsumexp(log_w, b=mass), evidence, atol=2e-3)
    assert (log_w * mass).sum() < evidence


def test_moved_draws_are_reparameterized():
    def loss(inference, datum, num_data):
        log_w, mass = weights_on_grid(inference, datum)
        return -(log_w * mass).sum()

    inference = Inference(decoder(), moved(2), objectives.ELBO(), gradients.Reparam())
    verify(inference, loss, small.REAL, draws=100_000)
