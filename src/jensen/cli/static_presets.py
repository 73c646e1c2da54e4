"""Presets for tables: models with an exact evidence, and decoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jensen.cli.networks import choose_widths, from_latents, to_parameters
from jensen.cli.options import (
    BENT,
    DECODER_LAWS,
    LAYERED,
    POSTERIORS,
    PRIORS,
    REFINED,
    SAMPLED_GRADIENTS,
    STATIC_GRADIENTS,
)
from jensen.cli.preset import Build, Facts, Options, Preset

if TYPE_CHECKING:
    from jensen.core import Inference
    from jensen.typing import PRNGKey


def _static(about: str, build: Build, **defaults: Any) -> Preset:
    """A model with an exact evidence: by EM, or by gradient ascent on the same number."""
    fitted = {"gradient": "em", "steps": 500, "epochs": None, "batch_size": None, "learning_rate": 3e-2}
    return Preset(about, build, defaults | fitted, {"gradient": STATIC_GRADIENTS})


def _deep(about: str, build: Build, defaults: Options, choices: Mapping[str, tuple[str, ...]]) -> Preset:
    """A model with networks, of pictures perhaps convolutional ones."""
    return Preset(about, build, defaults | {"net": "mlp"}, choices, adapt=choose_widths)


def _gaussian(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(models.Gaussian(facts.columns, covariance=options["covariance"], key=key))


def _gmm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(
        models.GaussianMixture(
            options["components"], facts.columns, covariance=options["covariance"], key=key
        )
    )


def _tmm(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(
        models.StudentMixture(options["components"], facts.columns, covariance=options["covariance"], key=key)
    )


def _fa(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(models.FactorAnalysis(facts.columns, options["latent"], key=key))


def _ppca(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import models

    return exact(models.ProbabilisticPCA(facts.columns, options["latent"], key=key))


def exact(model: Any) -> Inference:
    """Join a model with its exact posterior and the gradient of its evidence."""
    from jensen import gradients, objectives, posteriors
    from jensen.core import Inference

    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def _vae(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    import jax

    from jensen import families

    latent, own = options["latent"], jax.random.fold_in(key, 2)
    family = {
        "": families.DiagGaussian,
        "lowrank": lambda d: families.LowRankGaussian(d, rank=min(4, d)),
        "full": families.FullGaussian,
        "planar": lambda d: families.PlanarFlow(d, layers=8),
        "flow": lambda d: families.CouplingFlow(d, key=own),
        "iaf": lambda d: families.InverseAutoregressiveFlow(d, widths=(max(64, 2 * d),), key=own),
        "mixture": lambda d: families.Mixture(families.DiagGaussian(d), 3),
    }[_family(options["posterior"])](latent)
    return _decoding(options, facts, key, family, _prior(options, facts, key))


def _prior(options: Options, facts: Facts, key: PRNGKey) -> Any:
    """Return the prior that options name; ``None`` for the standard normal."""
    import jax

    from jensen import families
    from jensen.models import priors

    latent, own = options["latent"], jax.random.fold_in(key, 1)
    many = max(1, min(_COMPONENTS, facts.rows // 10))
    return {
        "normal": lambda: None,
        "mixture": lambda: priors.MixtureOfGaussians(latent, many, key=own),
        "vamp": lambda: priors.VampPrior(latent, facts.columns, many, key=own),
        "flow": lambda: priors.Learned(families.CouplingFlow(latent, context_dim=0, key=own)),
    }[options["prior"]]()


def _dvae(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    from jensen import families, models

    latent, classes = options["latent"], options["components"]
    return _decoding(
        options, facts, key, families.OneHot(classes, latent), models.priors.OneHot(classes, latent)
    )


def _hvae(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    import jax

    from jensen import models, posteriors
    from jensen.core import Inference

    to_prior, to_model, to_posterior = jax.random.split(key, 3)
    widths, latent = options["widths"], options["latent"]
    between = [max(1, width // 2) for width in widths]
    if options["prior"] == "ladder":
        prior = models.priors.Ladder(latent, width=widths[-1], key=to_prior)
    else:
        prior = models.priors.Hierarchical(latent, widths=between, key=to_prior)
    model = models.Decoder(
        facts.columns, likelihood=options["likelihood"], widths=widths, prior=prior, key=to_model
    )
    kind = posteriors.TopDown if options["posterior"] == "top-down" else posteriors.BottomUp
    posterior = kind(like=model, widths=widths, between=between, key=to_posterior)
    bound = bound_of({"beta": _warm_up(options, facts)} | options)
    return Inference(model, posterior, bound, gradient_of(options))


def _warm_up(options: Options, facts: Facts) -> Any:
    """Raise β to 1 over a fifth of the steps: at full weight from the start upper layers are never used."""
    from jensen import objectives

    steps = options.get("steps") or options["epochs"] * facts.steps_per_epoch(options)
    return objectives.Linear(0.01, 1.0, max(1, steps // 5))


def _decoding(options: Options, facts: Facts, key: PRNGKey, family: Any, prior: Any) -> Inference:
    """Decoder, posterior, bound and gradient, as the options name them."""
    import jax

    from jensen import models, posteriors
    from jensen.core import Inference

    to_model, to_posterior = jax.random.split(key)
    latent = options["latent"] if prior is None else None
    model = models.Decoder(
        facts.columns,
        latent,
        likelihood=options["likelihood"],
        prior=prior,
        key=to_model,
        **from_latents(options, facts, options["latent"] if prior is None else prior.latent_dim, to_model),
    )
    if options["posterior"].startswith("per-datum"):
        posterior = posteriors.PerDatum(family, num_data=facts.rows, key=to_posterior)
    else:
        net = to_parameters(options, facts, family.num_params, to_posterior)
        posterior = posteriors.Amortized(family, data_dim=facts.columns, key=to_posterior, **net)
    if options["posterior"] == "semi-amortized":
        posterior = posteriors.SemiAmortized(posterior)
    elif options["posterior"] == "hamiltonian":
        posterior = posteriors.HamiltonianRefined(posterior)
    return Inference(model, posterior, bound_of(options), gradient_of(options))


def _vqvae(options: Options, facts: Facts, key: PRNGKey) -> Inference:
    import jax

    from jensen import gradients, models, objectives, posteriors
    from jensen.core import Inference

    to_codes, to_model, to_posterior = jax.random.split(key, 3)
    many, size = options["latent"], options["latent"] * _CODE_DIM
    prior = models.priors.Codebook(options["components"], many, _CODE_DIM, key=to_codes)
    net = from_latents(options, facts, size, to_model)
    model = models.Decoder(facts.columns, likelihood=options["likelihood"], prior=prior, key=to_model, **net)
    net = to_parameters(options, facts, size, to_posterior)
    posterior = posteriors.VectorQuantized(many, _CODE_DIM, data_dim=facts.columns, key=to_posterior, **net)
    return Inference(model, posterior, objectives.ELBO(), gradients.StraightThrough())


def bound_of(options: Options) -> Any:
    """Return the objective that options name."""
    from jensen import objectives

    if options["objective"] == "iwae":
        return objectives.IWAE(options["num_samples"])
    if options["objective"] == "beta-tc":
        return objectives.BetaTC(options["beta"], num_samples=options["num_samples"])
    if options["objective"] == "infovae":
        return objectives.InfoVAE(
            alpha=1 - options["beta"], strength=_STRENGTH, num_samples=options["num_samples"]
        )
    return objectives.ELBO(options["num_samples"], beta=options["beta"], free_bits=options["free_bits"])


def gradient_of(options: Options) -> Any:
    """Return the gradient estimator that options name."""
    from jensen import gradients

    return {
        "reparam": gradients.Reparam,
        "stick-the-landing": gradients.StickTheLanding,
        "doubly-reparam": gradients.DoublyReparam,
        "score-function": lambda: gradients.ScoreFunction(gradients.LeaveOneOut()),
        "enumerate": gradients.Enumerate,
    }[options["gradient"]]()


def _family(posterior: str) -> str:
    if posterior in REFINED:
        return ""
    return posterior.removeprefix("amortized").removeprefix("per-datum").removeprefix("-")


_CODE_DIM = 4
"""Length of a code."""
_COMPONENTS = 100
"""Most components, or pseudo-inputs, of a prior; fewer for fewer than ten rows each."""
_STRENGTH = 50.0
"""Of the squared discrepancy, at most 2, among tens of nats."""

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
_LAWS = {"likelihood": DECODER_LAWS, "objective": ("elbo", "iwae")}
_REPARAM = _LAWS | {"gradient": SAMPLED_GRADIENTS, "posterior": (*POSTERIORS, *BENT, *REFINED)}
_DISCRETE = _LAWS | {"gradient": ("score-function", "enumerate"), "posterior": ("amortized", "per-datum")}

STATIC = {
    "gaussian": _static("one Gaussian", _gaussian, covariance="full"),
    "gmm": _static("a mixture of Gaussians", _gmm, components=3, covariance="full", restarts=10),
    "tmm": _static("a mixture of t laws, for outliers", _tmm, components=3, covariance="full", restarts=10),
    "fa": _static("factor analysis: few linear factors, noise of its own in each column", _fa, latent=2),
    "ppca": _static("probabilistic PCA: few linear factors, one noise level", _ppca, latent=2),
    "vae": _deep(
        "a variational autoencoder",
        _vae,
        _DECODER | _ELBO | {"prior": "normal", "gradient": "reparam"},
        _REPARAM | {"prior": PRIORS, "objective": ("elbo", "iwae", "beta-tc", "infovae")},
    ),
    "iwae": _deep(
        "the same decoder on the importance-weighted bound",
        _vae,
        _DECODER | {"prior": "normal", "objective": "iwae", "gradient": "doubly-reparam", "num_samples": 8},
        _REPARAM | {"prior": PRIORS, "objective": ("iwae",)},
    ),
    "hvae": Preset(
        "a hierarchy: several layers of latents, --latent of each, the top first",
        _hvae,
        _DECODER
        | _ELBO
        | {"latent": [8, 16], "prior": "chain", "posterior": "top-down", "beta": None, "gradient": "reparam"},
        _REPARAM | {"posterior": LAYERED, "prior": ("chain", "ladder")},
    ),
    "dvae": _deep(
        "a decoder of discrete latents: --latent variables of --components categories",
        _dvae,
        _DECODER | _ELBO | {"components": 4, "gradient": "score-function", "num_samples": 4},
        _DISCRETE,
    ),
    "vqvae": _deep(
        "a vector-quantized autoencoder: --latent variables, each one of a codebook of --components codes",
        _vqvae,
        {name: value for name, value in _DECODER.items() if name not in ("posterior", "num_samples")}
        | {"latent": 4, "components": 16, "gradient": "straight-through"},
        {"likelihood": DECODER_LAWS, "gradient": ("straight-through",)},
    ),
}
"""By name, in the order of the help."""
