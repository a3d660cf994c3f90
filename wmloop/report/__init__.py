"""`wmloop report`: what a run learnt, as one HTML page and its figures.

`facts` reads the store, `probe` drives fresh tracks with V and M looking on, `plots` draws, `page` writes.
"""

from wmloop.report.facts import Facts
from wmloop.report.page import compare, describe
from wmloop.report.probe import Probe, look

__all__ = ["Facts", "Probe", "compare", "describe", "look"]
