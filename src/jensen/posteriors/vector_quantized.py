"""An inference network whose output is moved to the nearest entries of the model's codebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    AbstractModel,
    AbstractPosterior,
    Datum,
    HasCondition,
    InitializesFromData,
    MeanOverDraws,
    Verdict,
)
from jensen.dist import AbstractDistribution, Codes, NearestCode
from jensen.errors import InputError, at_least, check_key
from jensen.nets import Frame, net_or_mlp
from jensen.posteriors.amortized import entering_frame
from jensen.posteriors.rules import same_columns
from jensen.typing import Array, Float, PRNGKey


class VectorQuantized(AbstractPosterior, InitializesFromData):
    r"""q(z | x) all on the codes nearest to what a network makes of x, in a model under ``priors.Codebook``.

    The network's V points are brought to mean square 1, the codebook's own at the start: no point is then out
    of every code's reach, and few codes are left unused. A draw costs
    pull·‖c − stop(e)‖² + commitment·‖stop(c) − e‖², e a point and c its code, as a loss.

    Args:
        num_variables: V, as the codebook has it.
        code_dim: Length of a code.
        data_dim: Length of x.
        widths: Hidden widths of the default perceptron.
        activation: Its activation.
        net: Any equinox module from x to V·``code_dim`` numbers, instead of it.
        weights: (pull, commitment), in nats.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a size or a weight is out of range, or ``net`` reads or makes vectors of other lengths.

    References:
        van den Oord, Vinyals & Kavukcuoglu 2017; Yu et al. 2022 (points of one length).

    Example:
        >>> import jax, jensen as jn
        >>> key = jax.random.key(0)
        >>> codes = jn.models.priors.Codebook(16, 4, 2, key=key)
        >>> model = jn.models.Decoder(9, prior=codes, widths=(8,), key=key)
        >>> q = VectorQuantized(4, 2, data_dim=9, widths=(8,), key=key)
        >>> jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.StraightThrough()).check().kind
        'biased'
    """

    net: Any
    frame: Frame
    num_variables: int
    code_dim: int
    data_dim: int
    weights: tuple[float, float]
    initialized: bool

    def __init__(
        self,
        num_variables: int,
        code_dim: int,
        *,
        data_dim: int,
        widths: Sequence[int] = (256, 256),
        activation: Callable[[Array], Array] = jnp.tanh,
        net: Any = None,
        weights: tuple[float, float] = (1.0, 0.25),
        key: PRNGKey,
    ):
        check_key(key)
        at_least("VectorQuantized", 1, num_variables=num_variables, code_dim=code_dim, data_dim=data_dim)
        if np.shape(weights) != (2,) or not min(weights) >= 0:
            wanted = "they must be (pull, commitment), 0 or more"
            raise InputError(f"VectorQuantized: weights are {weights}; {wanted}")
        self.net = net_or_mlp(
            "VectorQuantized", net, data_dim, num_variables * code_dim, widths, activation=activation, key=key
        )
        self.frame = Frame.identity(data_dim)
        self.num_variables = num_variables
        self.code_dim = code_dim
        self.data_dim = data_dim
        self.weights = (float(weights[0]), float(weights[1]))
        self.initialized = False

    def points(self, datum: Datum) -> Float[Array, "v d"]:
        """Run the network on one datum; unobserved entries enter as the column mean."""
        x = self.frame.enter(datum.x)
        if datum.mask is not None:
            x = jnp.where(datum.mask, x, 0.0)
        out = self.net(x).reshape(self.num_variables, self.code_dim)
        return out / jnp.sqrt((out**2).mean(-1, keepdims=True) + 1e-6)

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Find the nearest codes."""
        pull, commitment = self.weights
        return NearestCode(self.points(datum), model.prior_of(datum.cond).places, pull, commitment)

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the law of the nearest codes."""
        return NearestCode

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse models without a codebook of this size, and objectives that a single point is no use to."""
        model: Any = inference.model
        kind = type(model).__name__
        if not isinstance(model, AbstractLatentModel) or not issubclass(model.prior_law, Codes):
            return Verdict(
                "refused",
                f"VectorQuantized: {kind} has no codebook; use posteriors.Amortized, or "
                "models.Decoder(prior=models.priors.Codebook(...))",
            )
        if isinstance(model, HasCondition):
            use = "models.Decoder, or posteriors.Amortized and another prior"
            return Verdict("refused", f"VectorQuantized reads no condition, {kind} has one; use {use}")
        law: Any = model.prior_of(None)
        found, own = (law.logits.shape[0], law.places.shape[1]), (self.num_variables, self.code_dim)
        if found != own:
            return Verdict(
                "refused",
                f"VectorQuantized: {own[0]} points of length {own[1]}, but the codebook of {kind} has "
                f"{found[0]} latents of length {found[1]}; use posteriors.VectorQuantized{found}",
            )
        if refusal := same_columns(self, model):
            return refusal
        objective = inference.objective
        if not isinstance(objective, MeanOverDraws) or objective.num_samples > 1:
            return Verdict(
                "refused",
                "VectorQuantized: q is a single point, so that all draws are one and a mean of weights is no "
                "tighter; use objectives.ELBO() with num_samples=1",
            )
        return Verdict("exact")

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> VectorQuantized:
        """Take the input's centre and scale from the training rows."""
        return eqx.tree_at(lambda q: (q.frame, q.initialized), self, (entering_frame(rows), True))
