"""What a fitted posterior makes of observations as they come: codes for a learner. Knows no Gymnasium."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.replay.buffer import Replay
from jensen.control.replay.data import entered, width_of
from jensen.control.replay.layout import Layout
from jensen.control.spaces import ActionSpace
from jensen.control.worlds.base import nothing_seen, seen
from jensen.core import CarriesOn, Datum, HasRecurrence, IndexesData, Inference
from jensen.errors import InputError
from jensen.fit import Fitted
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, Float, PRNGKey, PyTree
from jensen.use.latents import posterior_mean


class Shown(NamedTuple):
    """What N environments show.

    Attributes:
        rows: Observations, (N, D).
        actions: Those before them, (N, U).
        fresh: Where an episode begins, (N,): what was remembered and the action do not count.
        live: Where anything is shown, (N,).
    """

    rows: Any
    actions: Any
    fresh: Any
    live: Any


class AbstractEncoder(ABC):
    """From rows of observations to codes, in N environments at once.

    Attributes:
        dim: Columns of a code.
    """

    dim: int

    @abstractmethod
    def begin(self, num: int, *, key: PRNGKey) -> PyTree:
        """Return what is remembered of N environments before anything is seen."""

    @abstractmethod
    def see(self, memory: PyTree, shown: Shown) -> tuple[PyTree, np.ndarray]:
        """Return memory and codes (N, L); of environments that are not live, what was remembered."""


class FunctionEncoder(AbstractEncoder):
    """Any function from rows (N, D) to codes (N, L).

    Args:
        function: Of numpy arrays.
        layout: Of observations.
    """

    def __init__(self, function: Callable[[np.ndarray], Any], layout: Layout):
        self.function = function
        found = np.shape(function(np.zeros((2, layout.size), layout.real)))
        if len(found) != 2 or found[0] != 2:
            raise InputError(
                f"an encoder makes codes (N, L) of rows (N, {layout.size}); this one made {found} of 2 rows"
            )
        self.dim = found[1]

    def begin(self, num: int, *, key: PRNGKey) -> PyTree:
        """Return nothing: nothing is remembered."""
        return None

    def see(self, memory: PyTree, shown: Shown) -> tuple[PyTree, np.ndarray]:
        """Call the function."""
        return None, np.asarray(self.function(shown.rows), np.float32)


class LatentEncoder(AbstractEncoder):
    """E_q[z | o] under a model of single observations; parameters enter the compiled call as arguments.

    Args:
        inference: Whose posterior is asked.
        layout: Of observations.
    """

    def __init__(self, inference: Inference, layout: Layout):
        if isinstance(inference.posterior, IndexesData):
            name = type(inference.posterior).__name__
            raise InputError(f"{name} has no posterior for new observations; use posteriors.Amortized")
        check_width(layout.size, inference.model.data_dim, inference)
        self.params, static = eqx.partition(inference, eqx.is_array)

        def means(params: PyTree, rows: Float[Array, "n d"], bits: Array) -> Float[Array, "n l"]:
            own = eqx.combine(params, static)
            keys = jax.random.split(jax.random.wrap_key_data(bits), len(rows))
            return jax.vmap(lambda x, key: posterior_mean(own, Datum(x), key).reshape(-1))(rows, keys)

        self.static, self._means = static, jax.jit(means)
        self._bits = jax.random.key_data(jax.random.key(0))
        like = jax.ShapeDtypeStruct((1, layout.size), jnp.result_type(float))
        self.dim = jax.eval_shape(means, self.params, like, self._bits).shape[-1]

    def begin(self, num: int, *, key: PRNGKey) -> PyTree:
        """Return nothing: nothing is remembered."""
        return None

    def see(self, memory: PyTree, shown: Shown) -> tuple[PyTree, np.ndarray]:
        """Return the posterior means."""
        return None, np.asarray(self._means(self.params, shown.rows, self._bits), np.float32)

    def with_parameters(self, inference: Inference) -> LatentEncoder | None:
        """Return the same program with other parameters; None where they are of another structure."""
        return _with_parameters(self, inference)


class BeliefEncoder(AbstractEncoder):
    """(carry, E[z_t]) of a posterior that filters, carried from step to step; see ``ModelWorld``.

    Args:
        inference: Whose posterior is asked.
        layout: Of observations.
        width: Columns of an action.
    """

    def __init__(self, inference: Inference, layout: Layout, width: int):
        model, posterior = inference.model, inference.posterior
        if not isinstance(model, HasRecurrence) or not isinstance(posterior, CarriesOn):
            raise InputError(
                f"{type(model).__name__} under {type(posterior).__name__} cannot follow an episode as it "
                "happens; fit models.RSSM with posteriors.Filtering"
            )
        check_width(layout.size, inference.model.seen_dim, inference)
        if inference.model.cond_dim != width:
            raise InputError(
                f"{type(model).__name__} was fitted to actions of {inference.model.cond_dim} columns, the "
                f"environment's have {width}"
            )
        self.params, static = eqx.partition(inference, eqx.is_array)

        def start(params: PyTree, num: int) -> PyTree:
            belief = nothing_seen(eqx.combine(params, static))
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num, *jnp.shape(leaf))), belief)

        def step(params: PyTree, memory: PyTree, shown: Shown) -> tuple[PyTree, Array]:
            (old, bits), own = memory, eqx.combine(params, static)
            now, later = jax.random.split(jax.random.wrap_key_data(bits))
            keys = jax.random.split(now, len(shown.rows))
            before = jax.tree.map(partial(_where, shown.fresh), start(params, len(keys)), old)
            one = lambda belief, row, act, key: seen(own, belief, row, act, key=key)  # noqa: E731
            new = jax.vmap(one)(before, shown.rows, shown.actions, keys)
            new = jax.tree.map(partial(_where, shown.live), new, old)
            return (new, jax.random.key_data(later)), jax.vmap(partial(_code, own))(new)

        self.static, self._start = static, jax.jit(start, static_argnums=1)
        self._step: Any = jax.jit(step)
        memory = jax.eval_shape(lambda: (start(self.params, 1), jax.random.key_data(jax.random.key(0))))
        rows, acts = (jax.ShapeDtypeStruct((1, n), jnp.result_type(float)) for n in (layout.size, width))
        flag = jax.ShapeDtypeStruct((1,), bool)
        self.dim = jax.eval_shape(step, self.params, memory, Shown(rows, acts, flag, flag))[1].shape[-1]

    def begin(self, num: int, *, key: PRNGKey) -> PyTree:
        """Return N beliefs before anything was seen, and random bits to go on from."""
        return self._start(self.params, num), jax.random.key_data(key)

    def see(self, memory: PyTree, shown: Shown) -> tuple[PyTree, np.ndarray]:
        """Take every belief one step on."""
        memory, codes = self._step(self.params, memory, shown)
        return memory, np.asarray(codes, np.float32)

    def with_parameters(self, inference: Inference) -> BeliefEncoder | None:
        """Return the same program with other parameters; None where they are of another structure."""
        return _with_parameters(self, inference)


@dataclass(frozen=True)
class Refresh:
    """When an encoder is fitted anew while a learner acts, and how.

    Args:
        replay: Where the wrapped environments' own observations are kept.
        every: Episodes, of all environments together, from one fit to the next.
        refit: From what was fitted and the replay to what is fitted next, as in ``lambda fitted, replay:
            fit.gradient(fitted.inference, replay.to_rows(), ...)``, which goes on from where it was.

    Raises:
        InputError: ``every`` is not positive.
    """

    replay: Replay
    every: int
    refit: Callable[[Any, Replay], Any]

    def __post_init__(self):
        if self.every < 1:
            raise InputError(f"Refresh: every is {self.every}; it must be at least 1")


def encoder_of(source: Any, layout: Layout, space: ActionSpace) -> AbstractEncoder:
    """Return the encoder that suits what was fitted.

    Args:
        source: What ``fit.*`` returned, an ``Inference``, a function from rows (N, D) to codes (N, L), or an
            encoder.
        layout: Of observations.
        space: Of actions.

    Raises:
        InputError: A posterior that cannot speak of observations as they come, or other widths.
    """
    if isinstance(source, AbstractEncoder):
        return source
    if isinstance(source, Fitted | Inference):
        inference = inference_in(source)
        if is_stepwise(inference.model):
            return BeliefEncoder(inference, layout, width_of(space))
        return LatentEncoder(inference, layout)
    if callable(source):
        return FunctionEncoder(source, layout)
    raise InputError(f"an encoder is what a fit returned, an Inference, or a function, not {type(source)}")


def inference_in(source: Any) -> Inference:
    """Return the inference of what a fit returned."""
    return source.inference if isinstance(source, Fitted) else source


def refreshed(encoder: AbstractEncoder, source: Any, layout: Layout, space: ActionSpace) -> AbstractEncoder:
    """Return an encoder by what was fitted anew, with the compiled program of the one before where that fits.

    Raises:
        InputError: Codes of another width.
    """
    if isinstance(encoder, LatentEncoder | BeliefEncoder) and isinstance(source, Fitted | Inference):
        new = encoder.with_parameters(inference_in(source))
        if new is not None:
            return new
    made = encoder_of(source, layout, space)
    if made.dim != encoder.dim:
        raise InputError(
            f"the refitted encoder makes codes of {made.dim} numbers, the one before made {encoder.dim}; "
            "refit must keep the sizes"
        )
    return made


def _with_parameters(encoder: Any, inference: Inference) -> Any:
    params, static = eqx.partition(inference, eqx.is_array)
    same = jax.tree.structure(params) == jax.tree.structure(encoder.params)
    if not same or not eqx.tree_equal(static, encoder.static):
        return None
    new = object.__new__(type(encoder))
    new.__dict__.update(encoder.__dict__, params=params)
    return new


def check_width(found: int, expected: int, inference: Inference) -> None:
    """Refuse observations of another width than the model's."""
    if found != expected:
        raise InputError(
            f"observations have {found} numbers, but {type(inference.model).__name__} is expecting {expected}"
        )


def actions_read(space: ActionSpace, actions: Any) -> np.ndarray:
    """Return actions of N environments as models read them, (N, U)."""
    return np.asarray(entered(space, np.asarray(actions)), np.float32)


def _code(inference: Inference, belief: Any) -> Array:
    carry = inference.bound_model().features(belief.end.state[0])
    return jnp.concatenate([jnp.reshape(carry, -1), jnp.reshape(belief.law.mean, -1)])


def _where(fresh: Any, new: Array, old: Array) -> Array:
    return jnp.where(fresh.reshape(-1, *[1] * (new.ndim - 1)), new, old)
