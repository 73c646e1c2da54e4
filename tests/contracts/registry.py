"""One constructor for every public member; a member without one fails a test."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum

KEY = jax.random.key(0)
DIM, LATENT, CLASSES, NUM_DATA = 3, 2, 3, 4
ROW = Datum(jnp.array([1.0, 0.0, 1.0]), index=jnp.asarray(1))
SEQUENCE = Datum(jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), index=jnp.asarray(1))
SEQUENTIAL = {"HMM", "LinearGaussianSSM", "NeuralStateSpace", "RSSM", "RSSM(OneHot)"}
"""Models of which one datum is a sequence."""

FAMILIES = {
    "DiagGaussian": lambda: families.DiagGaussian(LATENT),
    "LowRankGaussian": lambda: families.LowRankGaussian(LATENT, 1),
    "FullGaussian": lambda: families.FullGaussian(LATENT),
    "GaussianMarkov": lambda: families.GaussianMarkov(2, LATENT),
    "Categorical": lambda: families.Categorical(CLASSES),
    "OneHot": lambda: families.OneHot(CLASSES),
    "Bernoulli": lambda: families.Bernoulli(LATENT),
}
PRIORS = {
    "StandardNormal": lambda: models.priors.StandardNormal(LATENT),
    "LearnedGaussian": lambda: models.priors.LearnedGaussian(LATENT),
    "Categorical": lambda: models.priors.Categorical(CLASSES),
    "OneHot": lambda: models.priors.OneHot(CLASSES),
    "Bernoulli": lambda: models.priors.Bernoulli(LATENT),
}
LIKELIHOODS = {
    "Bernoulli": lambda: models.likelihoods.Bernoulli(DIM),
    "Gaussian": lambda: models.likelihoods.Gaussian(DIM),
    "Categorical": lambda: models.likelihoods.Categorical(DIM, CLASSES),
    "Joined": lambda: models.likelihoods.Joined((models.likelihoods.Gaussian(DIM),)),
}
MODELS = {
    "Gaussian": lambda: models.Gaussian(DIM, key=KEY),
    "GaussianMixture": lambda: models.GaussianMixture(CLASSES, DIM, key=KEY),
    "FactorAnalysis": lambda: models.FactorAnalysis(DIM, LATENT, key=KEY),
    "ProbabilisticPCA": lambda: models.ProbabilisticPCA(DIM, LATENT, key=KEY),
    "Decoder": lambda: models.Decoder(DIM, LATENT, widths=(), key=KEY),
    "HMM": lambda: models.HMM(CLASSES, DIM, key=KEY),
    "LinearGaussianSSM": lambda: models.LinearGaussianSSM(LATENT, DIM, key=KEY),
    "NeuralStateSpace": lambda: models.NeuralStateSpace(
        DIM, LATENT, likelihood="bernoulli", decoder=(), width=2, key=KEY
    ),
    "RSSM": lambda: rssm(families.DiagGaussian(LATENT)),
}


def rssm(latent):
    """The length of its carry is that of the deep Markov model's, so that one posterior fits either."""
    return models.RSSM(DIM, 0, deter_dim=LATENT, latent=latent, likelihood="bernoulli", decoder=(2,), key=KEY)


POSTERIORS = {
    "Exact": lambda family: posteriors.Exact(),
    "PerDatum": lambda family: posteriors.PerDatum(family, num_data=NUM_DATA, key=KEY),
    "Global": lambda family: posteriors.Global(family, key=KEY),
    "Amortized": lambda family: posteriors.Amortized(family, data_dim=DIM, widths=(), key=KEY),
    "Filtering": lambda family: posteriors.Filtering(
        family, like=MODELS["NeuralStateSpace"](), widths=(2,), key=KEY
    ),
    "Smoothing": lambda family: posteriors.Smoothing(
        family, like=MODELS["NeuralStateSpace"](), widths=(2,), key=KEY
    ),
}
OBJECTIVES = {
    "ELBO": lambda: objectives.ELBO(2),
    "IWAE": lambda: objectives.IWAE(2),
    "FIVO": lambda: objectives.FIVO(2),
}
BASELINES = {"NoBaseline": gradients.NoBaseline, "LeaveOneOut": gradients.LeaveOneOut}
GRADIENTS = {
    "Analytic": gradients.Analytic,
    "Enumerate": gradients.Enumerate,
    "Reparam": gradients.Reparam,
    "StickTheLanding": gradients.StickTheLanding,
    "DoublyReparam": gradients.DoublyReparam,
    "ScoreFunction": gradients.ScoreFunction,
    "StraightThrough": gradients.StraightThrough,
}
SCHEDULES = {"Linear": lambda: objectives.Linear(0.0, 1.0, 10)}

MORE_MODELS = {
    f"Decoder({name})": lambda make=make: models.Decoder(DIM, widths=(), prior=make(), key=KEY)
    for name, make in PRIORS.items()
    if name != "StandardNormal"
} | {"RSSM(OneHot)": lambda: rssm(families.OneHot(CLASSES))}
MORE_OBJECTIVES = {
    "ELBO(1)": lambda: objectives.ELBO(),
    "ELBO(sampled)": lambda: objectives.ELBO(2, kl="sampled"),
    "ELBO(analytic)": lambda: objectives.ELBO(2, kl="analytic"),
    "ELBO(beta)": lambda: objectives.ELBO(2, beta=objectives.Linear(0.0, 1.0, 10)),
    "ELBO(free bits)": lambda: objectives.ELBO(2, free_bits=0.5),
    "ELBO(batch)": lambda: objectives.ELBO(2, free_bits=0.5, free_bits_over="batch"),
    "ELBO(balance)": lambda: objectives.ELBO(2, kl_balance=0.8),
}
MORE_GRADIENTS = {"ScoreFunction(LeaveOneOut)": lambda: gradients.ScoreFunction(gradients.LeaveOneOut())}
