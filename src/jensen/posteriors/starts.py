"""How a posterior that works on another one's answer starts."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any

import equinox as eqx

from jensen.core import Datum, InitializesFromData
from jensen.typing import PRNGKey


class StartsItsBase(InitializesFromData):
    """A posterior made of another one, whose start from the data is its own.

    Attributes:
        base: The other one.
    """

    base: eqx.AbstractVar[Any]

    @property
    def initialized(self) -> bool:
        """Whether the network has chosen its start."""
        return not isinstance(self.base, InitializesFromData) or self.base.initialized

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> "StartsItsBase":
        """Start the network from the data."""
        return eqx.tree_at(lambda q: q.base, self, self.base.initialize_from(rows, key=key))
