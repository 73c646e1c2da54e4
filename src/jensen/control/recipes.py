"""What each kind of imitation fits: model, posterior, and the layout of demonstrations it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jensen.control.policies.fitted import HOLDS
from jensen.control.spaces import ActionSpace, DiscreteActions
from jensen.core import Inference
from jensen.datasets import Episodes
from jensen.errors import InputError, nearest
from jensen.fit import Data
from jensen.typing import PRNGKey

KINDS = ("mdn", "cvae", "gaussian", "mse", "categorical")


@dataclass(frozen=True)
class Settings:
    """How to imitate.

    Attributes:
        hold: Of a cvae, what z stands behind: ``"step"``, ``"chunk"`` or ``"episode"``. By default a chunk if
            the horizon is above 1, otherwise an episode.
        horizon: H, actions foreseen at each state.
        replan: Actions carried out of each chunk before the next; all by default.
        widths: Hidden widths of the networks.
        components: Of an mdn, components of the mixture.
        latent: Of a cvae, length of z.
        steps: Gradient steps.
        batch_size: Rows a step, or episodes a step where z stands behind an episode.
        learning_rate: At the start; falls to zero along a cosine.
        validation: Share of the episodes held out, whole.
        patience: Stop after so many validations without a better bound; None to take all steps.
        choose: How the policy chooses; see ``MixturePolicy`` and ``LatentPolicy``. Each kind has its default.
        bounds: ``"clip"`` or ``"squash"``; the density of the latter is that of actions before tanh.
    """

    hold: str | None = None
    horizon: int = 1
    replan: int | None = None
    widths: Sequence[int] = (64, 64)
    components: int = 8
    latent: int = 2
    steps: int = 4_000
    batch_size: int | None = None
    learning_rate: float = 5e-3
    validation: float = 0.1
    patience: int | None = None
    choose: str | None = None
    bounds: str = "clip"

    @classmethod
    def of(cls, kind: str, options: dict[str, Any]) -> Settings:
        """Read options by name, and settle what depends on the kind.

        Raises:
            InputError: An unknown kind or option, with the nearest; or values that contradict each other.
        """
        if kind not in KINDS:
            raise InputError(f"imitate: policy {kind!r} is unknown{nearest(kind, KINDS)}")
        known = cls.__dataclass_fields__
        if unknown := [name for name in options if name not in known]:
            raise InputError(f"imitate: option {unknown[0]!r} is unknown{nearest(unknown[0], known)}")
        given = {**options}
        horizon = given.get("horizon", 1)
        if given.get("hold") is None:
            given["hold"] = "chunk" if horizon > 1 else "episode"
        elif kind != "cvae":
            raise InputError(f"imitate: hold={given['hold']!r} is for policy='cvae'; {kind} holds no latent")
        if given.get("choose") is None:
            given["choose"] = _CHOOSE[kind]
        settings = cls(**given)
        settings._check(kind)
        return settings

    def _check(self, kind: str) -> None:
        for name in ("horizon", "components", "latent", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"imitate: {name} is {getattr(self, name)}; it must be at least 1")
        if self.hold not in HOLDS:
            raise InputError(f"imitate: hold={self.hold!r} is unknown{nearest(str(self.hold), HOLDS)}")
        if not 0 <= self.validation < 1:
            raise InputError(f"imitate: validation is {self.validation}; it must be from 0 to below 1")
        if self.patience is not None and not self.validation:
            raise InputError("imitate: patience watches held-out episodes; set validation above 0")
        if kind == "cvae" and (self.hold == "chunk") != (self.horizon > 1):
            raise InputError(
                f"imitate: hold={self.hold!r} with horizon={self.horizon}: a chunk has more than 1 action; a "
                "step or an episode is predicted action by action, horizon=1"
            )


_CHOOSE = {"mdn": "sample", "cvae": "mean", "gaussian": "sample", "mse": "mean", "categorical": "sample"}


def layout(kind: str, settings: Settings, episodes: Episodes) -> Data:
    """Lay demonstrations out as the model of this kind reads them."""
    if kind == "cvae" and settings.hold == "episode":
        seen, acts, lengths = episodes.padded()
        return Data(_real(acts), cond=seen, lengths=lengths)
    if settings.horizon > 1:
        seen, acts, mask = episodes.chunks(settings.horizon)
        return Data(_real(acts), cond=seen, mask=mask)
    seen, acts = episodes.flat()
    return Data(_real(acts), cond=seen)


def recipe(kind: str, settings: Settings, space: ActionSpace, width: int, *, key: PRNGKey) -> Inference:
    """Return what to fit.

    Args:
        kind: Of policy.
        settings: How.
        space: Of actions.
        width: S, numbers in an observation.
        key: Randomness of the initial weights.

    Raises:
        InputError: Discrete actions to a Gaussian head, or real ones to categories.
    """
    discrete = isinstance(space, DiscreteActions)
    if discrete and kind in ("mdn", "gaussian", "mse"):
        raise InputError(
            f"imitate: {kind} predicts real numbers, and actions are {space.n} discrete choices; use "
            "policy='categorical' or 'cvae'"
        )
    if kind == "categorical" and not discrete:
        raise InputError(
            "imitate: categorical predicts codes, and actions are real numbers; use policy='mdn'"
        )
    if kind == "cvae":
        return _latent(settings, space, width, key=key)
    return _exact(kind, settings, space, width, key=key)


def _exact(kind: str, settings: Settings, space: ActionSpace, width: int, *, key: PRNGKey) -> Inference:
    from jensen import gradients, models, objectives, posteriors

    columns, widths = settings.horizon * space.size, settings.widths
    if isinstance(space, DiscreteActions):
        model = models.CategoricalNet(columns, space.n, width, widths=widths, key=key)
    elif kind == "mdn":
        model = models.MixtureDensity(columns, width, settings.components, widths=widths, key=key)
    else:
        variance = "unit" if kind == "mse" else "input"
        model = models.HeteroscedasticNet(columns, width, widths=widths, variance=variance, key=key)
    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def _latent(settings: Settings, space: ActionSpace, width: int, *, key: PRNGKey) -> Inference:
    from jensen import families, gradients, models, objectives, posteriors

    columns, latent = settings.horizon * space.size, settings.latent
    to_model, to_q = jax.random.split(key)
    likelihood: Any = "gaussian"
    if isinstance(space, DiscreteActions):
        likelihood = models.likelihoods.Categorical(columns, space.n)
    episode = settings.hold == "episode"
    make = models.EpisodeDecoder if episode else models.ConditionalDecoder
    infer = posteriors.Pooled if episode else posteriors.Amortized
    model = make(columns, width, latent, likelihood=likelihood, widths=settings.widths, key=to_model)
    family = families.DiagGaussian(latent)
    q = infer(family, data_dim=columns, cond_dim=width, widths=settings.widths, key=to_q)
    return Inference(model, q, objectives.ELBO(), gradients.Reparam())


def _real(acts: np.ndarray) -> np.ndarray:
    return acts.astype(np.float64)
