"""PPO without a world model: the second pipeline, and what pipelines bring and need not have."""

import contextlib
import io
import json
import random
import re
import shutil
import signal

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.commands import wmloop
from tests.processes import ROOT
from tests.test_interruptions import hashes, interrupt_until_done, timed_finish
from tests.test_play import Script
from tests.tiny_env import TINY_ID, tiny_config
from wmloop import loop, pipelines
from wmloop.agents.agent import Exploration
from wmloop.agents.pixels import PixelAgent
from wmloop.cli.opening import commits
from wmloop.config import RunConfig, VanillaPPOConfig, build_config, explain, settings, with_settings
from wmloop.config.part import Part
from wmloop.config.presets import FACTS, PRESETS, PROFILES
from wmloop.config.text import from_toml, to_toml
from wmloop.display.keys import Controls
from wmloop.display.showing import ClosedError
from wmloop.envs import RealEnv
from wmloop.episodes import Episode
from wmloop.errors import EnvironmentFailedError, StoreCorruptError, UsageError
from wmloop.events import Picture, Snapshot
from wmloop.history import History
from wmloop.learn import ppo
from wmloop.learn.optim import adam
from wmloop.models.pixel_policy import PixelActor, PixelCritic, grey
from wmloop.opening import stored_config
from wmloop.pipelines.vanilla_ppo import VANILLA_PPO
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.player import Plain, Player
from wmloop.seeding import fresh_seeds
from wmloop.serving.agent import Served
from wmloop.serving.vanilla_ppo import fits
from wmloop.spaces import BoxActions, DiscreteActions, PictureAndVector, Pixels, Vector
from wmloop.store import Store
from wmloop.study.file import read_study
from wmloop.training.real_waves import RealWave
from wmloop.training.vanilla_ppo import batch
from wmloop.training.weights import load, load_optimizer, save, save_optimizer
from wmloop.view.screen import render
from wmloop.view.state import ViewState, recall

PPO = ["--pipeline", "vanilla-ppo"]
CPU = torch.device("cpu")


def tiny(**changes):
    """Return the settings of a run of two iterations in a second or two."""
    common = {name: group for name, group in tiny_config().items() if name in RunConfig.model_fields}
    layer = {"pipeline": "vanilla-ppo", "budget": {"iterations": 2}, "seed": 3, "threads": 1}
    layer |= {"env": {"num_envs": 2}, "ppo": {"update_epochs": 2}}
    return build_config("smoke", common, layer, changes)


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(to_toml(tiny(store={"snapshot_seconds": 0.0})))
    return path


@pytest.fixture(scope="module")
def finished(settings_file, tmp_path_factory):
    """Return a folder with a finished run `tiny`, the seconds it took and its files' hashes."""
    runs = tmp_path_factory.mktemp("runs")
    seconds = timed_finish(["start", "tiny", "--config", settings_file], runs)
    return runs, seconds, hashes(runs, "tiny")


def count(*networks):
    return sum(part.numel() for part in {part for net in networks for part in net.parameters()})


def test_the_networks_are_figures_5_and_6_of_kuth_et_al_on_one_trunk():
    actor = PixelActor()
    critic = PixelCritic(actor.trunk)
    assert (count(actor), count(critic), count(actor, critic)) == (644_646, 642_641, 645_047)


def test_a_grey_picture_is_its_luma_and_white_stays_white():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    assert grey(colours).tolist() == [0, 255, 76, 150, 29]


def episode(length, terminated, seed):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (length + 1, 64, 64, 3)).astype(np.uint8)
    actions, rewards = rng.normal(size=(length, 2)).astype(np.float32), rng.normal(size=length).astype(np.float32)
    return Episode(frames, actions, rewards, terminated, not terminated, seed, length)


def test_what_is_learnt_from_is_what_the_agent_saw_and_sampled():
    config = with_settings(tiny(), {"ppo": {"stack": 3}})
    torch.manual_seed(0)
    actor = PixelActor(3, 2)
    agent = PixelAgent(actor, 3, BoxActions([-1, -1], [1, 1]))
    episodes, sampled, seen = [episode(5, True, 0), episode(3, False, 1)], [], []
    for one in episodes:
        carry, actions = agent.start(1), []
        for frame in one.observations[:-1]:
            noise = np.full((1, 2), 2.0, np.float32)  # some actions leave the box
            action, carry = agent.act(carry, frame[None], Exploration(noise, 0 * noise, np.ones(1, np.bool_)))
            assert np.abs(action).max() <= 1
            actions.append(carry.sampled[0])
            seen.append(carry.pictures[0])
        sampled.append(torch.stack(actions))
    learnt = batch(RealWave(episodes, sampled), actor, config)
    assert learnt.mask.sum(0).tolist() == [5, 3]
    real = learnt.mask.T.bool()
    assert np.array_equal(learnt.features[:-1].transpose(0, 1)[real].numpy(), np.stack(seen))
    torch.testing.assert_close(
        learnt.logprob.T[real], actor(torch.from_numpy(np.stack(seen))).logprob(torch.cat(sampled))
    )


def test_in_a_batch_of_unequal_episodes_each_has_the_advantages_that_it_has_alone():
    config = with_settings(tiny(), {"ppo": {"reward_scale": 2.0}})
    torch.manual_seed(0)
    actor = PixelActor(1, 2)
    critic = PixelCritic(actor.trunk)
    episodes = [episode(6, True, 0), episode(3, True, 1), episode(4, False, 2)]
    actions = [torch.zeros(len(one), 2) for one in episodes]
    together = batch(RealWave(episodes, actions), actor, config)

    def advantages(learnt):
        with torch.no_grad():
            value = critic(learnt.features)
        return ppo.gae(learnt.reward, learnt.continues, value[:-1], value[-1], 0.9, 0.8)[0]

    for n, one in enumerate(episodes):
        alone = batch(RealWave([one], [actions[n]]), actor, config)
        torch.testing.assert_close(advantages(together)[-len(one) :, n], advantages(alone)[:, 0])
        torch.testing.assert_close(alone.reward[:, 0], torch.from_numpy(one.rewards) / 2)
    with torch.no_grad():  # the last advantage in words: only the truncated one's includes a value to come
        value = critic(together.features)
    last = together.reward[-1] - value[-2] + 0.9 * value[-1] * torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(advantages(together)[-1], last)


def test_rewards_are_learnt_with_an_offset_and_in_a_unit():
    config = with_settings(tiny(), {"ppo": {"reward_offset": 8.0, "reward_scale": 4.0}})
    one, actor = episode(4, True, 0), PixelActor(1, 2)
    learnt = batch(RealWave([one], [torch.zeros(4, 2)]), actor, config)
    torch.testing.assert_close(learnt.reward[:, 0], torch.from_numpy((one.rewards + 8) / 4))


def test_an_untrained_policy_does_what_it_is_told_to_begin_with_on_average():
    actions = BoxActions([-1, 0], [1, 1])
    actor = PixelActor(1, 2)
    actor.init_mean(torch.from_numpy(actions.encode(np.array([0.5, 0.25]))))
    mean = actor(torch.zeros(3, 1, 64, 64, dtype=torch.uint8)).mean
    torch.testing.assert_close(torch.from_numpy(actions.decode(mean.detach().numpy())), torch.tensor([[0.5, 0.25]] * 3))
    assert fits(tiny(ppo={"initial_action": [0.5, 0.25]}), actions, Pixels(64, 64, 3)) is None
    with pytest.raises(UsageError, match=r"ppo.initial_action has 1 numbers, and actions of .* have 2"):
        fits(tiny(ppo={"initial_action": [0.5]}), actions, Pixels(64, 64, 3))


def test_an_update_has_as_many_episodes_as_it_is_told_but_one_in_each_environment_at_most(tmp_path):
    for asked, given in ((1, 1), (5, 2)):
        config = tiny(ppo={"episodes_per_update": asked, "updates": 3}, budget={"iterations": 1})
        store = Store.create(tmp_path, f"run-{asked}", to_toml(config), {})
        with store.lock():
            assert loop.run(store, config, VANILLA_PPO, CPU, lambda event: None, lambda: False) == "iterations"
        assert store.version(0, "learner").metrics["episodes"] == 3 * given


def test_the_published_settings_are_those_of_the_published_program_and_carracings_repair_them():
    told = from_toml((ROOT / "studies" / "settings" / "vanilla-ppo-published.toml").read_text(), "published")
    published, repaired = build_config("laptop", told), build_config("laptop", {"pipeline": "vanilla-ppo"})
    ppo_then, ppo_now = published.ppo, repaired.ppo
    assert (ppo_then.gamma, ppo_then.gae_lambda, ppo_then.clip_coef, ppo_then.stack) == (0.95, 0.1, 0.1, 1)
    assert (ppo_then.learning_rate, ppo_then.update_epochs, ppo_then.minibatch_size) == (3e-4, 5, 5)
    assert (ppo_then.reward_offset, ppo_then.reward_scale, ppo_then.log_std_bounds) == (8, 8, (0, 0))
    assert (published.env.action_repeat, published.env.crop) == (1, (0, 64, 0, 96))
    assert (repaired.env.action_repeat, ppo_now.stack, ppo_now.reward_offset) == (4, 4, 0)
    study = read_study(ROOT / "studies" / "figure7.toml")
    (row,) = (study.config(row, 1) for row in study.rows if row.name == "vanilla-ppo-published")
    assert (row.env, row.ppo) == (published.env, published.ppo)


def test_weights_and_a_state_of_other_networks_are_refused_with_the_file_that_holds_them(tmp_path):
    store, small, large = Store.create(tmp_path, "run", "", {}), PixelActor(1, 2), PixelActor(2, 2)
    optimizer = adam(list(small.parameters()), 1e-3)
    small(torch.zeros(1, 1, 64, 64, dtype=torch.uint8)).mean.sum().backward()
    optimizer.step()
    with store.lock():
        draft = store.draft(0, "learner")
        save(small, draft, "actor")
        save_optimizer(optimizer, draft)
        version = draft.commit([], {}, 0.0)
    again = load(PixelActor(1, 2), version, "actor")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), small.parameters(), strict=True))
    with pytest.raises(
        StoreCorruptError, match=r"0000/learner/actor\.safetensors: the weights do not fit PixelActor: trunk"
    ):
        load(large, version, "actor")
    with pytest.raises(
        StoreCorruptError, match=r"learner/optimizer\.safetensors: the optimizer's state '0\.exp_avg' has"
    ):
        load_optimizer(adam(list(large.parameters()), 1e-3), version)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_the_uninterrupted_one(settings_file, finished, tmp_path):
    _, seconds, whole = finished
    begin = ["start", "torn", "--config", settings_file]
    kill = [signal.SIGKILL]
    struck = interrupt_until_done(begin, "torn", tmp_path, kill, 0.6 * seconds, 3, random.Random(1))
    assert struck, f"no signal struck a run of {seconds:.0f} s: the test shows nothing"
    assert hashes(tmp_path, "torn") == whole


def perform(path, config, report, should_stop=lambda: False):
    if not path.exists():
        Store.create(path.parent, path.name, to_toml(config), {})
    store = Store.open(path)
    torch.set_num_threads(1)
    with store.lock():
        return store, loop.run(store, config, VANILLA_PPO, CPU, report, should_stop)


def test_a_run_stopped_inside_a_wave_keeps_the_waves_before_it_and_goes_on_to_the_same_end(tmp_path):
    config = tiny(store={"snapshot_seconds": 1000.0}, ppo={"updates": 3}, budget={"iterations": 1})
    waves, saved = [], []

    def note(event):
        if isinstance(event, Picture) and event.stage == "learner":
            waves.append(len(list((tmp_path / "torn/iterations/0000/.draft-learner").glob("wave-*"))))
        if isinstance(event, Snapshot):
            saved.append(event.done)

    _, reason = perform(tmp_path / "torn", config, note, lambda: waves[-1:] == [2])
    assert (reason, saved) == ("interrupted", [2])
    torn, reason = perform(tmp_path / "torn", config, lambda event: None)
    assert reason == "iterations"
    whole, _ = perform(tmp_path / "whole", config, lambda event: None)
    told = [{(v.name, f): r.sha256 for v in run.versions() for f, r in v.files.items()} for run in (torn, whole)]
    assert told[0] == told[1]
    assert [v.metrics for v in torn.versions()] == [v.metrics for v in whole.versions()]
    assert torn.version(0, "learner").metrics["episodes"] == 3 * config.env.num_envs


def test_an_environment_that_pays_what_is_no_number_is_said_to_have_failed(tmp_path):
    config = tiny(env={"kwargs": {"nan_at": 9}})
    with pytest.raises(EnvironmentFailedError, match="reward nan"):
        perform(tmp_path / "run", config, lambda event: None)


@pytest.mark.slow
def test_it_learns_to_stay_up_and_to_shuttle(tmp_path):
    learning = {"updates": 8, "update_epochs": 4, "learning_rate": 1e-3, "gamma": 0.9, "minibatch_size": 64}
    config = tiny(ppo=learning, env={"num_envs": 8}, budget={"iterations": 1}, threads=2)
    store, _ = perform(tmp_path / "run", config, lambda event: None)
    waves = [np.mean(store.version(0, "learner").json(f"wave-000{i}.json")["scores"]) for i in range(8)]
    assert np.mean(waves[-2:]) > np.mean(waves[:2]) + 2
    assert store.version(0, "evaluate").metrics["score"] > waves[0] + 3


def test_its_runs_are_scored_logged_pruned_and_reported(finished, tmp_path):
    pytest.importorskip("matplotlib")
    shutil.copytree(finished[0] / "tiny", tmp_path / "tiny")
    scored = wmloop("eval", "tiny", "--episodes", "2", "--json", runs=tmp_path)
    told = json.loads(scored.stdout)
    assert (len(told["tracks"]), "predicted_return" in told) == (2, False)
    assert "dream" not in wmloop("eval", "tiny", "--episodes", "1", runs=tmp_path).stdout
    assert "0001/learner" in wmloop("log", "tiny", runs=tmp_path).stdout
    assert wmloop("runs", runs=tmp_path).stdout.count("2 of 2") == 1
    done = wmloop("report", "tiny", "--to", tmp_path / "page", runs=tmp_path)
    assert done.exit_code == 0, done.output
    page = re.sub(r"base64,[^\"]*", "", (tmp_path / "page/report.html").read_text())
    assert "643,844 trainable parameters" in page  # of Kuth et al. 2021, less two heads' weights of a third action
    for absent in (
        "Above: observations",
        "eyes closed",
        "predicted minus real",
        "M's predictions",
        "nan",
        "in M's dreams",
    ):
        assert absent not in page
    for told in ("Watch it", "image/webp", "explained_variance", "Evaluations on fresh episodes", "fresh episodes"):
        assert told in page
    done = wmloop("report", "tiny", "tiny", "--to", tmp_path / "both", runs=tmp_path)
    assert done.exit_code == 0, done.output
    pruned = wmloop("prune", "tiny", "--keep-last", "1", runs=tmp_path)
    assert pruned.exit_code == 0, pruned.output
    store = Store.open(tmp_path / "tiny")
    assert "optimizer.safetensors" not in store.version(0, "learner").files
    assert "optimizer.safetensors" in store.version(1, "learner").files
    assert wmloop("resume", "tiny", "--iterations", "3", "--progress", "none", runs=tmp_path).exit_code == 0


def test_an_exported_agent_comes_back_and_a_stranger_is_refused(finished, tmp_path):
    runs, _, _ = finished
    path = tmp_path / "agent.safetensors"
    assert wmloop("export", "tiny", "--to", path, "--iteration", "1", runs=runs).exit_code == 0
    assert wmloop("import", path, "guest", runs=tmp_path).exit_code == 0
    name, file = "learner", "actor.safetensors"
    guest, origin = Store.open(tmp_path / "guest").version(0, name), Store.open(runs / "tiny").version(1, name)
    assert guest.files[file].sha256 == origin.files[file].sha256
    assert wmloop("eval", "guest", "--episodes", "1", "--trust-env", runs=tmp_path).exit_code == 0
    refused = wmloop("resume", "guest", runs=tmp_path)
    assert refused.exit_code == 2
    config = with_settings(tiny(), {"ppo": {"stack": 2}})
    with pytest.raises(Exception, match="do not fit PixelActor"):
        VANILLA_PPO.resolve("accept")(config, BoxActions([-1, -1], [1, 1]), {"actor": dict(origin.tensors(file))})


@pytest.mark.parametrize("place", ["dream", "both"])
def test_it_has_no_dream_to_play_in(place, finished):
    refused = wmloop("play", "tiny", "--in", place, "--to", "x.mp4", runs=finished[0])
    assert refused.exit_code == 2
    assert "have no dreams: omit --in" in refused.stderr


@pytest.mark.parametrize("against", [[], ["--against", "1"]])
def test_it_plays_in_reality_alone_or_beside_another(against, finished, tmp_path):
    pytest.importorskip("av")
    done = wmloop(
        "play", "tiny", "--iteration", "0", *against, "--to", tmp_path / "a.mp4", "--episodes", "2", runs=finished[0]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.count("episode ") == 2
    assert "V sees" not in done.stderr
    assert (tmp_path / "a.mp4").stat().st_size > 1000


def test_a_person_may_drive_it_and_is_told_that_there_is_no_dream(finished):
    config = stored_config(Store.open(finished[0] / "tiny"))
    script = Script({2: ["m"], 4: ["tab"], 5: ["t"]}, hand=Controls(steer=1.0), longest=20)
    with contextlib.closing(RealEnv(config.env, render_mode="rgb_array")) as env:
        served = Served.of(History(Store.open(finished[0] / "tiny"), VANILLA_PPO), 1)
        agent = served.agent(config, env.actions, CPU)
        player = Player(script, Plain(env, agent), None, "real", "tiny", 10.0)
        with contextlib.suppress(ClosedError):
            player.play(fresh_seeds(1, 0))
    told = [" ".join(lines) for _, _, lines in script.shown]
    assert "policy's action" in told[0]
    assert "your action" in told[3]
    assert "terminated (last reward -5.0)" in told[-1]  # off the field, to the right
    assert "this agent has no dreams" in told[4]
    assert not any(" end " in lines or "nan" in lines or "τ" in lines for lines in told)


def test_the_live_view_tells_its_scores_and_of_no_dream(finished):
    state = recall(ViewState(VANILLA_PPO), commits(Store.open(finished[0] / "tiny").versions()), 0.0)
    console = Console(width=100, height=30, file=io.StringIO())
    console.print(render(state, 100, 30, 1.0))
    shown = console.file.getvalue()
    assert f"{state.scores[-1].real:.3g}" in shown
    assert "learner" in shown
    assert "dream" not in shown
    assert "nan" not in shown


BOX, CHOICE, PICTURE = BoxActions([-1], [1]), DiscreteActions(2), Pixels(64, 64)


@pytest.mark.parametrize(
    ("actions", "observations", "said"),
    [
        (CHOICE, PICTURE, r"takes one of 2 actions, and .*: train in it with --pipeline world-model$"),
        (
            CHOICE,
            Vector(4),
            r"shows a vector and takes one of 2 actions, and .*: train in it with --pipeline world-model$",
        ),
        (BOX, Vector(4), r"shows a vector, and .*world-model, or look at what is drawn: --set env.pixels=true$"),
        (BOX, PictureAndVector(PICTURE, Vector(4)), r"a picture and a vector, and .* --set env.observation=\[KEY\]$"),
    ],
    ids=["choice", "both", "vector", "more than a picture"],
)
def test_what_it_cannot_see_or_do_is_refused_with_what_would_fit(actions, observations, said):
    with pytest.raises(UsageError, match=said):
        fits(tiny(), actions, observations)
    fits(tiny(), BOX, PICTURE)


def test_an_environment_that_does_not_fit_is_refused_before_there_is_a_run_or_a_file(tmp_path):
    runs, file = tmp_path / "runs", tmp_path / "cartpole.toml"
    for words in (
        ["start", "v", "--preset", "smoke", "--env", "CartPole-v1", "--runs", runs],
        ["init", "CartPole-v1", "--to", file],
    ):
        refused = wmloop(*words, *PPO)
        assert refused.exit_code == 2
        assert "takes only pictures and Box actions: train in it with --pipeline world-model" in refused.stderr
    assert not (runs / "v").exists()
    assert not file.exists()


def test_a_fork_may_change_how_it_learns_but_not_its_network_nor_its_pipeline(finished, tmp_path):
    shutil.copytree(finished[0] / "tiny", tmp_path / "tiny")
    refused = wmloop("fork", "tiny", "--from", "0", "--set", "ppo.stack=2", runs=tmp_path)
    assert "ppo.stack would change the shapes of the networks" in refused.stderr
    assert re.search(
        "`wmloop start --preset smoke --pipeline vanilla-ppo .*--set ppo.stack=2.*` starts a new run", refused.stderr
    )
    refused = wmloop("fork", "tiny", "--from", "0", "--set", "pipeline=world-model", runs=tmp_path)
    assert "is of the pipeline vanilla-ppo" in refused.stderr
    assert re.search(
        rf"`wmloop start --preset smoke --pipeline world-model --env {TINY_ID}` starts a new run", refused.stderr
    )
    refused = wmloop("resume", "tiny", "--set", "ppo.gamma=0.5", runs=tmp_path)
    assert "vision" not in refused.stderr
    forked = wmloop(
        "fork", "tiny", "other", "--from", "0", "--set", "ppo.gamma=0.5", "--progress", "none", runs=tmp_path
    )
    assert forked.exit_code == 0, forked.output
    assert stored_config(Store.open(tmp_path / "other")).ppo.gamma == 0.5


def test_the_settings_of_a_pipeline_are_what_all_have_and_what_it_brings():
    groups = {name: {text.partition(".")[0] for text in settings(build_config("laptop", {"pipeline": name}))}
              for name in pipelines.PIPELINES.own}  # fmt: skip
    seen = {"rollout", "vision", "memory", "controller"}
    brought = {"world-model": seen | {"dream"}, "vanilla-ppo": {"ppo"}, "ppo-features": seen}
    brought |= {name: {*seen, "dream", "evolution"} for name in ("hs18", "hs18-dream")}
    assert {name: own - set(RunConfig.model_fields) for name, own in groups.items()} == brought
    assert all(set(RunConfig.model_fields) <= own for own in groups.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_pipeline_takes_of_a_preset_what_it_has_and_survives_the_way_through_toml(preset):
    config = build_config(preset, {"pipeline": "vanilla-ppo"})
    assert isinstance(config, VanillaPPOConfig)
    assert config.evaluate.episodes == build_config(preset).evaluate.episodes
    assert build_config(preset, from_toml(to_toml(config), "text")) == config


def test_every_setting_of_a_preset_and_a_profile_is_some_pipelines():
    known = {name for own in pipelines.PIPELINES.own for name in settings(build_config("laptop", {"pipeline": own}))}
    known |= {name.rpartition(".")[0] for name in known}

    def told(layer, prefix=""):
        for name, value in layer.items():
            yield prefix + name
            if isinstance(value, dict) and f"{prefix}{name}" != "env.kwargs":
                yield from told(value, f"{prefix}{name}.")

    for layer in [*PRESETS.values(), *PROFILES.own.values()]:
        assert {name for name in told(layer) if name.partition(".")[0] not in FACTS} <= known


@pytest.mark.parametrize(
    ("pipeline", "layer", "said"),
    [
        ("vanilla-ppo", {"ppo": {"learnin_rate": 1}}, "did you mean 'ppo.learning_rate'"),
        ("vanilla-ppo", {"ppo": {"gamma": 2}}, "'ppo.gamma' does not accept 2"),
        ("vanilla-ppo", {"memory": {"hidden_size": 2}}, "unknown setting 'memory'"),
        ("world-model", {"ppo": {"gamma": 0.9}}, "unknown setting 'ppo'"),
        ("vanila-ppo", {}, "did you mean 'vanilla-ppo'"),
    ],
)
def test_a_setting_that_its_pipeline_does_not_have_is_refused(pipeline, layer, said):
    with pytest.raises(UsageError, match=said):
        build_config("laptop", {"pipeline": pipeline}, layer)


def test_config_lists_the_settings_of_the_pipeline_that_it_is_asked_for(finished):
    listed = wmloop("settings", *PPO).stdout
    assert "[ppo]" in listed
    assert "[memory]" not in listed
    assert "[ppo]" not in wmloop("settings").stdout
    assert "[ppo]" in wmloop("config", "tiny", "--all", runs=finished[0]).stdout
    printed = wmloop("start", *PPO, "--preset", "smoke", "--set", "ppo.gamma=0.9", "--print-config").stdout
    assert from_toml(printed, "printed")["ppo"]["gamma"] == 0.9


class MineConfig(RunConfig):
    """What a pipeline from elsewhere brings."""

    class Group(Part):
        """Its own group."""

        depth: int = 3

    mine: Group = Group()


def test_a_pipeline_from_elsewhere_brings_its_own_group(monkeypatch):
    mine = pipelines.Pipeline(
        "mine", WORLD_MODEL.stages, "rollout", "evaluate", "controller", "x:y", "x:y",
        settings="tests.test_vanilla_ppo:MineConfig",
    )  # fmt: skip
    monkeypatch.setitem(pipelines.PIPELINES.own, "mine", mine)
    config = build_config("smoke", {"pipeline": "mine", "mine": {"depth": 4}})
    assert config.mine.depth == 4
    assert [setting.name for setting in explain("mine", pipeline="mine")] == ["mine.depth"]
    wrong = pipelines.Pipeline(
        "wrong", WORLD_MODEL.stages, "rollout", "evaluate", "controller", "x:y", "x:y", settings=int
    )
    monkeypatch.setitem(pipelines.PIPELINES.own, "wrong", wrong)
    with pytest.raises(UsageError, match="no subclass of RunConfig"):
        build_config("smoke", {"pipeline": "wrong"})
