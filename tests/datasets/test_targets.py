"""Columns to predict: found by name or position, refused where nothing could be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jensen.datasets import load
from jensen.datasets.targets import check_targets
from jensen.errors import InputError, JensenWarning
from jensen.fit import Data


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A csv whose first column counts rows, as R writes it, and whose second is text."""
    path = tmp_path / "t.csv"
    rows = [f"{i + 1},k{i},{i * 0.5},{i % 3},{i % 2},7" for i in range(12)]
    path.write_text("rownames,name,a,b,c,idle\n" + "\n".join(rows) + "\n")
    return str(path)


@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
@pytest.mark.parametrize("target", [["a"], "a", [2], 2, -4])
def test_positions_count_all_columns_of_the_file(table: str, target: Any):
    data = load(table, drop=["name", "idle"], target=target)
    assert data.columns == ("a",) and data.inputs == ("b", "c")
    np.testing.assert_array_equal(data.x[:, 0], np.arange(12) * 0.5)
    assert data.cond is not None
    np.testing.assert_array_equal(data.cond[:, 0], np.arange(12) % 3)
    taken = Data.of(data)
    assert taken.cond is not None and taken.x.shape == (12, 1) and taken.cond.shape == (12, 2)


@pytest.mark.filterwarnings("ignore:.*only numbers the rows")
def test_several_targets_in_the_order_asked_for_and_idle_inputs(table: str):
    data = load(table, drop=["name"], target=["c", "a"])
    with pytest.warns(JensenWarning, match=r"input 'idle' never varies"):
        check_targets(data, table)
    assert data.columns == ("c", "a") and data.inputs == ("b", "idle")
    assert "from 2 inputs" in repr(data)


@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
@pytest.mark.parametrize(
    ("target", "drop", "said"),
    [
        (["bb"], ["name"], r"no column 'bb' to predict \(did you mean 'b'\?\)"),
        ([9], ["name"], "no column 9 to predict; there are 6 columns"),
        (["a", "b", "c", "idle"], ["name"], "every column is a target"),
        (["b"], ["name", "b"], "target='b' is left out as well"),
        (["a"], [], r"column 'name' holds text.*leave the column out"),
    ],
)
def test_what_cannot_be_predicted(table: str, target: list[Any], drop: list[Any], said: str):
    with pytest.raises(InputError, match=said):
        load(table, target=target, drop=drop)


@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
def test_a_target_that_never_varies(table: str):
    with pytest.raises(InputError, match="target 'idle' is 7 in every row, there is nothing to predict"):
        check_targets(load(table, target="idle", drop=["name"]), table)


def test_masked_targets_but_whole_inputs(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n1,2,3\n4,,6\n7,8,9\n5,1,2\n")
    data = load(path, target=["b"], missing="mask")
    assert data.mask is not None and data.mask[:, 0].tolist() == [True, False, True, True]
    assert load(path, target=["b", "a"], missing="mask").columns == ("b", "a")
    with pytest.raises(InputError, match=r"input 'b' has 1 missing value, and only targets can be masked"):
        load(path, target=["c"], missing="mask")


def test_arrays_of_inputs_and_targets(tmp_path: Path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    np.savez(tmp_path / "p.npz", x=x, y=y, flat=y[:, 0], short=y[:4])
    both = load(tmp_path / "p.npz", target="y")
    assert both.columns == ("y0", "y1") and both.inputs == ("x0", "x1", "x2")
    np.testing.assert_array_equal(both.x, y)
    np.testing.assert_array_equal(np.asarray(both.cond), x)
    assert load(tmp_path / "p.npz", target="flat").columns == ("flat",)
    with pytest.raises(InputError, match="array 'x' has 9 rows, 'short' has 4"):
        load(tmp_path / "p.npz", target="short")
    with pytest.raises(InputError, match="'y' is an array; give it as the only target"):
        load(tmp_path / "p.npz", target=["y", "x1"])
    np.savez(tmp_path / "q.npz", x=x, mask=np.ones((9, 3), bool))
    one = load(tmp_path / "q.npz", target=["x1"])
    assert one.columns == ("x1",) and one.inputs == ("x0", "x2")
