"""The knobs of `Settings` as a form: quality in view, all others folded, and of these the ones that have an effect.

`preset`, `quality` and `device` decide what the others start from: a change of theirs fills in the rows, except those
that the user has touched. A row in view never changes the method: where ``preset="auto"`` would take another one for
it, the preset at hand is chosen in its place. The rows of a section are made when it unfolds, or one of them is
written to: half of what a dock takes to open. Long, as what is shown follows from all that is chosen.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_dip.tables.knobs import RunKnobs
from napari_dip.tables.method import settings_for
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.presets import at_quality, qualities_of
from napari_dip.tables.settings import PRESETS, Settings, knobs, knobs_of, part_or_name, presets_for
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import engine
from napari_dip.viewer.knobrows import AUTOMATIC, KnobRows, from_text, knob_row, name_item, offer, to_row
from napari_dip.viewer.ownparts import FROM_FILE
from napari_dip.viewer.rows import Rows, Section, Text, column, tip

if TYPE_CHECKING:
    from napari_dip import Noise

_FINDING = "finding the noise..."  # which the method depends on
_STARTS = ("preset", "quality", "device")  # rows that the others start from
_COMPUTING = ("seed", "precision", "recompute", "threads")  # of each fit, but no matter of its method
_STACKS = ("warm_start", "at_once")  # matter for several slices alone


class SettingsForm(QWidget):
    """Rows for the knobs of one task.

    Parameters
    ----------
    task : str
    without : tuple of str
        Knobs that are asked for elsewhere.
    """

    changed = Signal()
    replaced = Signal()  # by what another run, a file or a preset chose

    def __init__(self, task: str, without: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._task = task
        self._noise: Noise | None = None
        self._finding = False  # the noise is still to come
        self._depth: float | None = None  # of the holes, in pixels
        self._volume = False
        self._pixels: int | None = None  # of the restored image
        self._most = 0  # iterations of a run on what is chosen; 0 while that is not known
        self._many = False  # slices are to be restored one after the other
        self._uncertainty = False  # it is to be kept count of, which is asked for elsewhere
        self._rows: dict[str, Any] = {}  # those that were made
        self._written: dict[str, Any] = {}  # what each row was filled in with
        self._shown: dict[str, Any] = {}  # the same as the row rounds it
        self._preferred: dict[str, Any] = {"preset": "auto", "quality": "balanced", "device": "auto", "threads": 0}
        self._touched: set[str] = set()  # rows that the user has changed: they are not filled in again
        self._filled: Settings = self._start({})
        self._names = tuple(name for name in knobs_of(task) if name not in without)
        self._build()
        self._fill()
        self.method_row.changed.connect(self._on_method)

    def _build(self) -> None:
        self.method_row = ComboBox(
            name="method",
            label="Method",
            choices=[AUTOMATIC, *self._presets_by_method()],
            tooltip="Automatic chooses by the task, the noise and the holes, and the sentence above Run says what and "
            "why. Self-guided learns from the noise of the image itself; a prior fits an untrained network to it; "
            "similar patches average what is alike, in seconds and without a network.",
        )
        run = {entry.name for entry in fields(RunKnobs)} | set(_COMPUTING)
        of_method = [name for name in self._names if name not in run]
        common = [name for name in of_method if not knobs()[name].advanced]
        quality = knob_row("quality", knobs()["quality"], self._task)
        quality.value = self._filled.quality
        self._quality, self._method = Rows([quality]), Rows([self.method_row])
        self._follow({"quality": quality})
        self._blocks = (
            KnobRows(["preset", *common]),
            KnobRows(name for name in of_method if name not in common),
            KnobRows(name for name in self._names if name in run - {"preset", "quality"}),
        )
        for block in self._blocks:
            block.reset.connect(self.reset)
            block.changed.connect(self.changed)
        first, rest, computing = self._blocks
        self.note = Text("note")
        self.let_button = QPushButton()
        self.let_button.clicked.connect(self._let_quality_decide)
        self.reset_button = QPushButton()
        self.reset_button.setToolTip(tip("Makes all that was changed automatic again."))
        self.reset_button.clicked.connect(lambda: self.reset())
        more = Section("More knobs", rest)
        sections = Section("Method", self._method, first, more), more, Section("Computer and output", computing)
        for section, block in zip(sections, self._blocks, strict=True):
            section.unfolding.connect(partial(self._make, block))
        method, _, computer = sections
        column(self, self._quality, self.note, self.let_button, self.reset_button, method, computer)

    def _make(self, block: KnobRows) -> None:
        """Make the rows of a block, if that was not done before."""
        if not block.rows:
            rows = block.make(self._task)
            for name in rows.keys() & set(_STARTS):
                rows[name].value = to_row(self._preferred[name], rows[name])
            self._follow(rows)
            self._write()

    def _follow(self, rows: dict[str, Any]) -> None:
        self._rows |= rows
        for name, row in rows.items():
            row.changed.connect(partial(self._on_change, name))

    def row(self, name: str) -> Any:
        """The row of a knob, made if need be."""
        for block in self._blocks:
            if name in block.names:
                self._make(block)
        return self._rows[name]

    # -- what is chosen -----------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """The settings as they stand in the form.

        Raises
        ------
        ValueError, TypeError
            If a row holds what its knob cannot be; the message names both.
        """
        if self._uncertainty:
            self._start(self._asked())  # refuses a method that cannot count it
        return self._filled.changed(**self._changes(), **self._beside)

    def check(self) -> None:
        """Raise a `ValueError` that says what to write, where the number before would be taken in its place."""
        for block in self._blocks:
            if block.refused:
                raise ValueError(block.refused)

    def knobs(self) -> dict[str, Any]:
        """Knobs that the user chose, by name: the preset, the device and the rows that were touched.

        With it a run fills in the rest by itself, also what it knows better then than the form does now.

        Raises
        ------
        ValueError, TypeError
            As for `settings`.
        """
        self.settings()
        return self._chosen()

    def parts(self, names: Collection[str]) -> dict[str, OwnPart]:
        """Parts of the user's own that are chosen in rows of these names, whatever else is wrong in the form."""
        values = {name: self._value(name) for name in self._touched.intersection(names)}
        return {name: value for name, value in values.items() if isinstance(value, OwnPart)}

    @property
    def wants_guide(self) -> bool:
        """True if the code is to be a guide image."""
        return bool(self._held("code") == "guide")

    @property
    def automatic(self) -> bool:
        """True if the method is left to us."""
        return bool(self._held("preset") == "auto")

    @property
    def device(self) -> str:
        """Device, as chosen."""
        return str(self._held("device"))

    @property
    def quality(self) -> str:
        """Time against quality, as chosen."""
        return str(self._held("quality"))

    @property
    def method(self) -> str:
        """The method that these settings are of, in a word."""
        return self.settings().method.name

    @property
    def why(self) -> str:
        """Reason for the method, as a sentence."""
        if not self.automatic:
            return f"The preset {self._held('preset')} says how."
        if not engine.loaded():
            return ""
        from napari_dip.plan.chosen import chosen

        settings, reason = chosen(self._task, None, self._noise, self._asked(), self._depth, self._volume, self._pixels)
        return f"It is {settings.method.name}, because {reason}."

    # -- what is known ------------------------------------------------------------------------------------------

    def know(self, noise: Noise | None, depth: float | None, volume: bool = False) -> None:
        """Fill in what ``preset="auto"`` takes at this noise and depth of holes; rows that were touched stay."""
        self.wait_for_noise(False)
        if (noise, depth, volume) != (self._noise, self._depth, self._volume):
            self._noise, self._depth, self._volume = noise, depth, volume
            self.refill()

    def wait_for_noise(self, finding: bool) -> None:
        """Show no method that is automatic while the noise is still to come, which may ask for another one."""
        if finding != self._finding:
            self._finding = finding
            self._show()

    def know_size(self, pixels: int) -> None:
        """Fill in what ``preset="auto"`` takes for so many pixels of the result; rows that were touched stay."""
        if pixels != self._pixels:
            self._pixels = pixels
            self._fill()

    def show_for(self, most: int, many: bool) -> None:
        """Show what a run comes to on what is chosen: so many iterations at most, and one slice or `many`."""
        if (most, many) != (self._most, self._many):
            self._most, self._many = most, many
            self._fill()

    def keep_uncertainty(self, wanted: bool) -> None:
        """Fill in what a run takes that is to keep count of the uncertainty, which similar patches alone cannot."""
        self._uncertainty = wanted
        self._fill()
        self.refill()

    def refill(self) -> None:
        """Show what is chosen and what it may be, and say `changed`.

        The rows are filled in again if what they start from is another now: what is chosen may ask for another method,
        and once torch is loaded it is known what devices there are.
        """
        start = self._meant()
        if any(getattr(start, name) != getattr(self._filled, name) for name in _STARTS):
            self._fill()
        else:
            self._write()  # of fewer scales, the values per scale are fewer too
        self.changed.emit()

    # -- changes ------------------------------------------------------------------------------------------------

    def set(self, **values: Any) -> None:
        """Write values into the rows, as if typed."""
        for name, value in values.items():
            if name not in _STARTS or value != self._held(name):
                row = self.row(name)
                row.value = to_row(value, row)

    def _put(self, name: str, value: Any) -> None:
        """Write a value into a row, which says nothing of it."""
        row = self.row(name)
        with row.changed.blocked():
            row.value = to_row(value, row)

    def prefer(self, device: str, threads: int) -> None:
        """Begin with a device and so many threads, where no others were chosen meanwhile; `refill` says `changed`."""
        kept = self.device == self._preferred["device"]
        self._preferred |= {"device": device, "threads": threads}
        self._fill()
        if kept:
            self.set(device=device)

    def held(self) -> dict[str, Any]:
        """Values that the user chose, as they are written in the rows, also where they make no sense."""
        starts = {name: self._held(name) for name in _STARTS if self._held(name) != self._preferred[name]}
        return {**starts, **{name: self._rows[name].value for name in self._touched}}

    def hold(self, held: dict[str, Any]) -> None:
        """Choose what `held` returned."""
        self.take(held)

    def take(self, chosen: dict[str, Any]) -> None:
        """Choose what another run chose, as its record has it (values by name), and nothing else."""
        start = {name: chosen.get(name, self._preferred[name]) for name in _STARTS}
        rest = {name: value for name, value in chosen.items() if name in self._names and name not in _STARTS}
        self._touched.clear()
        self.set(**start)
        for name in rest:
            self.row(name)  # makes those of a block that was never unfolded, which fills in all rows
        self._touched = set(rest)  # also what would be proposed now, and what a row refuses
        for name, value in rest.items():
            self._put(name, value)
        self._fill()
        self.replaced.emit()
        self.changed.emit()

    def reset(self, name: str = "") -> None:
        """Make a row automatic again, or all of them."""
        if name in _STARTS:
            return self.set(**{name: self._preferred[name]})
        if name:
            self._touched.discard(name)
            self._fill()
            return self.refill()
        return self.take({"quality": self.quality})

    def _let_quality_decide(self) -> None:
        for name in self._in_its_way()[0]:
            self._touched.discard(name)
        self._fill()
        self.refill()

    def _in_its_way(self) -> tuple[list[str], Settings]:
        """Names of changed rows that keep the quality from what it would do, and the settings without them."""
        starts = self._starts()
        if starts["quality"] == "balanced" or not self._touched:
            return [], self._filled
        alone, plain = self._start(starts), self._start({**starts, "quality": "balanced"})
        found = []
        for name in sorted(self._touched):
            with suppress(ValueError, TypeError):  # what makes no sense is said above Run
                beside = self._start({**starts, name: self._value(name)})
                of_method = alone.method.name not in (plain.method.name, beside.method.name)
                of_it = getattr(plain, name) != getattr(alone, name) != getattr(beside, name)
                found += [name] * (of_method or of_it)
        return found, alone

    def _changes(self) -> dict[str, Any]:
        return {name: self._value(name) for name in sorted(self._touched)}

    def _held(self, name: str) -> Any:
        """The value of a row, or that with which it begins where it is not made yet."""
        if name in self._rows:
            return self._rows[name].value
        return self._preferred[name] if name in _STARTS else getattr(self._filled, name)

    def _value(self, name: str) -> Any:
        kind, value = knobs()[name].kind, part_or_name(name, self._rows[name].value)
        return from_text(name, value, whole=kind == "ints") if kind in ("ints", "choices") else value

    def _chosen(self) -> dict[str, Any]:
        return {**self._starts(), **self._changes()}

    @property
    def _beside(self) -> dict[str, Any]:
        """Knobs that are asked for elsewhere."""
        return {"uncertainty": True} if self._uncertainty else {}

    def _asked(self) -> dict[str, Any]:
        return {**self._chosen(), **self._beside}

    def _starts(self) -> dict[str, Any]:
        """The rows that the others start from; a quality only where the preset has it."""
        start = {name: self._held(name) for name in _STARTS}
        if start["quality"] not in qualities_of(start["preset"]):
            start["quality"] = "balanced"
        return start

    @property
    def _known(self) -> dict[str, Any]:
        known = {"image_noise": self._noise, "depth": self._depth}
        return {**known, "volume": self._volume, "pixels": self._pixels}

    def _start(self, chosen: dict[str, Any]) -> Settings:
        """The settings that the rows start from; on a CPU while it is not known what else there is."""
        if not engine.loaded():
            on_cpu = chosen.get("device", "auto") in ("auto", "cpu")
            return settings_for(self._task, on_cpu=on_cpu, **self._known, **chosen)
        from napari_dip.plan.chosen import settings_here

        return settings_here(self._task, **self._known, **chosen)

    def _meant(self) -> Settings:
        """The settings that what is chosen asks for; those at hand while what is written makes no sense."""
        try:
            return self._start(self._asked())
        except (ValueError, TypeError):
            return self._filled

    def _now(self) -> Settings:
        """The settings as they stand; those that were filled in while what is written makes no sense."""
        try:
            return self.settings()
        except (ValueError, TypeError):
            return self._filled

    def _on_change(self, name: str, value: Any) -> None:
        if name == "preset" and value in PRESETS:
            self._touched &= set(PRESETS[value].effective)
        if name not in _STARTS:
            (self._touched.discard if value == self._shown[name] else self._touched.add)(name)
            if self.automatic and name in self.settings_in_view():
                self._keep_method()
        self.refill()

    def _keep_method(self) -> None:
        """Choose the preset at hand where another method would be chosen for what was changed."""
        if type(self._meant().method) is not type(self._filled.method):
            self._put("preset", self._filled.preset)

    def _on_method(self, method: str) -> None:
        """Choose a preset of a method; what was changed of another one is let go."""
        preset = "auto"
        if method != AUTOMATIC:
            names = self._presets_by_method()[method]
            usual = TASKS[self._task].presets[0 if self._on_cpu else 1]
            preset = usual if usual in names else names[0]
            self._touched &= set(PRESETS[preset].effective) - {"code"}
        else:
            self._touched &= {entry.name for entry in fields(RunKnobs)} | set(_COMPUTING)
        self.set(preset=preset)

    @property
    def _on_cpu(self) -> bool:
        if not engine.loaded():
            return True
        from napari_dip.machine import choose

        return choose(self.device).name == "cpu"

    def _presets_by_method(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in presets_for(self._task):
            found.setdefault(PRESETS[name].method.name, []).append(name)
        return found

    # -- what is shown ------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Show the preset's values in all rows but those that the user has touched."""
        chosen = self._starts()
        if chosen["preset"] == "auto" and (self._touched or self._uncertainty):
            chosen["preset"] = self._meant().preset
        self._filled = self._start(chosen)
        self._write()

    @property
    def _open(self) -> bool:
        """True while the method may become another one."""
        return self._finding and self.automatic and len(self._presets_by_method()) > 1

    def _write(self) -> None:
        now = self._now()
        for name, row in self._rows.items():
            if name in _STARTS:
                continue
            before = row.value
            value = self._preferred.get(name, getattr(self._filled if name in self._touched else now, name))
            if name == "iterations" and self._most and name not in self._touched:  # else the most is what was typed
                value = min(value, self._most)
            if value == self._written.get(name) and (name in self._touched or before == self._shown[name]):
                continue  # somebody may be typing
            self._written[name] = value
            with row.changed.blocked():
                row.value = to_row(value, row)
                self._shown[name] = row.value  # as the row rounds it
                if name in self._touched:
                    row.value = before
        self._show()

    def settings_in_view(self) -> tuple[str, ...]:
        """Names of the knobs that have an effect, and so a row."""
        return tuple(name for name in self._now().effective if name not in _STACKS or self._many)

    def _show(self) -> None:
        """Show the rows that have an effect, what they may be, and which of them were changed."""
        there, preset = self.settings_in_view(), self._held("preset")
        for name, row in self._rows.items():
            if isinstance(row, ComboBox) and (choices := self._choices(name)):
                with row.changed.blocked():
                    offer(row, list(dict.fromkeys([*choices, row.value])))
        with self.method_row.changed.blocked():
            self.method_row.value = AUTOMATIC if preset == "auto" else self._filled.method.name
        found = _FINDING if self._open else f"auto: {self._filled.method.name}"
        name_item(self.method_row, found if preset == "auto" else "")
        quality, count = self._rows["quality"], 0
        self._quality.show_row(quality, preset == "auto" or ("quality" in there and len(quality.choices) > 1))
        for block in self._blocks:
            for name, row in block.rows.items():
                chosen = name in self._touched
                block.show_row(row, chosen or (name in there and _offers_several(name, row)))
                automatic = self._preferred.get(name, "auto")
                changed = chosen or (name in ("preset", "device") and row.value != automatic)
                count += changed
                block.mark(name, changed, self._words(name))
        self._tell_of_quality()
        self.reset_button.setText(f"{count} changed: make {'it' if count == 1 else 'all'} automatic again")
        self.reset_button.setVisible(count > 0)

    def _tell_of_quality(self) -> None:
        """Say which changed rows keep the quality from what it would do."""
        names, alone = self._in_its_way()
        self.note.setVisible(bool(names))
        self.let_button.setVisible(bool(names))
        if names:
            labels = " and ".join(self._rows[name].label for name in names)
            other = alone.method.name != self._filled.method.name
            would = alone.method.name if other else ", ".join(f"{getattr(alone, name)}" for name in names)
            self.note.setText(
                f"{labels} {'was' if len(names) == 1 else 'were'} changed; {alone.quality} would take {would}."
            )
            self.let_button.setText(f"Let {alone.quality} decide")

    def _choices(self, name: str) -> list[str]:
        """Choices of a row beside the preset and the method at hand; none if it offers all it has."""
        preset, method = self._held("preset"), self._filled.method
        if name == "quality":
            names = qualities_of(preset)
            return [each for each in names if preset == "auto" or each == "balanced" or at_quality(preset, each)]
        if name == "preset":
            return ["auto"] if preset == "auto" else self._presets_by_method()[method.name]
        if name == "device" and engine.loaded():
            from napari_dip.machine import available

            return ["auto", *available()]
        declared = method.__dataclass_fields__.get(name)
        if declared is None or "knob" not in declared.metadata:  # not of this method, so not in view
            return []
        names = list(method.takes.get(name, ()) or declared.metadata["knob"].choices)
        return [*names, FROM_FILE] if knobs()[name].own else names

    def _words(self, name: str) -> str:
        """Meaning of "auto" in a row, as far as that is known before a run."""
        if self._rows[name].value != "auto":
            return ""
        if name == "device" and engine.loaded():
            from napari_dip.machine import choose

            return choose("auto").name
        if name in ("preset", "stop") and self._open:
            return _FINDING
        rule = self._filled.method.rule
        stop, precision = rule[0] if rule else "by the noise", "bfloat16 where faster"
        words = {"stop": stop, "recompute": "as needed", "noise": "gaussian", "precision": precision}
        return words.get(name, "")


def _offers_several(name: str, row: Any) -> bool:
    """True if a row has more than one value: what is automatic is one of them. The device says where it computes."""
    return not isinstance(row, ComboBox) or name == "device" or len({*row.choices} - {"auto"}) > 1
