"""Parameters of linear-Gaussian models as the user reads them: in the data's own units, in float64."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod

import equinox as eqx
import numpy as np

from jensen.models.sequence.linear_gaussian_parts import Dynamics, Emission, Initial
from jensen.models.sequence.linear_gaussian_steps import lengths, whole
from jensen.models.static.framed import HasFrame
from jensen.nets import Frame


class HasSpectralRadius(eqx.Module):
    """A model with linear dynamics, unstable where the spectral radius exceeds one."""

    @property
    @abstractmethod
    def transition_matrix(self) -> np.ndarray:
        """A, (n, n) or one a step, float64."""

    @property
    def spectral_radius(self) -> float:
        """The largest modulus of the eigenvalues of A; where A changes, of the product, per step."""
        return radius(self.transition_matrix)


class HasDataUnits(HasFrame):
    """Parameters in the data's own units, states in the model's; those given per step have a leading axis."""

    start: eqx.AbstractVar[Initial]
    dynamics: eqx.AbstractVar[Dynamics]
    emission: eqx.AbstractVar[Emission]
    input_frame: eqx.AbstractVar[Frame]

    @property
    def num_steps(self) -> int | None:
        """T, the longest sequence that parameters were given for; ``None`` where none of them changes."""
        given = [1 + count for count in lengths(self.dynamics)] + lengths(self.emission)
        return min(given, default=None)

    @property
    def initial_mean(self) -> np.ndarray:
        """The mean m of z_1, (n,)."""
        return _double(self.start.mean)

    @property
    def initial_covariance(self) -> np.ndarray:
        """The covariance P of z_1, (n, n)."""
        return self.start.noise.covariance

    @property
    def transition_matrix(self) -> np.ndarray:
        """A, (n, n)."""
        return _double(whole(self.dynamics.matrix))

    @property
    def transition_covariance(self) -> np.ndarray:
        """Q, (n, n)."""
        return whole(self.dynamics.noise).covariance

    @property
    def transition_input(self) -> np.ndarray:
        """B, (n, U)."""
        return _double(self.dynamics.inputs) / _double(self.input_frame.scale)

    @property
    def transition_offset(self) -> np.ndarray:
        """The offset b, (n,)."""
        return _double(whole(self.dynamics.offset)) - self.transition_input @ _double(self.input_frame.shift)

    @property
    def emission_matrix(self) -> np.ndarray:
        """C, (D, n)."""
        return _double(self.frame.scale)[:, None] * _double(whole(self.emission.matrix))

    @property
    def emission_input(self) -> np.ndarray:
        """D, (D, U); zero where inputs do not reach x."""
        width = self.emission.inputs.shape[1]
        out = np.zeros((self.emission.inputs.shape[0], self.dynamics.inputs.shape[1]))
        unit = _double(self.input_frame.scale)[:width]
        out[:, :width] = _double(self.frame.scale)[:, None] * _double(self.emission.inputs) / unit
        return out

    @property
    def emission_offset(self) -> np.ndarray:
        """The offset d, (D,)."""
        own = _double(self.frame.shift) + _double(self.frame.scale) * _double(whole(self.emission.offset))
        return own - self.emission_input @ _double(self.input_frame.shift)

    @property
    def emission_variances(self) -> np.ndarray:
        """The diagonal of R, (D,)."""
        return (_double(self.frame.scale) * _double(self.emission.scale)) ** 2


def radius(matrix: np.ndarray) -> float:
    """Return the spectral radius of a matrix, or of a product of matrices, per factor."""
    if matrix.ndim == 2:
        return float(np.abs(np.linalg.eigvals(matrix)).max())
    total, log_size = np.eye(matrix.shape[-1]), 0.0
    for each in matrix:
        total = each @ total
        size = max(float(np.abs(total).max()), 1e-300)
        total, log_size = total / size, log_size + np.log(size)
    return float(
        (np.abs(np.linalg.eigvals(total)).max()) ** (1 / len(matrix)) * np.exp(log_size / len(matrix))
    )


def _double(values) -> np.ndarray:
    return np.asarray(values, np.float64)
