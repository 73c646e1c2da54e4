"""Presets for sequences: two exact state-space models, a deep one, and a world model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.cli.options import PATHS, RECURRENT_GRADIENTS, STATIC_GRADIENTS
from jensen.cli.preset import Facts, Options, Pace, Preset
from jensen.cli.static_presets import exact
from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.core import Inference
    from jensen.typing import PRNGKey

UNIMIX = 0.01
"""Uniform share mixed into categorical states, so that no category dies."""

LONG, WINDOW = 200, 50
"""Networks learn from windows of so many steps where sequences are longer than LONG."""

WARM_UP = 0.1
"""Where the KL's weight starts, and the share of the steps in which it rises to 1."""


def _hmm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    law = options["likelihood"]
    more = {"covariance": options["covariance"]} if law == "gaussian" else {}
    if law == "categorical":
        more["num_categories"] = max(2, int(facts.largest) + 1)
    states, inputs = options["components"], facts.actions
    return exact(models.HMM(states, facts.columns, law, input_dim=inputs, key=key, **more))


def _hmm_choices(given: Options, facts: Facts, chosen: Options) -> Options:
    """Choose the emission by the values; inputs of counts and categories have no closed M-step."""
    by_kind = {"binary": "categorical", "bytes": "poisson"}
    law = given.get("likelihood", by_kind.get(facts.kind, "gaussian"))
    if law == "gaussian":
        return {"likelihood": law}
    if "covariance" in given:
        raise InputError(f"--covariance belongs to --likelihood gaussian, not {law}; leave it out")
    gradient = {"gradient": "analytic"} if facts.actions and "gradient" not in given else {}
    return {"likelihood": law, "covariance": None, **gradient}


def _lgssm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    # an action after the last step can only speak of x; without one, actions move the state alone
    to = "transition" if facts.actions and not facts.spare else "both"
    model = models.LinearGaussianSSM(
        options["latent"], facts.columns, input_dim=facts.actions, input_to=to, key=key
    )
    return exact(model)


def _dmm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    import jax

    from jensen import families, models

    to_model, to_posterior = jax.random.split(key)
    latent, widths = options["latent"], options["widths"]
    model = models.NeuralStateSpace(
        facts.columns,
        latent,
        likelihood=options["likelihood"],
        decoder=widths,
        width=max(16, 2 * latent),
        cond_dim=facts.actions,
        key=to_model,
    )
    full = options["posterior"].endswith("-full")
    family = families.FullGaussian(latent) if full else families.DiagGaussian(latent)
    return _followed(model, family, options, facts, (), key=to_posterior)


def _rssm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    import jax

    from jensen import families, models

    to_model, to_posterior = jax.random.split(key)
    latent, widths = options["latent"], options["widths"]
    categories = options.get("components")
    if categories is None:
        family = families.DiagGaussian(latent)
    else:
        family = families.OneHot(categories, latent, unimix=UNIMIX)
    model = models.RSSM(
        facts.columns,
        facts.actions,
        deter_dim=widths[0],
        latent=family,
        likelihood=options["likelihood"],
        decoder=widths,
        key=to_model,
    )
    return _followed(model, family, options, facts, widths, key=to_posterior)


def _rssm_choices(given: Options, facts: Facts, chosen: Options) -> Options:
    """Pass gradients straight through categorical states."""
    if "components" in given and "gradient" not in given:
        return {"gradient": "straight-through"} | _network_choices(given, facts, chosen)
    return _network_choices(given, facts, chosen)


def _network_choices(given: Options, facts: Facts, chosen: Options) -> Options:
    """Choose widths by the columns, and cut long sequences into windows."""
    data: Options = {"widths": [64, 64] if facts.columns < 256 else [128, 128]}
    if facts.longest > LONG:
        data["window"] = WINDOW
    return {name: value for name, value in data.items() if name not in given}


def _followed(
    model: Any, family: Any, options: Options, facts: Facts, encoder: Any, *, key: PRNGKey
) -> Inference:
    """Join a recurrent model with the posterior, bound and gradient that the options name."""
    from jensen import gradients, objectives, posteriors
    from jensen.core import Inference

    kind = posteriors.Smoothing if options["posterior"].startswith("smoothing") else posteriors.Filtering
    q = kind(family, like=model, widths=options["widths"][:1], encoder=encoder, key=key)
    draws = options["num_samples"]
    objective = {
        "elbo": lambda: objectives.ELBO(
            draws,
            beta=options["beta"] if "beta" in options else _warm_up(options, facts),
            free_bits=options["free_bits"],
            kl_balance=options.get("kl_balance"),
        ),
        "iwae": lambda: objectives.IWAE(draws),
        "fivo": lambda: objectives.FIVO(draws),
    }[options["objective"]]()
    gradient = {
        "reparam": gradients.Reparam,
        "stick-the-landing": gradients.StickTheLanding,
        "doubly-reparam": gradients.DoublyReparam,
        "straight-through": gradients.StraightThrough,
    }[options["gradient"]]()
    return Inference(model, q, objective, gradient)


def _warm_up(options: Options, facts: Facts) -> Any:
    from jensen import objectives

    steps = options.get("steps") or options["epochs"] * facts.steps_per_epoch(options)
    return objectives.Linear(WARM_UP, 1.0, max(1, round(WARM_UP * steps)))


_EXACT = {
    "gradient": "em",
    "steps": 200,
    "epochs": None,
    "batch_size": None,
    "window": None,
    "learning_rate": 3e-2,
}
_NETWORKS = {
    "likelihood": None,
    "binarize": None,
    "widths": None,
    "objective": "elbo",
    "num_samples": 1,
    "beta": None,
    "free_bits": 0.0,
    "kl_balance": None,
    "gradient": "reparam",
    "epochs": None,
    "steps": None,
    "batch_size": None,
    "window": None,
    "windows": None,
}
_BOUNDS = {"objective": ("elbo", "iwae", "fivo"), "likelihood": ("gaussian", "bernoulli")}
_PACE = Pace(2_000, 16, 1_000)

SEQUENTIAL = {
    "hmm": Preset(
        "a hidden Markov model: sequences that switch between --components states",
        _hmm,
        {"components": 3, "likelihood": None, "covariance": "full", "restarts": 5} | _EXACT,
        {"gradient": STATIC_GRADIENTS, "likelihood": ("gaussian", "poisson", "categorical")},
        "sequences",
        "every step",
        _hmm_choices,
        _PACE,
    ),
    "lgssm": Preset(
        "a linear-Gaussian state-space model: levels, trends, oscillations, exactly",
        _lgssm,
        {"latent": 2} | _EXACT,
        {"gradient": STATIC_GRADIENTS},
        "sequences",
        "any",
        pace=_PACE,
    ),
    "dmm": Preset(
        "a deep Markov model: a hidden state that moves nonlinearly",
        _dmm,
        _NETWORKS | {"latent": 8, "posterior": "smoothing", "learning_rate": 3e-3},
        _BOUNDS | {"gradient": RECURRENT_GRADIENTS[:-1], "posterior": PATHS},
        "sequences",
        "any",
        _network_choices,
        _PACE,
    ),
    "rssm": Preset(
        "a world model: what follows from actions; categorical states with --components",
        _rssm,
        _NETWORKS | {"latent": 16, "posterior": "filtering", "learning_rate": 1e-3, "components": None},
        _BOUNDS | {"gradient": RECURRENT_GRADIENTS, "posterior": ("filtering", "smoothing")},
        "sequences",
        "any",
        _rssm_choices,
        _PACE,
    ),
}
"""By name, in the order of the help."""
