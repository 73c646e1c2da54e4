"""What ``fit.Data`` says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jensen.fit import Data

X, S = np.arange(10.0).reshape(5, 2) ** 2, np.arange(60.0).reshape(3, 10, 2)
HALF = np.ones((3, 10, 2), bool)
HALF[1, :2] = HALF[2] = False  # of sequence 1 all that is real, sequence 2 is empty

SAID: dict[str, tuple[Data, str]] = {
    "rows": (Data(X), "Data(5 rows x 2 columns)"),
    "weights": (Data(X[:, :1], weights=np.ones(5)), "Data(5 rows x 1 column, weighted)"),
    "pictures": (Data(np.ones((4, 8, 9, 3))), "Data(4 rows x 8 x 9 x 3 columns)"),
    "labels": (Data(X, cond=np.arange(5)), "Data(5 rows x 2 columns, cond of one value)"),
    "sequences": (Data(S[:1], cond=S[:1, :9]), "Data(1 sequence of 10 steps x 2 columns, cond 9 x 2)"),
    "ragged": (
        Data(S, lengths=[6, 2, 0], mask=HALF),
        "Data(3 sequences of 0 to 6 steps x 2 columns, 25.0% masked)",
    ),
    "nothing real": (
        Data(S, lengths=[0, 0, 0], mask=HALF),
        "Data(3 sequences of 0 steps x 2 columns, 0.0% masked)",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_repr(case: str) -> None:
    data, words = SAID[case]
    assert repr(data) == words


def test_subclasses_keep_their_name() -> None:
    class Mine(Data):
        """A user's own."""

    made: Any = Mine(X)
    assert repr(made).startswith("Mine(5 rows")
