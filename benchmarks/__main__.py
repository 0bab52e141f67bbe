"""``python -m benchmarks quality --data FOLDER``; ``--help`` has the options."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    from benchmarks import pace, quality  # here: processes that a measurement starts load this file again

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements on real images.")
    commands = parser.add_subparsers(required=True)
    for module, help in ((quality, "how good the restored images are"), (pace, "how soon they are that good")):
        command = commands.add_parser(
            module.__name__.rpartition(".")[2],
            help=help,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
        command.set_defaults(run=module.main)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
