"""The start of a fit: what chooses it from the data, and what a user held."""

from __future__ import annotations

from typing import Any

import jax

from jensen.core import Inference
from jensen.fit.data import Data
from jensen.fit.prepare import Split, Trainable
from jensen.typing import PRNGKey


def start_from(inference: Inference, data: Data, trainable: Trainable | None, *, key: PRNGKey) -> Inference:
    """Let model and posterior choose a start from the data, except where a part of them is held.

    Args:
        inference: The four choices.
        data: The training data.
        trainable: What is trained, as the fit was told.
        key: Randomness.
    """
    new = inference.initialize_from(data.rows(), key=key)
    if trainable is None:
        return new
    picked, whole = Split.of(inference, trainable).params, Split.of(inference).params

    def member(chosen: Any, every: Any, old: Any, started: Any) -> Any:
        return started if len(jax.tree.leaves(chosen)) == len(jax.tree.leaves(every)) else old

    return Inference(
        member(picked.model, whole.model, inference.model, new.model),
        member(picked.posterior, whole.posterior, inference.posterior, new.posterior),
        inference.objective,
        inference.gradient,
    )
