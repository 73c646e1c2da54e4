"""Presets for models with a conjugate prior, fitted by coordinate ascent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.cli.preset import Facts, Options, Preset

if TYPE_CHECKING:
    from jensen.core import Inference
    from jensen.typing import PRNGKey

SPARSE = 0.01
"""Rows that a component's weight is worth before any is seen: those not needed stay empty."""


def _bgmm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    k = options["components"]
    return _conjugate(models.BayesianGaussianMixture(k, facts.columns, concentration=SPARSE, key=key))


def _lda(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return _conjugate(models.LDA(options["components"], facts.columns, key=key))


def _vbhmm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    k = options["components"]
    return _conjugate(models.BayesianHMM(k, facts.columns, concentration=10 * SPARSE, key=key))


def _conjugate(model: Any) -> Inference:
    from jensen import gradients, objectives, posteriors
    from jensen.core import Inference

    q = posteriors.Conjugate(model.prior_of(None))
    return Inference(model, q, objectives.ELBO(), gradients.Analytic())


_BY_EM = {"gradient": "em", "steps": 500}
_ONLY_EM = {"gradient": ("em",)}

OF_TABLES = {
    "bgmm": Preset(
        "a Bayesian mixture of Gaussians: at most --components, those not needed stay empty",
        _bgmm,
        {"components": 10, "restarts": 5} | _BY_EM,
        _ONLY_EM,
    ),
    "lda": Preset(
        "latent Dirichlet allocation: rows of counts, each a mixture of --components themes",
        _lda,
        {"components": 10, "restarts": 1} | _BY_EM,
        _ONLY_EM,
    ),
}
"""By name, in the order of the help."""

OF_SEQUENCES = {
    "vbhmm": Preset(
        "a Bayesian hidden Markov model: at most --components states",
        _vbhmm,
        {"components": 8, "restarts": 3} | _BY_EM,
        _ONLY_EM,
        "sequences",
    ),
}
"""By name, in the order of the help."""
