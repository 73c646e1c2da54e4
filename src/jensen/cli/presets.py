"""The presets: what each fits, which options it takes, and what they are when nobody says.

The tables hold plain values, so that ``--help`` reads them without JAX; only the builders import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jensen.cli.options import SAMPLED_GRADIENTS, STATIC_GRADIENTS, flags
from jensen.errors import InputError, nearest

if TYPE_CHECKING:
    from jensen.core import Inference
    from jensen.typing import PRNGKey

Options = dict[str, Any]
Build = Callable[[Options, int, int, "PRNGKey"], "Inference"]
"""From settled options, rows and columns of the training data, and a key, to an inference."""

COMMON = ("labels", "drop", "missing", "validation", "standardize", "gap_rows", "seed")
"""Options of every preset."""

_BY_GRADIENT = ("epochs", "steps", "batch_size", "learning_rate")


@dataclass(frozen=True)
class Facts:
    """What the defaults depend on.

    Attributes:
        kind: Kind of the values, after binarization.
        rows: Rows to train on.
        columns: Columns.
    """

    kind: str
    rows: int
    columns: int


@dataclass(frozen=True)
class Preset:
    """A named fit.

    Attributes:
        about: One line for the help.
        build: Makes the inference.
        defaults: The options it takes besides the common ones; None where the data decides.
        choices: Where an option may only be some of its values.
    """

    about: str
    build: Build
    defaults: Options
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def check_used(name: str, given: Options) -> Preset:
    """Look up a preset and refuse options it does not take: none is silently ignored.

    Raises:
        InputError: Unknown preset, an option it does not take, or a value that does not fit it.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}{nearest(name, PRESETS)}")
    preset = PRESETS[name]
    for option, allowed in preset.choices.items():
        if given.get(option, allowed[0]) not in allowed:
            raise InputError(
                f"{flags([option])} {given[option]} does not fit preset {name}; choose {' or '.join(allowed)}"
            )
    if "epochs" in given and "steps" in given:
        raise InputError("--epochs and --steps say the same thing twice; give one of them")
    takes = _takes(preset, given)
    for option in given:
        if option not in takes and option not in COMMON:
            raise InputError(f"{flags([option])} {_why(name, preset, option, takes)}")
    return preset


def settle(preset: Preset, given: Options, facts: Facts) -> Options:
    """Fill in what was not given. The result, kept as the run's config file, makes the same fit again.

    Args:
        preset: What is fitted.
        given: Options read from the command line and the config file.
        facts: What the defaults depend on.

    Returns:
        Every option that plays a part.
    """
    takes = _takes(preset, given)
    chosen = {"missing": "error", "validation": 0.1, "seed": 0} | preset.defaults | given
    if chosen.get("objective") == "iwae":
        iwae = {"num_samples": 8} | (
            {"gradient": "doubly-reparam"} if chosen["gradient"] == "reparam" else {}
        )
        chosen |= {name: value for name, value in iwae.items() if name not in given}
    if chosen.get("gradient") == "score-function" and "num_samples" not in given:
        chosen["num_samples"] = max(4, chosen["num_samples"])
    if "likelihood" in takes and "likelihood" not in given:
        chosen["likelihood"] = "bernoulli" if facts.kind == "binary" else "gaussian"
    if "widths" in takes and "widths" not in given:
        chosen["widths"] = [128, 128] if facts.columns < 256 else [256, 256]
    if "batch_size" in takes:
        chosen |= _schedule(given, facts, chosen)
    kept = {name: value for name, value in chosen.items() if name in takes or name in COMMON}
    return {name: value for name, value in kept.items() if value is not None and value is not False}


def _schedule(given: Options, facts: Facts, chosen: Options) -> Options:
    """About 20,000 steps, in 20 to 300 epochs; with rows held out, patience ends most fits much earlier."""
    batch = given.get("batch_size", min(64 if facts.rows < 5_000 else 128, facts.rows))
    if batch > facts.rows:
        raise InputError(f"--batch-size is {batch}, but there are {facts.rows} rows to train on; lower it")
    if "steps" in given:
        return {"batch_size": batch, "epochs": None}
    epochs = given.get("epochs", min(300, max(20, round(20_000 / (facts.rows // batch)))))
    return {"batch_size": batch, "epochs": epochs, "steps": None}


def _takes(preset: Preset, given: Options) -> set[str]:
    """Which options play a part, given the others."""
    takes = set(preset.defaults)
    if "em" in preset.choices.get("gradient", ()):
        by_gradient = given.get("gradient", "em") != "em"
        takes -= {"restarts"} if by_gradient else set(_BY_GRADIENT) - {"steps"}
    if given.get("objective", preset.defaults.get("objective")) == "iwae":
        takes -= {"beta", "free_bits"}
    return takes


def _why(name: str, preset: Preset, option: str, takes: set[str]) -> str:
    if option in preset.defaults and option in ("beta", "free_bits"):
        return "belongs to --objective elbo; leave it out"
    if option in preset.defaults and option == "restarts":
        return "belongs to --gradient em; leave it out"
    if option in preset.defaults:
        return (
            f"belongs to --gradient analytic, but {name} is fitted by EM; use --steps, or --gradient analytic"
        )
    return f"is not an option of preset {name}, which takes {flags(sorted(takes))}; leave it out"


def _static(about: str, build: Build, **defaults: Any) -> Preset:
    """A model with an exact evidence: by EM, or by gradient ascent on the same number."""
    fitted = {"gradient": "em", "steps": 500, "epochs": None, "batch_size": None, "learning_rate": 3e-2}
    return Preset(about, build, defaults | fitted, {"gradient": STATIC_GRADIENTS})


def _gaussian(options: Options, rows: int, columns: int, key: PRNGKey) -> Inference:
    from jensen import models

    return _exact(models.Gaussian(columns, covariance=options["covariance"], key=key))


def _gmm(options: Options, rows: int, columns: int, key: PRNGKey) -> Inference:
    from jensen import models

    return _exact(
        models.GaussianMixture(options["components"], columns, covariance=options["covariance"], key=key)
    )


def _fa(options: Options, rows: int, columns: int, key: PRNGKey) -> Inference:
    from jensen import models

    return _exact(models.FactorAnalysis(columns, options["latent"], key=key))


def _ppca(options: Options, rows: int, columns: int, key: PRNGKey) -> Inference:
    from jensen import models

    return _exact(models.ProbabilisticPCA(columns, options["latent"], key=key))


def _exact(model: Any) -> Inference:
    from jensen import gradients, objectives, posteriors
    from jensen.core import Inference

    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def _vae(options: Options, rows: int, columns: int, key: PRNGKey) -> Inference:
    from jensen import families

    latent = options["latent"]
    family = {
        "": families.DiagGaussian,
        "lowrank": lambda d: families.LowRankGaussian(d, rank=min(4, d)),
        "full": families.FullGaussian,
    }[_family(options["posterior"])](latent)
    return _decoding(options, rows, columns, key, family, None)


def _dvae(options: Options, rows: int, columns: int, key: PRNGKey) -> Inference:
    from jensen import families, models

    latent, classes = options["latent"], options["components"]
    return _decoding(
        options, rows, columns, key, families.OneHot(classes, latent), models.priors.OneHot(classes, latent)
    )


def _decoding(options: Options, rows: int, columns: int, key: PRNGKey, family: Any, prior: Any) -> Inference:
    """Decoder, posterior, bound and gradient, as the options name them."""
    import jax

    from jensen import gradients, models, objectives, posteriors
    from jensen.core import Inference

    to_model, to_posterior = jax.random.split(key)
    latent = options["latent"] if prior is None else None
    model = models.Decoder(
        columns, latent, likelihood=options["likelihood"], widths=options["widths"], prior=prior, key=to_model
    )
    if options["posterior"].startswith("per-datum"):
        posterior = posteriors.PerDatum(family, num_data=rows, key=to_posterior)
    else:
        posterior = posteriors.Amortized(family, data_dim=columns, widths=options["widths"], key=to_posterior)
    if options["objective"] == "iwae":
        objective = objectives.IWAE(options["num_samples"])
    else:
        objective = objectives.ELBO(
            options["num_samples"], beta=options["beta"], free_bits=options["free_bits"]
        )
    gradient = {
        "reparam": gradients.Reparam,
        "stick-the-landing": gradients.StickTheLanding,
        "doubly-reparam": gradients.DoublyReparam,
        "score-function": lambda: gradients.ScoreFunction(gradients.LeaveOneOut()),
        "enumerate": gradients.Enumerate,
    }[options["gradient"]]()
    return Inference(model, posterior, objective, gradient)


def _family(posterior: str) -> str:
    return posterior.removeprefix("amortized").removeprefix("per-datum").removeprefix("-")


_DECODER = {
    "latent": 8,
    "likelihood": None,
    "binarize": None,
    "widths": None,
    "posterior": "amortized",
    "num_samples": 1,
    "epochs": None,
    "steps": None,
    "batch_size": None,
    "learning_rate": 1e-3,
}
_ELBO = {"objective": "elbo", "beta": 1.0, "free_bits": 0.0}
_REPARAM = {"gradient": SAMPLED_GRADIENTS}
_DISCRETE = {"gradient": ("score-function", "enumerate"), "posterior": ("amortized", "per-datum")}

PRESETS = {
    "gaussian": _static("one Gaussian", _gaussian, covariance="full"),
    "gmm": _static("a mixture of Gaussians", _gmm, components=3, covariance="full", restarts=10),
    "fa": _static("factor analysis: few linear factors, noise of its own in each column", _fa, latent=2),
    "ppca": _static("probabilistic PCA: few linear factors, one noise level", _ppca, latent=2),
    "vae": Preset("a variational autoencoder", _vae, _DECODER | _ELBO | {"gradient": "reparam"}, _REPARAM),
    "iwae": Preset(
        "the same decoder on the importance-weighted bound",
        _vae,
        _DECODER | {"objective": "iwae", "gradient": "doubly-reparam", "num_samples": 8},
        _REPARAM | {"objective": ("iwae",)},
    ),
    "dvae": Preset(
        "a decoder of discrete latents: --latent variables of --components categories",
        _dvae,
        _DECODER | _ELBO | {"components": 4, "gradient": "score-function", "num_samples": 4},
        _DISCRETE,
    ),
}
"""By name, in the order of the help."""
