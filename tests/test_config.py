"""Settings: typed, refused when unknown, and never lost on the way through TOML."""

import dataclasses
import re
from importlib.metadata import EntryPoint

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from wmloop.config import (
    PPOConfig,
    RunConfig,
    WorldModelConfig,
    beside_preset,
    build_config,
    changed_settings,
    preset_of,
    settings,
    with_settings,
)
from wmloop.config.build import of_pipeline
from wmloop.config.legacy import stored
from wmloop.config.part import Count, Part
from wmloop.config.presets import PRESETS, PROFILES
from wmloop.config.text import from_toml, parse_setting, read_toml, to_toml
from wmloop.errors import UsageError
from wmloop.pipelines import PIPELINES
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.starting import settle


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("comments", [False, True])
def test_every_preset_survives_the_way_through_toml(preset, comments):
    config = build_config(preset)
    assert build_config(preset, from_toml(to_toml(config, comments), "text")) == config


UTF_8 = st.characters(exclude_categories=["Cs"])
#: Words that a validator has for its own business, and people have not.
INNER = r"Input should|Value error|valid|tuple|dict\b|constrained|function|pydantic|literal|NoneType|int\b|float|str\b|None|<"


@example("none", {"none": "none"})
@given(
    st.text(UTF_8, min_size=1, max_size=30).filter(str.strip),
    st.dictionaries(st.text(UTF_8, min_size=1, max_size=8), st.booleans() | st.text(UTF_8, max_size=8)),
)
def test_any_text_survives_the_way_through_toml(name, kwargs):
    config = build_config("smoke", {"env": {"id": name, "kwargs": kwargs}})
    assert build_config("smoke", from_toml(to_toml(config), "text")) == config


def test_later_layers_win_over_earlier_ones_and_over_the_preset():
    config = build_config("smoke", {"memory": {"hidden_size": 1}}, {"memory": {"hidden_size": 2, "batch_size": 3}})
    assert (config.memory.hidden_size, config.memory.batch_size) == (2, 3)
    assert config.budget.iterations == PRESETS["smoke"]["budget"]["iterations"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("memory.hidden_size=512", 512), ("dream.temperature=1.3", 1.3), ("vision.network=ha2018", "ha2018"),
     ('vision.network="compact"', "compact"), ("env.mirrored_actions=[]", ())],
)  # fmt: skip
def test_a_setting_on_the_command_line_is_typed(text, value):
    assert settings(build_config("laptop", parse_setting(text)))[text.partition("=")[0]] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [("memory.hiden=3", "did you mean 'memory.hidden_size'"), ("memory.hidden_size=many", "memory.hidden_size"),
     ("memory.hidden_size=0", "whole number from 1 to"), ("hidden", "name=value"), ("dream.temperature=nan", "finite"),
     ("vision.network=ha2017", "ha2018"), ("rollout.perturb_decisions=[5,2]", "must not be greater than"),
     ("memory=3", "group of settings.*memory.hidden_size"), ("env.kwargs.a.b=3", "number, a text, true or false")],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_answered_with_what_would(text, words):
    with pytest.raises(UsageError, match=words):
        build_config("laptop", parse_setting(text))


@pytest.mark.parametrize(
    "text",
    ["rollout.prefill=[]", "rollout.prefill=[[0, 5]]", "rollout.prefill=[[5, 0]]", "rollout.prefill=[[5, -1]]",
    "rollout.prefill=[[5]]",
     "rollout.perturb_decisions=[1, 0]", "rollout.perturb_decisions=[0, 3]", "env.random_policy.autocorrelation=2",
     "env.random_policy.autocorrelation=[0.5, 2]",
     "env.random_policy.autocorrelation=[-0.1, 0.5]", "env.random_policy.autocorrelation=[0.9, 0.1]",
     "env.random_policy.std=[[-1, 1]]",
     "preset=3", "preset=[]", "preset=\"other\"", "env.id=\"\"",
     "env.id=' '", "env.id=3", "env.crop=[-1, 5, 0, 5]", "env.crop=[5, 1, 0, 5]", "env.crop=[0, 5, 5, 5]", "env.crop=[0, 5]",
     "env.mirrored_actions=[-1]", "env.mirrored_actions=[0, 0]", "env.mirrored_actions=[0.5]", "env.kwargs=3",
     "env.kwargs.x=[1]", "env.kwargs.x=nan",
     "env.num_envs=true", "env.num_envs=\"4\"", "env.num_envs=1000000", "env.worker_timeout=1e12", "env.worker_timeout=0",
     "memory.hidden_size=\"512\"", "memory.hidden_size=false", "memory.hidden_size=1000000000", "memory.train_steps=1.5",
     "memory.recency_decay=1.5",
     "memory.steps_growth=1e300", "memory.steps_growth=0.5", "vision.beta2=1", "vision.learning_rate=\"0.1\"",
     "vision.latent_size=1e400", "dream.temperature=\"1.3\"", "dream.temperature=0",
     "dream.temperature=1e-40", "dream.temperature=true", "threads=-1",
     "threads=100000", "seed=-1", "seed=1e30",
     "seed=0x" + 4000 * "f", "controller.log_std_bounds=[-1000, 0]", "controller.log_std_bounds=[0, 1000]",
     "controller.gamma=1.01", "evaluate.episodes=1000001", "budget.goal=inf", "budget.hours=0", "budget.hours=true",
     "store.keep_last=0", "device=true", "memory.hidden_size=2020-01-01"],
)  # fmt: skip
def test_a_value_that_would_fail_later_is_refused_at_birth(text):
    with pytest.raises(UsageError) as refused:
        build_config("laptop", parse_setting(text))
    assert not re.search(INNER, str(refused.value))
    assert text.partition("=")[0].removesuffix(".x") in str(refused.value)


def nested(name, value):
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["none", "auto", "", "cpu", "\udcff", "a b"])
)
GARBAGE = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2),
    max_leaves=12,
)


@effort(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(settings(WorldModelConfig()))), GARBAGE)
def test_whatever_a_setting_is_told_it_is_kept_or_refused_in_one_line_of_plain_words(name, value):
    layer = nested(name, value)
    try:
        config = build_config("laptop", layer) if name != "preset" else with_settings(WorldModelConfig(), layer)
    except UsageError as refused:
        told = str(refused)
        assert "\n" not in told
        assert name in told
        reason = told.rpartition(": ")[2]
        assert reason
        assert not re.search(INNER, reason), told
    else:
        assert build_config(config.preset, from_toml(to_toml(config).encode().decode(), "text")) == config


def test_arguments_of_the_environment_are_laid_over_each_other_one_by_one():
    layers = [{"env": {"kwargs": {"x": 0, "z": 3}}}, *map(parse_setting, ("env.kwargs.x=1", "env.kwargs.y=2"))]
    assert build_config("smoke", *layers).env.kwargs == {"x": 1, "z": 3, "y": 2}
    assert with_settings(build_config("smoke", *layers), layers[-1]).env.kwargs == {"x": 1, "z": 3, "y": 2}


def test_a_stored_run_makes_its_environment_as_it_did_whatever_a_profile_of_today_adds(monkeypatch):
    text = to_toml(build_config("smoke", {"env": {"id": "VizdoomTakeCover-v1"}}))
    for own in ({}, {"frame_skip": 2}):
        table = from_toml(text, "config")
        assert table["env"]["kwargs"]
        table["env"]["kwargs"] = own
        assert stored(table).env.kwargs == own
        assert of_pipeline(stored(table), "hs18-dream").env.kwargs == own


@pytest.mark.parametrize(
    ("layer", "group", "name"),
    [
        ({"env": {"id": "ALE/Pong-v5"}}, "vision", "foreground_weight"), ({"pipeline": "vanilla-ppo"}, "ppo", "initial_action"),
        ({}, "dream", "temperature"),
    ],
)  # fmt: skip
def test_a_stored_run_that_is_older_than_a_setting_has_its_default_whatever_a_profile_of_today_says(layer, group, name):
    table = from_toml(to_toml(build_config("laptop", layer)), "config")
    default = getattr(getattr(type(build_config("laptop", layer))(), group), name)
    assert table[group].pop(name) != default
    assert getattr(getattr(stored(table), group), name) == default


@pytest.mark.parametrize(
    "text", ["budget.goal = none", "preset = smoke", "env.id = CartPole-v1", "env.kwargs.map = 8x8"]
)
def test_blanks_around_the_sign_are_none_of_a_value(text):
    name, _, value = text.partition(" = ")
    assert parse_setting(text) == parse_setting(f"{name}={value}")
    assert parse_setting('env.kwargs.map = " 8x8"')["env"]["kwargs"]["map"] == " 8x8"


def test_the_last_preset_that_is_named_is_taken():
    layers = [{"preset": "paper"}, {"env": {"id": "CartPole-v1"}}, {"preset": "smoke"}]
    assert settle(None, layers)[0].preset == "smoke"
    assert settle("laptop", layers)[0].preset == "laptop"


def test_a_group_that_was_told_to_be_a_number_is_not_forgotten_by_what_comes_later():
    with pytest.raises(UsageError, match="group of settings"):
        build_config("smoke", parse_setting("memory=3"), parse_setting("memory.hidden_size=4"))


def test_whole_numbers_may_be_written_as_floats():
    config = build_config("smoke", parse_setting("rollout.frames=1e6"), parse_setting("rollout.prefill=[[8.0, 30.0]]"))
    assert to_toml(config).count("frames = 1000000\n") == 1
    assert config.rollout.prefill == ((8, 30),)


def test_a_line_break_in_a_value_begins_no_other_setting():
    with pytest.raises(UsageError, match=r"memory\.hidden_size"):
        build_config("smoke", parse_setting("memory.hidden_size=1\nmemory.batch=2"))
    assert parse_setting("env.id=a\nb") == {"env": {"id": "a\nb"}}


@pytest.mark.parametrize("text", ["memory.hidden_size=" + "9" * 5000, "memory.hidden_size=" + "[" * 3000 + "]" * 3000])
def test_a_value_that_python_does_not_read_is_refused_as_any_other(text):
    with pytest.raises(UsageError, match=r"'memory\.hidden_size' does not accept"):
        build_config("smoke", parse_setting(text))
    with pytest.raises(UsageError, match=r"file\.toml is not valid TOML"):
        from_toml(text, "file.toml")


def test_a_settings_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.toml").write_text('preset = "smoke"\r\n[memory]\r\nhidden_size = 9\r\n', encoding="utf-8-sig")
    assert read_toml(tmp_path / "a.toml") == {"preset": "smoke", "memory": {"hidden_size": 9}}
    assert from_toml("\ufeffseed = 1", "text") == {"seed": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_settings_file_of_another_encoding_is_refused_with_what_to_do(tmp_path, encoding):
    (tmp_path / "a.toml").write_text('preset = "smoke"\n[env]\nid = "Übung-v0"\n', encoding=encoding)
    with pytest.raises(UsageError, match=r"a\.toml: .*UTF-16; save it as UTF-8|a\.toml: line 3 is not UTF-8; save it"):
        read_toml(tmp_path / "a.toml")


def test_a_settings_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the settings in .*Is a directory"):
        read_toml(tmp_path)
    with pytest.raises(UsageError, match=r"cannot read the settings in .*No such file"):
        read_toml(tmp_path / "no.toml")


def test_an_unknown_preset_names_the_nearest_and_all():
    with pytest.raises(UsageError, match=r"did you mean 'laptop'.*paper"):
        build_config("labtop")


def test_only_the_budget_may_change_on_resume():
    old = build_config("smoke")
    assert changed_settings(old, with_settings(old, {"budget": {"iterations": 9, "hours": 1.0, "goal": 1.0}})) == []
    new = with_settings(old, {"memory": {"batch_size": 7}, "seed": 4})
    assert changed_settings(old, new) == ["seed", "memory.batch_size"]


def test_a_run_is_beside_its_preset_and_the_profile_of_its_environment():
    for environment, basis in (
        ("bar:Bar-v0", "preset smoke"),
        ("CarRacing-v3", "preset smoke and the profile of CarRacing-v3"),
    ):
        own = build_config("smoke", {"env": {"id": environment}, "budget": {"iterations": 9}})
        differing = {name: pair for name, pair in beside_preset(own).items() if pair[0] != pair[1]}
        default = RunConfig().env.id
        moved = {} if environment == default else {"env.id": (environment, default)}
        assert differing == moved | {"budget.iterations": (9, build_config("smoke").budget.iterations)}
        assert preset_of(own) == basis


def test_every_setting_says_what_it_means():
    for line in to_toml(build_config("laptop"), comments=True).splitlines():
        assert not line or line.startswith(("[", "#")) or "  # " in line, line


def test_nobodys_defaults_are_car_racings():
    config = build_config("laptop", {"env": {"id": "mine:Mine-v0"}})
    assert (
        config.env.mirrored_actions
        == config.env.random_policy.mean
        == config.env.random_policy.std
        == config.env.random_policy.initial_offset
        == ()
    )
    assert config.memory.reward_min is config.rollout.max_unrewarded is None
    assert (config.rollout.perturb_prob, config.dream.burn_in) == (0, 0)
    assert (config.dream.temperature, config.memory.reward_scale) == (1, "auto")
    assert config.env.episode_frames is config.budget.goal is config.controller.plateau_gamma is None


@pytest.mark.parametrize("name", ["CarRacing-v3", "some.module:CarRacing-v3"])
def test_car_racing_has_what_was_found_for_it_whatever_module_names_it_and_a_setting_goes_first(name):
    config = build_config("laptop", {"env": {"id": name}}, {"rollout": {"max_unrewarded": 7}})
    assert (config.env.mirrored_actions, config.memory.reward_min) == ((0,), -10)
    assert (config.budget.goal, config.env.episode_frames, config.rollout.max_unrewarded) == (905, 1000, 7)
    assert build_config("paper").env.mirrored_actions == ()


class Lookup(Part):
    """A memory of its own, which has a name of ours and, by chance, one of our settings and one of our old names."""

    hidden_size: Count = 7
    hidden: Count = 3


class MorePPO(PPOConfig):
    """Ours, and more."""

    more: Count = 1


class LookupConfig(RunConfig):
    """What a pipeline from elsewhere brings."""

    memory: Lookup = Lookup()
    ppo: MorePPO = MorePPO()


class MineConfig(RunConfig):
    """A group that no other pipeline has."""

    class Group(Part):
        """Its own group."""

        depth: Count = 3

    mine: Group = Group()


MINE = dataclasses.replace(WORLD_MODEL, name="mine", settings=MineConfig)
LOOKUP = dataclasses.replace(WORLD_MODEL, name="lookup", settings=LookupConfig)
ELSEWHERE = {"pipeline": "tests.test_config:LOOKUP"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_group_from_elsewhere_takes_nothing_that_is_meant_for_ours_of_the_same_name(preset):
    config = build_config(preset, ELSEWHERE, {"env": {"id": "CarRacing-v3"}})
    assert config.memory == Lookup()
    assert config.env == build_config(preset).env


def test_a_group_made_of_ours_takes_what_is_meant_for_ours():
    ours = build_config("smoke", {"pipeline": "vanilla-ppo"}).ppo
    config = build_config("smoke", ELSEWHERE)
    assert config.ppo == MorePPO(**ours.model_dump())
    assert ours.updates == PRESETS["smoke"]["ppo"]["updates"] != PPOConfig().updates


def test_a_group_from_elsewhere_keeps_names_that_ours_had_and_refuses_what_only_ours_has():
    table = {
        **build_config("gpu", ELSEWHERE, {"memory": {"hidden": 5}}).model_dump(),
        "pipeline": ELSEWHERE["pipeline"],
    }
    assert stored(table).memory == Lookup(hidden=5)
    assert with_settings(stored(table), {"memory": {"hidden": 6}}).memory == Lookup(hidden=6)
    with pytest.raises(UsageError, match=r"unknown setting 'memory\.initial_steps'"):
        build_config("gpu", ELSEWHERE, {"memory": {"initial_steps": 5}})


def test_a_group_that_pipelines_have_in_common_takes_of_a_profile_the_settings_that_it_has_and_no_wrong_one(
    monkeypatch,
):
    monkeypatch.setitem(PROFILES.own, "Odd-v0", {"controller": {"updates": 3, "batch_size": 5, "gamma": 0.5}})
    dreaming, acting = (
        build_config("laptop", {"pipeline": p, "env": {"id": "Odd-v0"}}) for p in ("world-model", "ppo-features")
    )
    assert (dreaming.controller.updates, dreaming.controller.gamma) == (3, 0.5)
    assert (acting.controller.batch_size, acting.controller.gamma) == (5, 0.5)
    monkeypatch.setitem(PROFILES.own, "Odd-v0", {"controller": {"update": 3}})
    with pytest.raises(UsageError, match=r"unknown setting 'controller.update' \(did you mean"):
        build_config("laptop", {"pipeline": "ppo-features", "env": {"id": "Odd-v0"}})


def test_a_group_of_a_profile_that_no_pipeline_has_is_refused_with_its_file_and_what_would_fit(monkeypatch):
    monkeypatch.setitem(PROFILES.own, "Odd-v0", {"memry": {"hidden_size": 3}})
    with pytest.raises(UsageError) as refused:
        build_config("laptop", {"env": {"id": "some.module:Odd-v0"}})
    told = str(refused.value)
    assert "the profile of 'some.module:Odd-v0' in " in told
    assert "Odd-v0.toml: unknown group 'memry' (did you mean 'memory'?)" in told
    assert all(name in told for name in (*WorldModelConfig.model_fields, "ppo"))


def test_a_profile_may_have_groups_of_any_pipeline_that_is_installed(monkeypatch):
    monkeypatch.setitem(PROFILES.own, "Odd-v0", {"mine": {"depth": 5}, "ppo": {"stack": 4}})
    odd = {"env": {"id": "Odd-v0"}}
    with pytest.raises(UsageError, match="unknown group 'mine'"):
        build_config("laptop", odd)
    points = {"gone": "nowhere:GONE", "mine": "tests.test_config:MINE"}
    brought = {name: [EntryPoint(name, value, "wmloop.pipelines")] for name, value in points.items()}
    monkeypatch.setitem(vars(PIPELINES), "_installed", brought)
    assert build_config("laptop", odd) == with_settings(build_config("laptop", {"env": {"id": "other"}}), odd)
    assert build_config("laptop", odd, {"pipeline": "vanilla-ppo"}).ppo.stack == 4
