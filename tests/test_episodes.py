"""Episodes and the replay: nothing is lost on the way to disk, and rows line up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmloop.episodes import Cut, Episode, Replay, pack, unpack
from wmloop.seeding import HELD_OUT, confirmation_seeds, derive_seed, evaluation_seeds, fresh_seeds, training_seed
from wmloop.spaces import BoxActions

LOW, HIGH = np.array([-1.0, 0.0], np.float32), np.array([1.0, 1.0], np.float32)


def episode(steps: int, seed: int = 0, terminated: bool = False) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        rng.integers(0, 256, (steps + 1, 64, 64, 3), np.uint8),
        rng.uniform(LOW, HIGH, (steps, 2)).astype(np.float32),
        rng.normal(size=steps).astype(np.float32),
        terminated, not terminated, seed, steps * 4, seed % 2 == 0, Cut.NONE if terminated else Cut(seed % 4 + 1),
    )  # fmt: skip


@settings(max_examples=15)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_episodes_survive_the_way_through_a_shard_bit_for_bit(lengths):
    episodes = [episode(steps, seed, seed % 3 == 0) for seed, steps in enumerate(lengths)]
    for old, new in zip(episodes, unpack(pack(episodes)), strict=True):
        assert np.array_equal(old.observations, new.observations)
        assert np.array_equal(old.actions, new.actions)
        assert np.array_equal(old.rewards, new.rewards)
        facts = [(e.terminated, e.truncated, e.seed, e.frames, e.deterministic, e.cut) for e in (old, new)]
        assert facts[0] == facts[1]


def test_an_episode_of_earlier_days_does_not_tell_why_it_was_cut():
    arrays = pack([episode(3)])
    arrays["0000.facts"] = arrays["0000.facts"][:5]
    (old,) = unpack(arrays)
    assert (old.truncated, old.cut) == (True, Cut.NONE)


def test_a_shard_whose_stream_is_too_short_is_refused():
    arrays = pack([episode(3)])
    arrays["0000.observations.zlib"] = pack([episode(2)])["0000.observations.zlib"]
    with pytest.raises(ValueError, match="observations of episode 0"):
        list(unpack(arrays))


def test_a_shard_whose_parts_disagree_about_the_number_of_decisions_is_refused():
    arrays = pack([episode(3)])
    arrays["0000.shape"] = np.array([5, 64, 64, 3], np.int64)
    with pytest.raises(ValueError, match="episode 0 has 3 agent steps"):
        list(unpack(arrays, observed=False))


def test_what_is_unpacked_without_observations_is_otherwise_the_same_and_keeps_nothing_of_the_shard():
    arrays = pack([episode(3), episode(7, 1)])
    for full, bare in zip(unpack(arrays), unpack(arrays, observed=False), strict=True):
        assert bare.observations.shape == (0, 64, 64, 3)
        assert np.array_equal(full.actions, bare.actions)
        assert np.array_equal(full.rewards, bare.rewards)
        assert not any(np.shares_memory(bare.actions, array) for array in arrays.values())


def test_a_replay_row_holds_the_observation_its_action_and_what_that_paid():
    batches = [[episode(3, 0), episode(5, 1, terminated=True)], [episode(2, 2)]]
    replay = Replay(batches, BoxActions(LOW, HIGH))
    flat = [e for batch in batches for e in batch]
    for number, e in enumerate(flat):
        for t in range(len(e)):
            row = replay.first[number] + t
            assert replay.rewards[row] == e.rewards[t]
            np.testing.assert_allclose((replay.actions[row] + 1) / 2 * (HIGH - LOW) + LOW, e.actions[t], atol=1e-6)
            assert replay.terminated[row] == (e.terminated and t == len(e) - 1)
        assert replay.rewards[replay.first[number] + len(e)] == 0
    assert replay.age.tolist() == [1, 1, 0]
    assert len(replay.rewards) == 13


@settings(max_examples=20)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(1, 12), st.integers(0, 99))
def test_windows_stay_within_their_episode(lengths, sequence, seed):
    replay = Replay([[episode(n, i) for i, n in enumerate(lengths)]], BoxActions(LOW, HIGH))
    first, length = replay.sample_windows(50, sequence, 0.8, np.random.default_rng(seed))
    number = np.searchsorted(replay.first, first, side="right") - 1
    assert (length >= 1).all()
    assert (length <= np.minimum(replay.length[number], sequence)).all()
    assert (first + length <= replay.first[number] + replay.length[number]).all()


@pytest.mark.parametrize("sequence", [1, 8, 32, 33, 300])
def test_every_decision_is_drawn_as_often_as_every_other_the_last_of_an_episode_too(sequence):
    replay = Replay([[episode(n, i) for i, n in enumerate((1, 8, 32, 33, 64, 250))]], BoxActions(LOW, HIGH))
    first, length = replay.sample_windows(200_000, sequence, 0.8, np.random.default_rng(0))
    edges = np.bincount(first, minlength=len(replay.rewards) + 1) - np.bincount(
        first + length, minlength=len(replay.rewards) + 1
    )
    drawn = np.cumsum(edges)[:-1]
    made = np.ones(len(replay.rewards), bool)
    made[replay.first + replay.length] = False
    assert not drawn[~made].any()
    # a decision is in a window or not: its count is binomial
    error = np.sqrt(drawn[made].mean())
    assert np.abs(drawn[made] - drawn[made].mean()).max() < 4.5 * error


def test_newer_episodes_are_drawn_more_often_by_their_age():
    replay = Replay([[episode(5, 0)], [episode(5, 1)], [episode(5, 2)]], BoxActions(LOW, HIGH))
    first, _ = replay.sample_windows(30_000, 5, 0.5, np.random.default_rng(0))
    drawn = [(first == start).mean() for start in replay.first]
    np.testing.assert_allclose(drawn, [1 / 7, 2 / 7, 4 / 7], atol=0.02)


@given(st.integers(0, 2**40), st.integers(0, 100), st.integers(0, 1000))
def test_a_training_track_is_never_a_held_out_one(seed, iteration, number):
    assert 0 <= training_seed(seed, iteration, "track", number) < HELD_OUT


def test_the_three_kinds_of_held_out_tracks_never_meet():
    kinds = [evaluation_seeds(1000), confirmation_seeds(1000), fresh_seeds(1000, 0), fresh_seeds(1000, 1)]
    everything = [track for kind in kinds for track in kind]
    assert len(set(everything)) == len(everything)
    assert min(everything) >= HELD_OUT
    assert max(everything) < 2**32


@given(st.integers(0, 2**63), st.integers(0, 99), st.integers(0, 99))
def test_a_seed_depends_on_its_position_and_on_nothing_else(seed, i, j):
    assert derive_seed(seed, i, "a", j) == derive_seed(seed, i, "a", j)
    assert (derive_seed(seed, i, "a", j) == derive_seed(seed, j, "a", i)) == (i == j)
    assert derive_seed(seed, 1, "2") != derive_seed(seed, 12, "")
