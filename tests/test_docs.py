"""The documentation: every command in it is run, every program too, and what is generated is up to date."""

import os
import re
import runpy
import shlex
from pathlib import Path

import pytest

from tests.commands import wmloop
from tools import settings
from wmloop import opening
from wmloop.config import build_config, presets
from wmloop.config.build import overlay
from wmloop.config.text import to_toml
from wmloop.store import Store

DOCS = Path(__file__).parent.parent / "docs"
RUN = ("tutorial", "faq", "environments", "events", "settings")
SHORT = {"kwargs": {"max_episode_steps": 60}, "episode_frames": 60}
#: Preset smoke in a few seconds: the commands are what is tested here.
TINY = {
    "env": {**SHORT, "num_envs": 4},
    "rollout": {"prefill": ((4, 15),), "frames": 120},
    "vision": {"initial_images": 128, "finetune_images": 64},
    "memory": {"initial_steps": 10, "train_steps": 5, "hidden_size": 32},
    "dream": {"num_dreams": 16, "horizon": 4},
    "controller": {"initial_updates": 2, "updates": 2, "minibatch_size": 32},
    "evaluate": {"episodes": 2, "confirm_episodes": 2},
}


def blocks(page, language):
    text = (DOCS / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class NoClock:
    def tick(self, fps):
        pass


@pytest.fixture
def short_demo(tmp_path_factory, monkeypatch):
    """Let the demo drive for 60 frames; test_cli lets it drive whole tracks."""
    demo = Store.open(opening.DEMO)
    config = opening.stored_config(demo)
    config = build_config(config.preset, config.model_dump(), {"env": SHORT})
    short = Store.create(tmp_path_factory.mktemp("short"), "demo", to_toml(config), demo.facts, demo.versions())
    monkeypatch.setattr(opening, "DEMO", short.path)


@pytest.mark.usefixtures("short_demo")
@pytest.mark.parametrize("page", RUN)
def test_every_command_on_the_page_does_what_it_says(page, tmp_path, monkeypatch):
    pytest.importorskip("av")
    pytest.importorskip("tensorboard")
    import pygame

    monkeypatch.setitem(presets.PRESETS, "smoke", overlay(presets.PRESETS["smoke"], TINY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)
    monkeypatch.setattr(pygame.time, "Clock", NoClock)
    for kind, name in (("python", "dot.py"), ("toml", "dot.toml")):
        if page == "environments":
            (text,) = blocks(page, kind)
            (tmp_path / name).write_text(text)
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        if program == "export":  # for all that is started from here on, and for this process, which stands for them
            name, _, value = arguments[0].partition("=")
            monkeypatch.setenv(name, f"{value}{os.pathsep}{os.environ.get(name, '')}")
            monkeypatch.syspath_prepend(str(Path(value).absolute()))
            continue
        assert program == "wmloop"
        done = wmloop(*arguments)
        assert done.exit_code == 0, f"{command}: {done.output}"
    for made in re.findall(r"--(?:render|to) (\S+\.(?:mp4|gif))", "\n".join(commands)):
        assert (tmp_path / made).stat().st_size > 1000


@pytest.mark.usefixtures("short_demo")
def test_the_program_on_the_questions_page_runs(tmp_path, monkeypatch):
    (program,) = blocks("faq", "python")
    (tmp_path / "program.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py", run_name="__main__")


def test_the_settings_page_is_the_settings():
    assert (DOCS / "settings.md").read_text() == settings.page()


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), DOCS.parent / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), DOCS.parent / "README.md"], ids=lambda path: path.name)
def test_nothing_is_left_to_be_filled_in(page):
    assert not re.search(r"@@|TODO|XXX", page.read_text())
