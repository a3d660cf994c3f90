"""The tests. Nothing here imports what they test: its number of threads is chosen first."""

import os

#: Matrices are tiny: a second thread, of NumPy's BLAS, of torch or of a run, would only spin beside the one that works.
os.environ["OMP_NUM_THREADS"] = "1"
