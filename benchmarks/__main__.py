"""``python -m benchmarks quality --data FOLDER``; ``--help`` has the options."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    # here: processes that a measurement starts load this file again
    from benchmarks import choice, memory, neighbours, noise, pace, paper, quality, scale, series, speed, verdict

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements.")
    commands = parser.add_subparsers(required=True)
    modules = {
        quality: "how good the restored images are",
        noise: "how well the noise of one image is known",
        choice: "what each method gives, and which of them auto takes",
        verdict: "what the verdict says of whole frames, beside the truth",
        pace: "how soon they are that good",
        paper: "figures of the paper, on the images at hand",
        speed: "how long an iteration takes",
        series: "how long a stack takes",
        neighbours: "what a stack gains from neighbours",
        scale: "how time and memory grow with the image",
        memory: "how much memory runs take, and what was said before them",
    }
    for module, help in modules.items():
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
