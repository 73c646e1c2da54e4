"""Behaviour cloning: from demonstrations to a policy, in one call."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import jax

from jensen.control.policies.engine import ModelPolicy
from jensen.control.policies.fitted import LatentPolicy, MixturePolicy
from jensen.control.recipes import Settings, layout, recipe
from jensen.control.spaces import ActionSpace, action_space, demonstrated, space_from
from jensen.core import Inference
from jensen.datasets import Episodes, load_episodes
from jensen.errors import InputError, check_key
from jensen.fit import Data, Fitted, Patience, Run, gradient, load, save
from jensen.typing import PRNGKey

_DRAWS = 64
"""Draws behind each bound on the density of held-out actions."""

_ROWS, _UNIT_ROWS, _EPISODES = 256, 1_024, 4
"""Rows a gradient step; where z stands behind an episode about so many, of so many episodes at least."""

_CLIP = 10.0
"""Greatest norm of a gradient."""

_NOTE = "imitation"
"""Under which name a run's facts hold what the policy needs."""


@dataclass(frozen=True, eq=False)
class Imitation:
    """A policy learnt from demonstrations, and how it was learnt.

    Attributes:
        policy: Acts.
        fitted: The fitted model, its history and why training stopped.
        kind: ``"mdn"``, ``"cvae"``, ``"gaussian"``, ``"mse"`` or ``"categorical"``.
        settings: How it was imitated.
        space: Of actions.
        held_out: The episodes held out; None if there are none.
        seconds: Wall time of training.
    """

    policy: ModelPolicy
    fitted: Fitted
    kind: str
    settings: Settings
    space: ActionSpace
    held_out: Episodes | None
    seconds: float

    @property
    def nll_kind(self) -> str:
        """``"exact"``, or ``"upper bound"`` where the density is only bounded."""
        return "upper bound" if self.kind == "cvae" else "exact"

    @cached_property
    def held_out_nll(self) -> float | None:
        """−log p per action on the episodes held out, nats; None if there are none."""
        return None if self.held_out is None else self.nll(self.held_out)

    def nll(self, episodes: Episodes) -> float:
        """Return −log p per action of these episodes, in nats; of a cvae an upper bound.

        Of chunks it is the mean over all chunks of the density of one, per action: not to be compared with
        that of single steps. Under ``bounds="squash"`` the density is that of actions before tanh.

        Raises:
            InputError: Actions outside the space.
        """
        from jensen.use import score

        real = self.space.to_model(episodes)
        data = layout(self.kind, self.settings, real)
        actions = real.lengths.sum() if data.mask is None else data.mask.sum() / self.space.size
        return -float(score(self.fitted, data, num_samples=_DRAWS).sum() / actions)

    def __repr__(self) -> str:
        lines = [f"Imitation: {self.policy!r}", f"stopped: {self.fitted.stop_reason}, {self.seconds:.1f} s"]
        if (nll := self.held_out_nll) is not None:
            bound = "at most " if self.nll_kind != "exact" else ""
            count = len(self.held_out or ())
            lines.append(f"held-out −log p: {bound}{nll:.3f} nats per action ({count} episodes)")
        return "\n".join(lines)


def imitate(
    episodes: Any,
    policy: str = "mdn",
    *,
    key: PRNGKey,
    space: Any = None,
    run: Run | str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Imitation:
    """Clone the behaviour in recorded episodes.

    ``"mdn"`` (a mixture density network) and ``"cvae"`` (a latent drawn once and held) keep several ways to
    act apart; ``"gaussian"`` and ``"mse"`` know one, between them; ``"categorical"`` is for discrete actions.

    Args:
        episodes: ``datasets.Episodes``, or anything ``datasets.load_episodes`` reads.
        policy: What to fit.
        key: Randomness: weights, batches, the policy's own.
        space: The environment's action space. By default what was demonstrated: the codes, or the range.
        run: A run directory, to keep the model and to go on after a kill; see ``load_policy``.
        settings: Anything in ``Settings``: ``hold``, ``horizon``, ``widths``, ``components``, ``latent``,
            ``steps``, ``batch_size``, ``learning_rate``, ``validation``, ...

    Returns:
        The policy, and how it was learnt.

    Raises:
        InputError: In one line: unknown names, actions outside the space (which episode, which step), chunks
            longer than every episode, discrete actions to a Gaussian head.

    Example:
        >>> import jax, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> states = [rng.normal(size=(11, 2)) for _ in range(4)]
        >>> actions = [s[:-1, :1] for s in states]
        >>> learnt = imitate((states, actions), "mse", steps=20, widths=(8,), key=jax.random.key(0))
        >>> learnt.policy.predict(np.zeros((3, 2))).shape
        (3, 1)
    """
    check_key(key)
    chosen = Settings.of(policy, settings)
    recorded = load_episodes(episodes)
    valid = (
        demonstrated(recorded, bounds=chosen.bounds)
        if space is None
        else action_space(space, bounds=chosen.bounds)
    )
    valid.to_model(recorded)  # checked before the split renumbers episodes
    to_weights, to_fit, to_policy = jax.random.split(key, 3)
    train, held = recorded, None
    if chosen.validation and len(recorded) > 1:
        train, held = recorded.split(chosen.validation, int(jax.random.randint(to_fit, (), 0, 2**30)))
    inference = recipe(policy, chosen, valid, recorded.observation_dim, key=to_weights)
    parts = [None if part is None else layout(policy, chosen, valid.to_model(part)) for part in (train, held)]
    began = time.perf_counter()
    fitted = _fit(inference, chosen, parts, run, key=to_fit)
    seconds = time.perf_counter() - began
    fitted = replace(fitted, meta={**fitted.meta, _NOTE: _note(policy, chosen, valid)})
    if run is not None:
        save(fitted, run.folder if isinstance(run, Run) else os.fspath(run))
    acting = _policy(policy, chosen, valid, fitted, key=to_policy)
    return Imitation(acting, fitted, policy, chosen, valid, held, seconds)


def load_policy(folder: str | os.PathLike[str], *, key: PRNGKey) -> ModelPolicy:
    """Return the policy that ``imitate(..., run=folder)`` kept.

    Args:
        folder: The run directory.
        key: Randomness of the policy.

    Raises:
        CorruptRunError: The run is missing or damaged.
        InputError: It holds no imitation.
    """
    fitted = load(os.fspath(folder))
    note = fitted.meta.get(_NOTE)
    if note is None:
        raise InputError(f"{os.fspath(folder)}: holds a fit, but no imitation; fit it by control.imitate")
    options: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in note["settings"].items()
    }
    return _policy(note["kind"], Settings(**options), space_from(note["space"]), fitted, key=key)


def _fit(
    inference: Inference,
    settings: Settings,
    parts: Sequence[Data | None],
    run: Run | str | os.PathLike[str] | None,
    *,
    key: PRNGKey,
) -> Fitted:
    import optax

    train, held = parts
    assert train is not None
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
    steps = train.x.shape[1] if train.x.ndim == 3 else 1
    size = settings.batch_size or (_ROWS if steps == 1 else max(_UNIT_ROWS // steps, _EPISODES))
    return gradient(
        inference,
        train,
        key=key,
        optimizer=optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(rate)),
        steps=settings.steps,
        batch_size=min(size, train.num_data),
        validation=held,
        stop=None if settings.patience is None else Patience(settings.patience),
        run=run if run is None or isinstance(run, Run) else Run(os.fspath(run)),
    )


def _policy(
    kind: str, settings: Settings, space: ActionSpace, fitted: Fitted, *, key: PRNGKey
) -> ModelPolicy:
    more: dict[str, Any] = {
        "horizon": settings.horizon,
        "replan": settings.replan,
        "choose": settings.choose,
        "key": key,
    }
    if kind == "cvae":
        return LatentPolicy(fitted, space, hold=settings.hold or "episode", **more)
    return MixturePolicy(fitted, space, **more)


def _note(kind: str, settings: Settings, space: ActionSpace) -> dict[str, Any]:
    """Return what a policy needs besides its model, JSON-ready."""
    options = {**asdict(settings), "widths": list(settings.widths)}
    return {"kind": kind, "settings": options, "space": space.facts()}
