"""Parser of the command line: its errors in one line, options of several values, and guesses at what was meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from napari_dip.tables.meant import meant


def values_of(kind: Callable[[str], Any], example: str) -> Callable[[str], Any]:
    """Reader of one value, or of several with commas between them as a tuple."""

    def read(text: str) -> Any:
        try:
            values = tuple(kind(part.strip()) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} must be like {example}") from None
        return values if len(values) > 1 else values[0]

    return read


def why_unknown(word: str, task: str, commands: dict[str, Parser]) -> str:
    """The error for a word that nothing took."""
    if not word.startswith("-"):
        return f"{word!r} is one word too many; quote a name that has spaces"
    option = word.partition("=")[0]
    others = [name for name, command in commands.items() if option in command.option_strings()]
    if others:
        return f"{option} is not for {task}, but for {' and '.join(others)}; leave it out"
    close = meant(option, commands[task].option_strings(), cutoff=0.5)
    return f"unknown option {word}: " + (f"did you mean {close}?" if close else "see --help for those there are")


class Parser(argparse.ArgumentParser):
    def option_strings(self) -> list[str]:
        return [word for action in self._actions for word in action.option_strings]

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"napari-dip: error: {message}\n")
