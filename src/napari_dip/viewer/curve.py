"""The run as a curve: what is plotted while it goes on, which of its moments is shown, and which are kept as layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QWidget

from napari_dip.viewer import account
from napari_dip.viewer.controls import button
from napari_dip.viewer.live import Live
from napari_dip.viewer.moment import Moment
from napari_dip.viewer.moments import Chart, Moments
from napari_dip.viewer.position import show_slice, slice_in_view, slice_name
from napari_dip.viewer.preferences import zarr_folder
from napari_dip.viewer.restoration import Asked, Restoration
from napari_dip.viewer.rows import Section, Text, beside, column, tip

if TYPE_CHECKING:
    from napari_dip import Progress
    from napari_dip.run.blocks.restore import BlockProgress

_EVERY = 300  # ms between two drawings of the plot, at the least
_ABOUT_MEMORY = (
    "Images of the run in 16 bits, to drag the marker to. Where they would take more memory than is set under "
    "'Memory for moments', every other one is let go of, so that they lie twice as far apart. Of large images, up "
    "to 24 of each slice are kept, in a temporary file: in the folder for OME-Zarr of the preferences, or the system's."
)


class CurvePanel(Section):
    """A plot over the iterations of a run, with a marker to drag, and buttons to keep what it shows.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    live : Live
        Shows the moments in the preview layer, and says how much memory they may take.
    """

    def __init__(self, viewer: Any, live: Live) -> None:
        super().__init__("Curve")
        self._viewer, self._live = viewer, live
        self._restoration: Restoration | None = None
        self._under_way: int | None = None  # the slice that is fitted now
        self._following = False  # the sliders go with the run
        self._moving = False  # it is us who move them
        self._new = False  # a run has begun or ended, and nothing is drawn since
        self.moments = Moments(0)
        self.rate = 0.0  # iterations a second, of the last fit
        self.chosen: Moment | None = None  # None: what there is now
        self._chart = Chart()
        self.plot: Any = None  # made late
        self._words = Text("moment")
        self._where = Text("where")
        self.show_button = button("Show", self.follow, "Move the sliders there, and with the run, until you move them.")
        self.keep_button = button("Keep this", self.keep, "Adds the image at the marker as a layer, with its record.")
        self.now_button = button("Back to now", self.leave, "Takes the marker back to the image of now.")
        inside = QWidget()
        self._there = beside(self._where, self.show_button)
        self._layout = column(inside, self._words, beside(self.keep_button, self.now_button), self._there)
        self.addWidget(inside)
        self.setToolTip(tip(_ABOUT_MEMORY))
        self.expand()
        self._clock = QTimer(self)
        self._clock.setInterval(_EVERY)
        self._clock.setSingleShot(True)
        self._clock.timeout.connect(self._draw)
        self.setVisible(False)

    # -- the run ------------------------------------------------------------------------------------------------

    def moments_of(self, restoration: Asked) -> Moments:
        """Keeper of the moments of a run: those of the run that it goes on from stay."""
        going_on = restoration.resume is not None and self._restoration is not None
        moments = self.moments if going_on else Moments(self._bound, zarr_folder())
        moments.memory = self._bound
        return moments

    def begin(self, restoration: Asked, moments: Moments) -> None:
        """A run has begun; of blocks there is no curve."""
        if not isinstance(restoration, Restoration):
            return self.forget()
        if moments is not self.moments:
            self.moments.let_go()
        self._restoration, self.moments = restoration, moments
        self.chosen, self._under_way, self._new = None, None, True
        return self.refresh()

    def show_progress(self, progress: Progress | BlockProgress) -> bool:
        """Take note of where the run is; returns True if what it shows now is to be seen."""
        if self._restoration is None:
            return True
        self._under_way, self.rate = progress.slice, progress.rate or self.rate
        if self._following and progress.slice != slice_in_view(self._viewer, self._source):
            self._go_there()
        self.refresh()
        return self.chosen is None

    def end(self) -> None:
        """The run is over."""
        self._under_way, self._following, self._new = None, False, True
        self.leave()

    def forget(self) -> None:
        """There is no run that moments could be of."""
        self.moments.let_go()
        self._restoration, self.moments, self.chosen, self._chart = None, Moments(0), None, Chart()
        self._draw()

    @property
    def words(self) -> str:
        """The sentence below the plot."""
        return self._words.text()

    @property
    def where(self) -> str:
        """Words on the slice at hand, if it is not in view."""
        return self._where.text()

    @property
    def running(self) -> bool:
        """True between the first progress of a run and its end."""
        return self._under_way is not None

    # -- what the user does -------------------------------------------------------------------------------------

    def choose(self, iteration: float) -> None:
        """Show the moment next to an iteration, as counted along the plot."""
        if self._restoration is None or not self.moments.slices:
            return
        self._chart = self.moments.chart(self._slice)
        moment = self._chart.nearest(iteration)
        if moment is None:
            return
        if moment is not self.chosen:
            self.chosen = moment
            self._live.show_moment(self._restoration, moment.progress)
        self._tell()

    def leave(self) -> None:
        """Show what there is now: the run as it goes on, or its result."""
        self.chosen = None
        if not self.running:
            self._live.end()
        self._draw()

    def keep(self) -> Any:
        """Add what the marker is at as a layer; returns it."""
        kept = self.chosen or self._chart.nearest(self._chart.length)
        if kept is None or self._restoration is None:
            return None
        return self._restoration.show_snapshot(self._viewer, kept.progress, {**self.moments.record, "bits": 16})

    def follow(self) -> None:
        """Move the sliders to where the run is, and with it until the user moves them."""
        self._following = True
        self._go_there()

    def on_step(self, event: Any = None) -> None:
        """Another slice is in view."""
        if self._restoration is None or self._moving:
            return
        self._following = False
        if self.chosen is not None and self.chosen.about.slice != slice_in_view(self._viewer, self._source):
            self.leave()
        self.refresh()

    def _go_there(self) -> None:
        if self._under_way is None:
            return
        self._moving = True
        try:
            show_slice(self._viewer, self._source, self._under_way)
        finally:
            self._moving = False
        self._draw()

    # -- what is seen -------------------------------------------------------------------------------------------

    def refresh(self, event: Any = None) -> None:
        """Draw soon, unless that is about to happen."""
        if not self._clock.isActive():
            self._clock.start()

    @property
    def _bound(self) -> int:
        """Bytes that the images may take."""
        return int(self._live.memory.value) * 2**20

    @property
    def _source(self) -> Any:
        assert self._restoration is not None
        return self._restoration.source

    @property
    def _slice(self) -> int:
        """The slice whose curve is shown: the one in view if it has one, else the one under way."""
        there, seen = self.moments.slices, slice_in_view(self._viewer, self._source)
        if seen is not None and seen in there:
            return seen
        return self._under_way if self._under_way in there else there[0]

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Scroll to all of it where it has grown."""
        super().resizeEvent(event)
        if event.size().height() > event.oldSize().height():
            self.reveal()

    def _draw(self) -> None:
        there = self._restoration is not None and bool(self.moments.slices)
        self.setVisible(there)
        if not there:
            return
        if self.plot is None:
            from napari_dip.viewer.plot import CurvePlot  # imports pyqtgraph

            self.plot = CurvePlot()
            self.plot.moved.connect(self.choose)
            self._layout.insertWidget(0, self.plot)
        theme = get_theme(self._viewer.theme)
        self.plot.colour(theme.text.as_hex(), theme.background.as_hex())
        self._chart = self.moments.chart(self._slice)
        self.plot.draw(self._chart)
        self._tell()
        if self._new:
            self._new = False
            self.reveal()

    def _tell(self) -> None:
        """Place the marker, and say what it is at."""
        chart, at = self._chart, self._chart.place(self.chosen)
        shown, seen = self._slice, slice_in_view(self._viewer, self._source)
        of = f" of {slice_name(self._source, shown)}" if shown not in (seen, self._under_way) else ""
        if at is not None:
            assert self.chosen is not None
            words = f"{account.moment(self.chosen.about)} of {chart.length_at(at)}"
            comma = "," if "," in words else ""
            words = f"{words[0].upper()}{words[1:]}{of}{comma} is shown in the preview."
        elif self.running and shown == self._under_way and chart.latest is not None:
            words = f"Now at {account.moment(chart.latest)}."
        elif len(chart.lengths) > 1:
            words = f"The result{of} comes from all {len(chart.lengths)} fits. Drag the line to see another image."
        else:
            at = chart.mark or chart.length
            words = f"The result{of} is that of iteration {at} of {chart.length}. Drag the line to see another image."
        self.plot.place(chart.length if at is None else at)
        self._words.setText(" ".join(filter(None, [words, self.moments.lack])))
        used, on_disk = (_megabytes(size) for size in (self.moments.bytes, self.moments.bytes_on_disk))
        disk = f",\n      {on_disk} MB on disk" if self.moments.bytes_on_disk else ""
        bound = f"{self.moments.memory / 2**20:.0f} MB"
        count = f"{self.moments.count} moment{'s' * (self.moments.count != 1)}"
        self.setText(f"Curve ({count}, {used} of {bound}{disk})")
        self.keep_button.setEnabled(self.chosen is not None or self.running)
        self.now_button.setEnabled(self.chosen is not None)
        self.now_button.setText("Back to now" if self.running else "Back to the result")
        elsewhere = self.running and self._under_way != seen
        self._there.setVisible(elsewhere)
        self._where.setText(f"Now at {slice_name(self._source, self._under_way)}" if elsewhere else "")


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.{0 if size >= 10 * 2**20 else 1}f}"
