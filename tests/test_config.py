"""Settings: typed, refused when unknown, and never lost on the way through TOML."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wmloop.config import build_config, changed_settings, settings, with_settings
from wmloop.configtext import from_toml, parse_setting, to_toml
from wmloop.errors import UsageError
from wmloop.presets import PRESETS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("comments", [False, True])
def test_every_preset_survives_the_way_through_toml(preset, comments):
    config = build_config(preset)
    assert build_config(preset, from_toml(to_toml(config, comments), "text")) == config


@example("none", {"none": "none"})
@given(st.text(max_size=30), st.dictionaries(st.text(min_size=1, max_size=8), st.booleans() | st.text(max_size=8)))
def test_any_text_survives_the_way_through_toml(name, kwargs):
    config = build_config("smoke", {"env": {"id": name, "kwargs": kwargs}})
    assert build_config("smoke", from_toml(to_toml(config), "text")) == config


def test_later_layers_win_over_earlier_ones_and_over_the_preset():
    config = build_config("smoke", {"memory": {"hidden": 1}}, {"memory": {"hidden": 2, "batch": 3}})
    assert (config.memory.hidden, config.memory.batch) == (2, 3)
    assert config.budget.iterations == PRESETS["smoke"]["budget"]["iterations"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("memory.hidden=512", 512), ("dream.temperature=1.3", 1.3), ("vision.network=ha2018", "ha2018"),
     ('vision.network="light"', "light"), ("env.mirror=[]", ())],
)  # fmt: skip
def test_a_setting_on_the_command_line_is_typed(text, value):
    assert settings(build_config("laptop", parse_setting(text)))[text.partition("=")[0]] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [("memory.hiden=3", "did you mean 'memory.hidden'"), ("memory.hidden=many", "memory.hidden"),
     ("memory.hidden=0", "greater than"), ("hidden", "name=value"), ("dream.temperature=nan", "finite"),
     ("vision.network=ha2017", "ha2018"), ("rollout.push_decisions=[5,2]", "must not be above")],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_answered_with_what_would(text, words):
    with pytest.raises(UsageError, match=words):
        build_config("laptop", parse_setting(text))


def test_an_unknown_preset_names_the_nearest_and_all():
    with pytest.raises(UsageError, match=r"did you mean 'laptop'.*paper"):
        build_config("labtop")


def test_only_the_budget_may_change_on_resume():
    old = build_config("smoke")
    assert changed_settings(old, with_settings(old, {"budget": {"iterations": 9, "hours": 1.0, "goal": 1.0}})) == []
    new = with_settings(old, {"memory": {"batch": 7}, "seed": 4})
    assert changed_settings(old, new) == ["seed", "memory.batch"]


def test_every_setting_says_what_it_means():
    for line in to_toml(build_config("laptop"), comments=True).splitlines():
        assert not line or line.startswith(("[", "#")) or "  # " in line, line
