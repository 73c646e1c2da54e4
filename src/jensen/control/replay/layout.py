"""What an environment shows: shape and type of an observation, and how it becomes a row of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.errors import InputError


@dataclass(frozen=True)
class Layout:
    """Shape and type of one observation.

    Attributes:
        shape: As the environment shows it.
        dtype: Its type.
        choices: Of a Discrete space, how many; a row is one-hot then.
        start: The first of them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    choices: int | None = None
    start: int = 0

    @classmethod
    def of(cls, space: Any) -> Layout:
        """Read a Gymnasium space of observations.

        Raises:
            InputError: A space that is not one array of numbers.
        """
        kind = type(space).__name__
        if kind == "Discrete":
            return cls((), np.dtype(np.int64), int(space.n), int(space.start))
        if kind not in ("Box", "MultiBinary", "MultiDiscrete"):
            raise InputError(
                f"observations of a {kind} space are not supported; wrap the environment in "
                "gymnasium.wrappers.FlattenObservation"
            )
        return cls(tuple(space.shape), np.dtype(space.dtype))

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Layout:
        """Return the layout with these facts."""
        return cls(tuple(facts["shape"]), np.dtype(facts["dtype"]), facts["choices"], facts["start"])

    def facts(self) -> dict[str, Any]:
        """Return what ``from_facts`` makes it from again, JSON-ready."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "choices": self.choices,
            "start": self.start,
        }

    @property
    def size(self) -> int:
        """Columns of a row."""
        return int(np.prod(self.shape)) if self.choices is None else self.choices

    @property
    def real(self) -> np.dtype:
        """Type of a row: float64 where the environment has it, else float32."""
        return np.dtype(np.float64 if self.dtype == np.float64 else np.float32)

    def checked(self, observations: np.ndarray, where: str) -> np.ndarray:
        """Return (T + 1, ...) in the type that is kept.

        Raises:
            InputError: Another shape, a type that would lose digits, or a code that is none.
        """
        if observations.shape[1:] != self.shape:
            raise InputError(
                f"{where} has observations of shape {observations.shape[1:]}, not {self.shape} as before"
            )
        kept = observations.astype(self.dtype, copy=False)
        if self.dtype.kind != "f" and observations.dtype != self.dtype and (kept != observations).any():
            raise InputError(
                f"{where} has observations that {self.dtype} cannot hold; give the space they are of"
            )
        if self.choices is not None:
            outside = (kept < self.start) | (kept >= self.start + self.choices)
            if outside.any():
                step = int(np.argmax(outside))
                raise InputError(
                    f"{where} shows {kept[step]} at step {step}, outside {self.start}.."
                    f"{self.start + self.choices - 1}"
                )
        return kept

    def rows(self, observations: np.ndarray) -> np.ndarray:
        """Return (T + 1, D): flattened, bytes divided by 255, codes one-hot."""
        if self.choices is not None:
            return np.eye(self.choices, dtype=np.float32)[observations - self.start]
        flat = observations.reshape(len(observations), -1)
        return flat / np.float32(255) if self.dtype == np.uint8 else flat.astype(self.real, copy=False)

    def observations(self, rows: np.ndarray) -> np.ndarray:
        """Return what such rows were made of."""
        if self.choices is not None:
            return rows.argmax(-1) + self.start
        scaled = rows * 255 if self.dtype == np.uint8 else rows
        scaled = scaled if self.dtype.kind == "f" else np.rint(scaled)
        return scaled.astype(self.dtype).reshape(len(rows), *self.shape)

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}" if self.choices is None else f"of {self.choices} choices"
