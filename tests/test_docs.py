"""The documentation: every command in it is run, every program too, and what is generated is up to date."""

import ast
import hashlib
import importlib.util
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import gymnasium
import pytest

import wmloop as public
from tests.commands import wmloop
from tools import reference
from wmloop import opening
from wmloop.config import build_config, presets, with_settings
from wmloop.config.build import overlay
from wmloop.config.text import to_toml
from wmloop.store import Store

ROOT = Path(__file__).parent.parent
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
#: Pages whose programs are run by another test (tests/test_outside.py).
ELSEWHERE = {"extending"}
RUN = sorted(path.stem for path in PAGES if path.parent in (DOCS, ROOT) and "```sh\n" in path.read_text())
#: README's commands are run by default, those of the other pages by `make docs`.
RUN = [pytest.param(page, marks=[] if page == "README" else pytest.mark.docs) for page in RUN if page not in ELSEWHERE]
SHORT = {"kwargs": {"max_episode_steps": 60}, "episode_frames": 60}
#: Preset smoke in a few seconds: the commands are what is tested here.
TINY = {
    "env": {**SHORT, "num_envs": 2},
    "rollout": {"prefill": ((4, 15),), "frames": 120},
    "vision": {"initial_images": 128, "finetune_images": 64},
    "memory": {"initial_steps": 10, "train_steps": 5, "hidden_size": 32},
    "dream": {"num_dreams": 16, "horizon": 4},
    "controller": {"initial_updates": 2, "updates": 2, "minibatch_size": 32},
    "evaluate": {"episodes": 2, "confirm_episodes": 2},
}


def blocks(page, language):
    text = (ROOT / "README.md" if page == "README" else DOCS / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class NoClock:
    def tick(self, fps):
        pass


def set_presets(monkeypatch, iterations):
    layer = TINY | {"budget": {"iterations": iterations}}
    for preset in ("smoke", "laptop"):
        monkeypatch.setitem(presets.PRESETS, preset, overlay(presets.PRESETS[preset], layer))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Work in an empty folder with presets of a few seconds."""
    set_presets(monkeypatch, 2)
    monkeypatch.setattr(gymnasium.spec("CarRacing-v3"), "max_episode_steps", SHORT["episode_frames"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)


@pytest.fixture
def short_demo(tmp_path_factory, monkeypatch):
    """Let the demo drive for 60 frames; test_cli lets it drive whole tracks."""
    demo = Store.open(opening.DEMO)
    config = opening.stored_config(demo)
    config = with_settings(config, {"env": SHORT})
    short = Store.create(tmp_path_factory.mktemp("short"), "demo", to_toml(config), demo.facts, demo.versions())
    monkeypatch.setattr(opening, "DEMO", short.path)


@pytest.mark.usefixtures("short_demo", "small")
@pytest.mark.parametrize("page", RUN)
def test_every_command_on_the_page_does_what_it_says(page, tmp_path, monkeypatch):
    pytest.importorskip("av")
    pytest.importorskip("tensorboard")
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(pygame.time, "Clock", NoClock)
    for name in ("dot.py", "dot.toml", "study.toml"):  # what the pages tell to save
        shutil.copy(EXAMPLES / name, tmp_path)
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]
    if page == "README":  # tools/door.py does what installs
        commands = [line for line in commands if line.startswith("wmloop")]
    assert commands
    if not any(re.search(r" --(iteration|from|against) ", command) for command in commands):
        set_presets(monkeypatch, 1)  # a page that names no iteration needs no second one
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        assert program == "wmloop"
        done = wmloop(*arguments)
        assert done.exit_code == 0, f"{command}: {done.output}"
    for made in re.findall(r"--(?:render|to) (\S+\.(?:mp4|gif))", "\n".join(commands)):
        assert (tmp_path / made).stat().st_size > 1000


#: Arguments that make a program short, and what it needs that wmloop does not.
SHORTER = {"ppo_in_the_dream": "1", "shooting_planner": "3", "sb3_in_the_dream": "12800"}
NEEDED = {"sb3_in_the_dream": "stable_baselines3"}


@pytest.mark.usefixtures("short_demo", "small")
@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_runs_and_says_something(program, capsys, monkeypatch):
    if (needed := NEEDED.get(program.stem)) and importlib.util.find_spec(needed) is None:
        pytest.skip(f"there is no {needed}")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [str(program), *SHORTER.get(program.stem, "").split()])
    runpy.run_path(str(program), run_name="__main__")
    assert program.stem == "dot" or capsys.readouterr().out.strip()


@pytest.mark.usefixtures("short_demo", "small")
def test_the_program_in_the_readme_runs_and_says_something(capsys):
    (program,) = blocks("README", "python")
    exec(compile(program, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 2


def test_the_results_are_of_todays_defaults():
    now = hashlib.sha256(to_toml(build_config("laptop")).encode()).hexdigest()[:16]
    results = (DOCS / "results.md").read_text()
    assert now in results, f"the defaults are {now} now: measure three seeds anew, or say in results.md why these hold"
    rows = re.findall(
        r"^\| (2\d) \| \d+ \| (\d+k) \| ([\d.]+ ± [\d.]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 3
    for row in rows:
        assert re.search(rf"^\| {row[0]} \|.*\| {row[1]} \|.*{re.escape(row[2])}", results, re.MULTILINE), row


def test_the_readme_is_short_and_its_lines_are():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 110
    assert max(map(len, lines)) <= 120
    paragraphs = re.split(
        r"\n\s*\n", re.sub(r"```.*?```|^\|.*?$", "", "\n".join(lines), flags=re.DOTALL | re.MULTILINE)
    )
    numbers = [len(re.findall(r"(?<![\w-])\d[\d.,]*", re.sub(r"\]\([^)]*\)", "]", text))) for text in paragraphs]
    assert sum(count > 6 for count in numbers) <= 1


def test_examples_use_the_public_interface_alone():
    for program in EXAMPLES.glob("*.py"):
        for node in ast.walk(ast.parse(program.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                assert not any(name.startswith("wmloop.") for name in names), program.name
                if isinstance(node, ast.ImportFrom) and node.module == "wmloop":
                    assert {name.name for name in node.names} <= set(public.__all__), program.name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wmloop":
                assert node.attr in public.__all__, program.name


def test_every_example_is_on_a_page():
    pages = "".join(path.read_text() for path in DOCS.glob("*.md"))
    for path in EXAMPLES.iterdir():
        if path.is_file():
            assert f"{{literalinclude}} ../examples/{path.name}" in pages, path.name


@pytest.mark.parametrize("page", reference.PAGES)
def test_what_is_generated_is_what_the_code_says(page):
    assert (DOCS / page).read_text() == reference.PAGES[page](), "run: python -m tools.reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.is_file(), link
        assert not anchor or anchor in _anchors(target), f"{link}#{anchor}"


def _anchors(page):
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_a_table_of_contents():
    trees = [
        (page.parent, re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL))
        for page in DOCS.rglob("*.md")
    ]
    named = {
        (folder / f"{line}.md").resolve()
        for folder, blocks in trees
        for line in "\n".join(blocks).splitlines()
        if line and not line.startswith(":")
    }
    assert named == {path.resolve() for path in DOCS.rglob("*.md")} - {(DOCS / "index.md").resolve()}


def test_the_places_in_the_documentation_that_the_program_names_exist():
    for path in [*ROOT.glob("wmloop/**/*.py"), *ROOT.glob("wmloop/**/*.toml"), *ROOT.glob("tools/*.py")]:
        for named in re.findall(r"docs/[\w./-]+\.(?:md|csv|gif|svg)", path.read_text()):
            assert "NAME" in named or (ROOT / named).exists(), f"{path.name}: {named}"


def test_the_paper_is_called_by_its_authors():
    for path in [*PAGES, *ROOT.glob("wmloop/**/*.py"), *ROOT.glob("wmloop/**/*.toml")]:
        assert not re.search(
            r"\bthe seed's (authors|actor|critic|figure|equation|PPO|network)|\(the seed: ", path.read_text()
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_left_to_be_filled_in(page):
    assert not re.search(r"@@|TODO|XXX", page.read_text())
