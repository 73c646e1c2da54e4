"""Presets that predict some columns from the others: a line, a network, a mixture, a conditional VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.cli.options import SAMPLED_GRADIENTS, STATIC_GRADIENTS
from jensen.cli.preset import Build, Facts, Options, Pace, Preset
from jensen.cli.static_presets import bound_of, exact, gradient_of

if TYPE_CHECKING:
    from jensen.core import Inference
    from jensen.typing import PRNGKey

_PACE = Pace(4_000, 64, 2_000)


def _regression(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(models.LinearGaussian(facts.columns, facts.actions, key=key))


def _hetero(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(
        models.HeteroscedasticNet(facts.columns, facts.actions, widths=tuple(options["widths"]), key=key)
    )


def _mdn(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(
        models.MixtureDensity(
            facts.columns,
            facts.actions,
            options["components"],
            covariance=options["covariance"],
            widths=tuple(options["widths"]),
            key=key,
        )
    )


def _cvae(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    import jax

    from jensen import families, models, posteriors
    from jensen.core import Inference

    to_model, to_posterior = jax.random.split(key)
    latent, widths = options["latent"], tuple(options["widths"])
    fixed = models.priors.StandardNormal(latent) if options["prior"] == "fixed" else None
    model = models.ConditionalDecoder(
        facts.columns,
        facts.actions,
        latent,
        likelihood=options["likelihood"],
        widths=widths,
        prior=fixed,
        key=to_model,
    )
    full = options["posterior"] == "amortized-full"
    family = families.FullGaussian(latent) if full else families.DiagGaussian(latent)
    posterior = posteriors.Amortized(
        family, data_dim=facts.columns, cond_dim=facts.actions, widths=widths, key=to_posterior
    )
    return Inference(model, posterior, bound_of(options), gradient_of(options))


def _widths(given: Options, facts: Facts, chosen: Options) -> Options:
    """Inputs and targets are few: small networks."""
    return {} if "widths" in given else {"widths": [64, 64] if facts.actions < 256 else [256, 256]}


def _network(about: str, build: Build, **defaults: Any) -> Preset:
    """A network with an exact evidence, climbed by its gradient."""
    fitted = {
        "widths": None,
        "gradient": "analytic",
        "epochs": None,
        "steps": None,
        "batch_size": None,
        "learning_rate": 3e-3,
    }
    choices = {"gradient": ("analytic",), "covariance": ("diag", "full")}
    return Preset(about, build, defaults | fitted, choices, "targets", adapt=_widths, pace=_PACE)


_LINE = {"gradient": "em", "steps": 10, "epochs": None, "batch_size": None, "learning_rate": 3e-2}
_CVAE = {
    "latent": 2,
    "likelihood": None,
    "binarize": None,
    "prior": "learned",
    "widths": None,
    "posterior": "amortized",
    "objective": "elbo",
    "num_samples": 1,
    "beta": 1.0,
    "free_bits": 0.0,
    "gradient": "reparam",
    "epochs": None,
    "steps": None,
    "batch_size": None,
    "learning_rate": 2e-3,
}
_CHOICES = {
    "likelihood": ("gaussian", "bernoulli"),
    "objective": ("elbo", "iwae"),
    "gradient": SAMPLED_GRADIENTS[:-1],
    "posterior": ("amortized", "amortized-full"),
    "prior": ("learned", "fixed"),
}

CONDITIONAL = {
    "regression": Preset(
        "linear regression of --target on the other columns, exactly",
        _regression,
        _LINE,
        {"gradient": STATIC_GRADIENTS},
        "targets",
    ),
    "hetero": _network("a network for the mean of --target and for its spread", _hetero),
    "mdn": _network(
        "a mixture of Gaussians of --target, its weights and components by a network",
        _mdn,
        components=5,
        covariance="diag",
    ),
    "cvae": Preset(
        "a conditional VAE: --target from the other columns and a latent",
        _cvae,
        _CVAE,
        _CHOICES,
        "targets",
        adapt=_widths,
        pace=_PACE,
    ),
}
"""By name, in the order of the help."""
