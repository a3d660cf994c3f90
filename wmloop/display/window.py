"""A window on the screen, with keys and a game pad."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmloop.display.keys import DIRECTIONS, Controls, from_held
from wmloop.display.lettering import draw_text
from wmloop.display.showing import CHOICES, ClosedError
from wmloop.errors import UsageError

#: A window's room for pictures, and below them for text, unless the first picture is larger.
_ROOM, _TEXT = (800, 400), 60
#: A game pad's stick rests a little beside its middle.
_DEAD = 0.08


def there_is_a_display() -> bool:
    """Tell whether there is something to open a window on."""
    anywhere = sys.platform in ("win32", "darwin") or os.environ.get("SDL_VIDEODRIVER")
    return bool(anywhere or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def require_display() -> None:
    """Raise UsageError where a window has nothing to open on."""
    if not there_is_a_display():
        raise UsageError(f"there is no display for a window: {CHOICES}")


class Window:
    """A window of the desktop. It keeps its size, whatever is shown, but for the person who pulls at it."""

    def __init__(self, fps: float) -> None:
        require_display()
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame: Any = pygame
        try:
            pygame.display.init()
        except pygame.error as error:
            raise UsageError(f"no window can be opened ({error}): {CHOICES}") from error
        pygame.joystick.init()
        self._pads = [pygame.joystick.Joystick(i) for i in range(pygame.joystick.get_count())]
        self._clock = pygame.time.Clock()
        self._fps = fps
        self._screen: Any = None
        self._held: set[str] = set()

    def show(self, picture: np.ndarray, caption: str, lines: Sequence[str] = ()) -> None:
        """Draw it as large as it fits above its lines."""
        pygame = self._pygame
        if self._screen is None:  # a window of another size would be another window, without the keyboard
            size = max(_ROOM[0], picture.shape[1]), max(_ROOM[1], picture.shape[0]) + _TEXT
            self._screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        width, height = self._screen.get_size()
        text = draw_text(lines, width)
        room = max(1, height - len(text))
        scale = min(width / picture.shape[1], room / picture.shape[0])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        self._screen.fill((0, 0, 0))
        drawn = pygame.transform.scale(self._surface(picture), size)
        self._screen.blit(drawn, ((width - size[0]) // 2, (room - size[1]) // 2))
        if lines:
            self._screen.blit(self._surface(text), (0, room))
        pygame.display.set_caption(caption)
        pygame.display.flip()
        self._clock.tick(self._fps)

    def _surface(self, picture: np.ndarray) -> Any:
        size = picture.shape[1], picture.shape[0]
        return self._pygame.image.frombuffer(np.ascontiguousarray(picture).tobytes(), size, "RGB")

    def pressed(self) -> list[str]:
        """Return what was pressed; a held key counts once."""
        pygame, pressed = self._pygame, []
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise ClosedError
            if event.type not in (pygame.KEYDOWN, pygame.KEYUP):
                continue
            name = pygame.key.name(event.key)
            if event.type == pygame.KEYUP:
                self._held.discard(name)
                continue
            self._held.add(name)
            typed = getattr(event, "unicode", "")
            pressed.append(
                name if name in ("space", "tab", "escape") or not typed.isprintable() or not typed else typed
            )
        return pressed

    def hand(self) -> Controls:
        """Return where arrows, letters or the first game pad steer: its left stick, and its two triggers."""
        by_keys = from_held({DIRECTIONS[name] for name in self._held if name in DIRECTIONS})
        if self._pads and self._pads[0].get_numaxes() >= 6 and by_keys == Controls():
            axes = [self._pads[0].get_axis(i) for i in (0, 5, 2)]
            return Controls(axes[0] if abs(axes[0]) > _DEAD else 0.0, (axes[1] + 1) / 2, (axes[2] + 1) / 2)
        return by_keys

    def close(self) -> None:
        """Close it."""
        self._pygame.display.quit()
