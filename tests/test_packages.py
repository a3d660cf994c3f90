"""Environments of other packages, where these are installed: ViZDoom, the Arcade Learning Environment, MiniGrid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import psutil
import pytest

from tests.test_kinds import held
from wmloop.config import EnvConfig, build_config
from wmloop.envs import EnvPool, RealEnv, check_environment
from wmloop.spaces import DiscreteActions, PictureAndVector, Pixels, Vector

DOOM = EnvConfig(
    id="vizdoom.gymnasium_wrapper:VizdoomTakeCover-v1", kwargs={"frame_skip": 4, "screen_resolution": "RES_160X120"}
)


def engines() -> list[psutil.Process]:
    """Return the engines of Doom that this process has begun, by its workers."""
    return [process for process in psutil.Process().children(recursive=True) if process.name() == "vizdoom"]


def test_doom_is_driven_to_its_dark_end_and_leaves_no_file_and_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    with EnvPool(DOOM, 2) as pool:
        assert pool.observations == PictureAndVector(Pixels(64, 64), Vector(1))
        assert pool.actions.record() == DiscreteActions(3).record()
        seen, ended = [pool.reset([1, 2])[0]], False
        while not ended:
            step = pool.step(np.zeros(2, np.int64))
            seen.append(step.obs[0])
            ended = bool(step.terminated[0])
        begun = engines()
        assert len(begun) == 2
    health = [float(one[-4:].view(np.float32)[0]) for one in seen]
    assert health[0] == 100
    assert health[-1] == 0
    np.testing.assert_array_equal(seen[-1][:-4], seen[-2][:-4])
    assert seen[-1][:-4].any()
    assert not any(process.is_running() for process in begun)
    assert list(tmp_path.iterdir()) == []


def test_doom_is_driven_by_thirds_to_the_left_not_at_all_and_to_the_right() -> None:
    pytest.importorskip("vizdoom")
    told = build_config("laptop", {"env": {"id": "VizdoomTakeCover-v1", "action_bins": (2, 0, 1)}}).env
    thirds, plain = RealEnv(told), RealEnv(told.model_copy(update={"action_bins": ()}))
    doom: Any = gymnasium.make(DOOM.id).unwrapped
    try:
        buttons = [button.name for button in doom.game.get_available_buttons()]
        pressed = [[buttons[i] for i in np.flatnonzero(doom.button_map[action])] for action in told.action_bins]
        assert pressed == [["MOVE_LEFT"], [], ["MOVE_RIGHT"]]
        for number, action in ((-0.5, 2), (0.2, 0), (0.9, 1)):
            for env in (thirds, plain):
                env.reset(1)
            for _ in range(4):
                seen, reward, *_ = thirds.step(np.array([number], np.float32))
                alone, same, *_ = plain.step(np.asarray(action))
                np.testing.assert_array_equal(seen, alone)
                assert reward == same
    finally:
        for env in (thirds, plain, doom):
            env.close()


def test_doom_leaves_what_others_keep_where_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vizdoom")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_vizdoom").mkdir()
    (tmp_path / "_vizdoom" / "mine").touch()
    env = RealEnv(DOOM)
    env.reset(1)
    env.close()
    assert [path.name for path in (tmp_path / "_vizdoom").iterdir()] == ["mine"]


def test_pong_is_driven_by_keys_of_its_own_names() -> None:
    pytest.importorskip("ale_py")
    with EnvPool(EnvConfig(id="ale_py:ALE/Pong-v5"), 1) as pool:
        assert pool.observations == Pixels(64, 64)
        assert held(pool.actions) == [0, 3, 2, 1, 0]  # type: ignore[arg-type]
        first = pool.reset([1])
        for _ in range(20):
            last = pool.step(np.array([2])).obs
        assert (first != last).any()


def test_minigrid_is_seen_as_its_agent_sees_it_and_its_mission_is_left_out() -> None:
    pytest.importorskip("minigrid")
    there = EnvConfig(id="minigrid:MiniGrid-MemoryS9-v0")
    drawn = there.model_copy(update={"pixels": True, "kwargs": {"agent_pov": True, "tile_size": 9}})
    assert "an action is one of 7" in check_environment(drawn)[0]
    env = RealEnv(drawn)
    first = env.reset(1)
    assert (first != env.step(np.asarray(0))[0]).any()
    chosen = RealEnv(there.model_copy(update={"observation": ("direction", "image")}))
    assert chosen.observations == PictureAndVector(Pixels(64, 64), Vector(4))
