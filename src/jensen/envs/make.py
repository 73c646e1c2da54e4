"""A registered environment by its id, with a suggestion for a mistyped one."""

from __future__ import annotations

from typing import Any

import gymnasium

from jensen.errors import InputError, nearest


def make(id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Build an environment.

    Args:
        id: As Gymnasium knows it, like ``"jensen/Tree-v0"``.
        **kwargs: Passed to `gymnasium.make`, like ``render_mode="rgb_array"`` or Particle's ``num_dims=8``.

    Raises:
        InputError: No environment has that id (the nearest one is named), or it cannot be built so.

    Example:
        >>> make("jensen/Tree").unwrapped.modes
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: no environment 'jensen/Tree' (did you mean 'jensen/Tree-v0'?)
    """
    if id.rpartition(":")[2] not in gymnasium.registry and ":" not in id:
        ours = [known for known in gymnasium.registry if known.startswith("jensen/")]
        hint = nearest(id, gymnasium.registry)
        hint = hint if hint.startswith(" (") else nearest("", ours)
        raise InputError(f"no environment {id!r}{hint}")
    try:
        return gymnasium.make(id, **kwargs)
    except (TypeError, ImportError, gymnasium.error.Error) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{id} cannot be built: {reason}") from None
