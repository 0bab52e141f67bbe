"""The run step by step: show how it goes, keep an image on the way, and stop it when it is good enough."""

import napari_dip
from napari_dip import pictures

run = napari_dip.iterate("denoise", pictures.read("cells.tif").values, preset="denoise-small", interval=0.5)
kept = None
for progress in run:
    print(f"{progress.fraction:4.0%}, loss {progress.loss:.4f}")
    kept = progress.image if progress.iteration < 500 else kept
print(run.result.stop_reason)
run.result.save("watched.ome.tif", like="cells.tif", overwrite=True)
