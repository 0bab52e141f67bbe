"""The command ``napari-dip``, and ``python -m napari_dip``."""

import os
import signal
import sys


def main() -> int:
    """Run one command; Ctrl-C while its modules are imported ends it with a line and status 130."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return _run()  # it is ignored in the background of a shell script
    signal.signal(signal.SIGINT, _abort)
    try:
        return _run()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _abort(*_: object) -> None:
    """End the process at once: nothing is open yet, and the module that an exception breaks off could catch it."""
    os.write(2, b"napari-dip: aborted\n")
    os._exit(130)


def _run() -> int:
    from napari_dip.command.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
