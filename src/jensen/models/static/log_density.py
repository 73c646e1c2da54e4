"""A user's own log-density over named parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HoldsData
from jensen.errors import InputError, nearest
from jensen.models.static.constraints import Block
from jensen.nets import Fixed
from jensen.typing import Array, Float, PyTree, Scalar


class Held(Fixed):
    """Arrays that are never trained, and that compiled programs take as arguments."""

    value: PyTree


class LogDensity(HoldsData):
    r"""log p(θ, data) as a user's function of constrained parameters θ, up to a constant.

    Inference runs over z ∈ R^d, one unconstrained vector for all parameters:

        log p(z) = log p(θ(z), data) + log |det ∂θ/∂z|.

    The function need not be normalized: the bound is then one on the log of its integral.

    Args:
        log_joint: ``log_joint(parameters)``, or ``log_joint(parameters, data)`` where data is given; returns
            one number, nats. ``parameters`` is a dict of arrays, or one array if ``shapes`` is one shape.
        shapes: Name to shape, as in ``{"beta": (4,), "sigma": ()}``; or one shape, for one array.
        constraints: Name to ``"positive"``, ``"unit"`` (between 0 and 1), ``"simplex"``, ``"ordered"``,
            ``"positive_ordered"``, ``"cholesky_correlation"`` or an interval ``(low, high)``; for one array
            the constraint itself. Parameters without one are real.
        data: A tree of arrays. The same function with other data of the same shapes compiles nothing anew.

    Raises:
        InputError: If shapes and constraints make no sense together, or the function does not return one
            number.

    References:
        Kucukelbir, Tran, Ranganath, Gelman & Blei 2017, Automatic differentiation variational inference.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> def log_joint(p, data):
        ...     misfit = (data - p["mu"]) / p["sigma"]
        ...     return -0.5 * jnp.sum(misfit**2) - (len(data) + 1) * jnp.log(p["sigma"])
        >>> shapes, constraints = {"mu": (), "sigma": ()}, {"sigma": "positive"}
        >>> model = LogDensity(log_joint, shapes, constraints, data=jnp.arange(5.0))
        >>> model.latent_dim, sorted(model.constrain(jnp.zeros(2)))
        (2, ['mu', 'sigma'])
        >>> q = jn.posteriors.Global(jn.families.FullGaussian(2), key=jax.random.key(0))
        >>> jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.StickTheLanding()).check().kind
        'unbiased'
    """

    density: Callable[..., Scalar]
    blocks: tuple[Block, ...]
    named: bool
    data: Held
    latent_dim: int

    def __init__(
        self,
        log_joint: Callable[..., Any],
        shapes: Any,
        constraints: Any = None,
        *,
        data: PyTree = None,
    ):
        if not callable(log_joint):
            raise InputError(
                f"LogDensity: log_joint is {type(log_joint).__name__}; give a function of parameters"
            )
        self.named = isinstance(shapes, Mapping)
        self.blocks = _blocks(shapes, constraints)
        self.density = log_joint
        self.data = Held(jax.tree.map(jnp.asarray, data))
        _check_arguments(log_joint, 1 if data is None else 2)
        self.latent_dim = sum(block.size for block in self.blocks)
        found = jax.eval_shape(self._log_density, jnp.zeros(self.latent_dim))
        if np.shape(found) != () or not jnp.issubdtype(getattr(found, "dtype", object), jnp.floating):
            kind = getattr(found, "dtype", type(found).__name__)
            raise InputError(
                f"LogDensity: log_joint must return one real number, got {kind} of shape {np.shape(found)}: "
                "sum over the data"
            )

    def log_joint(self, z: Float[Array, "d"], datum: Datum) -> Scalar:
        """Return log p(θ(z), data) + log |det ∂θ/∂z|, in nats."""
        return self._log_density(z)

    def constrain(self, z: Float[Array, "d"]) -> Any:
        """Return the parameters that unconstrained numbers stand for: a dict, or one array."""
        return self._constrained(z)[0]

    def unconstrain(self, parameters: Any) -> Float[Array, "d"]:
        """Return the unconstrained numbers that stand for parameters."""
        values = parameters if self.named else {self.blocks[0].name: parameters}
        if set(values) != {block.name for block in self.blocks}:
            have = ", ".join(block.name for block in self.blocks)
            raise InputError(f"LogDensity: parameters are {have}, got {', '.join(map(str, values))}")
        return jnp.concatenate([block.unconstrain(jnp.asarray(values[block.name])) for block in self.blocks])

    def given(self, data: PyTree) -> LogDensity:
        """Return the same density of other data."""
        shapes: Any = {block.name: block.shape for block in self.blocks}
        where: Any = {block.name: block.constraint for block in self.blocks}
        if not self.named:
            (shapes,), (where,) = shapes.values(), where.values()
        return LogDensity(self.density, shapes, where, data=data)

    def _log_density(self, z: Float[Array, "d"]) -> Any:
        parameters, log_det = self._constrained(z)
        held = () if self.data.value is None else (jax.lax.stop_gradient(self.data.value),)
        return self.density(parameters, *held) + log_det

    def _constrained(self, z: Float[Array, "d"]) -> tuple[Any, Scalar]:
        ends = np.cumsum([block.size for block in self.blocks])[:-1]
        parts = zip(self.blocks, jnp.split(z, ends), strict=True)
        pairs = {block.name: block.constrain(part) for block, part in parts}
        log_det = jnp.stack([each for _, each in pairs.values()]).sum()
        values = {name: value for name, (value, _) in pairs.items()}
        return (values if self.named else next(iter(values.values()))), log_det


def _blocks(shapes: Any, constraints: Any) -> tuple[Block, ...]:
    if not isinstance(shapes, Mapping):
        if isinstance(constraints, Mapping):
            raise InputError("LogDensity: shapes is one shape, so constraints is one constraint, not a dict")
        shapes, constraints = {"z": shapes}, {"z": constraints or "real"}
    if not shapes:
        raise InputError("LogDensity: shapes is empty; name at least one parameter")
    constraints = constraints or {}
    if not isinstance(constraints, Mapping):
        raise InputError(
            f"LogDensity: constraints must be a dict of names, as shapes is, got {constraints!r}"
        )
    for name in constraints:
        if name not in shapes:
            raise InputError(
                f"LogDensity: constraints name {name!r}, not in shapes{nearest(str(name), shapes)}"
            )
    return tuple(Block.of(name, shape, constraints.get(name, "real")) for name, shape in shapes.items())


def _check_arguments(log_joint: Callable[..., Any], given: int) -> None:
    try:
        signature = inspect.signature(log_joint)
    except (TypeError, ValueError):  # a callable that does not say
        return
    try:
        signature.bind(*range(given))
    except TypeError:
        how = "with data=, (parameters, data)" if given == 2 else "without data=, (parameters)"
        raise InputError(f"LogDensity: log_joint has the arguments {signature}; it is called {how}") from None
