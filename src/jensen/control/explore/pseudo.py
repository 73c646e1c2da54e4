"""Counts for what is never seen twice: how much a density model still learns from a row."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.control.explore.density import AbstractOnlineDensity
from jensen.control.explore.transitions import Foresees, Transitions
from jensen.errors import InputError, nearest, positive
from jensen.typing import Array, Float, PRNGKey, Scalar, Shaped

FORMS = ("probability", "gain")

MOST = 1e8
"""The pseudo-count where a model learns nothing from a row, or unlearns it."""


def pseudo_count(log_before: Scalar, log_after: Scalar) -> Scalar:
    r"""Return N̂ = ρ (1 − ρ') / (ρ' − ρ): the count at which a frequency would have moved so.

    Args:
        log_before: log ρ, of a probability mass, in nats; −∞ where nothing like it was seen.
        log_after: log ρ', once it was seen one more time.

    Returns:
        N̂ ≥ 0, at most ``MOST``: so much where nothing is learnt (ρ' ≤ ρ), where ρ = 1, which is 0/0 and tells
        of no count (a prior on other outcomes does), and where ρ > 1, which is no mass; see ``gain_count``.

    Example:
        >>> round(float(pseudo_count(jnp.log(3 / 10), jnp.log(4 / 11))), 4)
        3.0
    """
    left = -jnp.expm1(jnp.minimum(log_after, 0.0))
    return jnp.where(log_before >= 0, MOST, _over_gain(left, log_before, log_after))


def gain_count(log_before: Scalar, log_after: Scalar) -> Scalar:
    """Return 1/(ρ'/ρ − 1), the same for small ρ: of densities, whose units then do not matter.

    As ``pseudo_count``, between 0 and ``MOST``.
    """
    return _over_gain(jnp.ones(()), log_before, log_after)


class PseudoCounts(Foresees):
    r"""(N̂ + 1)^−exponent, N̂ the pseudo-count of features of (o, a) under a density that learns.

    Args:
        density: ``Empirical`` (frequencies), ``Refitted`` (any model with an EM step) or ``Climbed`` (any
            inference, its bound).
        features: (o, a) to the row (D,) whose density is modelled.
        form: ``"probability"``: N̂ = ρ (1 − ρ')/(ρ' − ρ), for masses. ``"gain"``: 1/(ρ'/ρ − 1), for densities
            of real rows, where ρ has units. None takes what the density says: the first of ``Empirical``, the
            second of models, whose rows may be real.
        exponent: Of the count.

    Raises:
        InputError: An unknown form, or an exponent that is not positive.

    References:
        Bellemare et al. 2016, Unifying count-based exploration and intrinsic motivation.

    Example:
        >>> from jensen.control.explore import Empirical
        >>> steps = Transitions(jnp.array([0, 0, 1]), jnp.zeros(3, int), jnp.ones(3, int))
        >>> seen = PseudoCounts(Empirical((2, 1)), lambda o, a: jnp.stack([o, a]).astype(float))
        >>> seen = seen.update(steps, key=jax.random.key(0))
        >>> round(float(seen.count(jnp.array(0), jnp.array(0))), 4)
        2.0
    """

    density: AbstractOnlineDensity
    features: Callable[[Array, Array], Array]
    form: str
    exponent: float

    def __init__(
        self,
        density: AbstractOnlineDensity,
        features: Callable[[Array, Array], Array],
        *,
        form: str | None = None,
        exponent: float = 0.5,
    ):
        form = density.form if form is None else form
        if form not in FORMS:
            raise InputError(f"PseudoCounts: form {form!r} is unknown{nearest(form, FORMS)}")
        positive("PseudoCounts", exponent=exponent)
        self.density, self.features, self.form, self.exponent = density, features, form, exponent

    def count(self, observation: Shaped[Array, "*s"], action: Shaped[Array, "*a"]) -> Scalar:
        """Return N̂."""
        return self._count(self.features(observation, action))

    def ahead(self, observation: Shaped[Array, "*s"], action: Shaped[Array, "*a"]) -> Scalar:
        """Return (N̂ + 1)^−exponent."""
        return (self.count(observation, action) + 1) ** -self.exponent

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the same for every transition."""
        x = self._rows(transitions)
        self.density.check(x, transitions.happened)
        return transitions.earned((jax.vmap(self._count)(x) + 1) ** -self.exponent)

    def update(self, transitions: Transitions, *, key: PRNGKey) -> PseudoCounts:
        """Let the density learn."""
        learned = self.density.learned(self._rows(transitions), transitions.happened, key=key)
        return eqx.tree_at(lambda b: b.density, self, learned)

    def _rows(self, transitions: Transitions) -> Float[Array, "n d"]:
        x = jax.vmap(self.features)(jnp.asarray(transitions.observation), jnp.asarray(transitions.action))
        return jnp.where((transitions.happened > 0)[:, None], x, 0)

    def _count(self, x: Float[Array, "d"]) -> Scalar:
        count = pseudo_count if self.form == "probability" else gain_count
        return count(self.density.log_prob(x), self.density.log_prob_after(x))


def _over_gain(numerator: Scalar, log_before: Scalar, log_after: Scalar) -> Scalar:
    """Return numerator/(ρ'/ρ − 1); 0 where ρ = 0, ``MOST`` where ρ' is not above ρ, and NaN of NaN."""
    seen = log_before != -jnp.inf
    gain = jnp.expm1(jnp.minimum(jnp.where(seen, log_after - log_before, 0.0), 60.0))
    learns = ~(gain <= jnp.maximum(numerator / MOST, 1e-12))
    count = jnp.where(learns, numerator / jnp.where(learns, gain, 1.0), MOST)
    return jnp.where(seen, count, 0.0)
