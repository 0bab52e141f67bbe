"""The dock widgets Denoise, Inpaint and Super-resolve: what to restore, how, and the controls of the run."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import napari.viewer
import numpy as np
from magicgui.widgets import CheckBox, ComboBox, PushButton, SpinBox
from napari.layers import Image, Labels
from napari.utils import progress as activity
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dip.core import device as devices
from napari_dip.core.operators import KERNELS
from napari_dip.core.solve import Progress, Result
from napari_dip.viewer import layers
from napari_dip.viewer.form import Rows, SettingsForm
from napari_dip.viewer.job import INTERVAL, Job, Outcome
from napari_dip.viewer.restoration import Restoration, is_preview

IN_VIEW, ALL_SLICES = "the slice in view", "all slices, one after the other"
AS_LAYERS, AS_STACK = "new layers", "one stack"
_STEPS = 1000  # of the progress bars


class RestoreWidget(QWidget):
    """What the three dock widgets share.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer, or the proxy of it that napari hands to plugins.
    """

    task: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._job: Job | None = None
        self._restoration: Restoration | None = None
        self._last: tuple[Restoration, Result] | None = None  # what "more iterations" goes on with
        self._preview: Any = None
        self._stacks: dict[int, Any] = {}
        self._activity: Any = None
        self._failed_with: Any = None  # the image that the failure under the progress bar is about
        self._form = SettingsForm(self.task)
        self._build()
        self._watch()
        self.reset_choices()
        self._follow_active()

    # -- what the user sees -------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._image = ComboBox(name="image", label="Image", choices=self._images, tooltip="The image to restore.")
        self._level = SpinBox(name="level", label="Resolution level", min=0, tooltip="0 is the finest level.")
        self._where = ComboBox(
            name="slices",
            label="Restore",
            choices=[IN_VIEW, ALL_SLICES],
            tooltip="All slices share one intensity scaling; each starts from the same seed.",
        )
        self._mask = ComboBox(
            name="mask",
            label="Missing pixels",
            choices=self._masks,
            nullable=True,
            tooltip="A Labels layer that marks missing pixels; it may have another scale, offset or fewer axes. "
            "NaN and infinite pixels always count as missing.",
        )
        self._label = SpinBox(
            name="label", label="Label (0: every)", min=0, max=2**31 - 1, tooltip="The label that means missing."
        )
        self._new_mask = PushButton(
            name="new_mask",
            text="New mask to paint on",
            tooltip="Adds an empty Labels layer over the image.",
        )
        self._guide = ComboBox(
            name="guide",
            label="Guide",
            choices=self._images,
            nullable=True,
            tooltip="The image that serves as the code: as large as the restored one, pixel on pixel.",
        )
        self._rows = Rows([self._image, self._level, self._where, *self._own_rows(), self._guide])
        self._preview_on = CheckBox(
            name="preview", label="Live preview", value=True, tooltip="A layer that shows the image so far."
        )
        self._every = SpinBox(
            name="snapshots",
            label="Snapshot every (iterations)",
            min=0,
            max=1_000_000,
            step=50,
            tooltip="Keeps the image after each so many iterations; 0 for none.",
        )
        self._kept_as = ComboBox(name="kept_as", label="Keep as", choices=[AS_LAYERS, AS_STACK])
        self._output = Rows([self._preview_on, self._every, self._kept_as])

        self._sentence = _text("what")
        self._status = _text("status")
        self._bar = QProgressBar()
        self._bar.setRange(0, _STEPS)
        self.run_button = _button("Run", self.run, "Start the restoration.")
        self.pause_button = _button("Pause", self.pause_or_resume, "Wait before the next iteration, or go on.")
        self.stop_button = _button("Stop", self.stop, "End the run now and keep what there is.")
        self.more_button = _button(
            "More iterations",
            self.more,
            "Go on with the last run and its settings, for as many iterations as are set above.",
        )
        buttons = QHBoxLayout()
        for button in (self.run_button, self.pause_button, self.stop_button):
            buttons.addWidget(button)

        self._inputs = QWidget()
        inside = QVBoxLayout(self._inputs)
        for part in (self._rows, self._form, self._output):
            inside.addWidget(part)
        inside.addStretch()
        scroll = QScrollArea()
        scroll.setWidget(self._inputs)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.addWidget(scroll, stretch=1)
        layout.addWidget(self._sentence)
        layout.addLayout(buttons)
        layout.addWidget(self.more_button)
        layout.addWidget(self._bar)
        layout.addWidget(self._status)
        self.setMinimumWidth(340)
        self._show_state()

    def _own_rows(self) -> list[Any]:
        """The rows between the choice of the image and the settings."""
        return [self._mask, self._label]

    def _watch(self) -> None:
        """Every connection; those to the viewer, which outlives this widget, are undone when it is destroyed."""
        events = self._viewer.layers.events
        self._connections = [
            (events.inserted, self.reset_choices),
            (events.removed, self.reset_choices),
            (events.renamed, self.reset_choices),
            (self._viewer.layers.selection.events.active, self._follow_active),
            (self._viewer.dims.events.current_step, self._describe),
        ]
        for emitter, slot in self._connections:
            emitter.connect(slot)
        self._form.changed.connect(self._describe)
        self._image.changed.connect(self._describe)
        self._new_mask.changed.connect(self._add_mask)
        self.destroyed.connect(partial(_disconnect, self._connections))
        for row in (self._level, self._where, self._mask, self._label, self._guide, self._every, *self._extra_rows()):
            row.changed.connect(self._describe)

    def _extra_rows(self) -> list[Any]:
        """Rows of a subclass whose change changes the sentence."""
        return []

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that there are; napari calls this too."""
        for row in (self._image, self._mask, self._guide):
            row.reset_choices()
        self._describe()

    def _images(self, _: Any = None) -> list[tuple[str, Any]]:
        """What lies on top comes first, and so is the default; what is hidden, such as a ground truth, comes last."""
        top_down = list(self._viewer.layers)[::-1]
        images = [layer for layer in top_down if isinstance(layer, Image) and not is_preview(layer)]
        return [(layer.name, layer) for layer in sorted(images, key=lambda layer: not layer.visible)]

    def _masks(self, _: Any = None) -> list[tuple[str, Any]]:
        return [(layer.name, layer) for layer in self._viewer.layers if isinstance(layer, Labels)]

    def _follow_active(self, event: Any = None) -> None:
        """Choose the layer that the user selects; the layers that runs add are not selected by the user."""
        active = self._viewer.layers.selection.active
        if active is None or self._job is not None or layers.showing():
            return
        for row in self._followers():
            if active in row.choices:
                row.value = active

    def _followers(self) -> list[Any]:
        """The rows that take the active layer."""
        return [self._image]

    def _add_mask(self) -> None:
        """A new, empty Labels layer over the image, ready to be painted on."""
        layer = self._image.value
        if layer is None:
            return self._say(self._no_image(), failed=True)
        source = layers.read(layer, level=self._level.value)
        geometry = source.geometry
        labels = self._viewer.add_labels(
            np.zeros(source.image.shape[: len(geometry.scale)], np.uint8),
            name=f"{layer.name} mask",
            scale=geometry.scale,
            translate=geometry.translate,
            **geometry.place,
        )
        labels.mode = "paint"
        self._mask.value = labels
        self._say(f"Paint over what is missing in '{layer.name}', on layer '{labels.name}'.")
        return None

    # -- what will happen ---------------------------------------------------------------------------------------

    def _describe(self, event: Any = None) -> None:
        """Show the rows that matter, and say in a sentence what a run will do, or what stands in its way."""
        if self._job is not None:
            return
        layer = self._image.value
        if self._failed_with is not None and layer != self._failed_with:
            self._say("")  # that was about another image
        if layer is not None and layer.multiscale:
            self._level.max = len(layer.data) - 1
        self._rows.show_row(self._level, layer is not None and layer.multiscale)
        self._rows.show_row(self._where, layer is not None and layer.ndim > 2)
        self._rows.show_row(self._label, self._mask.value is not None)
        self._output.show_row(self._kept_as, self._every.value > 0)
        self._rows.show_row(self._guide, self._form.wants_guide)
        try:
            sentence, ready = self._plan(layer), True
        except (ValueError, TypeError) as error:
            sentence, ready = str(error), False
        self._sentence.setText(sentence)
        self.run_button.setEnabled(ready)
        self.more_button.setEnabled(ready and self._last is not None)

    def _plan(self, layer: Any) -> str:
        if layer is None:
            raise ValueError(self._no_image())
        settings = self._form.settings()
        device = devices.choose(settings.device)
        where = ""
        if layer.ndim > 2:
            where = f" ({self._where.value})" if self._where.value == ALL_SLICES else f" ({self._slice_in_view(layer)})"
        shape = " x ".join(map(str, self._shape(layer)))
        return (
            f"{self._verb(layer)} '{layer.name}'{where}, {shape} pixels of {layer.dtype}: "
            f"{settings.iterations} iterations on {device} ({device.reason}). The result is a new layer."
        )

    def _verb(self, layer: Any) -> str:
        missing = f" and fill what '{self._mask.value.name}' marks in" if self._mask.value is not None else ""
        return f"Denoise{missing}"

    def _no_image(self) -> str:
        active = self._viewer.layers.selection.active
        if active is not None and not isinstance(active, Image):
            return f"'{active.name}' is a {layers.kind(active)} layer; choose or open an image."
        return "Open an image, or take one from File > Open Sample > napari-dip."

    def _slice_in_view(self, layer: Any) -> str:
        index = layers.in_view(self._viewer, layer, self._level.value)
        if layer.axis_labels[0].lstrip("-").isdecimal():  # nobody named the axes
            return "slice " + ", ".join(map(str, index))
        return "slice " + ", ".join(f"{name} = {i}" for name, i in zip(layer.axis_labels, index, strict=False))

    def _shape(self, layer: Any) -> tuple[int, ...]:
        data = layer.data[self._level.value] if layer.multiscale else layer.data
        shape = tuple(data.shape[: layer.ndim])
        return shape if self._where.value == ALL_SLICES else shape[-2:]

    # -- the run ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Restore the chosen layer with the settings of the form."""
        self._start()

    def more(self) -> None:
        """Go on with the last run, for as many iterations as the form says."""
        if self._last is not None:
            restoration, result = self._last
            self._start(restoration.continued(result, self._form.settings().iterations))

    def pause_or_resume(self) -> None:
        """Pause the run, or go on with it."""
        if self._job is None:
            return
        if self._job.paused:
            self._job.resume()
        else:
            self._job.pause()
        self._show_state()

    def stop(self) -> None:
        """End the run within an iteration and keep what there is."""
        if self._job is not None:
            self._say("Stopping...")
            self._job.stop()

    @property
    def running(self) -> bool:
        """Whether a run is under way, also while it is paused."""
        return self._job is not None

    @property
    def status(self) -> str:
        """What stands under the progress bar."""
        return self._status.text()

    @property
    def fraction(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self._bar.value() / _STEPS

    def _start(self, restoration: Restoration | None = None) -> None:
        """Start what is given, or else what the form asks for."""
        if self._job is not None:
            return
        try:
            Job.check_free()
            self._restoration = restoration or self._read()
            job = Job(
                self._restoration.name,
                partial(self._restoration.start, interval=INTERVAL, snapshot_every=self._every.value),
            )
        except (ValueError, TypeError, RuntimeError) as error:
            return self._say(str(error), failed=True)
        self._job = job
        self._preview, self._stacks = None, {}
        self._activity = activity(total=_STEPS, desc=f"{self.title} '{self._restoration.source.name}'")
        self._bar.setValue(0)
        self._say("Starting...")
        self._show_state()
        job.progressed.connect(self._on_progress)
        job.ended.connect(self._on_ended)
        job.start()  # last: it may be over before the next line
        return None

    def _read(self) -> Restoration:
        """What the form asks for, read from the layers now: what happens to them later does not matter."""
        settings = self._form.settings()
        layer = self._image.value
        layers.check_source(layer)
        level = self._level.value if layer.multiscale else 0
        where = layers.ALL if self._where.value == ALL_SLICES else layers.in_view(self._viewer, layer, level)
        source = layers.read(layer, where=where, level=level)
        mask = self._mask.value
        if mask is not None:
            source = layers.with_mask(source, mask, self._label.value or None, self._viewer)
        return Restoration(
            task=self.task,
            source=source,
            settings=settings,
            mask_name=None if mask is None else mask.name,
            guide=None if self._guide.value is None else layers.pixels(self._guide.value),
            **self._problem(),
        )

    def _problem(self) -> dict[str, Any]:
        """What else defines the problem: arguments of `Restoration`."""
        return {}

    def _on_progress(self, progress: Progress) -> None:
        try:
            restoration = self._restoration
            if self._job is None or restoration is None:
                return
            if progress.snapshot:
                self._keep(restoration, progress)
            if self._preview_on.value and (self._preview is None or self._preview in self._viewer.layers):
                self._preview = restoration.show_preview(self._viewer, progress, self._preview)
            self._tell_progress(progress)  # last: napari's bar handles waiting events, and one may be the end
        finally:
            if self._job is not None:
                self._job.taken()

    def _keep(self, restoration: Restoration, progress: Progress) -> None:
        """Keep a snapshot, as a layer of its own or in the stack of its slice."""
        if self._kept_as.value == AS_LAYERS:
            restoration.show_snapshot(self._viewer, progress)
            return
        stack = self._stacks.get(progress.slice)
        if stack is not None and stack not in self._viewer.layers:
            stack = None  # deleted by the user: begin another
        self._stacks[progress.slice] = restoration.show_in_stack(self._viewer, progress, stack, self._every.value)

    def _tell_progress(self, progress: Progress) -> None:
        value = round(progress.fraction * _STEPS)
        self._bar.setValue(value)
        slice_name = f"slice {progress.slice + 1} of {progress.slices}, " if progress.slices > 1 else ""
        paused = "Paused. " if self._job is not None and self._job.paused else ""
        self._say(
            f"{paused}{slice_name}iteration {progress.iteration} of {progress.iterations}, "
            f"{progress.rate:.1f} a second, {_duration(progress.seconds_left)} left"
        )
        if self._activity is not None and value > self._activity.n:
            self._activity.update(value - self._activity.n)

    def _on_ended(self, outcome: Outcome) -> None:
        restoration, self._job = self._restoration, None
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        result = outcome.result
        try:
            if self._preview is not None and self._preview in self._viewer.layers:
                self._viewer.layers.remove(self._preview)
            self._preview, self._stacks = None, {}
            if result is None:
                self._say(outcome.error, failed=True)
                show_error(outcome.error)
            elif result.iterations == 0 and not result.complete:
                self._say("Stopped before the first iteration; there is nothing to show.")
            elif restoration is not None:
                self._last = (restoration, result) if result.states else None
                layer = restoration.show_result(self._viewer, result)
                self._bar.setValue(_STEPS if result.complete else self._bar.value())
                events = "".join(f" {event.message}." for event in result.history.events)
                self._say(
                    f"'{layer.name}': {result.stop_reason}, in {_duration(result.seconds)}.{events}",
                    failed=not result.complete and bool(events),
                )
        finally:
            self._show_state()
            self._describe()

    def event(self, event: QEvent) -> bool:
        """Closing the dock takes the widget out of its parent: end the run, and keep what there is."""
        handled: bool = super().event(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.stop()
        return handled

    def _show_state(self) -> None:
        running = self._job is not None
        self._inputs.setEnabled(not running)
        self.run_button.setEnabled(not running)
        self.pause_button.setEnabled(running)
        self.stop_button.setEnabled(running)
        self.more_button.setEnabled(not running and self._last is not None)
        paused = running and self._job is not None and self._job.paused
        self.pause_button.setText("Resume" if paused else "Pause")
        if paused:
            self._say("Paused. " + self._status.text().removeprefix("Paused. "))

    def _say(self, text: str, failed: bool = False) -> None:
        """Tell the user, under the progress bar."""
        self._failed_with = self._image.value if failed else None
        self._status.setText(text)
        self._status.setStyleSheet("font-weight: bold" if failed else "")


class DenoiseWidget(RestoreWidget):
    """Dock widget: remove noise."""

    task, title = "denoise", "Denoise"


class InpaintWidget(RestoreWidget):
    """Dock widget: fill holes."""

    task, title = "inpaint", "Inpaint"

    def _own_rows(self) -> list[Any]:
        return [self._mask, self._label, self._new_mask]

    def _followers(self) -> list[Any]:
        return [self._image, self._mask]

    def _verb(self, layer: Any) -> str:
        mask = self._mask.value
        if mask is None and layer.dtype.kind != "f":
            raise ValueError("Choose a Labels layer that marks what is missing, or press 'New mask to paint on'.")
        if mask is None:
            return "Fill the NaN pixels (choose or add a mask for others) of"
        which = f"label {self._label.value}" if self._label.value else "every label"
        return f"Fill what {which} of '{mask.name}' marks in"


class SuperresolveWidget(RestoreWidget):
    """Dock widget: enlarge."""

    task, title = "superresolve", "Super-resolve"

    def _own_rows(self) -> list[Any]:
        self._factor = SpinBox(
            name="factor", label="Factor", value=2, min=2, max=16, tooltip="Fine pixels per pixel, along y and x."
        )
        self._kernel = ComboBox(
            name="kernel",
            label="Instrument blur",
            choices=list(KERNELS),
            tooltip="How the instrument blurred before it sampled: box is camera binning, lanczos2 a sharp optic.",
        )
        return [self._factor, self._kernel, self._mask, self._label]

    def _extra_rows(self) -> list[Any]:
        return [self._factor, self._kernel]

    def _problem(self) -> dict[str, Any]:
        return {"factors": (self._factor.value,) * 2, "kernel": self._kernel.value}

    def _verb(self, layer: Any) -> str:
        factor = self._factor.value
        sizes = [
            f"{scale / factor:.4g} {unit:~}" for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True)
        ]
        missing = f", without what '{self._mask.value.name}' marks," if self._mask.value is not None else ","
        return f"Enlarge {factor} times along y and x, to pixels of {' x '.join(sizes)}{missing}"


def _disconnect(connections: list[tuple[Any, Any]]) -> None:
    for emitter, slot in connections:
        emitter.disconnect(slot)
    connections.clear()


def _text(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return label


def _button(text: str, slot: Any, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.clicked.connect(slot)
    return button


def _duration(seconds: float) -> str:
    """A time a user can read: 42 s, 3:05 min, 1:02 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"
