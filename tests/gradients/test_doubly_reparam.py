"""One pass gives the doubly reparameterized gradient: that of the two sums it is defined by."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.dist import StoppedScore, stop
from jensen.gradients.common import made_of_model, without_own
from jensen.gradients.dimmed import dimmed
from jensen.nets import trainable

from ..contracts.small import moved

KEY = jax.random.key(0)
ROWS = Datum(jnp.array([[1.2, -0.4], [0.1, 0.9], [-0.7, 0.3]]))
WEIGHTS = jnp.array([0.5, 0.0, 2.0])
K = 4


def gaussian(family=None, prior=None, q=lambda amortized: amortized):
    model = models.Decoder(2, 2, likelihood="gaussian", widths=(3,), prior=prior, key=KEY)
    amortized = posteriors.Amortized(
        families.DiagGaussian(2) if family is None else family, data_dim=2, widths=(3,), key=KEY
    )
    return model, q(amortized)


def ladder():
    prior = models.priors.Ladder((1, 2), width=3, key=KEY)
    model = models.Decoder(2, likelihood="gaussian", widths=(), prior=prior, key=KEY)
    return model, posteriors.TopDown(like=model, widths=(3,), between=(3,), key=KEY)


def flow():
    return families.CouplingFlow(2, layers=2, widths=(4,), context_dim=1, key=KEY)


PAIRS = {
    "diagonal": gaussian,
    "flow": lambda: gaussian(flow()),
    "ladder": ladder,
    "vamp": lambda: gaussian(prior=models.priors.VampPrior(2, 2, 3, key=KEY)),
    "semi-amortized": lambda: gaussian(q=lambda base: posteriors.SemiAmortized(base, steps=2, through=True)),
}


def two_sums(chosen: Inference, datum: Datum, key) -> jax.Array:
    """−Σ w̃ₖ² log wₖ where only q's own parameters are alive, −Σ w̃ₖ log wₖ where they alone are not."""
    to_q, to_draws = jax.random.split(key)
    p, posterior = chosen.bound_model(), chosen.posterior
    q = posterior(p, datum, key=to_q)
    own = (
        posterior.family_given(stop(p), datum)(posterior.parameters(datum)) if made_of_model(posterior) else q
    )
    draw = chosen.objective.draw
    of_posterior = draw(stop(p), StoppedScore(own), datum, key=to_draws, share=1.0).log_w
    of_model = draw(p, without_own(q, posterior, p, datum), datum, key=to_draws, share=1.0).log_w
    weight = stop(jax.nn.softmax(of_model))
    return -jnp.sum(weight**2 * of_posterior) - jnp.sum(weight * of_model)


def one_pass(chosen: Inference, datum: Datum, key) -> jax.Array:
    own = chosen.gradient
    return own(chosen, datum, key=key, step=jnp.asarray(0), num_data=3, state=None).surrogate


@pytest.mark.parametrize("name", PAIRS)
def test_one_pass_is_the_two_sums(name):
    """In every parameter, over rows and over many draws of one row, with weights, one of them zero."""
    parts = tuple(moved(part, seed=s, by=0.4) for s, part in enumerate(PAIRS[name]()))
    chosen = Inference(*parts, objectives.IWAE(K), gradients.DoublyReparam())
    params, static = eqx.partition(parts, trainable(parts))

    keys = jax.random.split(KEY, 3)

    def slopes(loss):
        def means(params):
            own = eqx.tree_at(lambda i: (i.model, i.posterior), chosen, eqx.combine(params, static))
            over_rows = jax.vmap(lambda row, key: loss(own, row, key))(ROWS, keys)
            of_one_row = jax.vmap(lambda key: loss(own, Datum(ROWS.x[0]), key))(keys)
            return WEIGHTS @ over_rows, WEIGHTS @ of_one_row

        return jax.tree.leaves(jax.jit(jax.jacrev(means))(params))

    ours, defined = slopes(one_pass), slopes(two_sums)
    size = max(float(jnp.abs(leaf).max()) for leaf in defined)
    assert size > 0.1
    for a, b in zip(ours, defined, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * size)


def test_a_dial_at_zero_cuts_and_one_lets_pass():
    tree = (jnp.arange(6.0).reshape(3, 2), jnp.arange(3), jnp.ones(3))

    def loss(floats, weight):
        (a, whole_numbers, b), dial = dimmed((floats[0], tree[1], floats[1]), jnp.ones(2))
        assert whole_numbers is tree[1]
        return weight * (a.sum() + 2 * b.sum() + jnp.array([0.0, 1.0, 0.25]) @ dial.share + dial.whole)

    of_a, of_b = jax.grad(loss)((tree[0], tree[2]), 3.0)
    np.testing.assert_allclose(of_a, 3 * np.array([[0, 0], [1, 1], [0.25, 0.25]]))
    np.testing.assert_allclose(of_b, [0, 6, 1.5])
    assert not np.asarray(jax.grad(loss)((tree[0], tree[2]), 0.0)[0]).any()


def test_what_all_data_share_is_dimmed_for_each_of_them():
    """One z for all rows: Σ over rows of share × slope, not their sums' product."""
    z, shares, slopes = jnp.ones((2, 1)), jnp.array([[0.1, 0.9], [0.6, 0.4]]), jnp.array([1.0, 10.0])

    def loss(z):
        def at(x, share, slope):
            out, dial = dimmed(z, x)
            return slope * out.sum() + share @ dial.share + dial.whole

        return jax.vmap(at)(jnp.ones((2, 3)), shares, slopes).sum()

    np.testing.assert_allclose(jax.grad(loss)(z)[:, 0], slopes @ shares, rtol=1e-6)
