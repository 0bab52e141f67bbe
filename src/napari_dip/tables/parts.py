"""A part of the user's own: an object in place of a name, which settings and records hold as text like any name."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

MARK = "#"  # between the name of a part and its fingerprint
_NONE = "the run can be repeated only by who has it, as nothing of it could be read for a fingerprint"
_SOURCE = "its fingerprint is that of its source, without what that refers to; give the same one to repeat the run"
_WEIGHTS = "its fingerprint is that of its layers and its weights; give the same one to repeat the run"


class OwnPart(str):
    """A text that stands for an object: its qualified name, and a fingerprint where one can be made.

    A str, so that settings, records, comparisons and JSON take it like the name of a part that there is. Copies share
    the object; pickled, it takes the object with it.

    Attributes
    ----------
    part : callable or torch.nn.Module
    file : str
        ``FILE.py:NAME`` by which it was named; empty for an object.
    """

    part: Any
    file: str = ""

    def __new__(cls, part: Any) -> OwnPart:
        own = part if hasattr(part, "__qualname__") else type(part)
        fingerprint = _fingerprint(part)
        name = f"{own.__module__}.{own.__qualname__}"
        text = super().__new__(cls, f"{name}{MARK}{fingerprint[:12]}" if fingerprint else name)
        text.part = part
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (str(self), self.part, self.file)

    def __deepcopy__(self, _: Any) -> OwnPart:
        return self

    @property
    def word(self) -> str:
        """Its name alone, for a sentence."""
        return self.partition(MARK)[0].rpartition(".")[2]

    @property
    def account(self) -> str:
        """Its name, and how far its fingerprint goes: a sentence for the record."""
        about = _NONE if MARK not in self else _WEIGHTS if _is_module(self.part) else _SOURCE
        return f"{self}: {about}"


def _again(text: str, part: Any, file: str) -> OwnPart:
    """The part as it was, also where its source cannot be read any more."""
    again = str.__new__(OwnPart, text)
    again.part, again.file = part, file
    return again


def read_part(name: str, value: Any) -> OwnPart:
    """A part of the user's own.

    Raises
    ------
    TypeError, ValueError
        If the value is not callable, or the text that a record has of one.
    """
    if isinstance(value, OwnPart):
        return value
    if isinstance(value, str) and MARK in value:
        raise ValueError(only_named({name: value}))
    if isinstance(value, str):
        raise ValueError(
            f"{name}={value!r} must be an object, a callable or a torch.nn.Module, not a name: --{name} FILE.py:NAME "
            "on the command line"
        )
    if not callable(value):
        raise TypeError(f"{name}={value!r} must be a callable or a torch.nn.Module")
    if isinstance(value, type) and name != "generator":
        raise TypeError(
            f"{name}={value!r} must be an object that is called, not a class; make one, as by {value.__name__}()"
        )
    return OwnPart(value)


def only_named(parts: Mapping[str, str], script: str = "") -> str:
    """Error for parts, by name, that are known by the texts alone that a record has of them.

    `script` is how Python gives them again, if there is more to say of that.
    """
    named = " and ".join(f"{name}={_text(account)!r}" for name, account in parts.items())
    flags = " ".join(f"--{name} FILE.py:NAME" for name in parts)
    return (
        f"{named}: a record only names a part of one's own; give the object, a callable or a torch.nn.Module: {flags}"
        f"{script and f', or in Python {script}'}, or in the window choose it in its row"
    )


def check_again(found: dict[str, Any], changes: Mapping[str, Any], beside: Collection[str]) -> None:
    """Check the parts that are given again with settings or a record, and warn of those that are other ones.

    Raises
    ------
    ValueError
        If some are neither among the changes nor beside; the message names them all.
    """
    given = {**(beside if isinstance(beside, Mapping) else dict.fromkeys(beside)), **changes}
    named, settings = named_in(found), found.get("settings", found)
    if lacking := {name: account for name, account in named.items() if name not in given}:
        knobs = [f"{name}={name}" for name in lacking if name in settings]
        rest = ", ".join(f"{name!r}: {name}" for name in lacking if name not in settings)
        words = ", ".join(["...", *knobs, *([f"beside={{{rest}}}"] if rest else [])])
        raise ValueError(only_named(lacking, f"Settings.from_json({words})"))
    for name, account in named.items():
        part, before = given[name], _text(account)
        if callable(part) or isinstance(part, OwnPart):
            part = read_part(name, part)
            if _told_apart(part) != _told_apart(before):
                text = f"{name}={str(part)!r} is not the part that the run had, {before!r}: the result will be another"
                warnings.warn(text, stacklevel=4)


def _text(account: str) -> str:
    return account.partition(": ")[0]


def _told_apart(text: str) -> str:
    """Fingerprint of a part, by which a file may have another name; its name if it has none."""
    return text.partition(MARK)[2] or text


def named_in(found: dict[str, Any]) -> dict[str, str]:
    """Text of each part of the user's own that settings or a record name, by its name."""
    settings, parts = found.get("settings", found) or {}, found.get("own_parts")
    marked = {name: text for name, text in settings.items() if isinstance(text, str) and MARK in text}
    return {**marked, **(parts if isinstance(parts, dict) else {})}


def _is_module(part: Any) -> bool:
    """True for a module, false for a class of modules, which has no weights yet."""
    return hasattr(part, "state_dict") and not isinstance(part, type)


def _fingerprint(part: Any) -> str:
    """SHA-256 of a module's layers and weights, or of the source of a function or class; empty if there is none."""
    if _is_module(part):
        digest = hashlib.sha256(repr(part).encode())
        for name, values in sorted(part.state_dict().items()):
            digest.update(f"{name}{tuple(values.shape)}{values.dtype}".encode())
            digest.update(values.detach().cpu().contiguous().numpy().tobytes() if values.numel() else b"")
        return digest.hexdigest()
    try:
        return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()
    except (OSError, TypeError):
        return ""


def from_file(text: str) -> Any:
    """The object that ``FILE.py:NAME`` names. The file is run at each call: it is Python of the user's own.

    Raises
    ------
    ValueError
        If there is no such file, it fails as it is run, or it has no such name or no callable of that name.
    """
    return _named(text, _run)


def part_in_file(name: str, text: str) -> OwnPart:
    """The part ``FILE.py:NAME`` in place of a name; the file is run once for each time that it was written.

    Also where it fails, and for all names in it together: the window asks with each change of a row.
    """
    file = Path(text.rpartition(":")[0]).resolve()
    return _part_in_file(name, text, file, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=32)
def _part_in_file(name: str, text: str, file: Path, written: int) -> OwnPart:
    part = read_part(name, _named(text, lambda _: _ran(file, written)))
    part.file = text
    return part


def _named(text: str, run: Callable[[Path], ModuleType | Exception]) -> Any:
    """The callable that ``FILE.py:NAME`` names in what a run of the file has made."""
    file, _, name = text.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier() or not Path(file).is_file():
        raise ValueError(f"{text!r} must be FILE.py:NAME, a Python file that there is and a name in it")
    if isinstance(module := run(Path(file)), Exception):
        told = f"{file} fails as it is run: {said_of(module)}; mend the file and save it"
        raise ValueError(f"{text!r}: {told}") from module
    sys.modules[module.__name__] = module  # where the source of a class is looked up, for its fingerprint
    if not hasattr(module, name):
        raise ValueError(f"{text!r}: there is no {name} in {file}")
    if not callable(part := getattr(module, name)):
        raise ValueError(f"{text!r} is {part!r}, not a function, a class or a torch.nn.Module; name one of these")
    return part


def _run(file: Path) -> ModuleType | Exception:
    """The module that a file makes, or the error with which it fails."""
    spec = importlib.util.spec_from_file_location(f"own_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file may raise
        return error
    return module


@lru_cache(maxsize=32)
def _ran(file: Path, _: int) -> ModuleType | Exception:
    return _run(file)


def said_of(error: Exception) -> str:
    """An error of a user's own program, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
