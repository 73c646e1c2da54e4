"""An exact posterior passes; each way of being wrong is caught, and by the quantity that should catch it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, fit, gradients, models, objectives, posteriors, report
from jensen.algorithms.uniformity import ecdf_counts, uniformity
from jensen.core import AbstractPosterior, Verdict
from jensen.diagnose import Silent
from jensen.dist import FullGaussian
from jensen.errors import InputError
from jensen.typing import Array

KEY = jax.random.key(5)
LATENT = 6


class Bent(AbstractPosterior):
    """The exact posterior with faults dialled in; all faults share one compiled program."""

    scale: Array
    shift: Array
    correlation: Array
    prior: Array

    def __call__(self, model, datum, *, key):
        exact = model.posterior(datum)
        root = exact.scale_tril
        covariance = root @ root.T
        sd = jnp.sqrt(jnp.diagonal(covariance))
        covariance = self.correlation * covariance + (1 - self.correlation) * jnp.diag(sd**2)
        covariance = (1 - self.prior) * self.scale**2 * covariance + self.prior * jnp.eye(LATENT)
        mean = (1 - self.prior) * (exact.mean + self.shift * sd)
        return FullGaussian(mean, jnp.linalg.cholesky(covariance))

    def law(self, model):
        return FullGaussian

    def rule(self, inference):
        return Verdict("exact")


def bent(scale=1.0, shift=0.0, correlation=1.0, prior=0.0):
    q = Bent(*(jnp.asarray(v) for v in (scale, shift, correlation, prior)))
    model = models.ProbabilisticPCA(10, LATENT, key=jax.random.key(0))
    with pytest.warns(jn.errors.JensenWarning):
        return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def run(**faults):
    return diagnose.calibration(bent(**faults), key=KEY, progress=Silent())


FAULTS = {"sigma": {"scale": 0.9}, "mean": {"shift": 0.3}, "correlation": {"correlation": 0.0}}


def test_the_exact_posterior_passes():
    got = run()
    assert got.passed, str(got)
    assert got.ranks.shape == (500, LATENT + 2) and got.names[-2:] == ("log p(x|z)", "log p(x, z)")
    assert got.ranks.min() == 0 and got.ranks.max() == got.draws
    for name in got.names:
        assert (got.difference(name) <= got.upper).all() and (got.difference(name) >= got.lower).all()
    assert "passed" in str(got) and got.to_json()["passed"] is True


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_fails(name):
    got = run(**FAULTS[name])
    assert not got.passed, str(got)
    worst = got.failed[0]
    outside = (got.difference(worst) > got.upper) | (got.difference(worst) < got.lower)
    assert outside.any()


def test_a_mean_that_is_too_high_is_named_and_drawn():
    got = run(shift=0.3)
    assert "too low: q lies above" in str(got)
    section = report.ranks(got)
    assert "<svg" in section.blocks[0].svg and got.failed[0] in section.blocks[0].caption


def test_a_posterior_that_ignores_x_is_caught_by_the_likelihood_alone():
    got = run(prior=1.0)
    assert "log p(x|z)" in got.failed
    assert not [name for name in got.failed if name.startswith("z[")]


def test_discrete_paths_of_ragged_sequences_pass():
    model = models.HMM.with_parameters(
        [0.7, 0.3], [[0.8, 0.2], [0.3, 0.7]], means=[[0.0], [1.0]], covariances=[[[1.0]], [[0.5]]]
    )
    exact = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    like = fit.Data(np.zeros((3, 4, 1)), lengths=np.array([4, 2, 3]))
    got = diagnose.calibration(exact, like, key=KEY, simulations=200, progress=Silent())
    assert got.passed and got.names[:4] == ("z[0]", "z[1]", "z[2]", "z[3]")


def test_what_cannot_be_ranked_is_refused():
    exact, analytic = posteriors.Exact(), gradients.Analytic()

    def refused(model, match, **options):
        inference = jn.Inference(model, exact, objectives.ELBO(), analytic)
        with pytest.raises(InputError, match=match):
            diagnose.calibration(inference, key=KEY, **options)

    refused(models.Gaussian(2, key=KEY), "no latent")
    refused(models.HMM(2, 1, key=KEY), "needs x=.*lengths")
    refused(models.ProbabilisticPCA(3, 1, key=KEY), "at least 20", simulations=5)


def test_the_band_holds_uniform_ranks_as_often_as_it_says():
    rng = np.random.default_rng(1)
    ranks = rng.integers(0, 20, (150, 400))
    test = uniformity(ranks, 19, 0.1, rng=rng)
    u = np.arange(1, 20) / 20
    difference = np.stack([ecdf_counts(c, 19) / 150 - u for c in ranks.T])
    left = ((difference > test.upper + 1e-12) | (difference < test.lower - 1e-12)).any(1)
    # 400 columns: a share of 0.1 has a standard error of 0.015, and counts are discrete
    assert 0.05 < left.mean() < 0.15
    # p-values and band agree column by column, and p is uniform: their mean is 1/2
    assert (left == (test.p_values < 0.1)).mean() > 0.98
    assert abs(test.p_values.mean() - 0.5) < 0.06
