"""Every combination classified exact or unbiased, against sums, closed forms and quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from jensen import gradients, models, objectives
from jensen.core import Inference

from . import small
from .checker import DETECTABLE, DRAWS, LIMIT, compare, exact_gradient, single_gradient
from .oracle import discrete_loss, gaussian_loss

ELBO, IWAE = objectives.ELBO, objectives.IWAE
SCORE, LOO = gradients.ScoreFunction(), gradients.ScoreFunction(gradients.LeaveOneOut())
POSTERIORS = ("amortized", "per-datum", "global")
FAMILIES = ("diag", "low-rank", "full")

DISCRETE_PAIRS = {
    "elbo/none": (ELBO(4), SCORE),
    "elbo/loo": (ELBO(4), LOO),
    "elbo-sampled/none": (ELBO(4, kl="sampled"), SCORE),
    "elbo-sampled/loo": (ELBO(4, kl="sampled"), LOO),
    "elbo-beta-free/loo": (ELBO(3, beta=0.6, free_bits=0.01), LOO),
    "iwae/none": (IWAE(2), SCORE),
    "iwae/loo": (IWAE(3), LOO),
}
GAUSSIAN_PAIRS = {
    "elbo/reparam": (ELBO(2), gradients.Reparam()),
    "elbo-sampled/reparam": (ELBO(2, kl="sampled"), gradients.Reparam()),
    "elbo-beta-free/reparam": (ELBO(2, beta=0.6, free_bits=0.01), gradients.Reparam()),
    "elbo/stl": (ELBO(2), gradients.StickTheLanding()),
    "elbo-beta/stl": (ELBO(2, beta=0.6), gradients.StickTheLanding()),
    "elbo/none": (ELBO(4), SCORE),
    "elbo-sampled/none": (ELBO(4, kl="sampled"), SCORE),
    "elbo/loo": (ELBO(4), LOO),
    "elbo-sampled/loo": (ELBO(4, kl="sampled"), LOO),
    "iwae/reparam": (IWAE(2), gradients.Reparam()),
    "iwae/dreg": (IWAE(2), gradients.DoublyReparam()),
    "iwae/none": (IWAE(2), SCORE),
    "iwae/loo": (IWAE(2), LOO),
}


def discrete(latent: str, posterior: str, objective, gradient) -> Inference:
    prior, family = small.DISCRETE[latent]
    return Inference(
        small.decoder(prior, "bernoulli"), small.posterior(posterior, family), objective, gradient
    )


def gaussian(family: str, posterior: str, objective, gradient) -> Inference:
    dim = 1 if isinstance(objective, IWAE) else 2
    prior = models.priors.LearnedGaussian(dim)
    q = small.posterior(posterior, small.gaussian_family(family, dim))
    return Inference(small.decoder(prior, "gaussian"), q, objective, gradient)


def covering(pairs: dict, kinds: tuple) -> list:
    """The whole cross; quick are one case for each pair, in which every kind and posterior takes turns."""
    cases = []
    for i, (name, (objective, _)) in enumerate(pairs.items()):
        usable = [p for p in POSTERIORS if not (isinstance(objective, IWAE) and p == "global")]
        for kind in kinds:
            for posterior in usable:
                quick = kind == kinds[i % 3] and posterior == usable[(i // 3 + i) % len(usable)]
                marks = [] if quick else [pytest.mark.slow]
                cases.append(
                    pytest.param(name, kind, posterior, id=f"{kind}-{posterior}-{name}", marks=marks)
                )
    return cases


def truth_of(inference: Inference, loss, datum) -> np.ndarray:
    return exact_gradient(inference, loss, datum, small.NUM_DATA)


def verify(inference: Inference, loss, datum, *, draws: int = DRAWS):
    assert inference.check().kind == "unbiased"
    truth = truth_of(inference, loss, datum)
    seen = compare(inference, datum, truth, num_data=small.NUM_DATA, draws=draws)
    print(f"|z| {seen.worst:.2f} detectable {seen.detectable:.4f} variance {seen.variance:.3g}")
    assert seen.worst < LIMIT
    assert seen.detectable <= DETECTABLE
    return seen


@pytest.mark.parametrize(("name", "latent", "posterior"), covering(DISCRETE_PAIRS, tuple(small.DISCRETE)))
def test_discrete(name, latent, posterior):
    verify(discrete(latent, posterior, *DISCRETE_PAIRS[name]), discrete_loss, small.BINARY)


@pytest.mark.parametrize(("name", "family", "posterior"), covering(GAUSSIAN_PAIRS, FAMILIES))
def test_gaussian(name, family, posterior):
    # the plain score function of a log-mean is the noisiest of all
    draws = 2 * DRAWS if name == "iwae/none" else DRAWS
    verify(gaussian(family, posterior, *GAUSSIAN_PAIRS[name]), gaussian_loss, small.REAL, draws=draws)


ENUMERATED = {
    "elbo": ELBO(2),
    "elbo-sampled": ELBO(2, kl="sampled"),
    "elbo-beta-free": ELBO(1, beta=0.6, free_bits=0.01),
    "iwae": IWAE(2),
}


@pytest.mark.parametrize("latent", small.DISCRETE)
@pytest.mark.parametrize("name", ENUMERATED)
def test_enumeration_is_exact(latent, name):
    posterior = POSTERIORS[(list(ENUMERATED).index(name) + len(latent)) % (2 if name == "iwae" else 3)]
    inference = discrete(latent, posterior, ENUMERATED[name], gradients.Enumerate())
    assert inference.check().kind == "exact"
    truth = truth_of(inference, discrete_loss, small.BINARY)
    summed = single_gradient(inference, small.BINARY, num_data=small.NUM_DATA)
    np.testing.assert_allclose(summed, truth, atol=2e-6 * np.linalg.norm(truth))


@pytest.mark.parametrize("name", ["elbo", "iwae"])
@pytest.mark.parametrize("latent", ["one-hot", "bernoulli"])
def test_leave_one_out_beats_no_baseline(latent, name):
    seen = {}
    for gradient in (SCORE, LOO):
        inference = discrete(latent, "per-datum", ELBO(3) if name == "elbo" else IWAE(3), gradient)
        truth = truth_of(inference, discrete_loss, small.BINARY)
        seen[gradient] = compare(inference, small.BINARY, truth, num_data=small.NUM_DATA, draws=20_000)
    ratio = seen[LOO].variance / seen[SCORE].variance
    print(f"variance with leave-one-out over variance without: {ratio:.3f}")
    assert ratio < 0.7


BIASED = {
    "kl balance": (ELBO(2, kl_balance=0.8), ELBO(2), gradients.Reparam()),
    "sticking the landing with free bits": (
        ELBO(1, free_bits=0.3),
        ELBO(1, free_bits=0.3),
        gradients.StickTheLanding(),
    ),
    "free bits on a sampled KL": (
        ELBO(1, kl="sampled", free_bits=0.3),
        ELBO(1, free_bits=0.3),
        gradients.Reparam(),
    ),
}


@pytest.mark.parametrize("name", BIASED)
def test_biased_is_said_and_measured(name):
    objective, intended, gradient = BIASED[name]
    inference = gaussian("diag", "per-datum", objective, gradient)
    assert inference.check().kind == "biased"
    truth = truth_of(gaussian("diag", "per-datum", intended, gradients.Reparam()), gaussian_loss, small.REAL)
    seen = compare(inference, small.REAL, truth, num_data=small.NUM_DATA, draws=50_000)
    print(f"{name}: bias {seen.relative_bias:.1%} of the gradient norm, |z| {seen.worst:.1f}")
    assert seen.worst > 20
