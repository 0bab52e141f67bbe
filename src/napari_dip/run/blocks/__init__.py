"""Arrays of any size, block after block into an OME-Zarr, here or on Dask: the street again, for blocks.

`order` is the request and its plan, `run` the loop over blocks (`blocks`: each of them), `target` and `ledger` what is
kept, `result` the end; `restore` is the front door.
"""
