"""The player: a world, a place to show it, and a person who may act in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from wmloop.display.frames import fit
from wmloop.display.keys import HELP
from wmloop.display.lettering import draw_label
from wmloop.display.plots import Plot
from wmloop.display.showing import ClosedError, Showing
from wmloop.display.video import Video
from wmloop.errors import UsageError, WmloopError
from wmloop.player.hand import Hand
from wmloop.player.moment import Moment, World, points
from wmloop.player.plain import Plain
from wmloop.player.worlds import Comparison, Dreamt, Real

_HEIGHT = 400
#: What `t` and `T` do to the dream's temperature, and how far.
_TURN = 1.15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 3.0
_NOTHING = Moment({}, 0, 0.0, 0)
_PLACES = ("real", "both", "dream")
_UNSEEN = "this agent's world model does not predict images or vectors, so its dreams cannot be shown"
_WORDS = {"real": "environment", "both": "environment + dream", "dream": "dream", "comparison": "environment"}


class Player:
    """Play episodes on a showing; keys choose the world, the driver, the dream's temperature and the pace."""

    def __init__(
        self, showing: Showing, real: Real | Plain, dream: Dreamt | None, place: str, about: str, fps: float,
        comparison: Comparison | None = None,
    ) -> None:  # fmt: skip
        """Prepare to play in `place` (real, dream or both), or to watch a comparison; without a `dream` in reality."""
        self._showing, self._real, self._dream, self._comparison = showing, real, dream, comparison
        self._about, self._fps = about, fps
        self._place = place
        self._hand = Hand(showing, real.env.actions)
        self._by_hand = self._paused = self._once = self._helping = self._again = False
        self._said = ""
        self._plot, self._plotted = Plot(), _NOTHING
        self._video: Video | None = None
        self.results: list[str] = []

    def play(self, seeds: Sequence[int]) -> None:
        """Play the episode of each seed; `results` grows by a line an episode.

        Raises:
            ClosedError: the person left.
            UsageError: a dream is to be shown of a world model that draws no pictures.
        """
        try:
            for number, seed in enumerate(seeds, 1):
                self._again = True
                while self._again:
                    self._again = False
                    self._begin(seed)
                    self._episode(seed)
                moment = self._world().moment
                how = moment.ended if self._comparison else f"{self._score(moment)}, {moment.ended}"
                self.results.append(f"episode {number} ({self._where()}, environment seed {seed}): {how}")
        finally:
            self._stop_recording()

    def _world(self) -> World:
        if self._comparison is not None:
            return self._comparison
        return self._dream if self._dream is not None and self._place == "dream" else self._real

    def _where(self) -> str:
        return "real" if self._comparison is not None else self._place

    def _begin(self, seed: int) -> None:
        if isinstance(self._real, Real):
            self._real.dreaming = self._place == "both"
        self._plot = Plot()
        self._world().reset(seed)
        if self._place != "real" and isinstance(self._real, Real) and not self._real.draws:
            raise UsageError(
                f"{_UNSEEN}: omit --in to watch it in the environment, or step through its dream with wmloop.dream"
            )

    def _episode(self, seed: int) -> None:
        while True:
            for key in self._showing.pressed():
                self._press(key, seed)
            moment = self._world().moment
            self._show(moment, seed)
            if self._again:
                return
            if moment.ended and not self._by_hand:  # a person may look at the end, and press r
                return
            if self._paused and not self._once:
                continue
            self._once = False
            self._world().step(self._hand if self._by_hand else None)

    def _press(self, key: str, seed: int) -> None:
        self._said = ""
        match key:
            case "escape" | "q":
                _leave()
            case "space":
                self._paused = not self._paused
            case ".":
                self._paused = self._once = True
            case "m" if self._comparison is None:
                self._by_hand = not self._by_hand
            case "r":
                self._again = True
            case "?":
                self._helping = not self._helping
            case "v":
                self._record()
            case "t" | "T" if self._comparison is None and isinstance(self._real, Real):
                turned = self._real.temperature * (_TURN if key == "T" else 1 / _TURN)
                self._real.temperature = min(max(turned, MIN_TEMPERATURE), MAX_TEMPERATURE)
                self._said = f"the dream's temperature is {self._real.temperature:.2f}"
            case "tab" if self._comparison is None:
                self._turn(seed)

    def _turn(self, seed: int) -> None:
        """Go to the next world; a dream begins where reality stands, and reality waits meanwhile."""
        if self._dream is None or isinstance(self._real, Plain):
            self._said = "this agent has no dreams"
            return
        if not self._real.draws:
            self._said = _UNSEEN
            return
        self._place = _PLACES[(_PLACES.index(self._place) + 1) % len(_PLACES)]
        self._real.dreaming = self._place == "both"
        if self._place == "dream":
            self._dream.begin(seed)

    def _record(self) -> None:
        if self._video is not None:
            self._stop_recording()
            return
        path = Path(f"wmloop-{time.strftime('%Y%m%d-%H%M%S')}.mp4")
        try:
            self._video = Video(path, self._fps)
            self._said = f"recording to {path}"
        except (WmloopError, OSError) as error:
            self._said = str(error)

    def _stop_recording(self) -> None:
        if self._video is not None:
            video, self._video = self._video, None
            video.close()
            self._said = f"recorded {video.path}"
            self.results.append(self._said)

    def _score(self, moment: Moment) -> str:
        if self._comparison is not None:
            return f"leader {points(moment.score)}"
        what = "predicted return" if self._place == "dream" else "score"
        return f"{what} {points(moment.score)}, {moment.frames} frames"

    def _show(self, moment: Moment, seed: int) -> None:
        where = _WORDS["comparison" if self._comparison else self._place]
        caption = f"{self._about} · seed {seed}, {where} · {self._score(moment)}"
        lines = self._lines(moment)
        if self._helping:
            lines += [f"{keys:<15} {does}" for keys, does in (*self._real.env.actions.keys(), *HELP)]
        if moment is not self._plotted:
            self._plot.add(moment.vectors)
            self._plotted = moment
        picture = compose(moment.pictures, self._comparison is not None, self._plot)
        if self._video is not None:
            self._video.show(picture, caption, lines)
        self._showing.show(picture, caption, lines)

    def _lines(self, moment: Moment) -> list[str]:
        if self._comparison is not None:
            standing = [
                f"{name} {points(world.score)} ({points(world.reward, '+')})"
                for name, world in self._comparison.standing()
            ]
            return ["   ".join([f"agent step {moment.decision}", *standing]), self._said]
        value = "" if np.isnan(moment.value) else f"   value {points(moment.value)}"
        end = "" if np.isnan(moment.done) else f"   P(end) {moment.done:.1%}"
        stands = f"reward {points(moment.reward, '+')}   return {points(moment.score)}{end}{value}"
        tau = (
            f"   temperature {self._real.temperature:.2f}"
            if isinstance(self._real, Real) and self._place != "real"
            else ""
        )
        acting = self._hand.held if self._by_hand else moment.action
        action = self._real.env.actions.describe(acting)
        held = ("   paused" if self._paused else "") + ("" if self._video is None else "   recording")
        who = "your action" if self._by_hand else "policy's action"
        keys = "? hides the keys" if self._helping else "? shows the keys"
        return [stands, f"{who} {action}{tau}{held}", self._said or moment.ended or keys]


def compose(pictures: Mapping[str, np.ndarray], equal: bool = False, plot: Plot | None = None) -> np.ndarray:
    """Return one picture of several: the first at full height, the others half as high, in columns at its right.

    If `equal`, all have full height, side by side. Where there are several, each says what it is. A plot that has anything to
    draw stands at their right, or alone.
    """
    side = _HEIGHT // 2
    parts = []
    for number, (name, picture) in enumerate(pictures.items()):
        if equal or number == 0:
            part = fit(picture, _HEIGHT, max(2, round(_HEIGHT * picture.shape[1] / picture.shape[0] / 2) * 2))
        else:
            part = fit(picture, side, side)
        parts.append(draw_label(part, name) if len(pictures) > 1 else part)
    drawn = [plot.draw(_HEIGHT, _HEIGHT if parts else 2 * _HEIGHT)] if plot else []
    if equal or not parts:
        return np.concatenate([*parts, *drawn], 1)
    # two at most below each other: smaller ones would not be worth a look
    columns = [np.concatenate(parts[i : i + 2]) for i in range(1, len(parts), 2)]
    padded = [np.pad(column, ((0, _HEIGHT - len(column)), (0, 0), (0, 0))) for column in columns]
    return np.concatenate([parts[0], *padded, *drawn], 1)


def _leave() -> NoReturn:
    raise ClosedError
