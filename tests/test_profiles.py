"""Environments by name: their profiles, the packages that bring them, and what is derived where there is no profile."""

import importlib.metadata
import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wmloop as library
from tests.commands import wmloop
from tests.known_envs import LIMIT, THRESHOLD, known
from tests.tiny_env import TINY_ID, tiny_config
from wmloop import envs
from wmloop.cli.tasks import best
from wmloop.config import build_config, settings
from wmloop.config.env import EnvConfig
from wmloop.config.presets import PROFILES, Package, package_of, profile, published, task
from wmloop.config.text import from_toml, to_toml
from wmloop.errors import EnvironmentFailedError, UsageError
from wmloop.pipelines import PIPELINES
from wmloop.spaces import Vector
from wmloop.starting import with_version
from wmloop.store import Store

PYPROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
#: What a package is called where it is installed from, by the module that is imported.
DISTRIBUTIONS = {"ale_py": "ale-py", "Box2D": "box2d", "vizdoom": "vizdoom", "minigrid": "minigrid"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("WMLOOP_RUNS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


# ---- profiles


@pytest.mark.parametrize("name", PROFILES.own)
@pytest.mark.parametrize("pipeline", PIPELINES.own)
def test_every_profile_fits_every_pipeline_and_leaves_the_environment_to_the_run(name, pipeline):
    config = build_config("laptop", {"env": {"id": name}}, {"pipeline": pipeline})
    assert config.env.id == name
    assert "id" not in profile(name).settings.get("env", {})
    plain = build_config("laptop", {"env": {"id": "any"}}, {"pipeline": pipeline})
    changed = {key for key, value in settings(config).items() if value != settings(plain)[key]} - {"env.id"}
    assert changed or not profile(name).settings, "a profile says nothing but defaults"


@pytest.mark.parametrize("name", PROFILES.own)
def test_a_profile_tells_in_a_few_words_what_is_seen_and_done(name):
    told = task(name)
    assert told.keys() == {"about", "observations", "actions"}
    assert told["about"]
    assert not told["about"].endswith(".")
    assert told["observations"] in ("picture", "vector", "dict")
    assert re.fullmatch(r"Discrete\(\d+\)|Box\(\d+,\)", told["actions"])


@pytest.mark.parametrize("name", PROFILES.own)
def test_published_scores_are_numbers_and_say_where_they_are_from(name):
    about, scores = published(name)
    assert bool(about) == bool(scores)
    assert not about.endswith(".")
    assert all(re.fullmatch(r"-?\d+(\.\d+)?( ± \d+(\.\d+)?)?", score) for score in scores.values())


@pytest.mark.parametrize(
    ("scores", "highest"),
    [({}, None), ({"a": "9 ± 3", "b": "10"}, "10"), ({"a": "-152 ± 94", "b": "-20.5"}, "-20.5"), ({"a": "?"}, None)],
)
def test_the_best_score_is_the_highest_number(scores, highest):
    assert best(scores) == highest


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "LunarLander-v3", "CarRacing-v3"])
def test_what_profiles_say_of_spaces_and_goals_is_what_gymnasium_says(name):
    told, said = envs.known(EnvConfig(id=name)), task(name)
    kind = "pictures" if said["observations"] == "picture" else "number"
    assert kind in told.observations
    number = re.search(r"\d+", said["actions"])[0]
    assert told.actions.startswith(f"one of {number}" if "Discrete" in said["actions"] else f"{number} number")
    goal = build_config("laptop", {"env": {"id": name}}).budget.goal
    assert told.reward_threshold is None or goal >= told.reward_threshold


# ---- packages and their licences


def names_of(extra):
    """Return the packages that an extra asks for, those of extras in it included."""
    found = set()
    for line in EXTRAS[extra]:
        name, inner = re.match(r"([\w-]+)(?:\[([^\]]*)\])?", line).groups()
        if name == "wmloop":
            found |= {package for other in inner.split(",") for package in names_of(other)}
        else:
            found.add(name)
    return found


def of_profiles():
    return {name: package for name in PROFILES.own if (package := package_of(name)) is not None}


def test_what_installs_a_package_is_an_extra_that_asks_for_it_or_gymnasiums():
    for name, package in of_profiles().items():
        extra = re.fullmatch(r"pip install '(wmloop|gymnasium)\[(\w+)\]'", package.install)
        assert extra, name
        if extra[1] == "wmloop":
            assert DISTRIBUTIONS[package.module.partition(".")[0]] in names_of(extra[2])


def test_what_is_under_the_gpl_is_asked_for_by_its_own_name_alone():
    copyleft = {DISTRIBUTIONS[p.module.partition(".")[0]] for p in of_profiles().values() if "GPL" in p.licence}
    assert copyleft == {"ale-py"}
    required = {re.match(r"[\w-]+", line).group() for line in PYPROJECT["project"]["dependencies"]}
    assert not copyleft & (required | names_of("all"))
    assert {extra for extra in EXTRAS if copyleft & names_of(extra)} == {"atari"}


@pytest.mark.parametrize("package", of_profiles().values(), ids=of_profiles())
def test_a_package_that_is_here_has_the_licence_that_is_told(package):
    name = DISTRIBUTIONS[package.module.partition(".")[0]]
    if not package.installed:
        pytest.skip(f"{name} is not installed")
    metadata = importlib.metadata.metadata(name)
    told = [metadata.get("License-Expression"), metadata.get("License"), *(metadata.get_all("Classifier") or [])]
    assert any(package.licence.lower() in text.lower() for text in told if text)


def test_an_environment_without_a_profile_is_known_by_the_package_that_brings_its_kind():
    assert package_of("ALE/Breakout-v5") == package_of("ALE/Pong-v5")
    assert package_of("VizdoomBasic-v1").module == "vizdoom.gymnasium_wrapper"
    assert package_of("BabyAI-GoToObj-v0").module == package_of("MiniGrid-Empty-5x5-v0").module == "minigrid"
    for other in ("CartPole-v1", "Acrobot-v1", "MALE/Pong-v5", TINY_ID):
        assert package_of(other) is None, other


def test_a_package_is_looked_for_without_being_imported():
    assert Package("json.tool", "", "").installed
    assert not Package("no_such_module_anywhere.part", "", "").installed


def test_a_profile_that_names_half_a_package_is_refused(monkeypatch):
    monkeypatch.setitem(PROFILES.own, "Odd-v0", {"package": {"module": "odd"}})
    with pytest.raises(UsageError, match="without install and licence"):
        package_of("Odd-v0")


# ---- wmloop tasks


def test_tasks_are_a_table_of_80_columns_and_what_is_missing_has_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(Package, "installed", property(lambda package: package.module != "ale_py"))
    done = wmloop("tasks")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    head, *rows = [re.split(" {2,}", line) for line in done.stdout.splitlines()]
    assert head == ["environment", "observations", "actions", "goal", "published", "installed"]
    assert {row[0] for row in rows} == set(PROFILES.names())
    assert {row[0] for row in rows if row[-1] == "no"} == {"ALE/Pong-v5"}
    assert "ALE/Pong-v5: pip install 'wmloop[atari]'  (licence GPL-2.0-only)" in done.stderr
    assert "doom" not in done.stderr


def test_a_task_is_told_with_its_settings_its_scores_and_its_licence():
    done = wmloop("tasks", "VizdoomTakeCover-v1")
    assert done.exit_code == 0
    for said in (
        "fireballs",
        "budget.goal = 750.0",
        "env.action_repeat = 4",
        "licence MIT",
        "AttentionAgent",
        "1125 ± 589",
    ):
        assert said in done.stdout
    told = json.loads(wmloop("tasks", "VizdoomTakeCover-v1", "--json").stdout)["tasks"]
    assert [(one["id"], one["goal"], one["best"]) for one in told] == [("VizdoomTakeCover-v1", 750, "1125 ± 589")]


def test_an_unknown_task_is_answered_with_the_nearest_and_the_line_that_writes_settings():
    done = wmloop("tasks", "CartPole-v0")
    assert done.exit_code == 2
    assert "did you mean 'CartPole-v1'" in done.stderr
    assert "`wmloop init CartPole-v0`" in done.stderr


def test_tasks_are_told_without_what_trains_or_drives():
    code = (
        "import sys; from wmloop.cli import app; app(['tasks'], standalone_mode=False);"
        " sys.exit(' '.join({'torch', 'gymnasium', 'numpy', 'ale_py', 'vizdoom', 'minigrid', 'Box2D'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- an id without its version


@pytest.mark.parametrize("task", ["CarRacing", "CartPole"])
def test_an_environment_named_without_its_version_has_the_newest_and_its_profile(task):
    done = wmloop("start", "--preset", "smoke", "--env", task, "--print-config")
    whole = next(name for name in PROFILES.own if name.startswith(f"{task}-v"))
    told = build_config("smoke", from_toml(done.stdout, "what was printed"))
    assert told == build_config("smoke", {"env": {"id": whole}})
    assert f"environment {whole} (the newest version)" in done.stderr


def test_a_version_is_found_in_the_module_that_registers_it_and_none_is_made_up():
    for asked, whole in ((TINY_ID.removesuffix("-v0"), TINY_ID), (TINY_ID, TINY_ID), ("NoSuchThing", "NoSuchThing")):
        layers = with_version([{"env": {"id": asked}}, {"seed": 1}])
        assert build_config("smoke", *layers).env.id == whole


# ---- what Gymnasium knows


def test_what_is_known_of_an_environment_is_its_spec_and_its_spaces_in_words():
    told = envs.known(EnvConfig(id="CartPole-v1"))
    assert told[:6] == ("CartPole-v1", "4 numbers", "one of 2", 500, 475.0, None)
    actions, observations = told.spaces or ()
    assert (actions.record(), observations) == ({"kind": "discrete", "size": 2}, Vector(4))
    assert envs.known(EnvConfig(id="CartPole-v1", kwargs={"max_episode_steps": 9})).max_episode_steps == 9
    assert envs.known(EnvConfig(id=known("Unsolvable"))).reward_threshold is None
    told = envs.known(EnvConfig(id=known("Letters")))
    assert told.observations == "a dictionary of text: Text, where: 2 numbers from -1 to 1"
    assert told[2:5] == ("one of 26", None, None)
    assert told.spaces is None


@pytest.mark.parametrize(
    ("config", "kind", "said"),
    [
        (EnvConfig(id="NoSuchThing-v0"), UsageError, "there is no environment 'NoSuchThing-v0'"),
        (
            EnvConfig(id="json:Bar-v0"),
            UsageError,
            "the module json was imported, but registers no Bar-v0; it has to call gymn",
        ),
        (
            EnvConfig(id=known("Solvd")),
            UsageError,
            "known_envs was imported, but registers no .*; did you mean .*known/Solved-v0",
        ),
        (EnvConfig(id=known("Dies")), EnvironmentFailedError, "ended its process as it was made"),
        (EnvConfig(id=known("Sleeps"), worker_timeout=1.0), EnvironmentFailedError, "was not made within 1 s"),
    ],
    ids=["unknown", "unregistered", "misspelt", "dies", "hangs"],
)
def test_an_environment_that_cannot_be_made_is_told_and_nothing_hangs(config, kind, said):
    with pytest.raises(kind, match=said):
        envs.known(config)


# ---- wmloop init


def written(tmp_path, environment, *words):
    """Return the text that `init` writes for an environment."""
    done = wmloop("init", environment, "--to", tmp_path / "made.toml", *words)
    assert done.exit_code == 0, done.output
    assert re.search(r"start made-test --preset smoke --config \S*made\.toml", done.stderr)
    assert re.search(r"start made --config \S*made\.toml", done.stderr)
    return (tmp_path / "made.toml").read_text()


@pytest.mark.parametrize(
    ("environment", "pipeline"),
    [("CartPole-v1", "world-model"), *itertools.product(["CarRacing-v3", TINY_ID], PIPELINES.own)],
)
def test_settings_to_start_from_are_those_that_hold_whether_lines_are_taken_out_of_comments_or_not(
    environment, pipeline, tmp_path
):
    text = written(tmp_path, environment, "--pipeline", pipeline)
    assert max(map(len, text.splitlines())) <= 100
    plain = build_config("laptop", {"env": {"id": environment}}, {"pipeline": pipeline})
    limit = envs.known(plain.env).max_episode_steps
    if plain.env.episode_frames is None and limit is not None:
        plain = build_config("laptop", plain.model_dump(), {"env": {"episode_frames": limit}})
    bare = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M)
    assert len(from_toml(bare, "bare")["env"]) > len(from_toml(text, "text")["env"])
    assert build_config("laptop", from_toml(text, "text")) == build_config("laptop", from_toml(bare, "bare")) == plain


def test_settings_to_start_from_have_what_gymnasium_knows_with_where_it_is_from(tmp_path):
    text = written(tmp_path, known("Solved"))
    told = from_toml(text, "text")
    assert (told["budget"]["goal"], told["env"]["episode_frames"]) == (THRESHOLD, LIMIT)
    assert f"goal = {THRESHOLD}  # its reward_threshold in Gymnasium" in text
    assert f"episode_frames = {LIMIT}  # its max_episode_steps in Gymnasium" in text


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [("Blackjack-v1", "--set env.pixels=true"), (known("Letters"), '--set env.observation=["where"]')],
)
def test_no_settings_are_written_that_no_run_can_begin_with(environment, remedy, tmp_path):
    refused = wmloop("init", environment, "--to", tmp_path / "made.toml")
    assert refused.exit_code == 2
    assert not (tmp_path / "made.toml").exists()
    begun = wmloop("start", "x", "--preset", "smoke", "--env", environment, runs=tmp_path)
    said = begun.stderr.splitlines()[-1]
    assert remedy in said
    assert refused.stderr.startswith(said)


def test_what_is_set_stands_in_the_file_and_makes_the_environment(tmp_path):
    sets = [
        'env.observation=["where"]',
        "seed=3",
        "vision.latent_size=16",
        "env.driving.memory=[0.5, 0.6]",
        "preset=smoke",
    ]
    text = written(tmp_path, known("Letters"), *(word for one in sets for word in ("--set", one)))
    told = from_toml(text, "text")
    assert (told["seed"], told["preset"], told["vision"]) == (3, "smoke", {"latent_size": 16})
    assert (told["env"]["observation"], told["env"]["random_policy"]) == (["where"], {"autocorrelation": [0.5, 0.6]})
    assert "shows a dictionary of text: Text" in text
    assert re.search(r"^# frames = \d+  # preset smoke's$", text, re.M)
    assert re.search(r"^# perturb_prob = \S+  # the default$", text, re.M)


def test_settings_to_start_from_say_where_a_rendering_is_looked_at(tmp_path):
    text = written(tmp_path, "CartPole-v1", "--set", "env.pixels=true").replace("\n# ", " ")
    assert re.search(r"shows 4 numbers .*\(what it renders is looked at: env.pixels\)", text)


def test_a_file_that_is_there_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ALE-Mine-v0.toml").write_text("mine")
    refused = wmloop("init", "nowhere:ALE/Mine-v0")
    assert refused.exit_code == 2
    assert "ALE-Mine-v0.toml already" in refused.stderr
    assert Path("ALE-Mine-v0.toml").read_text() == "mine"
    assert wmloop("init", "CartPole-v1", "--to", tmp_path / "none" / "x.toml").exit_code == 2
    assert wmloop("init", "NoSuchThing-v0").exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["ALE-Mine-v0.toml"]


# ---- wmloop start --env


def test_the_environment_may_be_named_by_an_option_which_brings_its_profile(tmp_path):
    (tmp_path / "other.toml").write_text('[env]\nid = "CarRacing-v3"\n')
    done = wmloop("start", "--print-config", "--env", "VizdoomTakeCover-v1", "--config", tmp_path / "other.toml")
    told = from_toml(done.stdout, "printed")
    assert (told["env"]["id"], told["env"]["action_repeat"], told["env"]["mirrored_actions"]) == (
        "VizdoomTakeCover-v1", 4, [0, 2, 1],
    )  # fmt: skip
    assert told["budget"]["goal"] == 750


def test_a_goal_that_is_left_to_the_environment_stands_in_a_comment():
    assert "\n# goal = " in wmloop("start", "--print-config", "--env", "Acrobot-v1").stdout
    for words in (["--env", "Acrobot-v1", "--set", "budget.goal=none"], ["--env", "CartPole-v1"]):
        assert "\ngoal = " in wmloop("start", "--print-config", *words).stdout


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Return what begins a run of `Solved`, without training it, and returns what it said, its settings and its log."""
    monkeypatch.setattr("wmloop.loop.run", lambda *_: "iterations")
    config = tiny_config()
    del config["env"]["id"], config["env"]["episode_frames"]
    (tmp_path / "tiny.toml").write_text(to_toml_of(config))

    def begin(*words):
        runs = tmp_path / f"runs-{len(list(tmp_path.iterdir()))}"
        base = ["start", "mine", "--env", known("Solved"), "--config", tmp_path / "tiny.toml", "--preset", "smoke"]
        done = wmloop(*base, *words, runs=runs)
        assert done.exit_code == 0, done.output
        store = Store.open(runs / "mine")
        events = [event for event in store.journal.events()[0] if event["event"] == "Message"]
        return done.stderr, build_config("smoke", from_toml(store.config_text, "config")), events

    return begin


def to_toml_of(layer):
    """Return a layer of settings as TOML: those of the environment and of nothing that is open."""
    text = to_toml(build_config("smoke", layer, {"env": {"id": known("Solved")}}))
    return re.sub(r"^(id|episode_frames|goal) = .*\n", "", text, flags=re.M)


def test_what_is_left_open_comes_from_gymnasium_and_is_said_and_kept_with_the_run(begun):
    said, config, events = begun()
    assert (config.budget.goal, config.env.episode_frames) == (THRESHOLD, LIMIT)
    lines = [f"budget.goal = {THRESHOLD}, its reward_threshold", f"env.episode_frames = {LIMIT}, its time limit"]
    for line in lines:
        assert f"note: the environment '{known('Solved')}': {line}" in said
        assert [event["level"] for event in events if line in event["text"]] == ["info"]


@pytest.mark.parametrize(
    ("words", "goal"), [(["--set", "budget.goal=none"], None), (["--goal", "3"], 3.0)], ids=["none", "given"]
)
def test_a_goal_that_is_said_is_not_taken_from_gymnasium(begun, words, goal):
    said, config, _ = begun(*words)
    assert config.budget.goal == goal
    assert "budget.goal" not in said


def test_python_begins_with_the_same_goal_and_is_not_warned_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(library.Run, "train", lambda *_: None)
    layer = tiny_config() | {"preset": "smoke"}
    layer["env"] = layer["env"] | {"id": known("Solved"), "episode_frames": None}
    run = library.train(layer, name="mine", runs=tmp_path)  # a warning is an error in tests
    assert (run.config.budget.goal, run.config.env.episode_frames) == (THRESHOLD, LIMIT)
    config = build_config("smoke", layer)
    assert library.train(config, name="whole", runs=tmp_path).config.budget.goal is None


def test_the_scale_of_rewards_is_told_where_it_is_derived(finished):
    store = Store.open(finished.runs / "tiny")
    told = [event["text"] for event in store.journal.events()[0] if "memory.reward_scale" in event.get("text", "")]
    (rms,) = [version.metrics["reward_rms"] for version in store.versions() if version.stage == "rollout"]
    assert [float(re.search(r"= ([\d.]+)", text)[1]) for text in told] == [pytest.approx(rms, rel=1e-3)]
