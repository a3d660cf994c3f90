"""The loop on a tiny environment: whole runs in seconds, interrupted anywhere, and always the same run."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_env import tiny_config
from wmloop import loop, ranking
from wmloop.calibration.scores import EpisodeResult
from wmloop.config import build_config
from wmloop.config.text import parse_setting, to_toml
from wmloop.events import Message, Picture, Progress, RunFinished, Snapshot, Track, VersionCommitted
from wmloop.history import History
from wmloop.learn.schedules import gamma, temperature
from wmloop.pipelines.world_model import WORLD_MODEL
from wmloop.seeding import confirmation_seeds, evaluation_seeds
from wmloop.store import Store
from wmloop.training.rollouts import episodes_of, gather_observations, spread
from wmloop.training.tracks import saved_results

CPU = torch.device("cpu")


def configure(*settings: str):
    return build_config("smoke", tiny_config(), *map(parse_setting, ("budget.iterations=2", *settings)))


def perform(
    path: Path, config, report=lambda event: None, should_stop=lambda: False, pipeline=WORLD_MODEL
) -> tuple[Store, str]:
    known = path.exists()
    store = Store.open(path) if known else Store.create(path.parent, path.name, to_toml(config), {})
    with store.lock():
        return store, loop.run(store, config, pipeline, CPU, report, should_stop)


def hashes(store: Store) -> dict[str, str]:
    """Return the hash of every file of every version: weights, latents, episodes and scores."""
    return {f"{v.name}/{name}": record.sha256 for v in store.versions() for name, record in v.files.items()}


def test_a_v_that_is_stopped_while_it_encodes_is_the_same_v_afterwards_wherever_that_is(tmp_path):
    """Its training is not done again: on another processor that would be another V, for the rest of the latents."""
    told: list[str] = []

    def report(event) -> None:
        told.append(getattr(event, "text", ""))

    store, reason = perform(
        tmp_path / "run", configure(), report, lambda: any(text.startswith("V encodes") for text in told)
    )
    assert reason == "interrupted"
    done, tensors, _ = store.draft(0, "vision").latest_snapshot()
    assert done == configure().vision.images(0) // configure().vision.batch_size
    perform(tmp_path / "run", configure("budget.iterations=1"))
    model = store.version(0, "vision").tensors("model.safetensors")
    kept = {name.removeprefix("vision."): part for name, part in tensors.items() if name.startswith("vision.")}
    assert {name for name, part in model.items() if name in kept and (part == kept[name]).all()} == model.keys()


def until(whole, folder: Path, position: tuple[int, str]) -> Store:
    """Return a copy of the whole run as it was before (iteration, stage)."""
    versions = whole[0].versions()
    names = [(v.iteration, v.stage) for v in versions]
    return Store.create(folder, "run", whole[0].config_text, {}, versions[: names.index(position)])


def test_a_run_commits_every_stage_of_every_iteration_in_the_tables_order(whole):
    store, reason, events = whole
    assert reason == "iterations"
    expected = [(i, stage.name) for i in range(2) for stage in WORLD_MODEL.stages]
    assert [(v.iteration, v.stage) for v in store.versions()] == expected
    assert [(e.iteration, e.stage) for e in events if isinstance(e, VersionCommitted)] == expected
    assert isinstance(events[-1], RunFinished)
    assert store.verify() == []


def test_each_stage_tells_its_progress_and_shows_pictures(whole):
    _, _, events = whole
    assert {e.stage for e in events if isinstance(e, Progress)} == {stage.name for stage in WORLD_MODEL.stages}
    assert {e.kind for e in events if isinstance(e, Picture)} == {"real", "reconstruction", "dream"}
    tracks = [e for e in events if isinstance(e, Track)]
    assert {(e.stage, e.kind) for e in tracks} == {("rollout", "real"), ("controller", "dream"), ("evaluate", "real")}
    assert all(len(e.vectors) == len(e.actions) + 1 for e in tracks)


def test_metrics_are_stored_with_their_version(whole):
    store, _, _ = whole
    assert {"score", "score_std", "frames"} <= store.version(1, "evaluate").metrics.keys()
    assert {"nll", "reward_loss", "terminated_loss", "action_loss"} <= store.version(1, "memory").metrics.keys()
    assert {"frames", "episodes"} <= store.version(0, "rollout").metrics.keys()


@pytest.fixture
def told(tmp_path):
    """Return a function that performs a run in which nothing is driven or trained: evaluations say what they are told.

    Its controllers say how they would have been trained.
    """

    def perform_without_work(evaluations, *settings):
        figures = iter(evaluations)

        def evaluate(ctx, **_):
            return {"score": 1.0, "score_std": 0.0} | next(figures)

        work = {"controller": tell_schedules, "evaluate": evaluate}
        stages = [
            dataclasses.replace(stage, entry=work.get(stage.name, lambda ctx, **_: {})) for stage in WORLD_MODEL.stages
        ]
        pipeline = dataclasses.replace(WORLD_MODEL, stages=tuple(stages))
        length = f"budget.iterations={len(evaluations)}"
        return perform(tmp_path / "run", configure("budget.goal=100", length, *settings), pipeline=pipeline)[0]

    return perform_without_work


def tell_schedules(ctx, vision, memory, evaluate=None, controller=None):
    learning, last = ctx.config.controller, evaluate.metrics if evaluate else {}
    scores = [version.metrics["score"] for version in ctx.scored()]
    return {
        "gamma": gamma(learning.gamma, learning.plateau_gamma, scores),
        "temperature": temperature(
            ctx.config.dream.temperature, last.get("temperature", 1.0), last.get("return_gap", 0.0)
        ),
    }


def used(store, name):
    return [v.metrics[name] for v in store.versions() if v.stage == "controller"]


@pytest.mark.parametrize(
    ("gap", "before", "moved"), [(0.4, 1.0, math.exp(0.2)), (-3.0, 1.0, math.exp(-0.5)), (5.0, 1.9, 2.0)]
)
def test_an_automatic_temperature_begins_at_one_and_follows_the_measured_gap(told, gap, before, moved):
    store = told([{"return_gap": gap, "temperature": before}, {}], "dream.temperature=auto")
    assert used(store, "temperature") == pytest.approx([1, moved])


@pytest.mark.parametrize(
    ("setting", "wanted"), [("none", [0.9] * 5), ("0.5", [0.9, 0.9, 0.9, 0.9, 0.5]), ("0.5 rising", [0.9] * 5)]
)
def test_the_horizon_is_nearer_from_where_two_scores_were_no_new_best(told, setting, wanted):
    setting, _, rising = setting.partition(" ")
    scores = [{"score": score} for score in (1.0, 3.0, 2.0, 4.0 if rising else 3.0, 5.0)]
    store = told(scores, "controller.gamma=0.9", f"controller.plateau_gamma={setting}")
    assert used(store, "gamma") == wanted


@pytest.mark.parametrize(("second", "accepted"), [(2.9, 1), (1.0, 0)])
def test_a_controller_goes_on_from_the_newest_that_reality_has_not_rejected(told, second, accepted):
    store = told([{"score": 3.0, "score_se": 0.1}, {"score": second, "score_se": 0.1}, {}])
    parents = store.version(2, "controller").parents
    assert parents[f"{accepted:04d}/controller"] == store.version(accepted, "controller").hash
    assert sum(name.endswith("/controller") for name in parents) == 1


def retrained(whole, folder: Path, evaluations, *settings: str):
    """Return C as it is trained from the whole run's data and networks after evaluations that told these figures.

    Of more than one evaluation the iterations between are the whole run's two, again.
    """
    path, last = folder / "run", len(evaluations)
    versions = [v for v in whole[0].versions() if v.iteration == 0 and v.stage != "evaluate"]
    store = Store.create(folder, "run", whole[0].config_text, {}, versions)

    def again(stage: str, iteration: int, of: int, figures=None) -> None:
        made, draft = whole[0].version(of, stage), store.draft(iteration, stage)
        for file in made.files:
            draft.save_bytes(file, made.bytes(file))
        draft.commit([], dict(made.metrics) | (figures or {}), 0.0, None)

    again("evaluate", 0, 0, evaluations[0])
    for iteration in range(1, last):
        for stage in WORLD_MODEL.names:
            of = (last - iteration + 1) % 2 if stage == "rollout" else 1  # the latest two, as V and M have seen them
            again(stage, iteration, of, evaluations[iteration] if stage == "evaluate" else None)
    for stage in ("rollout", "vision", "memory"):
        again(stage, last, 1)
    done: list[object] = []
    config = configure("rollout.replay_iterations=2", f"budget.iterations={last + 1}", *settings)
    store, _ = perform(path, config, done.append, lambda: any(isinstance(e, VersionCommitted) for e in done))
    return store.version(last, "controller")


def weights(controller) -> dict[str, str]:
    return {name: record.sha256 for name, record in controller.files.items()}


def test_an_automatic_temperature_trains_c_as_the_same_one_that_was_set(whole, tmp_path):
    measured = [{"return_gap": 0.4, "temperature": 1.0}]
    automatic, same, other = (
        retrained(whole, tmp_path / str(k), measured, f"dream.temperature={setting}")
        for k, setting in enumerate(("auto", math.exp(0.2), 1.0))
    )
    assert automatic.metrics["temperature"] == same.metrics["temperature"] == math.exp(0.2)
    assert weights(automatic) == weights(same) != weights(other)


def test_a_nearer_horizon_trains_c_as_the_same_one_that_was_set(whole, tmp_path):
    scores = [{"score": score} for score in (1.0, 3.0, 2.0, 3.0)]
    nearer, same, other = (
        retrained(whole, tmp_path / str(k), scores, f"controller.gamma={gamma}", f"controller.plateau_gamma={plateau}")
        for k, (gamma, plateau) in enumerate(((0.9, 0.5), (0.5, "none"), (0.9, "none")))
    )
    assert nearer.metrics["gamma"] == same.metrics["gamma"] == 0.5
    assert weights(nearer) == weights(same) != weights(other)


def test_what_the_schedules_follow_is_measured(whole):
    evaluation = whole[0].version(1, "evaluate").metrics
    assert {"return_gap_points", "real_return", "score_se", "predicted_terminations"} <= evaluation.keys()
    assert evaluation["temperature"] == whole[0].version(1, "controller").metrics["temperature"]


@pytest.mark.parametrize(("promised", "warnings"), [(9.0, 0), (11.0, 1)])
def test_a_prediction_beyond_the_best_real_episode_is_warned_of(whole, tmp_path, promised, warnings):
    store, events = until(whole, tmp_path, (0, "evaluate")), []
    driven = [EpisodeResult(track, 10.0, 25, False, [promised], [10.0], [25], 25) for track in evaluation_seeds(2)]
    draft = store.draft(0, "evaluate")  # both tracks were driven before the run was interrupted
    draft.save_json("tracks-0000.json", [result._asdict() for result in driven])
    perform(store.path, configure("budget.iterations=1"), events.append)
    assert store.version(0, "evaluate").metrics["predicted_return"] == pytest.approx(promised)
    assert len([e for e in events if isinstance(e, Message) and "M predicts" in e.text]) == warnings


def test_a_controller_names_the_v_and_m_it_was_trained_with(whole):
    store, _, _ = whole
    controller = store.version(1, "controller")
    for stage in ("vision", "memory"):
        assert controller.parents[f"0001/{stage}"] == store.version(1, stage).hash


def test_what_differs_from_the_background_changes_v_and_nothing_before_it(tmp_path):
    weighted = configure("budget.iterations=1", "vision.foreground_weight=20.0", "env.mirrored_actions=[0]")
    plain = configure("budget.iterations=1", "env.mirrored_actions=[0]")

    def made(name: str, config) -> dict[str, str]:
        events = []
        store, _ = perform(
            tmp_path / name, config, events.append,
            lambda: any(isinstance(e, VersionCommitted) and e.stage == "vision" for e in events),
        )  # fmt: skip
        return hashes(store)

    one, other = made("weighted", weighted), made("plain", plain)
    differs = {name for name, value in one.items() if other[name] != value}
    assert "0000/vision/model.safetensors" in differs
    assert not any(name.startswith("0000/rollout") for name in differs)


def test_the_same_seed_gives_the_same_run_and_another_seed_does_not(whole, tmp_path):
    def until_memory(name: str, *settings: str) -> dict[str, str]:
        events = []
        store, _ = perform(
            tmp_path / name, configure(*settings), events.append,
            lambda: any(isinstance(e, VersionCommitted) and e.stage == "memory" for e in events),
        )  # fmt: skip
        return hashes(store)

    expected, again, other = hashes(whole[0]), until_memory("again"), until_memory("other", "seed=1")
    assert again.items() <= expected.items()
    assert other.keys() == again.keys()
    model = "0000/memory/model.safetensors"
    assert other[model] != expected[model]


def test_a_run_interrupted_again_and_again_ends_as_the_uninterrupted_one(whole, tmp_path):
    config = configure("store.snapshot_seconds=0")
    calls, stops, snapshots = 0, 0, 0  # a real wave has two halves of 30 ticks and is driven whole or again

    def count(event) -> None:
        nonlocal snapshots
        snapshots += isinstance(event, Snapshot)

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 3 + 23 * stops % 150

    reason = "interrupted"
    while reason == "interrupted":
        calls = 0
        store, reason = perform(tmp_path / "run", config, count, should_stop)
        stops += reason == "interrupted"
        assert stops < 500
    assert stops > 10
    assert snapshots > 20
    assert hashes(store) == hashes(whole[0])


@pytest.mark.parametrize("stage", [stage.name for stage in WORLD_MODEL.stages])
def test_a_stage_that_dies_without_a_word_is_done_again_with_the_same_result(whole, tmp_path, stage):
    class Died(BaseException):
        pass

    config, done = configure("store.snapshot_seconds=0", "budget.iterations=1"), 0

    def die(event) -> None:
        nonlocal done
        done += isinstance(event, Progress) and event.stage == stage
        if done == 2:
            raise Died

    path = until(whole, tmp_path, (0, stage)).path
    with pytest.raises(Died):
        perform(path, config, die)
    assert done == 2
    done = 10
    store, reason = perform(path, config, die)
    assert reason == "iterations"
    expected = hashes(whole[0])
    assert hashes(store) == {name: expected[name] for name in hashes(store)}
    assert len(store.versions()) == len(WORLD_MODEL.stages)


def test_a_finished_run_has_nothing_left_to_do_and_a_raised_budget_goes_on(whole, tmp_path):
    path = until(whole, tmp_path, (1, "rollout")).path
    store, reason = perform(path, configure("budget.iterations=1"), should_stop=lambda: True)
    assert reason == "iterations"
    store, _ = perform(path, configure())
    assert hashes(store) == hashes(whole[0])


def test_the_hours_end_a_run_and_count_what_was_spent_before(tmp_path):
    store, reason = perform(tmp_path / "run", configure("budget.hours=0.0000001"))
    assert (reason, store.versions()) == ("hours", [])
    with store.lock():
        store.draft(0, "rollout").commit([], {}, 3600.0)
    for hours, stops in ((0.5, "hours"), (2.0, "interrupted")):
        store, reason = perform(tmp_path / "run", configure(f"budget.hours={hours}"), should_stop=lambda: True)
        assert (reason, [version.name for version in store.versions()]) == (stops, ["0000/rollout"])


def test_the_goal_ends_a_run_once_further_tracks_confirm_it(whole, tmp_path):
    path = until(whole, tmp_path, (0, "evaluate")).path
    settings = "budget.goal=-1000.0", "evaluate.confirm_episodes=6", "rollout.max_unrewarded=1"
    store, reason = perform(path, configure(*settings))
    assert reason == "goal"
    assert store.iterations() == [0]
    version = store.version(0, "evaluate")
    results = [result for further, result in saved_results(version) if further]
    assert [result.seed for result in results] == confirmation_seeds(6)
    assert max(result.frames for result in results) > 1  # whole episodes, which rollouts would stop
    scores = [result.score for result in results]
    lost = ranking.worst([store.version(0, "rollout").metrics], [version.metrics])
    assert version.metrics["confirmed_score"] == pytest.approx(np.mean(scores))
    assert version.metrics["confirmed_score_low"] == pytest.approx(ranking.lower_bound(scores, lost))


def test_the_best_evaluation_is_served_and_not_the_newest(tmp_path):
    store = Store.create(tmp_path, "run", to_toml(configure()), {})
    for iteration, score in enumerate((1.0, 3.0, 2.0)):
        draft = store.draft(iteration, "evaluate")
        draft.save_json("tracks-0000.json", [])
        draft.commit([], {"score": score}, 0.0, None)
    assert History(store, WORLD_MODEL).best_evaluation().iteration == 1


def test_episodes_on_disk_are_what_the_environment_gives_for_their_seed_and_actions(whole):
    from wmloop.envs import RealEnv

    store = whole[0]
    episode = next(episodes_of(store.version(1, "rollout")))
    env = RealEnv(configure().env)
    observation = env.reset(episode.seed)
    assert np.array_equal(observation, episode.observations[0])
    for t in range(len(episode)):
        observation, reward, terminated, _, _ = env.step(episode.actions[t])
        assert np.array_equal(observation, episode.observations[t + 1])
        assert reward == pytest.approx(episode.rewards[t])
        assert terminated == (episode.terminated and t == len(episode) - 1)


def test_json_beside_the_tensors_is_plain(whole):
    results = json.loads((whole[0].version(0, "evaluate").path / "tracks-0000.json").read_text())
    assert set(EpisodeResult._fields) == results[0].keys()


@given(st.integers(1, 3000), st.integers(2, 1000))
def test_rows_are_spread_evenly_from_the_first_to_the_last(rows, most):
    chosen = spread(rows, most)
    assert len(chosen) == min(rows, most)
    assert (chosen[0], chosen[-1]) == (0, rows - 1)
    gaps = np.diff(chosen)
    assert rows == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_frames_are_gathered_by_their_rows_over_all_episodes(whole):
    rollouts = [whole[0].version(i, "rollout") for i in range(2)]
    everything = np.concatenate([e.observations for version in rollouts for e in episodes_of(version)])
    rows = np.random.default_rng(0).integers(0, len(everything), 100)
    assert np.array_equal(gather_observations(rollouts, rows), everything[rows])


@pytest.mark.parametrize(
    ("prefill", "said"), [("[[4, 1]]", "no episode so far has had a reward"), ("[[8, 60]]", "reward_scale = ")]
)
def test_a_run_says_what_its_first_rewards_are_or_that_there_are_none(prefill, said, tmp_path):
    events = []
    config = configure(f"rollout.prefill={prefill}", "budget.iterations=1", "memory.reward_scale=auto")
    store, _ = perform(tmp_path / "run", config, events.append)
    assert ("reward_rms" in store.version(0, "rollout").metrics) == (prefill == "[[8, 60]]")
    told = [
        event
        for event in events
        if isinstance(event, Message) and ("so far has had" in event.text or "_scale =" in event.text)
    ]
    assert [said in event.text for event in told] == [True]
