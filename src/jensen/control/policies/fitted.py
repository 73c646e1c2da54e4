"""The two policies of fitted models: without a held latent, and with one."""

from __future__ import annotations

import warnings
from typing import Any, final

from jensen.control.policies.engine import Engine, ModelPolicy
from jensen.control.policies.ensemble import Ensemble
from jensen.control.policies.heads import LatentHead, MixtureHead, check_choice, check_model, laws
from jensen.control.spaces import ActionSpace, DiscreteActions, action_space
from jensen.core import HoldsLatent, Inference
from jensen.dist import CategoricalRow
from jensen.errors import InputError, JensenWarning, nearest
from jensen.fit import Fitted
from jensen.typing import PRNGKey

HOLDS = ("step", "chunk", "episode")
LATENTS = ("sample", "zero")


@final
class MixturePolicy(ModelPolicy):
    """Acts by p(a | s) without a held latent: mixture density, regression, softmax of categories.

    Args:
        fitted: What ``fit.*`` returned, an ``Inference``, or the model.
        space: The environment's action space: a Gymnasium Box or Discrete, or an ``ActionSpace``.
        horizon: H, the number of actions that one row of the model holds.
        replan: Actions carried out of each chunk before the next; all H by default, 1 under an ensemble.
        choose: ``"sample"`` draws a ~ p(a | s). ``"component"`` draws the component and takes its mean: as
            many ways, none of the noise. ``"likeliest"`` takes the mean of the likeliest component: one way
            only. ``"mean"`` takes E[a | s], which lies between the ways where there are several.
        bounds: ``"clip"`` or ``"squash"``, what the model's rows mean in a Box; see ``BoxActions``.
        ensemble: Smooths overlapping chunks; none by default.
        key: Randomness, advanced by every call.

    Raises:
        InputError: A model or space that does not fit; in one line, what to use instead.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> from jensen.control.spaces import DiscreteActions
        >>> net = jn.models.CategoricalNet(1, 3, 2, widths=(8,), key=jax.random.key(0))
        >>> policy = MixturePolicy(net, DiscreteActions(3), choose="likeliest", key=jax.random.key(1))
        >>> policy.predict(np.zeros((5, 2))).shape
        (5,)
    """

    def __init__(
        self,
        fitted: Any,
        space: Any,
        *,
        horizon: int = 1,
        replan: int | None = None,
        choose: str = "sample",
        bounds: str = "clip",
        ensemble: Ensemble | None = None,
        key: PRNGKey,
    ):
        model, valid = _fitting(fitted, space, horizon, bounds, "MixturePolicy")
        if isinstance(model, HoldsLatent):
            raise InputError(
                f"MixturePolicy: {type(model).__name__} holds one z over an episode; use control.LatentPolicy"
            )
        check_choice(choose, model, "MixturePolicy")
        steps = _replan(replan, horizon, ensemble, valid)
        self.choose = choose
        head = MixtureHead(model, choose)
        engine = Engine(head, valid, horizon, steps, False, ensemble)
        self._name = _described(engine)
        super().__init__(engine, key=key)

    def __repr__(self) -> str:
        return f"MixturePolicy({self._name}, choose {self.choose!r}, actions {self.space})"


@final
class LatentPolicy(ModelPolicy):
    """Acts by p(a | s, z) with z ~ p(z | s) drawn once and held: one way at a time.

    z should be held for the unit that q was trained over: a step (``ConditionalDecoder``), a chunk (the same,
    of H > 1 actions), or an episode (``EpisodeDecoder``). Another choice warns.

    Args:
        fitted: What ``fit.*`` returned, an ``Inference``, or the model.
        space: The environment's action space: a Gymnasium Box or Discrete, or an ``ActionSpace``.
        hold: ``"step"``, ``"chunk"`` or ``"episode"``.
        horizon: H, the number of actions that one row of the model holds.
        replan: Actions carried out of each chunk before the next; all H by default, 1 if z is held for a step
            or under an ensemble.
        choose: ``"mean"`` takes the mean of p(a | s, z), of categories the likeliest; ``"sample"`` draws.
            z is drawn in either case.
        latent: ``"zero"`` acts as if z were 0, for comparison: the policy then knows one way only.
        bounds: ``"clip"`` or ``"squash"``, what the model's rows mean in a Box; see ``BoxActions``.
        ensemble: Smooths overlapping chunks; none by default.
        key: Randomness, advanced by every call.

    Raises:
        InputError: A model or space that does not fit; in one line, what to use instead.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> from jensen.control.spaces import BoxActions
        >>> model = jn.models.EpisodeDecoder(1, 2, 1, widths=(8,), key=jax.random.key(0))
        >>> box = BoxActions(-np.ones(1, np.float32), np.ones(1, np.float32), (1,), np.dtype("float32"))
        >>> policy = LatentPolicy(model, box, hold="episode", key=jax.random.key(1))
        >>> policy.reset(num_envs=3)
        >>> policy.select_action(np.zeros((3, 2))).shape
        (3, 1)
    """

    def __init__(
        self,
        fitted: Any,
        space: Any,
        *,
        hold: str = "step",
        horizon: int = 1,
        replan: int | None = None,
        choose: str = "mean",
        latent: str = "sample",
        bounds: str = "clip",
        ensemble: Ensemble | None = None,
        key: PRNGKey,
    ):
        model, valid = _fitting(fitted, space, horizon, bounds, "LatentPolicy")
        for word, value, known in (
            ("hold", hold, HOLDS),
            ("choose", choose, ("mean", "sample")),
            ("latent", latent, LATENTS),
        ):
            if value not in known:
                raise InputError(f"LatentPolicy: {word}={value!r} is unknown{nearest(value, known)}")
        _warn_mismatch(hold, trained_over(model, horizon))
        if hold == "step" and replan not in (None, 1):
            raise InputError(
                f"LatentPolicy: replan={replan}, but hold='step' draws z anew after every action"
            )
        steps = 1 if hold == "step" else _replan(replan, horizon, ensemble, valid)
        self.hold, self.choose, self.latent = hold, choose, latent
        head = LatentHead(model, choose, latent)
        engine = Engine(head, valid, horizon, steps, hold == "episode", ensemble)
        self._name = _described(engine)
        super().__init__(engine, key=key)

    def __repr__(self) -> str:
        held = f"z held for the {self.hold}" if self.latent == "sample" else "z = 0"
        return f"LatentPolicy({self._name}, {held}, actions {self.space})"


def trained_over(model: Any, horizon: int) -> str:
    """Name the unit that z of this model stands behind: ``"step"``, ``"chunk"`` or ``"episode"``."""
    if isinstance(model, HoldsLatent):
        return "episode"
    return "chunk" if horizon > 1 else "step"


def _fitting(fitted: Any, space: Any, horizon: int, bounds: str, who: str) -> tuple[Any, ActionSpace]:
    """Return the model and the space, checked against each other."""
    inference = fitted.inference if isinstance(fitted, Fitted) else fitted
    model = inference.bound_model() if isinstance(inference, Inference) else inference
    check_model(model, who)
    valid = action_space(space, bounds=bounds)
    if horizon < 1:
        raise InputError(f"{who}: horizon is {horizon}; it must be at least 1")
    if model.data_dim != horizon * valid.size:
        raise InputError(
            f"{who}: a row of {type(model).__name__} has {model.data_dim} columns, but {horizon} action"
            f"{'s' * (horizon > 1)} of {valid.size} make {horizon * valid.size}; set horizon="
        )
    law = laws(model)[1]
    if isinstance(valid, DiscreteActions):
        if not isinstance(law, CategoricalRow):
            raise InputError(
                f"{who}: {type(model).__name__} gives real numbers, the space has {valid.n} discrete "
                "actions; use models.CategoricalNet, or likelihoods.Categorical in a decoder"
            )
        if law.logits.shape[-1] != valid.n:
            raise InputError(
                f"{who}: the model knows {law.logits.shape[-1]} categories, the space has {valid.n} actions"
            )
    elif isinstance(law, CategoricalRow):
        raise InputError(f"{who}: {type(model).__name__} gives categories, but the space is a Box")
    return model, valid


def _replan(replan: int | None, horizon: int, ensemble: Ensemble | None, space: ActionSpace) -> int:
    if ensemble is not None and isinstance(space, DiscreteActions):
        raise InputError("an Ensemble averages actions, and discrete ones have no mean; leave it out")
    if ensemble is not None and horizon == 1:
        raise InputError("an Ensemble needs chunks that overlap: horizon is 1; leave it out")
    steps = replan if replan is not None else 1 if ensemble is not None else horizon
    if not 1 <= steps <= horizon:
        raise InputError(f"replan is {steps}; it must be from 1 to the horizon, {horizon}")
    if ensemble is not None and steps == horizon:
        raise InputError(f"an Ensemble needs chunks that overlap: replan is the whole horizon, {horizon}")
    return steps


def _warn_mismatch(hold: str, trained: str) -> None:
    if hold != trained:
        warnings.warn(
            f"LatentPolicy: z is held for the {hold}, but q was trained over the {trained}: what z means may "
            f"change within the {hold}; use hold={trained!r}, or train over the {hold}"
            if HOLDS.index(hold) > HOLDS.index(trained)
            else f"LatentPolicy: z is held for the {hold}, but q was trained over the {trained}: the policy "
            f"may change its way within the {trained}; use hold={trained!r}",
            JensenWarning,
            stacklevel=4,
        )


def _described(engine: Engine) -> str:
    name = type(engine.head.model).__name__
    if engine.horizon == 1:
        return name
    how = ", ensembled" if engine.ensemble is not None else ""
    return f"{name}, chunks of {engine.horizon} replanned after {engine.replan}{how}"
