"""Images of a run while it goes on: a preview, and snapshots that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, SpinBox

from napari_dip.viewer.preferences import DEFAULTS
from napari_dip.viewer.restoration import METADATA, Restoration
from napari_dip.viewer.rows import Rows

if TYPE_CHECKING:
    from napari_dip import Progress

AS_LAYERS, AS_STACK = "new layers", "one stack"


class Live(Rows):
    """Rows that say what to show of a run, and the layers that show it."""

    def __init__(self, viewer: Any) -> None:
        self.preview = CheckBox(
            name="preview", label="Live preview", value=True, tooltip="A layer that shows the image so far."
        )
        self.every = SpinBox(
            name="snapshots",
            label="Snapshot every (iterations)",
            min=0,
            max=1_000_000,
            step=50,
            tooltip="Keeps the image after each so many iterations; 0 for none.",
        )
        self.kept_as = ComboBox(name="kept_as", label="Keep as", choices=[AS_LAYERS, AS_STACK])
        self.memory = SpinBox(
            name="moments",
            label="Memory for moments (MB)",
            min=0,
            max=1_000_000,
            step=128,
            value=DEFAULTS["moments_memory"][1],
            tooltip="For the images of a run that the line of its curve is dragged to; 0 for none.",
        )
        self.hide = CheckBox(
            name="hide", label="Hide the source", value=False, tooltip="Hides the image once its result is there."
        )
        super().__init__([self.preview, self.every, self.kept_as, self.memory, self.hide])
        self._viewer = viewer
        self._layer: Any = None
        self._stacks: dict[tuple[int, int, int], Any] = {}  # of the snapshots of each slice, tile and run
        self._memory_said = False  # by the user
        self.memory.changed.connect(self._on_memory)
        self.every.changed.connect(self._show_kept_as)
        self._show_kept_as()

    def _show_kept_as(self) -> None:
        self.show_row(self.kept_as, self.every.value > 0)

    def _on_memory(self) -> None:
        self._memory_said = True

    def prefer(self, memory: int) -> None:
        """Begin with so many MB for moments, where none were chosen meanwhile."""
        if not self._memory_said:
            with self.memory.changed.blocked():
                self.memory.value = memory

    def held(self) -> dict[str, Any]:
        """Values of the rows; no memory that is only preferred, and may be another one when this is held again."""
        return {n: value for n, value in super().held().items() if n != self.memory.name or self._memory_said}

    def offer_snapshots(self, offered: bool) -> None:
        """Show the rows that ask for snapshots, or hide them."""
        self.show_row(self.every, offered)
        self.show_row(self.kept_as, offered and self.every.value > 0)

    def begin(self) -> None:
        """Forget the layers of the run before."""
        self._layer, self._stacks = None, {}

    def show_progress(self, restoration: Any, progress: Any, record: dict[str, Any], preview: bool = True) -> None:
        """Show the image so far, or the block at hand, in the preview, and keep the image if it is a snapshot.

        `record` is what is known of the run.
        """
        if getattr(progress, "snapshot", False):  # of blocks there is none
            self._keep(restoration, progress, record)
        if preview and self.preview.value and (self._layer is None or self._layer in self._viewer.layers):
            self._layer = restoration.show_preview(self._viewer, progress, self._layer)

    def show_moment(self, restoration: Restoration, progress: Progress) -> None:
        """Show an earlier image, also after the run, and where the user has taken the preview away."""
        self._layer = restoration.show_preview(self._viewer, progress, self.layer)

    def look(self) -> dict[str, Any]:
        """Contrast and colours of the preview, which the user may have set; nothing where there is none."""
        layer = self.layer
        if layer is None:
            return {}
        names = ("contrast_limits", "colormap", "gamma", "opacity", "blending", "interpolation2d")
        return {name: getattr(layer, name) for name in names if not (layer.rgb and name in names[:2])}

    @property
    def layer(self) -> Any:
        """The preview; None where there is none, or the user has taken it away."""
        return self._layer if self._layer in self._viewer.layers else None

    def end(self) -> None:
        """Take the preview away, unless it has become the result."""
        if self.layer is not None and "preview" in self.layer.metadata.get(METADATA, {}):
            self._viewer.layers.remove(self.layer)
        self.begin()

    def _keep(self, restoration: Restoration, progress: Progress, record: dict[str, Any]) -> None:
        """Keep a snapshot, as a layer of its own or in the stack of its fit."""
        if self.kept_as.value == AS_LAYERS:
            restoration.show_snapshot(self._viewer, progress, record)
            return
        fit = progress.slice, progress.tile, progress.run
        stack = self._stacks.get(fit)
        if stack is not None and stack not in self._viewer.layers:
            stack = None  # deleted by the user: begin another
        every = self.every.value
        self._stacks[fit] = restoration.show_in_stack(self._viewer, progress, stack, every, record)
