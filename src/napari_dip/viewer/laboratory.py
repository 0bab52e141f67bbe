"""The dock widget *Laboratory*: experiments on a crop of the active layer, with curves, a table and images.

Long because it is a whole dock: rows, the sentence before a run, the run, and what is kept of it.
"""

from __future__ import annotations

import html
from pathlib import Path
from time import monotonic
from typing import Any

import napari.viewer
import numpy as np
from magicgui.widgets import CheckBox, ComboBox, FileEdit, LineEdit, SpinBox
from napari.layers import Image
from napari.utils.notifications import show_info
from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from napari_dip.again import as_name
from napari_dip.tables import record
from napari_dip.tables.experiments import EXPERIMENTS, QUESTIONS, SEVERAL
from napari_dip.tables.knobs import GENERATORS
from napari_dip.viewer import layers
from napari_dip.viewer.account import closed, duration, ended
from napari_dip.viewer.background import Background
from napari_dip.viewer.connections import connect_for_life
from napari_dip.viewer.controls import button
from napari_dip.viewer.geometry import geometry_of, stacked
from napari_dip.viewer.job import Job, Outcome
from napari_dip.viewer.regions import window_in_view
from napari_dip.viewer.restoration import METADATA, is_by_product
from napari_dip.viewer.rows import Rows, Text, column, scrolled_rows
from napari_dip.viewer.tabs import Tabbed

_NONE = "(none)"
_STEPS = 1000  # of the bar


class _Rows(Rows):
    """Rows for an experiment; the truth is called as its image is, and longer."""

    long = ("truth",)


class LaboratoryWidget(Tabbed):
    """Dock widget of the laboratory."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._job: Job | None = None
        self._result: Any = None
        self._points: dict[str, tuple[list[int], list[float]]] = {}
        self._place: Any = None  # of the crop that is worked on
        self._name = self._experiment = ""  # of what is shown
        self._began = 0.0  # seconds, when the run did
        self._build()
        self._forecast = Background(self, self._on_forecast, delay=300)
        connections = [
            (viewer.layers.events.inserted, self._on_layers),
            (viewer.layers.events.removed, self._on_layers),
            (viewer.layers.events.renamed, self._on_layers),
            (viewer.layers.selection.events.active, self._on_layers),
            (viewer.events.theme, self._on_theme),
        ]
        connect_for_life(self, connections)
        for row in (self.experiment, self.question, self.crop, self.iterations, *self.ticks.values()):
            row.changed.connect(self._describe)
        self.experiment.changed.connect(self._on_experiment)
        self._on_experiment()

    def _build(self) -> None:
        self.experiment = ComboBox(
            name="experiment", label="Experiment", choices=list(EXPERIMENTS), value="ablation",
            tooltip=" ".join(f"{name}: {row.does}" for name, row in EXPERIMENTS.items()),
        )  # fmt: skip
        self.question = ComboBox(
            name="question", label="Question", choices=list(QUESTIONS), tooltip="The knob whose values are compared."
        )
        self.truth = ComboBox(
            name="truth", label="Truth", choices=self._truths,
            tooltip="A layer like the image, without noise. None: pixels held out stand for it, and 'explicit' adds "
            "noise to the image.",
        )  # fmt: skip
        self.network = LineEdit(
            name="network", label="Network", value="textures",
            tooltip="textures, the small network of the package; torchvision:NAME or timm:NAME, where installed, with "
            "weights; or FILE.py:NAME, a module of yours: the file is run.",
        )  # fmt: skip
        self.weights = FileEdit(
            name="weights", label="Weights", nullable=True, filter="Weights (*.npz *.safetensors *.pt *.pth)",
            tooltip="Of that network: arrays alone. A file that holds more is not loaded.",
        )  # fmt: skip
        self.layer = LineEdit(
            name="layer", label="Layer", value="relu2", tooltip="By its name. A wrong name lists those there are."
        )
        self.unit = SpinBox(
            name="unit", label="Unit", max=100_000, tooltip="Of the layer: a filter, or of the last one a class."
        )
        self._answers = [self.question, self.truth, self.network, self.weights, self.layer, self.unit]
        self.ticks = {
            name: CheckBox(name=name, label=name, value=i < 2, tooltip="Fit by this generator too.")
            for i, name in enumerate(GENERATORS)
        }
        self.crop = SpinBox(
            name="crop", label="Crop (px)", value=96, min=32, max=1024, step=32,
            tooltip="Side of the square in the middle of what the canvas shows: about 100 pixels tell enough.",
        )  # fmt: skip
        self.iterations = SpinBox(
            name="iterations", label="Iterations", value=400, min=10, max=100_000, step=100, tooltip="Of each fit."
        )
        self.seed = SpinBox(name="seed", label="Seed", min=0, max=2**30, tooltip="The same seed, the same outcome.")
        self.rows = _Rows(
            [self.experiment, *self._answers, *self.ticks.values(), self.crop, self.iterations, self.seed]
        )
        self._cost, self._words, self._table = Text("cost"), Text("laboratory"), Text("table")
        self._table.setVisible(False)
        self.run_button = button("Run", self.run, "Runs the experiment on a crop of the active layer.")
        self.stop_button = button("Stop", self.stop, "Ends it at once; what is whole is kept.")
        self.stop_button.setEnabled(False)
        self.save_button = button("Save table and figure...", self._ask, "A Markdown table, and the curves as PNG.")
        self.save_button.setVisible(False)
        self.bar = QProgressBar()
        self.bar.setMaximum(_STEPS)
        self.bar.setVisible(False)
        self.plot: Any = None  # made late
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, stretch=1)
        buttons.addWidget(self.stop_button)
        inside = QWidget()
        column(self, scrolled_rows(inside, "Experiment"))  # what comes of a run is higher than a small screen
        self._layout = QVBoxLayout(inside)
        self._layout.addWidget(self.rows)
        self._layout.addWidget(self._cost)
        self._layout.addLayout(buttons)
        for part in (self.bar, self._words, self._table, self.save_button):
            self._layout.addWidget(part)
        self._layout.addStretch()
        self.setMinimumWidth(300)
        self._clock = QTimer(self)
        self._clock.setInterval(300)
        self._clock.timeout.connect(self._draw)

    # -- what is asked ------------------------------------------------------------------------------------------

    @property
    def told(self) -> str:
        """Sentence on the experiment."""
        return self._words.text()

    @property
    def cost(self) -> str:
        """Sentence on what is run, and how long it takes."""
        return self._cost.text()

    @property
    def running(self) -> bool:
        return self._job is not None and self._job.running

    def _truths(self, _: Any = None) -> list[str]:
        found = [layer.name for layer in self._viewer.layers if isinstance(layer, Image) and not layer.rgb]
        return [_NONE, *found]

    def _source(self) -> Any:
        """The active layer, if it is an image that may be worked on; else the one that is alone."""
        fit = [each for each in self._viewer.layers if isinstance(each, Image) and not is_by_product(each)]
        active = self._viewer.layers.selection.active
        if active in fit:
            return active
        return fit[0] if len(fit) == 1 else None

    def _on_layers(self, event: Any = None) -> None:
        self.truth.reset_choices()
        self._describe()

    def _on_experiment(self, event: Any = None) -> None:
        row = EXPERIMENTS[self.experiment.value]
        for each in self._answers:
            self.rows.show_row(each, each.name in row.takes)
        for tick in self.ticks.values():
            self.rows.show_row(tick, "generators" in row.takes)
        self.iterations.value = row.iterations
        self._describe()

    def _describe(self, event: Any = None) -> None:
        """Say what will be run; how long it takes is asked beside."""
        layer = self._source()
        self.run_button.setEnabled(layer is not None and not self.running)
        if layer is None:
            return self._cost.setText("Open an image, or select its layer.")
        given = {"question": self.question.value, "generators": self._ticked()}
        name, side, iterations = self.experiment.value, self.crop.value, self.iterations.value
        if name == "impedance" and not given["generators"]:
            self.run_button.setEnabled(False)
            return self._cost.setText("Tick at least one generator.")
        self._about = f"On '{layer.name}', at most {side} x {side} px in the middle of the view"
        self._cost.setText(f"{self._about}: ...")
        return self._forecast.ask(lambda: _duration(name, (side, side), iterations, given))

    def _on_forecast(self, answer: Any) -> None:
        self._cost.setText(f"{self._about}: {ended(str(answer))}")

    def _ticked(self) -> list[str]:
        return [name for name, tick in self.ticks.items() if tick.value]

    # -- the run ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the experiment in a worker thread."""
        layer = self._source()
        try:
            Job.check_free()
            image, self._place = self._cut(layer)
            truth = self.truth.value
            other = None if truth in (None, _NONE) else self._cut(self._viewer.layers[truth], self._window)[0]
        except (ValueError, RuntimeError) as error:
            return self._words.setText(str(error))
        name = self.experiment.value
        given: dict[str, Any] = {"iterations": self.iterations.value, "seed": self.seed.value, "truth": other}
        given |= {each.name: each.value for each in self._answers if each is not self.truth}
        given["generators"] = self._ticked()
        of = {"ablation": self.question, "preimage": self.layer, "maximise": self.layer}.get(name)
        self._name = f"{layer.name}, {name}" + (f" of {of.value}" if of is not None else "")
        self._experiment, self._points = name, {}
        points = self._points
        self._drop_plot()
        self._result = None
        self._table.setVisible(False)
        self.save_button.setVisible(False)
        self._job = Job("an experiment", lambda stops: _steps(name, image, stops, given, points))
        self._job.progressed.connect(self._on_step)
        self._job.ended.connect(self._on_ended)
        self.bar.setValue(0)
        self.bar.setVisible(True)
        self.stop_button.setEnabled(True)
        self.run_button.setEnabled(False)
        self._words.setText("Starting...")
        self._began = monotonic()
        self._clock.start()
        return self._job.start()

    def leave(self) -> None:
        """End the experiment; its images are kept, so far as they are whole."""
        if self.running:
            show_info(closed(self._name))
            self.stop()

    def stop(self) -> None:
        """End the experiment before the next iteration."""
        if self._job is not None:
            self._job.stop()

    def _cut(self, layer: Any, window: Any = None) -> tuple[np.ndarray, Any]:
        """Pixels (y, x) in the middle of what is seen of a layer, or of all its planes, and their place."""
        if layer.rgb:
            raise ValueError(f"'{layer.name}' has colours; split it into channels, and select one")
        if window is None:
            half, shape = self.crop.value // 2, layers.pixels(layer).shape[-2:]
            window = []
            for part, n in zip(window_in_view(layer), shape, strict=True):
                low = max(0, min((part.start + part.stop) // 2 - half, n - 2 * half))
                window.append(slice(low, min(n, low + 2 * half)))
            self._window = tuple(window)
        whole = layers.pixels(layer)
        index = layers.in_view(self._viewer, layer) if whole.ndim > 2 else ()
        origin = tuple(float(part.start) for part in self._window)
        if self.experiment.value != "ablation" or self.question.value != SEVERAL:
            return np.array(whole[index][self._window]), geometry_of(layer).last(2).cut(origin, (1.0, 1.0))
        if whole.ndim < 3:
            raise ValueError(f"'{layer.name}' is one image; '{SEVERAL}' is asked of a stack, such as several channels")
        crop = np.array(whole[index[:-1]][(slice(None), *self._window)])
        return crop, geometry_of(layer).last(3).cut((0.0, *origin), (1.0, 1.0, 1.0))

    def _on_step(self, step: Any) -> None:
        self.bar.setValue(round(_STEPS * step.done))
        left = (monotonic() - self._began) * (1 - step.done) / step.done if step.done else 0
        self._words.setText(f"{step.part}, iteration {step.iteration}" + f", about {duration(left)} left" * (left > 0))
        self._job.taken()

    def _draw(self) -> None:
        if not self._points:
            return
        if self.plot is None:
            from napari_dip.viewer.overlay import Overlay  # imports pyqtgraph

            theme = get_theme(self._viewer.theme)
            quantity = EXPERIMENTS[self._experiment].quantity
            self.plot = Overlay(quantity, theme.text.as_hex(), theme.background.as_hex())
            self._layout.insertWidget(self._layout.indexOf(self._table), self.plot)
        self.plot.draw(dict(self._points))

    def _drop_plot(self) -> None:
        if self.plot is not None:
            self.plot.setParent(None)
            self.plot = None

    def _on_theme(self, event: Any = None) -> None:
        """Draw the curves in the colours of the window."""
        self._drop_plot()
        self._draw()

    def _on_ended(self, outcome: Outcome) -> None:
        self._clock.stop()
        self._draw()
        self.bar.setVisible(False)
        self.stop_button.setEnabled(False)
        self._describe()
        result = outcome.value
        if result is None or not result.rows:
            return self._words.setText(outcome.error or "Stopped before anything was whole.")
        self._result = result
        self._words.setText(f"{self._name}:")
        self._table.setText(_rich(result.table()))
        self._table.setVisible(True)
        self.save_button.setVisible(True)
        if result.stack is not None:
            about = {METADATA: {"experiment": self._name, "images": list(result.images), "table": result.table()}}
            layers.show(self._viewer, result.stack, stacked(self._place, "value"), self._name, about)
        return None

    def _ask(self) -> None:
        name = f"{as_name(self._name.replace(',', ''))}.md"
        path, _ = QFileDialog.getSaveFileName(self, "Save table and figure", name, "Markdown (*.md)")
        if path:
            self.save(path)

    def save(self, path: str) -> None:
        """Write the table as Markdown, and the curves as PNG beside it."""
        file = Path(path).with_suffix(".md")
        picture = file.with_suffix(".png")
        try:
            record.write(file, f"# {self._name}\n\n{self._result.table()}\n\n![]({picture.name})")
            if not self.plot.grab().save(str(picture)):
                raise OSError(f"{picture} cannot be written")
        except OSError as error:
            return self._words.setText(f"It is not saved: {error}")
        return self._words.setText(f"Saved as {file.name} and {picture.name}.")


def _duration(name: str, shape: tuple[int, int], iterations: int, given: dict[str, Any]) -> str:
    from napari_dip import lab  # imports torch: seconds

    return lab.duration(name, shape, iterations=iterations, **given)


def _steps(name: str, image: np.ndarray, should_stop: Any, given: dict[str, Any], points: Any) -> Any:
    """The experiment, in the worker's thread, with its curves noted."""
    from napari_dip import lab

    work = lab.begin(name, image, should_stop=should_stop, **given)
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            return end.value
        for curve, value in step.curves.items():
            iterations, values = points.setdefault(curve, ([], []))
            iterations.append(step.iteration)
            values.append(value)
        yield step


def _rich(table: str) -> str:
    """A Markdown table as rich text, whose cells wrap: six columns have room in a narrow dock."""
    head, _, *rows = (line.strip("| ").split(" | ") for line in table.splitlines())
    lines = [_line("th", head), *(_line("td", row) for row in rows)]
    return f"<table cellspacing='0' cellpadding='1' style='font-size: 10px'>{''.join(lines)}</table>"


def _line(kind: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{kind} align='left'>{html.escape(cell.strip())}</{kind}>" for cell in cells) + "</tr>"
