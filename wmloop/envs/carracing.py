"""CarRacing drawn on demand: the same bytes as gymnasium's, several times as fast."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pygame
from gymnasium.envs.box2d.car_racing import (
    GRASS_DIM,
    PLAYFIELD,
    SCALE,
    STATE_H,
    STATE_W,
    WINDOW_H,
    WINDOW_W,
    ZOOM,
    CarRacing,
)
from pygame import gfxdraw

from wmloop.errors import DivergedError

#: Gymnasium versions whose pictures `OnDemandCarRacing` was proven to reproduce byte for byte. Any other version
#: draws by its own code, still only when asked.
PROVEN_VERSIONS = ("1.4.0",)

_HUD_H = WINDOW_H * 5 // 40  # the black bar covers these rows at the bottom of every picture
_VIEW_H = WINDOW_H - _HUD_H
_HUD_MAX = 3.9  # an indicator longer than this many of its units sticks out of the black bar
_VIEW_RADIUS = math.hypot(WINDOW_W / 2, WINDOW_H / 2)
_MARGIN = 2  # pixels by which anti-aliased edges may reach beyond their polygon


class OnDemandCarRacing(CarRacing):
    """Drive gymnasium's CarRacing-v3, drawing only the frames somebody looks at.

    Physics, tracks, rewards and ends are gymnasium's own code. With `lazy` set, `step` draws nothing and returns the
    last picture that was drawn; `observe` draws the present one, (96, 96, 3) uint8, equal byte for byte to what
    gymnasium's `step` would have returned. With `lazy` unset this is a faster drop-in for CarRacing.

    The speed comes from four facts: an agent that repeats actions looks at one frame in four; some 20 of 800 polygons
    are on screen, which numpy decides at once; the horizontal half of the final shrinking treats rows one by one,
    so the flip can follow it, on a tenth of the pixels; and the 100 rows under the black bar need no landscape.
    """

    # gymnasium's annotations allow None for these until the first reset
    car: Any
    surf: Any

    def __init__(self, render_mode: str | None = None, lazy: bool = False, **kwargs: Any) -> None:
        super().__init__(render_mode=render_mode, **kwargs)
        self.lazy = lazy
        self.state: np.ndarray = np.zeros((STATE_H, STATE_W, 3), np.uint8)
        self._proven = importlib.metadata.version("gymnasium") in PROVEN_VERSIONS
        self._shown_reward = 0.0
        self._polygons = _Polygons(_GRASS)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance one frame, as gymnasium does.

        Raises:
            DivergedError: the action holds NaN or infinity, which gymnasium would drive with silently.
        """
        if action is not None and not np.isfinite(action).all():
            raise DivergedError(f"CarRacing was given the action {action}: every entry must be finite")
        frame, reward, terminated, truncated, info = super().step(action)
        return frame, float(reward), terminated, truncated, info

    def observe(self) -> np.ndarray:
        """Return the picture of the present moment, (96, 96, 3) uint8."""
        # gymnasium draws before it books the frame's -0.1, so the score on the picture is that of this moment
        reward, self.reward = self.reward, self._shown_reward
        try:
            self.state = self._draw()
        finally:
            self.reward = reward
        return self.state

    def _create_track(self) -> bool:
        created = bool(super()._create_track())  # type: ignore[no-untyped-call]
        if created:
            road = np.array([vertices for vertices, _ in self.road_poly], np.float64)
            self._polygons = _Polygons(np.concatenate([_GRASS, road]))
        return created

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels" or "t" not in self.__dict__:
            return super()._render(mode)
        self._shown_reward = self.reward
        return self.state if self.lazy else self._draw()

    def _draw(self) -> np.ndarray:
        if not self._proven or self._hud_overflows():
            return np.ascontiguousarray(super()._render("state_pixels"))
        self._draw_world()
        self._draw_hud()
        view = _CANVAS.world.subsurface((0, _HUD_H, WINDOW_W, _VIEW_H))
        view = pygame.transform.smoothscale(view, (STATE_W, _VIEW_H))
        _CANVAS.narrow.blit(pygame.transform.flip(view, False, True), (0, 0))
        hud = _CANVAS.hud.subsurface((0, _VIEW_H, WINDOW_W, _HUD_H))
        _CANVAS.narrow.blit(pygame.transform.smoothscale(hud, (STATE_W, _HUD_H)), (0, _VIEW_H))
        small = pygame.transform.smoothscale(_CANVAS.narrow, (STATE_W, STATE_H))
        pixels = np.frombuffer(bytearray(pygame.image.tobytes(small, "RGB")), np.uint8)
        return pixels.reshape(STATE_H, STATE_W, 3)

    def _draw_world(self) -> None:
        """Draw landscape, road and car upside down, as gymnasium does before it flips."""
        hull_x, hull_y = self.car.hull.position
        angle = -self.car.hull.angle
        zoom = 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1)
        turned = pygame.math.Vector2((-hull_x * zoom, -hull_y * zoom)).rotate_rad(angle)
        camera = _Camera(zoom, WINDOW_W / 2 + turned[0], WINDOW_H / 4 + turned[1], angle)

        background = [int(c) for c in self.bg_color]
        if max(map(abs, camera.centre)) + _VIEW_RADIUS / zoom < PLAYFIELD:
            _CANVAS.world.fill(background, (0, _HUD_H, WINDOW_W, _VIEW_H))
        else:
            _CANVAS.world.fill((0, 0, 0))
            edge = PLAYFIELD
            corners = np.array([(edge, edge), (edge, -edge), (-edge, -edge), (-edge, edge)])
            self._fill(np.stack(camera.project(corners[:, 0], corners[:, 1]), -1).tolist(), background)

        grass = [int(c) for c in self.grass_color]
        first_road = len(_GRASS)
        for vertices, index in self._polygons.on_screen(camera):
            road = index - first_road
            self._fill(vertices, grass if road < 0 else [int(c) for c in self.road_poly[road][1]])
        self.car.draw(_CANVAS.world, zoom, (camera.x, camera.y), angle, False)

    def _fill(self, vertices: list[list[int]], color: list[int]) -> None:
        gfxdraw.aapolygon(_CANVAS.world, vertices, color)
        gfxdraw.filled_polygon(_CANVAS.world, vertices, color)

    def _draw_hud(self) -> None:
        self.surf = _CANVAS.hud
        self._render_indicators(WINDOW_W, WINDOW_H)  # type: ignore[no-untyped-call]
        text = _text(f"{self.reward:04.0f}")
        place = text.get_rect()
        place.center = (60, WINDOW_H - WINDOW_H * 2.5 / 40.0)
        _CANVAS.hud.blit(text, place)

    def _hud_overflows(self) -> bool:
        spin = max(0.01 * wheel.omega for wheel in self.car.wheels)
        return bool(max(spin, 0.02 * self.car.hull.linearVelocity.length) > _HUD_MAX)


class _Canvas(threading.local):
    """Hold the surfaces that are drawn on: one set per thread serves all its environments, and stays in the cache."""

    def __init__(self) -> None:
        self.world = pygame.Surface((WINDOW_W, WINDOW_H))
        self.hud = pygame.Surface((WINDOW_W, WINDOW_H))
        self.narrow = pygame.Surface((STATE_W, WINDOW_H))


class _Camera:
    """Map the world to the screen by pygame's own arithmetic: turn by `angle`, scale by `zoom`, shift by (x, y)."""

    def __init__(self, zoom: float, x: float, y: float, angle: float) -> None:
        self.zoom, self.x, self.y = zoom, x, y
        # pygame snaps angles near quarter turns; asking it for the turned axis gives the very numbers it uses
        self.cos, self.sin = pygame.math.Vector2(1, 0).rotate_rad(angle)
        dx, dy = (WINDOW_W / 2 - x) / zoom, (WINDOW_H / 2 - y) / zoom
        self.centre = (self.cos * dx + self.sin * dy, self.cos * dy - self.sin * dx)  # world point mid-screen

    def project(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whole pixels, rounded towards zero as gfxdraw rounds them."""
        across = (self.cos * x - self.sin * y) * self.zoom + self.x
        down = (self.sin * x + self.cos * y) * self.zoom + self.y
        return across.astype(np.int32), down.astype(np.int32)


class _Polygons:
    """Hold the (M, 4, 2) world vertices of M quadrangles so that those on screen are found at once."""

    def __init__(self, vertices: np.ndarray) -> None:
        self._corners = np.ascontiguousarray(vertices.transpose(2, 1, 0))  # (2, 4, M)
        self._centres = self._corners.mean(1)  # (2, M)
        reach = self._corners - self._centres[:, None]
        self._radius = float(np.hypot(reach[0], reach[1]).max())

    def on_screen(self, camera: _Camera) -> Iterator[tuple[list[list[int]], int]]:
        """Yield (vertices in pixels, index) of every quadrangle that may touch a visible pixel, in order."""
        reach = _VIEW_RADIUS / camera.zoom + self._radius
        dx, dy = self._centres[0] - camera.centre[0], self._centres[1] - camera.centre[1]
        near = np.flatnonzero(dx * dx + dy * dy < reach * reach)
        x, y = camera.project(*self._corners[:, :, near])  # (4, n)
        seen = (
            (x.max(0) >= -_MARGIN)
            & (x.min(0) <= WINDOW_W + _MARGIN)
            & (y.max(0) >= _HUD_H - _MARGIN)
            & (y.min(0) <= WINDOW_H + _MARGIN)
        )
        vertices = np.stack((x.T[seen], y.T[seen]), -1)  # (m, 4, 2)
        return zip(vertices.tolist(), near[seen].tolist(), strict=True)


def _grass_squares() -> np.ndarray:
    """Return gymnasium's (400, 4, 2) chequered grass in its drawing order."""
    corners = np.array([(GRASS_DIM, 0), (0, 0), (0, GRASS_DIM), (GRASS_DIM, GRASS_DIM)])
    cells = np.array([(x, y) for x in range(-20, 20, 2) for y in range(-20, 20, 2)], np.float64)
    return np.asarray(GRASS_DIM * cells[:, None, :] + corners)


_GRASS = _grass_squares()
_CANVAS = _Canvas()


@functools.lru_cache(maxsize=256)
def _text(text: str) -> pygame.Surface:
    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 42)
    return font.render(text, True, (255, 255, 255), (0, 0, 0))
