"""What a preset is, and what its defaults may depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jensen.core import Inference
    from jensen.typing import PRNGKey

Options = dict[str, Any]
Build = Callable[[Options, "Facts", "PRNGKey"], "Inference"]
"""From settled options, what is known of the data, and a key, to an inference."""


@dataclass(frozen=True)
class Facts:
    """What models and defaults depend on.

    Attributes:
        kind: Kind of the values, after binarization.
        rows: Rows to train on, or sequences.
        columns: Columns of a row, or of a step.
        longest: Steps of the longest sequence; 0 for tables.
        steps: Steps of all sequences to train on; 0 for tables.
        actions: Columns of actions or inputs; of tables with targets, what these are predicted from.
        spare: Whether there is an action after the last step as well.
        largest: Largest observed value.
        image_shape: (height, width) or (height, width, 3) where rows are pictures.
    """

    kind: str
    rows: int
    columns: int
    longest: int = 0
    steps: int = 0
    actions: int = 0
    spare: bool = False
    largest: float = 0.0
    image_shape: tuple[int, ...] | None = None

    def pieces(self, options: Options) -> int:
        """Count what batches are made of: rows, sequences, or windows of sequences."""
        window = options.get("window")
        return self.rows if window is None else (self.steps + self.rows * (window - 1)) // window

    def steps_per_epoch(self, options: Options) -> int:
        """Count the gradient steps of a pass over the data."""
        return self.pieces(options) // options["batch_size"]


@dataclass(frozen=True)
class Pace:
    """How long a gradient fit goes on when nobody says; patience ends most fits much earlier.

    Attributes:
        steps: About so many steps, in 20 epochs or more.
        batch: Rows a step; twice as many from 5,000 rows on.
        most: Most epochs.
    """

    steps: int
    batch: int
    most: int


@dataclass(frozen=True)
class Preset:
    """A named fit.

    Attributes:
        about: One line for the help.
        build: Makes the inference.
        defaults: The options it takes besides the common ones; None where the data decides.
        choices: Where an option may only be some of its values.
        takes: Whether it fits tables, sequences, or some columns of a table given the others.
        inputs: Which actions of sequences it uses: none, those with one for every step, or any.
        adapt: Choices that the data makes, given the options written and all options so far.
        pace: Steps and batch of a gradient fit.
    """

    about: str
    build: Build
    defaults: Options
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes: Literal["tables", "sequences", "targets"] = "tables"
    inputs: Literal["none", "every step", "any"] = "none"
    adapt: Callable[[Options, Facts, Options], Options] = lambda given, facts, chosen: {}
    pace: Pace = Pace(20_000, 64, 300)

    @property
    def noun(self) -> str:
        """What a datum is called."""
        return "sequences" if self.takes == "sequences" else "rows"
