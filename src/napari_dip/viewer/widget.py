"""The dock widgets, one for each task: inputs, settings, controls and trust, brought together.

Long, as it is the one place where the parts of the panel hear of each other.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import napari.viewer
from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_dip.doors import asked_from
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import account, choice, detail, engine, findings, folder, layers, outlook
from napari_dip.viewer.background import Background
from napari_dip.viewer.choice import Inputs
from napari_dip.viewer.comparing import Comparing
from napari_dip.viewer.connections import connect_for_life
from napari_dip.viewer.controls import Controls
from napari_dip.viewer.cost import CostSentence
from napari_dip.viewer.curve import CurvePanel
from napari_dip.viewer.folder import FileRestoration, FolderPanel, jobs
from napari_dip.viewer.form import SettingsForm
from napari_dip.viewer.job import INTERVAL, Outcome
from napari_dip.viewer.kinds import Kinds
from napari_dip.viewer.live import Live
from napari_dip.viewer.maps import Findings, Finished, show_maps
from napari_dip.viewer.noise import NoiseSentence
from napari_dip.viewer.outlook import Outlook
from napari_dip.viewer.position import slice_name
from napari_dip.viewer.preferences import preference, preferences_changed, preferred_threads
from napari_dip.viewer.queue import FAILED, RUNNING, WAITING, Entry, QueuePanel, queue, waiting_for
from napari_dip.viewer.record_panel import RecordPanel
from napari_dip.viewer.repeat import CopyButton
from napari_dip.viewer.restoration import METADATA, Asked, Planned, Restoration
from napari_dip.viewer.rows import Section, Text, scrolled_rows, tip
from napari_dip.viewer.save_button import SaveButton
from napari_dip.viewer.settings_file import SettingsFile
from napari_dip.viewer.stream import Stream
from napari_dip.viewer.tabs import Tabbed
from napari_dip.viewer.together import TogetherSentence
from napari_dip.viewer.trust import TrustPanel

if TYPE_CHECKING:
    from napari_dip import Noise

_SCROLLBAR = 4  # pixels between rows and the bar beside them
_LONG = 10  # seconds of a run after which somebody may have looked away


class RestoreWidget(Tabbed):
    """Dock widget of one task; a subclass names it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer, or the proxy of it that napari hands to plugins.
    """

    task: ClassVar[str]

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._restoration: Restoration | Stream | None = None  # under way
        self._last: tuple[Any, Any, Any] | None = None  # what was restored, and its layer
        self._waits: Entry | None = None  # what was asked for last, until it begins
        self._of_folder: list[Entry] = []  # images that were asked for, until the last of them is over
        self._found = Findings()  # about the last result
        self._said_before = ""  # of the last result
        self._failed_with: Any = None  # the image that the failure under the buttons is about
        self._noise: Noise | None = None  # of what is in view
        self._outlook = Outlook("")
        self._broken = ""  # why nothing can be computed
        self._closed = False  # by the × of the dock
        self._orphan = ""  # a sentence on a source that was removed during its run
        self._build()
        self._watch()
        if engine.loaded():
            self._follow_preferences()
            self._watch_preferences()
        else:  # not before the first paint: napari reads all manifests for them
            self._loader.ask(engine.load)
        self.reset_choices()
        self._follow_active()

    def _follow_preferences(self) -> None:
        """Take the device, the threads and the memory that the user prefers, where no others were chosen."""
        self.form.prefer(preference("device"), preferred_threads())
        self.live.prefer(preference("moments_memory"))

    def _watch_preferences(self) -> None:
        """Follow what the user prefers from now on."""
        connect_for_life(self, [(emitter, self._on_preferences) for emitter in preferences_changed()])

    def _on_preferences(self) -> None:
        self._follow_preferences()
        self.form.refill()

    # -- what the user sees -------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.inputs = Inputs(self._viewer, self.task)
        self.noise = NoiseSentence(TASKS[self.task])
        self.together = TogetherSentence()
        self.form = SettingsForm(self.task, without=("uncertainty",))  # which is one of the switches of trust
        self.kinds = Kinds(self.task, self.form, self.inputs.camera.values)
        self.live = Live(self._viewer)
        self.trust = TrustPanel(self._viewer, self.task)
        self.curve = CurvePanel(self._viewer, self.live)
        self.queue = QueuePanel()
        self.comparing = Comparing(self._viewer)
        self.controls = Controls()
        self.run_button, self.stop_button = self.controls.run_button, self.controls.stop_button
        self.pause_button, self.more_button = self.controls.pause_button, self.controls.more_button
        self._sentence = Text("what")
        self.cost = CostSentence()
        self._looker, self._loader = Background(self, self._on_looked), Background(self, self._on_loaded)
        self._choices = QWidget()
        inside = QVBoxLayout(self._choices)
        inside.setContentsMargins(0, 0, _SCROLLBAR, 0)
        self.files = SettingsFile(self._viewer, self.form, self.inputs.own.values, self.inputs.lacking)
        self.record = RecordPanel(self._viewer, self.inputs.images)
        self.folder = FolderPanel()
        folded = (
            Section("Camera", self.inputs.camera),
            Section("Parts of your own", self.inputs.own),
            Section("Preview and moments", self.live),
            Section("Settings as a file", self.files, self.kinds.buttons),
            Section("A folder of images", self.folder),
        )
        self._chosen_before = (self.inputs, self.together, self.noise, self.kinds, self.kinds.when, self.form, *folded)
        record = Section("Record", self.record)
        for part in (*self._chosen_before, self.comparing, self.trust, self.curve, self.queue, record):
            inside.addWidget(part)
        inside.addStretch()
        self._scroll = scrolled_rows(self._choices, "Settings")
        layout = QVBoxLayout(self)
        layout.addWidget(self._scroll, stretch=1)
        layout.addWidget(self._sentence)
        layout.addWidget(self.cost)
        layout.addWidget(self.controls)
        self.saving = SaveButton(self._viewer)
        self.copying = CopyButton(self._viewer)
        kept = QHBoxLayout()
        kept.addWidget(self.saving, stretch=1)
        kept.addWidget(self.copying)
        layout.addLayout(kept)
        self.setMinimumWidth(300)

    def _watch(self) -> None:
        """Every connection; those to the viewer, which outlives this widget, are undone when it is destroyed."""
        events = self._viewer.layers.events
        within = Qt.ShortcutContext.WidgetWithChildrenShortcut
        QShortcut(QKeySequence("Ctrl+Return"), self, self.run_button.click, context=within)
        QShortcut(QKeySequence("Esc"), self, self.stop_button.click, context=within)
        self._connections = [
            (events.inserted, self.reset_choices),
            (events.removed, self._on_removed),
            (events.renamed, self.reset_choices),
            (self._viewer.layers.selection.events.active, self._follow_active),
            (self._viewer.layers.selection.events.active, self.record.refresh),
            (self._viewer.dims.events.current_step, self._on_step),
            (self._viewer.dims.events.current_step, self.curve.on_step),
            (self._viewer.events.theme, self.curve.refresh),
        ]
        connect_for_life(self, self._connections)
        self.destroyed.connect(partial(_leave_queue, weakref.ref(self)))
        self.inputs.changed.connect(self._describe)
        self.inputs.said.connect(self._say)
        self.inputs.continued.connect(self.trust.take)
        self.inputs.continued.connect(self.form.take)
        self.form.changed.connect(self._describe)
        self.record.again.connect(self.run_again)
        self.folder.asked.connect(self.apply_to_folder)
        queue().changed.connect(self._tell_failed_files)
        queue().changed.connect(self._tell_waiting)
        self.kinds.said.connect(self._say)
        self.kinds.taken.connect(self.inputs.take)
        self.files.said.connect(self._say)
        self.files.taken.connect(self.inputs.take)
        self.saving.said.connect(self.controls.say_below)
        self.copying.said.connect(self.controls.say_below)
        self.noise.estimated.connect(self._on_noise)
        self.cost.told.connect(self._tell_doubt)
        self.controls.run_asked.connect(self.run)
        self.controls.more_asked.connect(self.more)
        self.controls.all_asked.connect(self.apply_to_all)
        self.controls.last_asked.connect(self._show_last)
        self.controls.planned.connect(self._on_planned)
        self.controls.progressed.connect(self._on_progress)
        self.controls.ended.connect(self._on_ended)
        self.trust.asked.connect(self.look_again)
        self.trust.switches["uncertainty"].toggled.connect(self.form.keep_uncertainty)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that there are; napari calls this too."""
        self.inputs.reset_choices()
        self.trust.reset_choices()
        self.record.refresh()
        self.comparing.offer()
        self._describe()

    def _on_removed(self, event: Any) -> None:
        """Say that a run goes on without its source, or forget the last run, once nothing of it is left."""
        if self.running and self._restoration is not None and event.value.unique_id == self._restoration.source.layer:
            self._orphan = f"'{event.value.name}' was removed, and its run goes on. "
            self._sentence.setText(f"{self._orphan}{self._sentence.text()}")
        elif self._last is not None and not self.running:
            restoration, _, layer = self._last
            if {layer.unique_id, restoration.source.layer}.isdisjoint(each.unique_id for each in self._viewer.layers):
                self._forget_last()
        self.reset_choices()

    def _remember(self, last: tuple[Any, Any, Any]) -> None:
        """Go on from a run from now on, and offer to save and copy it."""
        self._last = restoration, result, layer = last
        self.saving.offer(layer)
        self.copying.offer(restoration, result, self.inputs.label.value or None)

    def _forget_last(self) -> None:
        """Take away what is said, shown and offered of the last run."""
        self._last, self._found, self._said_before = None, Findings(), ""
        self.curve.forget()
        self.saving.setVisible(False)
        self.copying.setVisible(False)
        self.controls.tell_account([])
        self.trust.tell(self._found)
        self._say("")
        self._show_state()

    def _follow_active(self, event: Any = None) -> None:
        if not self.running:
            self.inputs.follow_active()
        self._describe()

    # -- what will happen ---------------------------------------------------------------------------------------

    def _on_step(self, event: Any = None) -> None:
        """Another slice is in view: of a run over all blocks nothing changes but the noise that is shown."""
        if not self.inputs.large or self.inputs.place() != layers.ALL:
            self._describe()
        elif not self.running:
            self._look_at_noise(self.inputs.image.value)

    def _describe(self, event: Any = None) -> None:
        """Show the rows that matter, and say in a sentence what a run will do, or what stands in its way."""
        if self.running:
            return
        layer = self.inputs.image.value
        if self._failed_with is not None and layer != self._failed_with:
            self._say("")  # that was about another image
        self.inputs.show_rows(guide=self.form.wants_guide)
        self.live.offer_snapshots(not self.inputs.large)
        self.trust.offer(blocks=self.inputs.large)
        asked = None
        self._look_at_noise(layer)
        self.form.wait_for_noise(self.noise.waiting)
        noise = None if self.noise.waiting else self._noise
        try:
            if layer is None:
                raise ValueError(self.inputs.no_image())
            if self._broken:
                raise ValueError(self._broken)
            asked = self._asked(read=False)
            self._outlook = outlook.before(self.inputs, self.form, asked, noise, waiting=self.noise.waiting)
            if self.noise.nothing:
                raise ValueError(self.noise.nothing)
        except (ValueError, TypeError) as error:
            self._outlook = Outlook(str(error))
        self._offer_more()
        if not self._outlook.ready or asked is None:
            self.cost.forget()
        elif self.noise.waiting and self.form.automatic:
            self.cost.wait()
        else:
            self.cost.look(replace(asked, tiles=self.noise.tiles), self.form.settings(), noise)
        self._tell_doubt()

    def _tell_doubt(self) -> None:
        """Say what a run will do, and ask before one that something speaks against."""
        if self.running:
            return
        ready = self._outlook.ready
        of_noise = outlook.doubt_of(self.task, self._noise, self.cost.short)
        doubts = [of_noise, self.inputs.doubt(), self.noise.doubt] if ready else []
        doubt = " ".join(filter(None, doubts))
        self._sentence.setText(" ".join(filter(None, [doubt, self._outlook.sentence])))
        self._sentence.setToolTip(tip(self._outlook.why))
        self.run_button.setEnabled(ready)
        self.controls.ask_first(doubt)
        self.controls.offer_all(self.inputs.beyond() if ready else "")

    def _on_planned(self, planned: Planned) -> None:
        """Show the plan of the run that begins, which knows all slices and the depth of their holes, and its cost."""
        if self._restoration is not None:
            self.cost.begin(planned.forecast)
            what = f"{TASKS[self.task].acts} '{self._restoration.source.name}'"
            under_way = outlook.of_plan(planned.plan, what, goes_on=self._restoration.resume is not None)
            self._sentence.setText(f"{self._orphan}{under_way.sentence} {self._restoration.unlike}".rstrip())
            self._sentence.setToolTip(tip(under_way.why))

    def _offer_more(self) -> None:
        """Say on the button what going on with the last run would mean, whichever image is chosen by now."""
        self.more_button.setEnabled(self._can_go_on and not self._broken)
        if self._last is None or not self._can_go_on:
            return self.controls.offer_more("")
        from napari_dip.plan.cost import iterations_at_most

        restoration, result, layer = self._last
        try:
            asked = self.form.settings().iterations
        except (ValueError, TypeError):
            return self.more_button.setEnabled(False)  # the sentence says what is wrong in the form
        source, settings = restoration.source, result.settings.decided(iterations=asked)
        iterations = iterations_at_most(settings, source.shape[-source.space :], source.voxel_size, result.noise)
        fits = sum(state is not None for state in result.states)
        return self.controls.offer_more(layer.name, account.more(iterations, self.curve.rate, fits))

    def _look_at_noise(self, layer: Any) -> None:
        try:
            camera = self.inputs.camera.values()
            look = None if layer is None else self.inputs.look()
        except (ValueError, TypeError):
            look = None
        if look is None:
            self.noise.forget()
            self.together.look(None, None)
        else:
            self.noise.look(*look, camera, self.inputs.holes(), self.inputs.chosen())
            together = self.inputs.place() == layers.TOGETHER
            self.together.look(self.inputs.key, self.inputs.chosen() if together else None)

    def _on_loaded(self, failure: Exception | None) -> None:
        self._follow_preferences()
        self._watch_preferences()
        # also during a run, which has waited
        self._sentence.setText(self._sentence.text().removesuffix(outlook.LOADING))
        if failure is not None:
            self._broken = (
                f"PyTorch cannot be loaded: {failure}. Install torch again, as its web site says for this computer."
            )
            return self._describe()
        return self.form.refill()  # which also describes what a run will do

    def _on_noise(self, noise: Noise | None, depth: float | None) -> None:
        self._noise = noise
        self.form.know(noise, depth, self.inputs.space == 3)  # also during a run, which has its own settings by then
        self._describe()  # also where the settings are the same, and only the cost waited for the noise

    # -- the run ------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True while a run is under way, also while it is paused."""
        return self.controls.running

    @property
    def status(self) -> str:
        """Sentence under the buttons."""
        return self.controls.status

    @property
    def fraction(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.controls.fraction

    def run(self, like: tuple[dict[str, Any], str] | None = None) -> None:
        """Restore the chosen layer with the settings of the form, or wait for what runs elsewhere.

        Parameters
        ----------
        like : tuple of dict and str, optional
            Record and name of a layer whose run is repeated.
        """
        if not self.running:
            layer = self.inputs.image.value
            asked = self.inputs.asked(whole=False)
            self._enqueue(getattr(layer, "name", ""), partial(self._of, layer, asked, like=like))

    def run_again(self, layer: Any, record: dict[str, Any], name: str) -> None:
        """Restore a layer as another one was restored, by the record of that one."""
        if record["task"] != self.task:
            return self._say(f"'{name}' is of another widget: open {TASKS[record['task']].title}.", failed=True)
        self.inputs.image.value = layer
        if not self.files.take(record, f"'{name}'"):
            return None
        if not self._outlook.ready:  # no record has the mask
            return self._say(f"The settings are those of '{name}'. {self._outlook.sentence}")
        return self.run(like=(record, name))

    def more(self) -> None:
        """Go on with the last run, for as many iterations as the form says."""
        if self._last is not None and not self.running:
            restoration, result, layer = self._last
            self._enqueue(layer.name, lambda: restoration.continued(result, self.form.settings().iterations))

    def apply_to_all(self) -> None:
        """Restore every slice, and all of each, of the selected layers or the one that is chosen."""
        for layer in self.inputs.all_layers():
            self._enqueue(layer.name, partial(self._of, layer, self.inputs.asked(whole=True), whole=True))

    def apply_to_folder(self, source: Path, target: Path) -> None:
        """Restore every image of a folder into another one, but those that are there already."""
        try:
            todo = jobs(source, target)
        except (ValueError, OSError) as error:
            return self._say(str(error), failed=True)
        asked = self.inputs.asked(whole=True)
        entries = [self._enqueue(path.name, partial(self._file, path, name, asked)) for path, name in todo]
        self._of_folder += [each for each in entries if each is not None]
        return self._tell_failed_files()

    def _tell_failed_files(self) -> None:
        """Name the images of a folder that failed, once none of them waits or runs."""
        entries, left = self._of_folder, queue().of(WAITING, RUNNING)
        if any(each in left for each in entries):
            return
        self._of_folder = []
        failed = [each for each in entries if each.state == FAILED and each.owner is self]
        if failed:
            told = ", ".join(f"'{each.name}'" + f" ({each.reason})" * bool(each.reason) for each in failed)
            self._say(f"{len(failed)} of {len(entries)} images failed: {told}.", failed=True)

    def _file(self, path: Path, target: Path, asked: list[tuple[Any, Any]]) -> FileRestoration:
        """The run of the form on an image file, with the mask that was chosen as it was asked for."""
        inputs = self.inputs
        inputs.choose(asked)
        if self.form.wants_guide:
            raise ValueError("A guide is for the image that it was chosen with: choose another code for a folder.")
        source = folder.read(path, inputs.space, inputs.where.value == choice.TOGETHER)
        return FileRestoration(
            task=self.task,
            knobs=self.form.knobs(),
            said=inputs.problem(),
            mask_name=None if inputs.marking is None else inputs.marking.name,
            source=inputs.masked(source),
            path=path,
            target=target,
        )

    def _of(self, layer: Any, asked: list[tuple[Any, Any]], whole: bool = False, like: Any = None) -> Any:
        """The run of the form on a layer, maybe all of it, with the mask and the part that it was asked for with."""
        if layer is None:
            raise ValueError(self.inputs.no_image())
        self.inputs.choose([(self.inputs.image, layer), *asked])
        if whole:
            self.inputs.choose_all()
        restoration = self._asked(read=True)
        return restoration if like is None or restoration.lazy else restoration.like(*like)

    def _enqueue(self, name: str, make: Any) -> Entry | None:
        """Begin a run, or have it wait for those before it."""
        if self.running and not queue().of(RUNNING):
            return None  # with a noise-only control
        if not engine.loaded():
            self._follow_preferences()
        entry = Entry(self, name, partial(self._start, make))
        self._waits = entry
        queue().add(entry)
        return entry

    def _tell_waiting(self) -> None:
        """Say what the run that was asked for waits for; nothing where the queue was emptied, or its turn came."""
        entry = self._waits
        if entry is None:
            return
        there = entry in queue().of(WAITING)
        if there:
            self.controls.say(waiting_for(entry))
        elif entry not in queue().entries:
            self._say("")
        self._waits = entry if there else None

    def stop(self) -> None:
        """End the run within an iteration and keep what there is."""
        self.controls.stop()

    @property
    def _can_go_on(self) -> bool:
        states = () if self._last is None else getattr(self._last[1], "states", ())  # of blocks Run goes on
        return any(state is not None and state.iteration for state in states)  # similar patches have no iterations

    @asked_from("window")
    def _start(self, make: Any) -> bool:
        """Begin a run; False if it cannot, which is said."""
        if self.running:
            return False
        try:
            restoration: Restoration | Stream = make()
            of_file = isinstance(restoration, FileRestoration)
            wanted = findings.Wanted() if of_file else self.trust.wanted(restoration)
            moments = self.curve.moments_of(restoration)
            pace = {"interval": preference("preview_interval"), "snapshot_every": self.live.every.value}
            steps = partial(findings.restore, restoration, wanted, moments=moments, **pace)
            self._restoration = restoration
            self.live.end()
            named = partial(slice_name, restoration.source)
            self.controls.start(f"{TASKS[self.task].acts} '{restoration.source.name}'", steps, slice_name=named)
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            self._say(str(error), failed=True)
            queue().ended(self, failed=True, reason=str(error))
            return False
        self.curve.begin(restoration, moments)
        self._failed_with, self._orphan = None, ""
        if self.noise.waiting:
            self.cost.forget()  # of a method that the run may not take
        self.controls.tell_account([])
        self.trust.tell(Findings())
        self._show_state()
        return True

    def _asked(self, read: bool) -> Any:
        """The run that the form asks for: with the pixels of now; or unread, to say what it would do."""
        inputs, mask = self.inputs, self.inputs.marking
        asked: dict[str, Any] = {
            "task": self.task,
            "knobs": {**self.form.knobs(), **({"uncertainty": True} if self.trust.uncertainty else {})},
            "said": inputs.problem(),
            "mask_name": None if mask is None else mask.name,
            "guide": inputs.guide_pixels(read) if self.form.wants_guide else None,
            "where": inputs.place(),
            "window": inputs.window(),
        }
        if inputs.large:
            hidden = inputs.lazy_mask(blank=not read)
            written = {"target": inputs.target.value, "residual": self.trust.residual}
            return Stream(**asked, **written, source=inputs.selection(), mask=hidden)
        if not read:
            return Asked(**asked, source=inputs.selection())
        restoration = Restoration(**asked, source=inputs.read())
        known = asked["window"] is not None and self._noise is not None and not self.noise.waiting
        return restoration.with_noise(self._noise, self.noise.level) if known else restoration

    def _on_progress(self, progress: Any) -> None:
        if self._restoration is not None:
            self.cost.follow(progress)
            shown = self.curve.show_progress(progress)
            self.live.show_progress(self._restoration, progress, self.curve.moments.record, shown)

    def _on_ended(self, outcome: Outcome) -> None:
        restoration, self._restoration = self._restoration, None
        try:
            if outcome.error:
                self._say(outcome.error, failed=True)
                show_error(outcome.error)
            elif outcome.value is None:
                self._say_nothing(Asked.nothing)
            elif isinstance(outcome.value, Finished) and restoration is not None:
                self._show(restoration, outcome.value)
            elif isinstance(outcome.value, Findings):
                self._add_findings(outcome.value)
        finally:
            self.live.end()
            self._show_state()
            self._describe()
            if restoration is not None:
                self.curve.end()
                queue().ended(self, failed=bool(outcome.error), reason=outcome.error)

    def _show(self, restoration: Restoration | Stream, finished: Finished) -> None:
        result: Any = finished.result
        found, look = finished.findings, self.live.look()
        layer = restoration.show_result(self._viewer, result, found.figures, self.live.layer)
        if layer is None:
            return self._say_nothing(restoration.nothing)
        self._remember((restoration, result, layer))
        if self._closed and self._can_go_on:
            self.hand_over(last=self._last)
            self.keep_while_there("last", self._viewer.layers.events.removed, layer)
        for name, value in look.items():
            setattr(layer, name, value)
        source = next((each for each in self._viewer.layers if each.unique_id == restoration.source.layer), None)
        if source is not None and self.live.hide.value:
            source.visible = False
        if not queue().of(WAITING):
            self._viewer.layers.selection.active = layer
        self._said_before, failed = restoration.headline(layer.name, result)
        if source is not None and not restoration.lazy:
            self._said_before = f"{self._said_before} {restoration.replaced(source)}".rstrip()
        self._say(self._said_before, failed=failed)
        if result.seconds >= _LONG or self._closed:
            show_info(self._said_before)
        self.controls.tell_account(restoration.details(result), account.has_other_last(result))
        self._found = found
        show_maps(self._viewer, layer.name, found)
        boost = self.inputs.known.get("boost")
        if boost is not None and not restoration.lazy:
            boost.lead(partial(detail.boost_again, layer, restoration.source, result.residual))
        self.trust.tell(found)
        if self.trust.wants_control and result.complete and not self._closed:
            self._control()
        return None

    def _say_nothing(self, why: str) -> None:
        """Say that nothing comes of a run, also to those who have closed its dock."""
        self._say(why)
        if self._closed:
            show_info(why)

    def _show_last(self) -> None:
        if self._last is not None:
            restoration, result, layer = self._last
            shown = restoration.show_last(self._viewer, result, layer.name)
            self.controls.last_button.setVisible(False)
            self._say(f"The image at the end of the run is layer '{shown.name}', hidden: click its eye.")

    # -- trust --------------------------------------------------------------------------------------------------

    def look_again(self) -> None:
        """Find out about the last result what is switched on now."""
        if self._last is None or self.running:
            return
        restoration, result, _ = self._last
        try:
            wanted = self.trust.wanted(restoration)
        except (ValueError, TypeError) as error:
            self._say(str(error), failed=True)
            return
        self._looker.ask(lambda: (result, findings.examine(restoration, result, wanted)))

    def _on_looked(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            return self._say(str(answer), failed=True)
        result, found = answer
        if self._last is None or result is not self._last[1]:
            return None  # another run has ended meanwhile
        self._found = Findings()
        self._add_findings(found)
        if self.trust.wants_control and not self.running:
            self._control()
        return None

    def _control(self) -> None:
        """Run the noise-only control on the last result."""
        if self._last is None:
            return
        restoration, result, layer = self._last
        steps = partial(findings.control, restoration, result, interval=INTERVAL)
        try:
            self.controls.start(f"Noise-only control of '{layer.name}'", steps, what="Noise-only control")
        except RuntimeError as error:
            self._say(str(error), failed=True)
        self._show_state()

    def _add_findings(self, found: Findings) -> None:
        """Tell what was found out about the last result, besides what is told already, and record it in its layer."""
        if self._last is None:
            return
        _, _, layer = self._last
        self._found += found
        record = layer.metadata[METADATA]
        record["trust"] = record.get("trust", {}) | found.figures
        show_maps(self._viewer, layer.name, found)
        self.trust.tell(self._found)
        self._say(self._said_before)

    # -- the state ----------------------------------------------------------------------------------------------

    def held(self) -> dict[str, Any]:
        """Values of the rows of each part, by its name."""
        return {name: getattr(self, name).held() for name in ("inputs", "live", "form", "kinds", "trust")}

    def hold(self, held: dict[str, Any]) -> None:
        """Choose what `held` returned of a widget of the same task, and go on where its run was ended."""
        last = held.pop("last", None)
        for name, values in held.items():
            getattr(self, name).hold(values)
        if last is not None:
            self._remember(last)
        self._show_state()
        self._offer_more()
        self._say("The rows are as they were when this dock was closed.")

    def leave(self) -> None:
        """End the run and keep what there is; what waits is not begun."""
        self._closed = True
        waiting = sum(each.owner is self for each in queue().of(WAITING))
        queue().leave(self)
        self.comparing.end()
        if said := account.closed(self.controls.name if self.running else "", waiting):
            show_info(said)
        self.stop()
        self.curve.forget()

    def _show_state(self) -> None:
        for part in self._chosen_before:
            part.setEnabled(not self.running)
        self.trust.show_state(can_look=self._last is not None, running=self.running)
        self.controls.show_state(more=self._can_go_on)

    def _say(self, text: str, failed: bool = False) -> None:
        """Tell the user, under the buttons."""
        self._failed_with = self.inputs.image.value if failed else None
        self.controls.say(text, failed)


def __getattr__(name: str) -> type[RestoreWidget]:
    """The dock widget of a task: ``DenoiseWidget`` of "denoise", for the manifest."""
    task = name.removesuffix("Widget").lower()
    if task not in TASKS or name != f"{task.capitalize()}Widget":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    widget = type(name, (RestoreWidget,), {"task": task, "__doc__": TASKS[task].does, "__module__": __name__})
    return globals().setdefault(name, widget)


def _leave_queue(owner: weakref.ref[RestoreWidget]) -> None:
    """Leave the queue with a window that is closed, which tells its docks nothing before."""
    if (widget := owner()) is not None and isalive(queue()):  # at the end of the process the queue may go first
        queue().leave(widget)
