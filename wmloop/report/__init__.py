"""`wmloop report`: what a run learnt, as one HTML page.

`facts` reads the store, `probe` drives fresh episodes with V and M looking on, `charts` and `curves` draw, `description` and
`comparison` write.
"""

import logging

from wmloop.report.comparison import compare
from wmloop.report.description import describe
from wmloop.report.facts import Facts
from wmloop.report.origin import Commands
from wmloop.report.probe import Probe, look, watch

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home it says where it keeps its fonts

__all__ = ["Commands", "Facts", "Probe", "compare", "describe", "look", "watch"]
