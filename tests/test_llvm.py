"""Triton keeps its own LLVM beside another that is visible to the whole process, as Mesa's is beside a window."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MESA = "int LLVMContextCreate(void) { return 1; }\nint which(void) { return 1; }\n"
TRITON = "int which(void) { return 2; }\nint ask(void) { return which(); }\n"
IMPORT = """
import ctypes, os, sys
import napari_dip
mesa, triton, order = sys.argv[1:]
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(triton))))
if order == "window first":
    ctypes.CDLL(mesa, mode=ctypes.RTLD_GLOBAL)
try:
    import triton._C.libtriton
except ImportError:
    pass  # there is nothing of Python in it
if order == "window last":
    ctypes.CDLL(mesa, mode=ctypes.RTLD_GLOBAL)
print(ctypes.CDLL(triton).ask(), "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two libraries with a function of the same name, one of them where triton has its own."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("libraries")
    paths = [folder / "libmesa.so", folder / "triton" / "_C" / "libtriton.so"]
    for path, code in zip(paths, (MESA, TRITON), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-shared", "-fPIC", "-xc", "-", "-o", path], input=code, text=True, check=True)
    (folder / "triton" / "__init__.py").touch()
    return [str(path) for path in paths]


@pytest.mark.parametrize("order", ["window first", "window last", "no window"])
def test_triton_calls_its_own_functions(libraries: list[str], order: str) -> None:
    run = subprocess.run([sys.executable, "-c", IMPORT, *libraries, order], capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["2", "False"], run.stderr


OPENED = """
import ctypes, os, sys
if sys.argv[2] == "other system":
    del os.RTLD_DEEPBIND
sys.path.insert(0, sys.argv[1])
flags, opened = sys.getdlopenflags(), []
class Library:
    def __init__(self, name, mode=0):
        opened.append((name, mode))
        if sys.argv[2] == "window":
            self.LLVMContextCreate = None
        if name and sys.argv[2] == "window" and "damaged" in sys.argv:
            raise OSError
ctypes.CDLL = Library
import napari_dip
import triton._C.libtriton
assert sys.getdlopenflags() == flags
print(*[mode for name, mode in opened if name])
"""


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="a system without such flags")
@pytest.mark.parametrize(
    ("how", "modes"),
    [(["window"], 1), (["window", "damaged"], 1), (["no window"], 0), (["other system"], 0)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_only_where_another_llvm_is_visible_is_the_library_opened_first(
    tmp_path: Path, how: list[str], modes: int
) -> None:
    (tmp_path / "triton" / "_C").mkdir(parents=True)
    for name in ("__init__", "_C/__init__", "_C/libtriton"):
        (tmp_path / "triton" / f"{name}.py").touch()
    run = subprocess.run([sys.executable, "-c", OPENED, tmp_path, *how], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == modes
