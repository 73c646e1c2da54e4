"""Shape checking for the whole package, quick compilation, and the optional data folder."""

from __future__ import annotations

import gc
import os
from importlib.metadata import version
from pathlib import Path

from jaxtyping import install_import_hook

# Most of the tests' time is XLA compiling small programs that run once: the first two flags halve it. The third
# keeps a program in one piece of code, where 32 pieces cost a fifth more to compile and 2.7 times the memory maps.
# A jaxlib that does not know a flag would abort, hence the version. The README's blocks run without the flags, and
# `XLA_FLAGS= pytest` runs everything so.
QUICK = (
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
    " --xla_cpu_parallel_codegen_split_count=1"
)
if version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", QUICK)

install_import_hook("jensen", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402

# Tracing makes many short-lived objects beside half a million that live as long as the process: looking for
# garbage among them at Python's own rate is a twentieth of the tests' time.
gc.freeze()
gc.set_threshold(20_000, 10, 10)

MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _few_memory_maps():
    """Drop compiled functions between files: each holds 1.6 MB and 4 memory maps, and Linux allows 65,530 maps."""
    yield
    if MAPS.exists() and len(MAPS.read_bytes().splitlines()) > 12_000:  # some 5 GB
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The optional folder of real data sets (environment variable JENSEN_DATA)."""
    folder = Path(os.environ.get("JENSEN_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip("needs the optional data folder; set JENSEN_DATA")
    return folder
