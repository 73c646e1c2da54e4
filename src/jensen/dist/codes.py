"""Laws over the entries of a codebook: with learned odds, and the nearest entry for certain."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist.kl import register_kl
from jensen.dist.protocol import (
    AbstractCarrying,
    AbstractDensity,
    AbstractEnumerable,
    AbstractMoments,
    AbstractRelaxable,
    Draw,
    Reparameterized,
)
from jensen.dist.stopped import stop
from jensen.typing import Array, Float, Int, PRNGKey


class Codes(AbstractEnumerable, AbstractMoments):
    """V independent choices among K places in d dimensions; z is the places chosen, joined, length V·d.

    The log-probability has one entry per choice.

    Attributes:
        places: The codebook.
        logits: Unnormalized log-probabilities of each choice.
    """

    places: Float[Array, "k d"]
    logits: Float[Array, "*b v k"]

    @property
    def support_size(self) -> int:
        """Kⱽ."""
        return self.logits.shape[-1] ** self.logits.shape[-2]

    def support(self) -> Float[Array, "size vd"]:
        """Every combination of places."""
        v, k = self.logits.shape[-2:]
        chosen = np.array(list(itertools.product(range(k), repeat=v)))
        return self.places[chosen].reshape(len(chosen), -1)

    @property
    def mean(self) -> Float[Array, "vd"]:
        """The average place of each choice, joined."""
        return (jax.nn.softmax(self.logits) @ self.places).reshape(-1)

    @property
    def variance(self) -> Float[Array, "vd"]:
        """Spread of the places around their average, along each axis."""
        squares = (jax.nn.softmax(self.logits) @ self.places**2).reshape(-1)
        return jnp.maximum(squares - self.mean**2, 0.0)

    def log_prob(self, z: Float[Array, "vd"]) -> Float[Array, "v"]:
        """Return the log-probability of each choice, in nats; what is no place is taken for the nearest."""
        chosen = nearest(self.places, z.reshape(-1, self.places.shape[-1]))
        return jnp.take_along_axis(jax.nn.log_softmax(self.logits), chosen[:, None], -1)[:, 0]

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "vd"], Float[Array, "v"]]:
        """Draw every choice."""
        chosen = jax.random.categorical(key, self.logits)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(self.logits), chosen[:, None], -1)[:, 0]
        return self.places[chosen].reshape(-1), log_p


class NearestCode(AbstractCarrying, AbstractEnumerable, AbstractRelaxable, AbstractMoments):
    """For certain the place nearest to each of V points. A draw brings a penalty for how far they are.

    Attributes:
        encoded: The points.
        places: The codebook.
        pull: Weight of the squared distance as a loss of the codebook.
        commitment: Its weight as a loss of the points.
    """

    encoded: Float[Array, "*b v d"]
    places: Float[Array, "k d"]
    pull: float
    commitment: float

    @property
    def support_size(self) -> int:
        """One."""
        return 1

    def support(self) -> Float[Array, "1 vd"]:
        """The nearest places."""
        return self.mean[None]

    @property
    def chosen(self) -> Int[Array, "v"]:
        """Which places are nearest."""
        return nearest(self.places, self.encoded)

    @property
    def mean(self) -> Float[Array, "vd"]:
        """The nearest places, joined."""
        return self.places[self.chosen].reshape(-1)

    @property
    def variance(self) -> Float[Array, "vd"]:
        """Zero."""
        return jnp.zeros(self.encoded.size)

    def log_prob(self, z: Float[Array, "vd"]) -> Float[Array, "v"]:
        """Return 0 for each point whose nearest place is in z, else −∞."""
        same = nearest(self.places, z.reshape(self.encoded.shape)) == self.chosen
        return jnp.where(same, 0.0, -jnp.inf)

    def draw(self, *, key: PRNGKey) -> Draw:
        """Return the nearest places, with the penalty."""
        near = self.places[self.chosen]
        off = (
            self.pull * (near - stop(self.encoded)) ** 2 + self.commitment * (stop(near) - self.encoded) ** 2
        )
        return Draw(near.reshape(-1), jnp.zeros(len(near)), penalty=off.sum())

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "vd"], Float[Array, "v"]]:
        """Return the nearest places."""
        out = self.draw(key=key)
        return out.z, out.log_q

    def straight_through(self) -> NearestCodeThrough:
        """Return the law whose draw hands its gradient to the points as well."""
        return NearestCodeThrough(self)


class NearestCodeThrough(AbstractCarrying, AbstractDensity, Reparameterized):
    """``NearestCode`` with a straight-through draw: its gradient reaches places and points alike.

    The places' own is that of the bound, the points' takes the nearest place to move as the point does.

    References:
        van den Oord, Vinyals & Kavukcuoglu 2017.
    """

    base: NearestCode

    def log_prob(self, z: Float[Array, "vd"]) -> Float[Array, "v"]:
        """Return 0 for each point whose nearest place is in z, else −∞."""
        return self.base.log_prob(z)

    def draw(self, *, key: PRNGKey) -> Draw:
        """Return the nearest places plus e − e, of which only the first e is differentiated."""
        out = self.base.draw(key=key)
        flat = self.base.encoded.reshape(-1)
        return Draw(out.z + (flat - stop(flat)), out.log_q, penalty=out.penalty)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "vd"], Float[Array, "v"]]:
        """Return the nearest places."""
        out = self.draw(key=key)
        return out.z, out.log_q


def nearest(places: Float[Array, "k d"], points: Float[Array, "v d"]) -> Int[Array, "v"]:
    """Return which place is nearest to each point, the first of equals."""
    places, points = stop(places), stop(points)
    return jnp.argmin(((points[:, None] - places) ** 2).sum(-1), -1)


@register_kl(NearestCode, Codes)
def _for_certain(q: NearestCode, p: Codes, z: Any) -> Float[Array, "v"]:
    return -jnp.take_along_axis(jax.nn.log_softmax(p.logits), q.chosen[:, None], -1)[:, 0]


@register_kl(NearestCodeThrough, Codes)
def _through(q: NearestCodeThrough, p: Codes, z: Any) -> Float[Array, "v"]:
    return _for_certain(q.base, p, z)
