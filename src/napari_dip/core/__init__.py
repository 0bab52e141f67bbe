"""The numerics: torch and numpy only. Everything here works in 2-D and 3-D, on batches of one image."""

import os

from napari_dip.core import pages

# Read when torch is loaded. By default its threads spin while they wait for each other, which stalls a run tenfold and
# more as soon as anything else needs one of the processors. Here they wait asleep, but for some turns of a loop first
# (of libgomp, torch's on Linux): some 0.15 ms, three times what waking one takes. Figures in benchmarks/NOTES.md.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

pages.share_one_heap()  # before the thread of a run begins
