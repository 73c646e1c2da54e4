"""One constructor for every public member; a member without one fails a test."""

from __future__ import annotations

import flowjax.bijections as flowjax
import jax
import jax.numpy as jnp

from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum, HasCondition, HasMarkovLatents, HasRecurrence, HoldsLatent

KEY = jax.random.key(0)
DIM, LATENT, CLASSES, NUM_DATA, COND = 3, 2, 3, 4, 2
ROW = Datum(jnp.array([1.0, 0.0, 1.0]), index=jnp.asarray(1))
SEQUENCE = Datum(jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), index=jnp.asarray(1))
SEQUENTIAL = {"EmbedToControl", "HMM", "LinearGaussianSSM", "NeuralStateSpace", "RSSM", "RSSM(OneHot)"}
"""Models of which one datum is a sequence."""


def datum_for(model):
    """Return one datum, with a condition for the models that take one, and many steps where they want them."""
    many = HasMarkovLatents | HasRecurrence | HoldsLatent | models.BayesianHMM
    row = SEQUENCE if isinstance(model, many) else ROW
    if not isinstance(model, HasCondition):
        return row
    return Datum(row.x, jnp.full((*row.x.shape[:-1], COND), 0.5), index=row.index)


FAMILIES = {
    "DiagGaussian": lambda: families.DiagGaussian(LATENT),
    "LowRankGaussian": lambda: families.LowRankGaussian(LATENT, 1),
    "FullGaussian": lambda: families.FullGaussian(LATENT),
    "Placed": lambda: families.Placed(families.FullGaussian(LATENT), jnp.ones(LATENT), 2 * jnp.eye(LATENT)),
    "GaussianMarkov": lambda: families.GaussianMarkov(2, LATENT),
    "Gamma": lambda: families.Gamma(LATENT),
    "Categorical": lambda: families.Categorical(CLASSES),
    "OneHot": lambda: families.OneHot(CLASSES),
    "Bernoulli": lambda: families.Bernoulli(LATENT),
}
BENT = {
    "Mixture": lambda: families.Mixture(families.DiagGaussian(LATENT), 2),
    "PlanarFlow": lambda: families.PlanarFlow(LATENT, 2),
    "CouplingFlow": lambda: _flow(families.CouplingFlow),
    "InverseAutoregressiveFlow": lambda: _flow(families.InverseAutoregressiveFlow),
    "Unshared": lambda: families.Unshared(_flow(families.CouplingFlow)),
    "FlowjaxFlow": lambda: families.FlowjaxFlow(flowjax.Planar(KEY, dim=LATENT, negative_slope=0.5)),
}
"""Families that are treated as a Gaussian is: crossed with one network and one model, to save time."""


def _flow(family):
    return family(LATENT, layers=2, widths=(2,), context_dim=1, key=KEY)


PRIORS = {
    "StandardNormal": lambda: models.priors.StandardNormal(LATENT),
    "LearnedGaussian": lambda: models.priors.LearnedGaussian(LATENT),
    "MixtureOfGaussians": lambda: models.priors.MixtureOfGaussians(LATENT, 2, key=KEY),
    "VampPrior": lambda: models.priors.VampPrior(LATENT, DIM, 2, key=KEY),
    "Learned": lambda: models.priors.Learned(
        families.CouplingFlow(LATENT, layers=2, widths=(2,), context_dim=0, key=KEY)
    ),
    "Gamma": lambda: models.priors.Gamma(LATENT, concentration=2.0),
    "Categorical": lambda: models.priors.Categorical(CLASSES),
    "OneHot": lambda: models.priors.OneHot(CLASSES),
    "Bernoulli": lambda: models.priors.Bernoulli(LATENT),
    "Codebook": lambda: models.priors.Codebook(CLASSES, 1, LATENT, key=KEY),
    "ConditionalGaussian": lambda: models.priors.ConditionalGaussian(LATENT, COND, widths=(), key=KEY),
    "Hierarchical": lambda: models.priors.Hierarchical((1, 1), widths=(), key=KEY),
    "Ladder": lambda: models.priors.Ladder((1, 1), width=2, key=KEY),
}
LIKELIHOODS = {
    "Bernoulli": lambda: models.likelihoods.Bernoulli(DIM),
    "Gaussian": lambda: models.likelihoods.Gaussian(DIM),
    "Categorical": lambda: models.likelihoods.Categorical(DIM, CLASSES),
    "OpenCategorical": lambda: models.likelihoods.OpenCategorical(DIM, CLASSES),
    "StudentT": lambda: models.likelihoods.StudentT(DIM),
    "Poisson": lambda: models.likelihoods.Poisson(DIM),
    "NegativeBinomial": lambda: models.likelihoods.NegativeBinomial(DIM),
    "BetaBinomial": lambda: models.likelihoods.BetaBinomial(DIM, 4),
    "DiscretizedLogistic": lambda: models.likelihoods.DiscretizedLogistic(DIM, 4),
    "Joined": lambda: models.likelihoods.Joined((models.likelihoods.Gaussian(DIM),)),
}
MODELS = {
    "Gaussian": lambda: models.Gaussian(DIM, key=KEY),
    "GaussianMixture": lambda: models.GaussianMixture(CLASSES, DIM, key=KEY),
    "StudentMixture": lambda: models.StudentMixture(CLASSES, DIM, key=KEY),
    "BernoulliMixture": lambda: models.BernoulliMixture(CLASSES, DIM, key=KEY),
    "FactorAnalysis": lambda: models.FactorAnalysis(DIM, LATENT, key=KEY),
    "ProbabilisticPCA": lambda: models.ProbabilisticPCA(DIM, LATENT, key=KEY),
    "BayesianGaussianMixture": lambda: models.BayesianGaussianMixture(CLASSES, DIM, key=KEY),
    "BayesianHMM": lambda: models.BayesianHMM(CLASSES, DIM, key=KEY),
    "LDA": lambda: models.LDA(CLASSES, DIM, key=KEY),
    "Decoder": lambda: models.Decoder(DIM, LATENT, widths=(), key=KEY),
    "LinearGaussian": lambda: models.LinearGaussian(DIM, COND, key=KEY),
    "HeteroscedasticNet": lambda: models.HeteroscedasticNet(DIM, COND, widths=(), key=KEY),
    "CategoricalNet": lambda: models.CategoricalNet(DIM, CLASSES, COND, widths=(), key=KEY),
    "MixtureDensity": lambda: models.MixtureDensity(DIM, COND, CLASSES, widths=(), key=KEY),
    "ConditionalDecoder": lambda: models.ConditionalDecoder(
        DIM, COND, LATENT, likelihood="bernoulli", widths=(), key=KEY
    ),
    "EpisodeDecoder": lambda: models.EpisodeDecoder(
        DIM, COND, LATENT, likelihood="bernoulli", widths=(), key=KEY
    ),
    "HMM": lambda: models.HMM(CLASSES, DIM, key=KEY),
    "LinearGaussianSSM": lambda: models.LinearGaussianSSM(LATENT, DIM, key=KEY),
    "NeuralStateSpace": lambda: models.NeuralStateSpace(
        DIM, LATENT, likelihood="bernoulli", decoder=(), width=2, key=KEY
    ),
    "EmbedToControl": lambda: models.EmbedToControl(
        DIM, 0, LATENT, likelihood="bernoulli", decoder=(), widths=(2,), key=KEY
    ),
    "RSSM": lambda: rssm(families.DiagGaussian(LATENT)),
    "LogDensity": lambda: models.LogDensity(lambda z: -0.5 * jnp.sum(z**2), LATENT),
}


def rssm(latent):
    """The length of its carry is that of the deep Markov model's, so that one posterior fits either."""
    return models.RSSM(DIM, 0, deter_dim=LATENT, latent=latent, likelihood="bernoulli", decoder=(2,), key=KEY)


def layered():
    """A model of two layers of latents."""
    return models.Decoder(DIM, widths=(), prior=PRIORS["Hierarchical"](), key=KEY)


def network(family):
    """An inference network without hidden layers."""
    return posteriors.Amortized(family, data_dim=DIM, widths=(), key=KEY)


POSTERIORS = {
    "Exact": lambda family: posteriors.Exact(),
    "Conjugate": lambda family: posteriors.Conjugate(MODELS["BayesianGaussianMixture"]().prior_of(None)),
    "TopDown": lambda family: posteriors.TopDown(like=layered(), widths=(2,), between=(2,), key=KEY),
    "BottomUp": lambda family: posteriors.BottomUp(like=layered(), widths=(), between=(), key=KEY),
    "VectorQuantized": lambda family: posteriors.VectorQuantized(1, LATENT, data_dim=DIM, widths=(), key=KEY),
    "PerDatum": lambda family: posteriors.PerDatum(family, num_data=NUM_DATA, key=KEY),
    "Global": lambda family: posteriors.Global(family, key=KEY),
    "Amortized": lambda family: network(family),
    "Pooled": lambda family: posteriors.Pooled(family, data_dim=DIM, cond_dim=COND, widths=(2,), key=KEY),
    "Laplace": lambda family: posteriors.Laplace(starts=2, steps=5),
    "Pathfinder": lambda family: posteriors.Pathfinder(starts=2, steps=5, draws=2),
    "SemiAmortized": lambda family: posteriors.SemiAmortized(network(family), steps=2),
    "HamiltonianRefined": lambda family: posteriors.HamiltonianRefined(network(family), steps=2),
    "Filtering": lambda family: posteriors.Filtering(
        family, like=MODELS["NeuralStateSpace"](), widths=(2,), key=KEY
    ),
    "Smoothing": lambda family: posteriors.Smoothing(
        family, like=MODELS["NeuralStateSpace"](), widths=(2,), key=KEY
    ),
}
POSTERIORS["OpenLoop"] = lambda family: posteriors.OpenLoop(POSTERIORS["Filtering"](family))
NO_FAMILY = ("Exact", "Conjugate", "TopDown", "BottomUp", "Laplace", "Pathfinder", "VectorQuantized")
"""Posteriors that are given no family, whatever they are made of."""
OF_NETWORKS = ("SemiAmortized", "HamiltonianRefined", "OpenLoop")
"""Posteriors that ask the network they hold first: a few families stand for all."""
MORE_POSTERIORS = {
    "Amortized(cond)": lambda family: posteriors.Amortized(
        family, data_dim=DIM, cond_dim=COND, widths=(), key=KEY
    ),
}
OBJECTIVES = {
    "ELBO": lambda: objectives.ELBO(2),
    "IWAE": lambda: objectives.IWAE(2),
    "FIVO": lambda: objectives.FIVO(2),
}
BASELINES = {
    "NoBaseline": gradients.NoBaseline,
    "LeaveOneOut": gradients.LeaveOneOut,
    "RunningMean": gradients.RunningMean,
    "Learned": lambda: gradients.Learned(DIM, widths=(2,), key=KEY),
}
GRADIENTS = {
    "Analytic": gradients.Analytic,
    "Enumerate": gradients.Enumerate,
    "Reparam": gradients.Reparam,
    "StickTheLanding": gradients.StickTheLanding,
    "DoublyReparam": gradients.DoublyReparam,
    "ScoreFunction": gradients.ScoreFunction,
    "StraightThrough": gradients.StraightThrough,
    "Relaxed": gradients.Relaxed,
    "DisARM": gradients.DisARM,
    "HeldDraws": gradients.HeldDraws,
    "REBAR": gradients.REBAR,
}
OF_ROWS = {
    "Renyi": lambda: objectives.Renyi(0.5, num_samples=2),
    "MIWAE": lambda: objectives.MIWAE(2, groups=1),
    "PIWAE": lambda: objectives.PIWAE(2, groups=2),
    "CIWAE": lambda: objectives.CIWAE(2, beta=0.5),
    "ReweightedWakeSleep": lambda: objectives.ReweightedWakeSleep(2),
}
"""Objectives that look at weights of whole draws alone: crossed with models of rows only, to save time."""
ACROSS_DATA = {
    "BetaTC": lambda: objectives.BetaTC(4.0, num_samples=2),
    "Capacity": lambda: objectives.Capacity(1.0, num_samples=2),
    "FactorVAE": lambda: objectives.FactorVAE(4.0, latent_dim=LATENT, widths=(2,), num_samples=2, key=KEY),
    "InfoVAE": lambda: objectives.InfoVAE(alpha=0.5, strength=10.0, num_samples=2),
}
"""Objectives with a term of the batch, which estimators of one datum do not see: crossed with few models."""
SCHEDULES = {"Linear": lambda: objectives.Linear(0.0, 1.0, 10)}

MORE_MODELS = {
    f"Decoder({name})": lambda make=make: models.Decoder(DIM, widths=(), prior=make(), key=KEY)
    for name, make in PRIORS.items()
    if name not in ("StandardNormal", "ConditionalGaussian", "Ladder")
} | {
    "RSSM(OneHot)": lambda: rssm(families.OneHot(CLASSES)),
    "MixtureDensity(full)": lambda: models.MixtureDensity(
        DIM, COND, CLASSES, covariance="full", gate="shared", widths=(), key=KEY
    ),
    "ConditionalDecoder(StandardNormal)": lambda: models.ConditionalDecoder(
        DIM, COND, widths=(), prior=models.priors.StandardNormal(LATENT), key=KEY
    ),
}
LIKE_ANOTHER = {
    "EmbedToControl",
    "StudentMixture",
    "Gaussian",
    "FactorAnalysis",
    "LinearGaussianSSM",
    "NeuralStateSpace",
    "ProbabilisticPCA",
    "Decoder(Hierarchical)",
    "EpisodeDecoder",
    "ConditionalDecoder(StandardNormal)",
    "Decoder(LearnedGaussian)",
    "Decoder(MixtureOfGaussians)",
    "Decoder(Learned)",
    "Decoder(VampPrior)",
    "Decoder(Categorical)",
    "Decoder(Gamma)",
    "BernoulliMixture",
    "MixtureDensity(full)",
}
"""Models that a crossed one stands for: each gradient estimator runs once on them, not once per objective."""
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
