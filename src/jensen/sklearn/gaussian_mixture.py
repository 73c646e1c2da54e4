"""Gaussian mixtures behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from jensen import models
from jensen.errors import JensenWarning
from jensen.models.static.components import Components
from jensen.models.static.raw import LEAST_SCALE
from jensen.models.static.structures import named
from jensen.nets import Frame
from jensen.sklearn.gaussian_parameters import (
    ILL_DEFINED,
    check_shape,
    checked_precisions,
    checked_weights,
    conditional_deviations,
    estimates,
    from_precisions,
    precisions_cholesky,
)
from jensen.sklearn.inputs import reals, unchecked
from jensen.sklearn.mixture import AbstractMixture
from jensen.sklearn.ridge import Ridged

KINDS = ("full", "tied", "diag", "spherical")


class GaussianMixture(AbstractMixture):
    """Gaussian mixture by expectation maximization; scikit-learn's, with missing entries allowed.

    Parameters, attributes and stopping rule are ``sklearn.mixture.GaussianMixture``'s, and the same
    ``random_state`` draws the same starts. What differs: NaN marks missing entries, which are integrated out
    exactly (missing at random is assumed); a component left with next to no data keeps its parameters instead
    of moving to the origin.

    Args:
        n_components: Number K of components.
        covariance_type: ``"full"``, ``"tied"``, ``"diag"`` or ``"spherical"``.
        tol: Stop when the mean log p(x) changes by less, in nats per row.
        reg_covar: Added to the variances, in squared units of X.
        max_iter: Most EM steps.
        n_init: Starts, of which the best is kept.
        init_params: ``"kmeans"``, ``"k-means++"``, ``"random"`` or ``"random_from_data"``.
        weights_init: Initial weights, (K,).
        means_init: Initial means, (K, n_features).
        precisions_init: Initial precisions, shaped as ``covariances_``.
        random_state: Seed of the starts and of ``sample``.
        warm_start: Whether a second fit goes on where the first ended.
        verbose: 1 for a line a start and every ``verbose_interval`` steps, 2 for numbers too.
        verbose_interval: Steps between the lines.

    Attributes:
        weights_: (K,).
        means_: (K, n_features).
        covariances_: (K, D, D), tied (D, D), diag (K, D), spherical (K,).
        precisions_: Their inverses.
        precisions_cholesky_: U with precision U Uᵀ.
        converged_: Whether the best start met ``tol``.
        n_iter_: Its EM steps.
        lower_bound_: Its mean log p(x) before the last step, in nats per row.
        lower_bounds_: The same before every step.
        n_features_in_: Number of columns.

    Example:
        >>> import numpy as np
        >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, np.nan]])
        >>> mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
        >>> mixture.means_[:, 0].round(3).tolist()
        [10.0, 1.0]
        >>> mixture.predict([[0.0, 0.0], [12.0, np.nan]]).tolist()
        [1, 0]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AbstractMixture._parameter_constraints,
        "covariance_type": [StrOptions(set(KINDS))],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
    }

    @unchecked
    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def _prepared(self, X: np.ndarray) -> np.ndarray:
        return X

    def _check_parameters(self, X: np.ndarray) -> None:
        k, d = self.n_components, X.shape[1]
        if self.weights_init is not None:
            checked_weights(self.weights_init, k)
        if self.means_init is not None:
            means = reals(self.means_init)
            check_shape(means, (k, d), "means")
        if self.precisions_init is not None:
            checked_precisions(self.precisions_init, self.covariance_type, k, d)

    def _needs_resp(self) -> bool:
        return self.weights_init is None or self.means_init is None or self.precisions_init is None

    def _initialize(self, X: np.ndarray, resp: np.ndarray | None) -> None:
        kind, dtype = self.covariance_type, X.dtype
        if resp is not None:
            self.weights_, self.means_, self.covariances_ = estimates(X, resp, float(self.reg_covar), kind)
        if self.weights_init is not None:
            self.weights_ = np.asarray(self.weights_init, dtype)
        if self.means_init is not None:
            self.means_ = np.asarray(self.means_init, dtype)
        if self.precisions_init is None:
            self.precisions_cholesky_ = precisions_cholesky(self.covariances_, kind)
        else:
            precisions = np.asarray(self.precisions_init, dtype)
            self.covariances_, self.precisions_cholesky_ = from_precisions(precisions, kind)

    def _model(self, like: Any = None) -> Any:
        kind, (k, d) = self.covariance_type, self.means_.shape
        structure, real = named(kind), jnp.result_type(float)
        weights, means, covariances = (
            np.asarray(value, np.float64) for value in (self.weights_, self.means_, self.covariances_)
        )
        frame = self._frame(weights, means, covariances) if like is None else like.frame
        shift, scale = (np.asarray(value, np.float64) for value in (frame.shift, frame.scale))
        least = (conditional_deviations(covariances, kind, d) / scale).min()
        if least <= 1.02 * LEAST_SCALE:  # too narrow to be held
            covariances = _lifted(covariances, (1.1 * LEAST_SCALE * scale) ** 2, kind)
        inner = structure.in_frame(covariances, scale, k)
        components = Components(
            jnp.asarray((means - shift) / scale, real),
            Ridged(inner, jnp.asarray(self.reg_covar / scale**2, real)),
        )
        logits = jnp.asarray(np.log(np.maximum(weights, np.finfo(np.float64).tiny)), real)
        model = models.GaussianMixture(k, d, covariance=kind, key=jax.random.key(0))
        return eqx.tree_at(
            lambda m: (m.logits, m.components, m.frame, m.initialized),
            model,
            (logits, components, frame, True),
        )

    def _frame(self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> Frame:
        """Return a frame whose unit lies between the narrowest component's and the whole law's deviation."""
        (k, d), structure = means.shape, named(self.covariance_type)
        shift = weights @ means
        whole = weights @ (structure.variances(covariances, k, d) + (means - shift) ** 2)
        unit = np.sqrt(conditional_deviations(covariances, self.covariance_type, d) * np.sqrt(whole))
        unit = np.full(d, np.exp(np.log(unit).mean())) if structure.isotropic else unit
        real = jnp.result_type(float)
        return Frame(jnp.asarray(shift, real), jnp.asarray(unit, real))

    def _check_stepped(self, model: Any) -> None:
        if not bool(np.any(model.at_floor())):
            return
        if self.reg_covar == 0:
            raise ValueError(ILL_DEFINED)
        warnings.warn(
            "GaussianMixture: a component is as narrow as can be held beside the others, wider than "
            "reg_covar would let it be; fit fewer components, or increase reg_covar",
            JensenWarning,
            stacklevel=5,
        )

    def _read(self, model: Any, dtype: Any) -> None:
        weights, means, covariances = (
            np.asarray(value, dtype) for value in (model.weights, model.means, model.covariances)
        )
        upper = precisions_cholesky(model.covariances, self.covariance_type).astype(dtype)
        self._set_parameters((weights, means, covariances, upper))

    def _get_parameters(self) -> tuple[np.ndarray, ...]:
        return self.weights_, self.means_, self.covariances_, self.precisions_cholesky_

    def _set_parameters(self, params: tuple[np.ndarray, ...]) -> None:
        self.weights_, self.means_, self.covariances_, upper = params
        self.precisions_cholesky_ = upper
        matrices = self.covariance_type in ("full", "tied")
        self.precisions_ = upper @ upper.swapaxes(-1, -2) if matrices else upper**2

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        triangle = d * (d + 1) // 2
        spread = {"full": k * triangle, "tied": triangle, "diag": k * d, "spherical": k}[self.covariance_type]
        return spread + d * k + k - 1

    def _draw(self, k: int, num: int, rng: np.random.RandomState) -> np.ndarray:
        noise = rng.standard_normal((num, self.means_.shape[1]))
        if self.covariance_type == "tied":
            noise = noise @ np.linalg.cholesky(self.covariances_).T
        elif self.covariance_type == "full":
            noise = noise @ np.linalg.cholesky(self.covariances_[k]).T
        else:
            noise = noise * np.sqrt(self.covariances_[k])
        return self.means_[k] + noise


def _lifted(covariances: np.ndarray, ridge: np.ndarray, kind: str) -> np.ndarray:
    if kind == "spherical":
        return covariances + ridge.mean()
    return covariances + (ridge if kind == "diag" else np.diag(ridge))
