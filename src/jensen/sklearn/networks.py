"""What the estimators with networks share: training, and a state of plain arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from jensen import fit
from jensen.core import Inference, InitializesFromData
from jensen.sklearn.inputs import key_of
from jensen.typing import Array, PRNGKey

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
}
"""Activations by name."""


class AbstractNetworkEstimator(BaseEstimator):
    """Estimators trained by Adam on minibatches, with early stopping on held-out rows if asked for.

    ``parameters_`` holds all numbers of the fitted inference as numpy arrays by their place in it. The
    inference is built anew from these and the constructor's parameters wherever it is needed, so that pickles
    and copies hold arrays only.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "random_state": ["random_state"],
    }
    hidden_layer_sizes: Any
    activation: str
    batch_size: int | str
    learning_rate_init: float
    max_iter: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    random_state: Any
    n_features_in_: int

    @abstractmethod
    def _build(self, key: PRNGKey) -> Inference:
        """Return the inference before any fit."""

    def _train(self, rows: Callable[[np.ndarray], fit.Data], num: int) -> None:
        """Train on rows 0..num−1, or on some and stop by the others.

        Args:
            rows: From row numbers to data.
            num: Number of rows.
        """
        import optax

        key = key_of(self.random_state)
        to_build, to_split, to_fit = jax.random.split(key, 3)
        held, kept = None, np.arange(num)
        if self.early_stopping:
            order = np.asarray(jax.random.permutation(to_split, num))
            count = min(max(1, round(self.validation_fraction * num)), num - 1)
            held, kept = order[:count], order[count:]
        size = min(200, len(kept)) if self.batch_size == "auto" else min(int(self.batch_size), len(kept))
        fitted = fit.gradient(
            self._build(to_build),
            rows(kept),
            key=to_fit,
            optimizer=optax.adam(float(self.learning_rate_init)),
            epochs=self.max_iter,
            batch_size=size,
            validation=None if held is None else rows(held),
            stop=None if held is None else fit.Patience(self.n_iter_no_change, float(self.tol)),
        )
        history, each = fitted.history, max(len(kept) // size, 1)
        self.n_iter_ = -(-int(history.step[-1]) // each)
        curve = [-float(np.mean(history.bound[i : i + each])) for i in range(0, len(history.bound), each)]
        self.loss_curve_, self.loss_ = curve, curve[-1]
        if held is not None:
            self.validation_scores_ = [float(value) for value in history.validation]
            self.best_validation_score_ = max(self.validation_scores_)
        self.parameters_ = arrays_of(fitted.inference)

    def _inference(self) -> Inference:
        """Return the fitted inference, in the float that JAX computes in at the moment."""
        template = eqx.filter_eval_shape(self._build, jax.random.key(0))
        return filled_in(template, self.parameters_)

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(int(width) for width in np.atleast_1d(np.asarray(self.hidden_layer_sizes, int)))


def arrays_of(inference: Inference) -> dict[str, np.ndarray]:
    """Return the arrays of an inference by their place in it."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(inference, eqx.is_array))
    return {jax.tree_util.keystr(path): np.array(leaf) for path, leaf in leaves}


def filled_in(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return the fitted inference of which the template knows everything but the numbers.

    Args:
        template: The inference before its fit; its arrays may be shapes only.
        arrays: What ``arrays_of`` returned.

    Raises:
        ValueError: If the arrays belong to other parameters of the estimator.
    """
    real = jnp.result_type(float)

    def fill(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct | jax.Array):
            return leaf
        value = arrays.get(jax.tree_util.keystr(path))
        if value is None or value.shape != leaf.shape:
            raise ValueError("parameters were changed since fit: call fit again")
        return jnp.asarray(value, real if value.dtype.kind == "f" else None)

    filled = jax.tree_util.tree_map_with_path(fill, template)
    return eqx.tree_at(_started, filled, replace_fn=lambda _: True)


def _started(inference: Inference) -> list[Any]:
    members = inference.model, inference.posterior
    return [member.initialized for member in members if isinstance(member, InitializesFromData)]
