"""``python -m napari_dip`` is ``napari-dip``."""

import sys

from napari_dip.cli import main

if __name__ == "__main__":
    sys.exit(main())
