"""A linear-Gaussian model along one sequence: all its steps for the Kalman recursions, and one by one."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import kalman
from jensen.core import Datum, HasMarkovLatents
from jensen.dist import FullGaussian, GaussianRow
from jensen.dist.path_gaussian import GaussianChain
from jensen.models.sequence.linear_gaussian_steps import at, first, lengths, whole
from jensen.models.sequence.linear_gaussian_units import HasDataUnits
from jensen.typing import Array, Bool, Float, Int, Scalar


class HasChain(HasDataUnits, HasMarkovLatents):
    """What of the model depends on a datum: its steps, what is seen of it, what its inputs add, its laws."""

    input_dim: eqx.AbstractVar[int]

    def chain(self, datum: Datum) -> kalman.Chain:
        """Return the chain that the Kalman recursions take, observations in units of their noise."""
        seen, t = self.seen(datum), datum.x.shape[0]
        out, dynamics = first(self.emission, t), first(self.dynamics, t - 1)
        scale = out.scale
        y = self.frame.enter(jnp.where(seen, jnp.asarray(datum.x), 0.0))
        emission = out.matrix / scale[..., None]
        return kalman.Chain(
            self.start.mean,
            self.start.noise.tril,
            self._before_end(dynamics.matrix, datum),
            self.drift(datum),
            self._before_end(dynamics.noise.tril, datum),
            # rows of padded steps stay: what comes after the end changes nothing before it
            emission if datum.mask is None else jnp.where(jnp.asarray(datum.mask)[..., None], emission, 0.0),
            jnp.where(seen, (y - self.shift(datum)) / scale, 0.0),
        )

    def _before_end(self, matrices: Float[Array, "*s n n"], datum: Datum) -> Float[Array, "*s n n"]:
        """Return one matrix a step, the identity from the last real one on, as where no step follows."""
        if matrices.ndim == 2:
            return matrices
        return jnp.where(self.real(datum)[1:, None, None], matrices, jnp.eye(matrices.shape[-1]))

    def seen(self, datum: Datum) -> Bool[Array, "t d"]:
        """Say which entries are real and observed."""
        real = jnp.broadcast_to(self.real(datum)[:, None], datum.x.shape)
        return real if datum.mask is None else real & jnp.asarray(datum.mask)

    def real(self, datum: Datum) -> Bool[Array, "t"]:
        """Say which steps are real."""
        t = datum.x.shape[0]
        return jnp.arange(t) < (t if datum.steps is None else jnp.asarray(datum.steps))

    def log_scale(self, datum: Datum) -> Scalar:
        """Return Σ log(√(2π) scale) over observed entries; counted first, so padding cannot round."""
        seen, scale = self.seen(datum), first(self.emission, datum.x.shape[0]).scale
        each = jnp.log(scale * jax.lax.stop_gradient(self.frame.scale)) + 0.5 * np.log(2 * np.pi)
        if each.ndim == 1:
            return (seen.sum(0) * each).sum()
        add = lambda total, row: (total + row, None)  # noqa: E731
        return jax.lax.scan(add, jnp.zeros(()), jnp.where(seen, each, 0.0).sum(1))[0]

    def inputs(self, datum: Datum) -> Float[Array, "t u"]:
        """Return standardized inputs, one row a step; zero where there are none."""
        t = datum.x.shape[0]
        if not self.input_dim:
            return jnp.zeros((t, 0))
        u = self.input_frame.enter(jnp.asarray(datum.cond))
        u = jnp.concatenate([u, jnp.zeros((t - len(u), self.input_dim))])
        return jnp.where(self.real(datum)[:, None], u, 0.0)

    def drift(self, datum: Datum) -> Float[Array, "s n"]:
        """Return what moves the state besides itself: B u_t + b."""
        u = self.inputs(datum)[:-1]
        return first(self.dynamics, len(u)).drift(u)

    def shift(self, datum: Datum) -> Float[Array, "t d"]:
        """Return what shows in x besides the state, D u_t + d, in standardized coordinates."""
        u = self.inputs(datum)[:, : self.emission.inputs.shape[1]]
        return first(self.emission, len(u)).drift(u)

    def prior_of(self, cond: Any) -> GaussianChain:
        """Return p(z | u), all steps taken for real; without inputs, for paths of any length, or of T."""
        if self.input_dim:
            u = self.input_frame.enter(jnp.asarray(cond))
            return self.prior_path(first(self.dynamics, len(u)).drift(u), None)
        moves = min(lengths(self.dynamics), default=None)
        if moves is None:
            return self.prior_path(whole(self.dynamics.offset), None)
        return self.prior_path(first(self.dynamics, moves).drift(jnp.zeros((moves, 0))), None)

    def prior_path(self, drift: Float[Array, "*s n"], steps: Any) -> GaussianChain:
        """Return the chain that z is, given what moves it besides itself."""
        start = self.start
        dynamics = first(self.dynamics, len(drift)) if drift.ndim == 2 else whole(self.dynamics)
        return GaussianChain(start.mean, start.noise.tril, dynamics.matrix, drift, dynamics.noise.tril, steps)

    def initial(self, datum: Datum) -> FullGaussian:
        """Return p(z_1)."""
        return FullGaussian(self.start.mean, self.start.noise.tril)

    def transition(self, z: Float[Array, "n"], t: Int[Array, ""], datum: Datum) -> FullGaussian:
        """Return p(z_{t+1} | z_t, u_t)."""
        now = at(self.dynamics, t)
        moved = now.matrix @ z + now.offset
        if self.input_dim:
            moved = moved + now.inputs @ self.input_frame.enter(jnp.asarray(datum.cond)[t])
        return FullGaussian(moved, now.noise.tril)

    def observation_at(self, z: Float[Array, "n"], t: Int[Array, ""], datum: Datum) -> GaussianRow:
        """Return p(x_t | z_t, u_t), in the data's own units."""
        now = at(self.emission, t)
        loc = now.matrix @ z + now.offset
        if now.inputs.shape[1]:
            loc = loc + now.inputs @ self.input_frame.enter(jnp.asarray(datum.cond)[t])
        return GaussianRow(self.frame.leave(loc), jax.lax.stop_gradient(self.frame.scale) * now.scale)

    def log_likelihood_at(self, z: Float[Array, "n"], t: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(x_t | z_t) over the observed entries, in nats; zero for a padded step."""
        seen, law = self.seen(datum)[t], self.observation_at(z, t, datum)
        each = law.log_prob_entries(jnp.where(seen, jnp.asarray(datum.x)[t], 0.0))
        return jnp.where(seen, each, 0.0).sum()


def steps_of(datum: Datum) -> Any:
    """Return the number of real steps; ``None`` for all."""
    return None if datum.steps is None else jnp.asarray(datum.steps)
