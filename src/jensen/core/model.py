"""The first socket: models p(x, z | c), and what some of them can do besides."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx

from jensen.core.datum import Datum
from jensen.core.verdict import AbstractInference, Verdict
from jensen.dist import AbstractDensity, AbstractDistribution, AbstractObservation, AbstractRecurrence, Draw
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


class AbstractModel(eqx.Module):
    """A joint law of an observation and its latents, given a condition."""

    @abstractmethod
    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(x, z | c) in nats for one datum."""


class AbstractLatentModel(AbstractModel):
    """A model that separates its prior from its likelihood."""

    prior_law: eqx.AbstractVar[type[AbstractDistribution]]

    @abstractmethod
    def prior_of(self, cond: Any) -> AbstractDensity:
        """Return p(z | c)."""

    @abstractmethod
    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(x | z, c) over the observed entries, in nats."""


class AbstractCarryModel(AbstractLatentModel):
    """A model whose prior and likelihood reuse what the posterior's law computed on its way (an RSSM).

    A draw's ``carry`` holds it, so the recurrent core runs once.
    """

    @abstractmethod
    def prior_given(self, draw: Draw, datum: Datum) -> AbstractDensity:
        """Return p(z | c) as a law over the whole of z, conditioned group by group on the draw."""

    @abstractmethod
    def log_likelihood_given(self, draw: Draw, datum: Datum) -> Scalar:
        """Return log p(x | z, carry), in nats."""


class HasMarkovLatents(AbstractLatentModel):
    """A model of sequences whose z_{t+1} depends on the past through z_t alone."""

    @abstractmethod
    def initial(self, datum: Datum) -> AbstractDensity:
        """Return p(z_1 | c)."""

    @abstractmethod
    def transition(self, z: Any, t: Int[Array, ""], datum: Datum) -> AbstractDensity:
        """Return p(z_{t+1} | z_t, c_t), for t counted from zero."""

    @abstractmethod
    def log_likelihood_at(self, z: Any, t: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(x_t | z_t, c_t) over the observed entries of one step, in nats; 0 for a padded one."""

    @abstractmethod
    def observation_at(self, z: Any, t: Int[Array, ""], datum: Datum) -> AbstractObservation:
        """Return p(x_t | z_t, c_t), a law of one row."""


class HasObservation(AbstractLatentModel):
    """A model whose likelihood is a law of x that can be averaged and sampled."""

    @abstractmethod
    def likelihood(self, z: Any, cond: Any) -> AbstractObservation:
        """Return p(x | z, c)."""


class HasLatentDim(AbstractLatentModel):
    """A model that can say how long z is, as families count it; one of another length is then refused."""

    latent_dim: eqx.AbstractVar[int]


class HasCondition(AbstractModel):
    """A model p(x | c) with c a vector, or one vector a step; data come with it, ``fit.Data(x, cond=c)``.

    Attributes:
        cond_dim: Length of the vector.
    """

    cond_dim: eqx.AbstractVar[int]


class HoldsLatent(HasLatentDim):
    """A model of units of many steps with one z behind each: x is (T, D), padded after its real steps."""


class HasRecurrence(AbstractCarryModel, HasLatentDim, AbstractRecurrence):
    """A model of sequences that draws z_t given a carry: z_{t−1} itself, or a recurrent state.

    Attributes:
        step_law: Type of p(z_t | carry_t).
        carry_dim: Length of the carry's features.
        cond_dim: Length of one action; 0 for none.
        seen_dim: Number of leading columns of x that posteriors see; the others are predicted only.
        remembers: Whether the carry sums up all of z_{1:t−1} and a_{1:t−1}, so that a posterior that sees it
            needs no memory of its own.
    """

    step_law: eqx.AbstractVar[type[AbstractDensity]]
    carry_dim: eqx.AbstractVar[int]
    cond_dim: eqx.AbstractVar[int]
    seen_dim: eqx.AbstractVar[int]
    remembers: ClassVar[bool]

    @abstractmethod
    def inputs(self, cond: Any, length: int) -> PyTree:
        """Return what enters each of ``length`` steps (the action before it), computed for all at once."""

    @abstractmethod
    def observation_from(self, z: Any, carry: PyTree) -> AbstractObservation:
        """Return p(x_t | z_t, carry_t), a law of one row."""


class LooksAtPosterior(AbstractModel):
    """A model whose prior may be made from the live posterior (VampPrior) without owning it."""

    @abstractmethod
    def looking_at(self, posterior: Any) -> AbstractModel:
        """Return the model with its prior made from this posterior."""

    @abstractmethod
    def rule(self, inference: AbstractInference) -> Verdict:
        """Judge the posterior, from which the prior is to be made."""


class HasExactEvidence(AbstractModel):
    """A model with a closed-form log p(x | c)."""

    @abstractmethod
    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(x | c) over the observed entries, in nats."""


class HasExactPosterior(AbstractModel):
    """A model with a closed-form p(z | x, c)."""

    posterior_law: ClassVar[type[AbstractDistribution]]

    @abstractmethod
    def posterior(self, datum: Datum) -> AbstractDistribution:
        """Return p(z | x, c)."""


class HasExactConditional(AbstractModel):
    """A model with closed-form expectations of hidden entries given observed ones."""

    @abstractmethod
    def conditional_mean(self, datum: Datum) -> Float[Array, "d"]:
        """Return E[x | x_observed, c], the observed entries unchanged."""


class HasExpectationMaximization(HasExactEvidence):
    """A model with closed-form E- and M-steps on sums of sufficient statistics."""

    @abstractmethod
    def expectation(self, rows: Datum) -> PyTree:
        """Return the weighted sums of expected sufficient statistics over a block of rows.

        The tree holds, under the key ``"log_evidence"``, the weighted sum of log p(x) at the current
        parameters and, under ``"weight"``, the sum of weights. Blocks add.
        """

    @abstractmethod
    def maximization(self, statistics: PyTree, trainable: PyTree = None) -> "HasExpectationMaximization":
        """Return the model that maximizes the expected complete log-likelihood.

        Args:
            statistics: The sums ``expectation`` of this very model gave.
            trainable: A tree like the model of booleans: what may change; the rest is held, and the
                maximum taken given it. ``None`` for everything.
        """


class InitializesFromData(eqx.Module):
    """A member (model, posterior or part of one) that can choose a start from the data."""

    initialized: eqx.AbstractVar[bool]

    @abstractmethod
    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> "InitializesFromData":
        """Return a copy started from the data, with ``initialized`` set. Host code; rows are numpy arrays."""


class HoldsData(AbstractModel):
    """A model of one datum that it holds itself, or of none: fits are given ``None`` in place of rows.

    Attributes:
        latent_dim: Length of z, a vector of unconstrained numbers.
    """

    latent_dim: eqx.AbstractVar[int]


class ChecksData(AbstractModel):
    """A model that knows which observations it can be given."""

    data_dim: eqx.AbstractVar[int]

    @abstractmethod
    def check_data(self, rows: Datum) -> None:
        """Raise ``InputError`` for rows outside the support. Host code; rows are numpy arrays."""


class Simulates(AbstractModel):
    """A model that can be sampled from."""

    @abstractmethod
    def simulate(self, like: Datum | None = None, *, key: PRNGKey) -> tuple[Any, Float[Array, "..."]]:
        """Draw (z, x) from p(z, x | c).

        Args:
            like: Lends its condition and, to sequences, the shape of x and the number of steps; its numbers
                are not looked at. ``None`` where a model needs none of these.
            key: Randomness.
        """


def live(model: AbstractModel, posterior: Any) -> AbstractModel:
    """Return the model as the draws see it: a prior made from the live posterior is made here."""
    return model.looking_at(posterior) if isinstance(model, LooksAtPosterior) else model
