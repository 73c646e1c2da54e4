"""Laws of a path whose every step is drawn given a carry: what remembers the steps before."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.dist.kl import kl_divergence, register_kl
from jensen.dist.protocol import (
    AbstractCarrying,
    AbstractDensity,
    AbstractRelaxable,
    Draw,
    Reparameterized,
)
from jensen.errors import InputError
from jensen.typing import Array, Bool, Float, PRNGKey, PyTree


class AbstractRecurrence(eqx.Module):
    """What carries the past: carry_t = advance(carry_{t−1}, z_{t−1}, inputs_t), z_t ~ p(z_t | carry_t)."""

    @abstractmethod
    def start(self) -> tuple[PyTree, Array]:
        """Return the carry and the z before the first step."""

    @abstractmethod
    def advance(self, carry: PyTree, z: Array, inputs: PyTree) -> PyTree:
        """Return the carry of a step, from the carry and the z of the step before and what enters."""

    @abstractmethod
    def features(self, carry: PyTree) -> Float[Array, "f"]:
        """Return the carry as the vector that networks read."""

    @abstractmethod
    def prior_from(self, carry: PyTree) -> AbstractDensity:
        """Return p(z_t | carry_t)."""


class Walk(eqx.Module):
    """What a drawn path leaves for the model.

    Attributes:
        carries: The carry of every step, leading axis T.
        laws: The law q every step was drawn from, leading axis T.
    """

    carries: PyTree
    laws: Any


def unroll(
    recurrence: AbstractRecurrence, inputs: PyTree, z: Float[Array, "t d"], before: PyTree = None
) -> PyTree:
    """Return the carries, leading axis T, along a given path.

    Args:
        recurrence: Whose carries.
        inputs: What enters it, leading axis T.
        z: The path.
        before: The carry and the z before it; ``None`` for the recurrence's start.
    """

    def step(state: tuple[PyTree, Array], at: tuple[PyTree, Array]) -> tuple[tuple[PyTree, Array], PyTree]:
        carry = recurrence.advance(*state, at[0])
        return (carry, at[1]), carry

    return jax.lax.scan(step, recurrence.start() if before is None else before, (inputs, z))[1]


def real_steps(length: int, steps: Any) -> Bool[Array, "t"] | None:
    """Return which of ``length`` steps are real; ``None`` for all."""
    return None if steps is None else jnp.arange(length) < steps


def scored_steps(length: int, steps: Any, burn_in: Any) -> Bool[Array, "t"] | None:
    """Return which of ``length`` steps are real and past a burn-in; ``None`` for all."""
    real = real_steps(length, steps)
    if burn_in is None:
        return real
    past = jnp.arange(length) >= burn_in
    return past if real is None else real & past


def per_step(entries: Float[Array, "t *groups"], real: Bool[Array, "t"] | None) -> Float[Array, "t"]:
    """Sum the groups within each step; zero where padded."""
    sums = entries.reshape(len(entries), -1).sum(-1)
    return sums if real is None else jnp.where(real, sums, 0.0)


def scores(laws: Any, z: Float[Array, "t d"], real: Bool[Array, "t"] | None) -> Float[Array, "t"]:
    """Return log-densities under stacked laws, one entry a step, zero where padded."""
    return per_step(jax.vmap(lambda law, z: law.log_prob(z))(laws, z), real)


class AbstractRecurrentPath(AbstractCarrying, AbstractDensity):
    """q(z_{1:T} | x) = ∏ q(z_t | carry_t, evidence_t), drawn by one scan over time.

    Inside the scan are the recurrence, the head and the sample; noise is made before it, log-densities are
    taken after it. One entry of a log-density per step, zero where padded; a path is zero there too.

    Attributes:
        recurrence: Whose carry it is: the model's own.
        inputs: What enters the recurrence, leading axis T.
        head: From the carry's features and one step of evidence to parameters.
        evidence: What the observations say to every step, leading axis T.
        family: Parameters to law.
        real: Which steps are real; ``None`` for all.
        burn_in: Number of leading steps that are drawn but not scored, a constant to those after: no
            gradient passes from the scored steps into them. ``None`` for none.
        before: The carry and the z before the first step; ``None`` for the recurrence's start.
        memory: The posterior's own recurrent state at the last step, for a window that goes on from it; not
            looked at here.
    """

    recurrence: eqx.AbstractVar[AbstractRecurrence]
    inputs: eqx.AbstractVar[PyTree]
    head: eqx.AbstractVar[Any]
    evidence: eqx.AbstractVar[Array]
    family: eqx.AbstractVar[Any]
    real: eqx.AbstractVar[Any]
    burn_in: eqx.AbstractVar[Any]
    before: eqx.AbstractVar[PyTree]
    memory: eqx.AbstractVar[Any]

    def draw(self, *, key: PRNGKey) -> Draw:
        """Draw a path; its carry is a ``Walk``."""
        template = self.family(self.family.initial_params())
        times = jnp.arange(len(self.evidence))
        keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(times)
        noise = jax.vmap(lambda k: template.noise(key=k))(keys)

        def step(state: tuple[PyTree, Array], at: Any) -> tuple[tuple[PyTree, Array], Any]:
            inputs, evidence, noise, t = at
            carry = self.recurrence.advance(*self._cut(state, t), inputs)
            params = self.head(self.recurrence.features(carry), evidence)
            z = self.family(params).from_noise(noise)
            return (carry, z), (carry, params, z)

        along = (self.inputs, self.evidence, noise, times)
        before = self.recurrence.start() if self.before is None else self.before
        _, (carries, params, z) = jax.lax.scan(step, before, along)
        laws = jax.vmap(self.family)(params)
        z = self._padded(z)
        if self.burn_in is not None:
            z = jnp.where(times[:, None] < self.burn_in, jax.lax.stop_gradient(z), z)
        return Draw(z, scores(laws, z, self._scored), carry=Walk(carries, laws))

    def log_prob(self, z: Float[Array, "t d"]) -> Float[Array, "t"]:
        """Return log q(z_t | z_{1:t−1}, x) of every step, in nats."""
        carries = unroll(self.recurrence, self.inputs, z, self.before)
        params = jax.vmap(lambda c, e: self.head(self.recurrence.features(c), e))(carries, self.evidence)
        return scores(jax.vmap(self.family)(params), z, self._scored)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "t d"], Float[Array, "t"]]:
        """Draw a path with its log-density."""
        out = self.draw(key=key)
        return out.z, out.log_q

    @property
    def _scored(self) -> Bool[Array, "t"] | None:
        if self.burn_in is None:
            return self.real
        past = jnp.arange(len(self.evidence)) >= self.burn_in
        return past if self.real is None else self.real & past

    def _cut(self, state: tuple[PyTree, Array], t: Any) -> tuple[PyTree, Array]:
        """Hold constant what the burn-in left behind; where there was none, the start stays trainable."""
        if self.burn_in is None:
            return state
        at_end = (t > 0) & (t == self.burn_in)
        return jax.tree.map(lambda leaf: jnp.where(at_end, jax.lax.stop_gradient(leaf), leaf), state)

    def _padded(self, z: Float[Array, "t d"]) -> Float[Array, "t d"]:
        return z if self.real is None else jnp.where(self.real[:, None], z, 0.0)


class ReparameterizedPath(AbstractRecurrentPath, Reparameterized):
    """A recurrent path of steps that are differentiable functions of noise."""

    recurrence: AbstractRecurrence
    inputs: PyTree
    head: Any
    evidence: Array
    family: Any
    real: Any = None
    burn_in: Any = None
    before: PyTree = None
    memory: Any = None


class RelaxablePath(AbstractRecurrentPath, AbstractRelaxable):
    """A recurrent path of discrete steps."""

    recurrence: AbstractRecurrence
    inputs: PyTree
    head: Any
    evidence: Array
    family: Any
    real: Any = None
    burn_in: Any = None
    before: PyTree = None
    memory: Any = None

    def straight_through(self) -> ReparameterizedPath:
        """Return the path whose every sample carries the gradient of its mean."""
        return ReparameterizedPath(
            self.recurrence,
            self.inputs,
            self.head,
            self.evidence,
            StraightThroughFamily(self.family),
            self.real,
            self.burn_in,
            self.before,
            self.memory,
        )


class StraightThroughFamily(eqx.Module):
    """A family's laws with straight-through samples."""

    base: Any

    def initial_params(self) -> Float[Array, "p"]:
        """The parameters the family starts from."""
        return self.base.initial_params()

    def __call__(self, params: Float[Array, "p"]) -> Any:
        """Build the law."""
        return self.base(params).straight_through()


class StepwisePrior(AbstractDensity):
    """p(z_t | carry_t) of every step, at the carries of one drawn path.

    Attributes:
        laws: The prior of every step, leading axis T.
        drawn_from: The laws q of every step, for the closed-form KL; ``None`` where there are none.
        real: Which steps are real and scored; ``None`` for all.
    """

    laws: Any
    drawn_from: Any = None
    real: Any = None

    def log_prob(self, z: Float[Array, "t d"]) -> Float[Array, "t"]:
        """Return log p(z_t | carry_t) of every step, in nats, the carries as they are."""
        return scores(self.laws, z, self.real)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "t d"], Float[Array, "t"]]:
        """Refuse: the carries were made for another path.

        Raises:
            InputError: Always.
        """
        raise InputError("StepwisePrior: its carries belong to one path; draw new ones with simulate(like)")


@register_kl(AbstractRecurrentPath, StepwisePrior)
def _step_by_step(q: AbstractRecurrentPath, p: StepwisePrior, z: Any) -> Float[Array, "t"]:
    each: Any = jax.vmap(lambda q, p: kl_divergence(q, p, None))(p.drawn_from, p.laws)
    return per_step(each, p.real)


class AncestralPath(AbstractDensity):
    """p(z_{1:T}) = ∏ p(z_t | carry_t), the prior of a recurrent model as a law of the whole path.

    Attributes:
        recurrence: The model.
        inputs: What enters it, leading axis T.
        real: Which steps are real; ``None`` for all.
    """

    recurrence: AbstractRecurrence
    inputs: PyTree
    real: Any = None

    def log_prob(self, z: Float[Array, "t d"]) -> Float[Array, "t"]:
        """Return log p(z_t | z_{1:t−1}) of every step, in nats."""
        carries = unroll(self.recurrence, self.inputs, z)
        return scores(jax.vmap(self.recurrence.prior_from)(carries), z, self.real)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "t d"], Float[Array, "t"]]:
        """Draw a path with its log-density; zero where padded."""
        z, carries = self.walk(self.recurrence.start(), key=key)
        return z, scores(jax.vmap(self.recurrence.prior_from)(carries), z, self.real)

    def walk(self, state: tuple[PyTree, Array], *, key: PRNGKey) -> tuple[Float[Array, "t d"], PyTree]:
        """Draw a path onwards from a carry and its z; return it with its carries, leading axes T."""

        def step(state: tuple[PyTree, Array], at: tuple[PyTree, Array]) -> tuple[tuple[PyTree, Array], Any]:
            inputs, t = at
            carry = self.recurrence.advance(*state, inputs)
            law = self.recurrence.prior_from(carry)
            z, _ = law.sample_and_log_prob(key=jax.random.fold_in(key, t))
            return (carry, z), (z, carry)

        length = len(jax.tree.leaves(self.inputs)[0])
        _, (z, carries) = jax.lax.scan(step, state, (self.inputs, jnp.arange(length)))
        return (z if self.real is None else jnp.where(self.real[:, None], z, 0.0)), carries
