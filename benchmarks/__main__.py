"""``python -m benchmarks quality --data FOLDER``; ``--help`` has the options."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    from benchmarks import quality  # here: processes that a measurement starts load this file again

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements on real images.")
    commands = parser.add_subparsers(required=True)
    describe = {"description": quality.__doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}
    command = commands.add_parser("quality", help="how good the restored images are", **describe)
    quality.add_options(command)
    command.set_defaults(run=quality.main)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
