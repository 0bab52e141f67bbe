"""Denoise in a window with a CUDA build of torch, whose triton must live beside Mesa's LLVM: ``make test-cuda-build``.

First without what keeps the two apart (`napari_dip.llvm`): the window must end with a signal, or this machine shows
nothing. Then with it, for each Qt that is installed. No GPU is needed; a virtual screen draws by Mesa.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time

SIDE = 48  # pixels
MINUTES = 5


def main() -> int:
    """Start the windows, each in a process of its own, and say what came out."""
    import torch

    if torch.version.cuda is None or importlib.util.find_spec("triton") is None:
        print(f"torch {torch.__version__} is no CUDA build with triton: nothing can be shown with it")
        return 1
    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}")
    names = {"PyQt6": "pyqt6", "PySide6": "pyside6"}
    bindings = [api for name, api in names.items() if importlib.util.find_spec(name)]
    ends = {binding: (_window(binding, "apart"), _window(binding, "together")) for binding in bindings}
    for binding, (apart, together) in ends.items():
        print(f"{binding}: {'denoised' if apart == 0 else f'FAILED with {apart}'}; without napari_dip.llvm {together}")
    return 0 if ends and all(apart == 0 and together < 0 for apart, together in ends.values()) else 1


def _window(binding: str, how: str) -> int:
    environment = {**os.environ, "QT_API": binding}
    command = [sys.executable, "-X", "faulthandler", __file__, how]
    done = subprocess.run(command, env=environment, timeout=60 * MINUTES, capture_output=True, text=True)
    print(done.stdout, end="")
    if how == "apart":
        print(done.stderr, end="", file=sys.stderr)
    return done.returncode


def denoise(how: str) -> int:
    """Open a window and a dock widget in it, denoise, and close."""
    import napari
    import numpy as np
    from qtpy import API_NAME
    from qtpy.QtWidgets import QApplication

    import napari_dip.llvm

    if how == "together":
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != napari_dip.llvm.__name__]

    def wait(goes_on, seconds: float) -> None:
        end = time.monotonic() + seconds
        while goes_on() and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    rows, columns = np.indices((SIDE, SIDE))
    truth = 100 * np.sin(rows / 5) * np.cos(columns / 7)
    noisy = np.float32(truth + np.random.default_rng(0).normal(0, 30, truth.shape))
    viewer = napari.Viewer()
    viewer.add_image(noisy, name="noisy")
    wait(lambda: True, 1)  # until it is drawn, and Mesa loaded
    with open("/proc/self/maps") as maps:
        print(f"{API_NAME}, {how}: LLVM of Mesa loaded: {'libLLVM' in maps.read()}", flush=True)
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    wait(lambda: not widget.run_button.isEnabled(), 60)
    widget.form.set(iterations=15)
    widget.run()
    wait(lambda: widget.running, 60 * MINUTES)
    restored = next(layer for layer in viewer.layers if "stop_reason" in layer.metadata.get("napari-dip", {}))
    before, after = (float(np.sqrt(np.mean((image - truth) ** 2))) for image in (noisy, restored.data))
    print(f"{widget.status}\nerror {before:.1f} before, {after:.1f} after")
    viewer.close()
    return 0 if after < 0.7 * before else 1


if __name__ == "__main__":
    sys.exit(denoise(sys.argv[1]) if len(sys.argv) > 1 else main())
