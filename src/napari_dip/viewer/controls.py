"""The controls of a run: start, pause, stop and go on, how far it is, and what is said of it."""

from __future__ import annotations

import html
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from napari.utils import progress as activity
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QSizePolicy, QWidget

from napari_dip.viewer import account
from napari_dip.viewer.job import Job, Outcome
from napari_dip.viewer.rows import Section, Text, beside, column, scrolled, tip

if TYPE_CHECKING:
    from napari_dip import Progress
    from napari_dip.run.blocks.restore import BlockProgress

_STEPS = 1000  # of the progress bars
_ACCOUNT_HEIGHT = 110  # pixels: the settings above need the room


class Controls(QWidget):
    """Buttons, a bar and words; one job at a time.

    Attributes
    ----------
    name : str
        Of the job under way, or of the last one.
    run_asked, more_asked, all_asked, last_asked : Signal
        The user wants a run, more iterations, the rest restored too, or the last iterate as a layer.
    planned : Signal
        Carries the `Planned` of the run that begins.
    progressed : Signal
        Carries each `Progress` or `BlockProgress`.
    ended : Signal
        Carries the `Outcome`, when the job is over.
    """

    run_asked = Signal()
    more_asked = Signal()
    last_asked = Signal()
    all_asked = Signal()
    planned = Signal(object)
    progressed = Signal(object)
    ended = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._job: Job | None = None
        self._activity: Any = None
        self.name = ""
        self._what = ""  # is under way, where it is not the restoration itself
        self._slice_name: Callable[[int], str] | None = None
        self._offered: set[QPushButton] = set()  # what can be gone on with, in the room that a run has its bar in
        self._status = Text("status")
        self._status.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._status.setMinimumHeight(2 * self._status.fontMetrics().lineSpacing())  # as a run has to say
        self._below = Text("file")
        self._below.setVisible(False)
        self._bar = QProgressBar()
        self._bar.setRange(0, _STEPS)
        self._bar.setAccessibleName("Progress")
        self.run_button = button("Run", self.run_asked, "Start the restoration (Ctrl+Return).")
        self.pause_button = button("Pause", self.pause_or_resume, "Wait before the next iteration, or go on.")
        self.stop_button = button("Stop", self.stop, "End the run now and keep what there is (Esc).")
        self.more_button = button(account.GO_ON, self.more_asked, "")
        self.more_button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # names may be long
        self.all_button = button("Apply to all", self.all_asked, "Restores the rest too, in the same way.")
        self.all_button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.last_button = button(
            "Show the last iterate too",
            self.last_asked,
            "The run went on after the image that it returned, to be sure. Adds the image at its end as a layer.",
        )
        buttons = beside(self.run_button, self.pause_button, self.stop_button)
        self._account = Text("account")
        self._account.setAlignment(Qt.AlignmentFlag.AlignTop)
        scroll = scrolled(self._account, "What happened")
        scroll.setFixedHeight(_ACCOUNT_HEIGHT)
        self.happened = Section("What happened", scroll, self.last_button)
        column(self, buttons, self.all_button, self.more_button, self._bar, self._status, self._below, self.happened)
        self.tell_account([])
        self.show_state()

    # -- a job --------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True while a job is under way, also while it is paused."""
        return self._job is not None

    @property
    def job(self) -> Job | None:
        """The job under way."""
        return self._job

    @property
    def fraction(self) -> float:
        """Share of the job that is done, 0 to 1."""
        return self._bar.value() / _STEPS

    def start(
        self,
        name: str,
        steps: Callable[..., Generator[Any, None, Any]],
        what: str = "",
        slice_name: Callable[[int], str] | None = None,
    ) -> None:
        """Start a job.

        Parameters
        ----------
        name : str
            For napari's own bar, and its question on closing.
        steps : callable
            As for `Job`.
        what : str
            Name of the job, where it is not the restoration itself.
        slice_name : callable, optional
            Name of a slice by its number.

        Raises
        ------
        RuntimeError
            If another run is under way, of any widget.
        """
        Job.check_free()
        self._job, self._what, self._slice_name = Job(name, steps), what, slice_name
        self.name = name
        self._activity = activity(total=_STEPS, desc=name)
        self._bar.setValue(0)
        self.say_below("")
        self.say(f"{what}: starting..." if what else "Starting...")
        self.show_state()
        self._job.planned.connect(self.planned)
        self._job.progressed.connect(self._on_progress)
        self._job.ended.connect(self._on_ended)
        self._job.start()  # last: it may be over before the next line

    def pause_or_resume(self) -> None:
        """Pause the job, or go on with it."""
        if self._job is None:
            return
        if self._job.paused:
            self._job.resume()
        else:
            self._job.pause()
        self.show_state()

    def stop(self) -> None:
        """End the job within an iteration and keep what there is."""
        if self._job is not None:
            self.say("Stopping...")
            self._job.stop()

    def _on_progress(self, progress: Progress | BlockProgress) -> None:
        try:
            if self._job is not None:
                self.progressed.emit(progress)
                self._tell(progress)  # last: napari's bar handles waiting events, and one may be the end
        finally:
            if self._job is not None:
                self._job.taken()

    def _on_ended(self, outcome: Outcome) -> None:
        self._job = None
        self._bar.setRange(0, _STEPS)
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        self.ended.emit(outcome)  # whoever takes it calls `show_state`

    # -- what is said -------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Sentences under the buttons."""
        return " ".join(filter(None, [self._status.text(), self._below.text()]))

    @property
    def account(self) -> str:
        """Text under "What happened"."""
        return self._account.text()

    def say(self, text: str, failed: bool = False) -> None:
        """Tell the user, under the buttons; of a run that goes on, what was said below stays."""
        _tell(self._status, text, failed)
        if not self.running:
            self.say_below("")

    def say_below(self, text: str, failed: bool = False) -> None:
        """Tell the user, below what is told of the run."""
        _tell(self._below, text, failed)
        self._below.setVisible(bool(text))

    def offer_all(self, what: str) -> None:
        """Say on the button what else can be restored in the same way; hidden where that is nothing."""
        self.all_button.setText(f"Apply to {what}")
        self._offer(self.all_button, bool(what))

    def ask_first(self, doubt: str) -> None:
        """Say on the button that something speaks against a run."""
        self.run_button.setText("Run anyway" if doubt else "Run")

    def offer_more(self, name: str, more: str = "") -> None:
        """Say what going on would mean: for the layer called `name`, and for how long."""
        self._offer(self.more_button, bool(name))
        self.more_button.setText(account.go_on(name, more))
        whole = f" {account.go_on(name, more, long=True)}." if name else ""
        self.more_button.setToolTip(tip(f"Goes on with the last run and its settings, into a new layer.{whole}"))

    def _offer(self, button: QPushButton, offered: bool) -> None:
        (self._offered.add if offered else self._offered.discard)(button)
        self._show_offered()

    def _show_offered(self) -> None:
        """Show the bar during a run, and what can be gone on with before and after."""
        self._bar.setVisible(self.running)
        for each in (self.all_button, self.more_button):
            each.setVisible(each in self._offered and not self.running)

    def tell_account(self, told: list[tuple[str, str]], has_last: bool = False) -> None:
        """Show headings with a sentence each under "What happened", and how many warn; nothing hides it."""
        count = sum(heading == "Warning" for heading, _ in told)
        warned = f" ({count} {'warning' if count == 1 else 'warnings'})" if count else ""
        self.happened.setText(f"What happened{warned}")
        self._account.setText(paragraphs(told))
        self.last_button.setVisible(has_last)
        self.happened.setVisible(bool(told))

    def show_state(self, more: bool = False) -> None:
        """Enable what can be done now; `more` says whether there is a run to go on with."""
        running = self._job is not None
        self.run_button.setEnabled(not running)
        self.pause_button.setEnabled(running)
        self.stop_button.setEnabled(running)
        self.more_button.setEnabled(not running and more)
        self._show_offered()
        self.last_button.setEnabled(not running)
        paused = self._job is not None and self._job.paused
        self.pause_button.setText("Resume" if paused else "Pause")
        if paused:
            self.say("Paused. " + self._status.text().removeprefix("Paused. "))

    def _tell(self, progress: Progress | BlockProgress) -> None:
        value = round(account.share(progress) * _STEPS)
        self._bar.setRange(0, _STEPS if value < _STEPS else 0)  # busy: patches are compared, the result is judged
        self._bar.setValue(value)
        paused = "Paused. " if self._job is not None and self._job.paused else ""
        what = f"{self._what}: " if self._what else ""
        self.say(f"{paused}{what}{account.pace(progress, self._slice_name)}")
        if self._activity is not None and value > self._activity.n:
            self._activity.update(value - self._activity.n)


def _tell(label: Text, text: str, failed: bool) -> None:
    label.setText(text)
    label.setStyleSheet("font-weight: bold" if failed else "")


def paragraphs(told: list[tuple[str, str]]) -> str:
    """Headings with a sentence each as rich text."""
    return "".join(
        f"<p style='margin: 0 0 4px 0'><b>{html.escape(heading)}.</b> {html.escape(sentence)}</p>"
        for heading, sentence in told
    )


def button(text: str, slot: Any, tooltip: str) -> QPushButton:
    """A button that does one thing."""
    made = QPushButton(text)
    made.setToolTip(tip(tooltip))
    made.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # also on macOS, so that a field takes what was typed into it
    made.clicked.connect(slot)
    return made
