"""Windows one after another: what each step sees, and what is handed on from it to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Carried, CarriesOn, Datum, End, Estimate, Inference, MeanOverDraws
from jensen.errors import InputError
from jensen.fit.plans import AbstractPlan, cut_windows
from jensen.gradients import Analytic
from jensen.models.sequence.recurrent import AbstractRecurrentModel
from jensen.typing import Array, Int, PRNGKey, PyTree


@dataclass(frozen=True)
class Lanes(AbstractPlan):
    """The next window of each of ``size`` lanes of consecutive windows: see ``fit.CarriedWindows``."""

    size: int
    length: int

    def windows(self, rows: Datum) -> Any:
        """Count the windows of each sequence."""
        if rows.steps is None:
            num, steps = rows.x.shape[:2]
            return np.full(num, -(-steps // self.length))
        return -(-rows.steps // self.length)

    def steps_per_epoch(self, rows: Datum) -> Any:
        """Whole batches of windows."""
        return self.windows(rows).sum() // self.size

    def work(self, rows: Datum) -> int:
        """As many steps as a batch has."""
        return self.size * self.length

    def order(self, rows: Datum, *, key: PRNGKey) -> tuple[Array, Array, Array]:
        """Shuffle the sequences, and draw the window at which the first lane begins.

        Returns:
            The sequences in order, the number of windows up to the end of each, and where to begin.
        """
        to_rows, to_first = jax.random.split(key)
        order = jax.random.permutation(to_rows, rows.x.shape[0])
        ends = jnp.cumsum(jnp.asarray(self.windows(rows))[order])
        return order, ends, jax.random.randint(to_first, (), 0, ends[-1])

    def pick(
        self, rows: Datum, order: tuple[Array, Array, Array], place: Int[Array, ""], shape: int
    ) -> Datum:
        """Cut the window of every lane; the list of windows is a ring."""
        which, ends, first = order
        at = (first + jnp.arange(self.size) * (ends[-1] // self.size) + place) % ends[-1]
        slot = jnp.searchsorted(ends, at, side="right")
        which, number = which[slot], at - jnp.where(slot == 0, 0, ends[slot - 1])
        begin, steps = number * self.length, rows.x.shape[1]
        length = jnp.full(which.shape, steps) if rows.steps is None else rows.steps[which]
        end = jnp.minimum(begin + self.length, length)
        # the mean over windows of sums over steps, scaled, is the mean over sequences of sums over steps
        windows = cut_windows(rows, which, begin, end, self.length, ends[-1] / len(ends))
        before = jnp.maximum(begin - 1, 0)
        cond = jax.tree.map(lambda leaf: leaf[which, jnp.minimum(before, leaf.shape[1] - 1)], rows.cond)
        carried = Carried((number > 0) & (place > 0), cond)
        return eqx.tree_at(lambda d: d.carried, windows, carried, is_leaf=lambda leaf: leaf is None)


def onset(inference: Inference, plan: AbstractPlan) -> PyTree:
    """Return what each lane goes on from at first; ``None`` where a plan has no lanes."""
    if not isinstance(plan, Lanes):
        return None
    end = inference.posterior.onset(inference.bound_model())
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.size, *leaf.shape)), end)


def going_on(batch: Datum, lanes: PyTree) -> Datum:
    """Return a batch with what its windows go on from filled in."""
    if batch.carried is None:
        return batch
    return eqx.tree_at(lambda d: d.carried.end, batch, lanes, is_leaf=lambda leaf: leaf is None)


def ends(each: Estimate, batch: Datum) -> PyTree:
    """Return where the windows of a batch ended: at the last real step of the first draw, held constant."""
    if batch.carried is None:
        return None
    assert each.terms is not None and batch.steps is not None  # no other estimators and plans have lanes
    walked = each.terms.carry.carries, each.terms.z
    last = jax.tree.map(lambda leaf: jax.vmap(lambda path, n: path[0, n - 1])(leaf, batch.steps), walked)
    return jax.lax.stop_gradient(End(last, each.q.memory))


def check_carried(inference: Inference, plan: Lanes) -> None:
    """Refuse members that cannot carry a state from window to window.

    Raises:
        InputError: If the model draws no state, the posterior looks ahead, or the objective weighs paths.
    """
    model, posterior, objective = inference.model, inference.posterior, inference.objective
    name, instead = f"CarriedWindows: {type(model).__name__}", f"fit.Windows({plan.length}, burn_in=...)"
    if not isinstance(model, AbstractRecurrentModel) or isinstance(inference.gradient, Analytic):
        raise InputError(f"{name} draws no state that a window could hand on; use {instead}")
    if not isinstance(posterior, CarriesOn):
        raise InputError(
            f"{name} with {type(posterior).__name__} looks ahead, beyond the end of a window; use "
            f"posteriors.Filtering, or {instead}"
        )
    if not isinstance(objective, MeanOverDraws):
        raise InputError(
            f"{name} under {type(objective).__name__}: paths are weighed as a whole, and one alone goes on; "
            f"use objectives.ELBO(), or fit.Windows({plan.length})"
        )
