"""The numerics: torch and numpy only. Everything here works in 2-D and 3-D, on batches of one image."""

import os

from napari_dip.core import pages

# Read when torch is loaded. By default its threads spin while they wait for each other, which stalls a run tenfold and
# more as soon as anything else needs one of the processors; an idle machine loses little (benchmarks/NOTES.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pages.share_one_heap()  # before the thread of a run begins
