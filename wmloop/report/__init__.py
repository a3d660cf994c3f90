"""`wmloop report`: what a run learnt, as one HTML page and its figures.

`facts` reads the store, `probe` drives fresh tracks with V and M looking on, `plots` draws, `page` writes.
"""

import logging

from wmloop.report.comparison import compare
from wmloop.report.description import describe
from wmloop.report.facts import Facts
from wmloop.report.probe import Probe, look

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home it says where it keeps its fonts

__all__ = ["Facts", "Probe", "compare", "describe", "look"]
