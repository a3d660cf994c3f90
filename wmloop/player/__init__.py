"""`wmloop play`: reality, the dream, or both, with C or a person at the wheel.

`worlds` are what there is to see; `player` brings one, a place to show it and what people press together.
"""

from wmloop.player.moment import Moment
from wmloop.player.plain import Plain
from wmloop.player.player import Player
from wmloop.player.worlds import Comparison, Dreamt, Real

__all__ = ["Comparison", "Dreamt", "Moment", "Plain", "Player", "Real"]
