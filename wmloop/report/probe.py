"""What V and M make of fresh real episodes: pictures, open-loop dreams, and how far their words can be believed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wmloop.agents.collector import EpisodeTask, drive, halves
from wmloop.agents.recorder import Recorder
from wmloop.agents.world_model import WorldModelAgent
from wmloop.config import RunConfig
from wmloop.dreams import foretell
from wmloop.envs import Envs, make_envs
from wmloop.episodes import Episode
from wmloop.history import History
from wmloop.models.world_model import decode_vector
from wmloop.report.branches import WARM, Branches, Seen, branch
from wmloop.report.episode import Dream, Drive, dream_of, drive_of, pictures_of
from wmloop.report.vectors import VectorProbe, probe_vectors
from wmloop.seeding import derive_seed, fresh_seeds
from wmloop.serving.agent import Served
from wmloop.spaces import ObservationSpec

#: Fresh episodes driven.
_EPISODES = 4
#: Decisions ahead at which a dream is shown, those that it has.
_STEPS = (1, 5, 15, 50)
#: Pictures in a row.
_PICTURES = 6
#: Dreams of one step whose mean is what M expects of it.
_ONE_STEP = 8


class Layer(NamedTuple):
    """One layer of a network: what it is, the shape it returns for a batch of one, its trainable parameters."""

    name: str
    kind: str
    shape: str
    parameters: int


class Strip(NamedTuple):
    """An open-loop dream beside reality: pictures (steps, H, W, 3) uint8; `decision` is where it branched off."""

    seed: int
    decision: int
    real: np.ndarray
    seen: np.ndarray
    dreamt: np.ndarray


@dataclass(frozen=True)
class Probe:
    """V's and M's work on fresh episodes that C drove without noise; pictures are (N, H, W, 3) uint8.

    Of a world model that does not draw what is observed there are no pictures of its own, and no errors of them (see `draws`).
    `steps` are the decisions ahead at which dreams are shown: of short episodes fewer.
    `real` and `seen` are pictures and V's reconstructions; `came` and `expected` what V saw a decision later and what M had
    expected of it. Errors are root mean squares over pictures in grey levels of 255, against the real picture, after 1,
    2, ... decisions of an open-loop dream under the actions really taken: `dream_error`, and for comparison `stay_error`, of
    the picture it branched off from. `seen_error` is V's own, everywhere. `reward` (T, 2) are rewards expected a decision
    ahead and paid, `done` (T, 2) the probability that the episode ends and whether it did. `drive` is the first episode to look
    at, `dream` one that branched off it, and `vectors` M's work on vectors, where these are observed.
    """

    scores: Sequence[float]
    seeds: Sequence[int]
    real: np.ndarray
    seen: np.ndarray
    seen_error: float
    came: np.ndarray
    expected: np.ndarray
    strips: Sequence[Strip]
    steps: Sequence[int]
    dream_error: np.ndarray
    stay_error: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    networks: dict[str, Sequence[Layer]]
    drive: Drive
    dream: Dream | None
    vectors: VectorProbe | None

    @property
    def draws(self) -> bool:
        """Return whether there are pictures by the world model."""
        return len(self.seen) > 0


def look(
    history: History, config: RunConfig, served: Served, seed: int, device: torch.device, say: Callable[[str], None],
    output: Callable[[str], None] | None = None,
) -> Probe:  # fmt: skip
    """Drive fresh episodes with the agent and ask V and M about them; `seed` chooses episodes as in `wmloop eval`."""
    seeds = fresh_seeds(_EPISODES, seed)
    with make_envs(config.env, min(config.env.num_envs, _EPISODES), output=output) as pool:
        agent = served.agent_in(pool, history, config, device)
        episodes: list[Episode] = []
        seen: list[Seen] = []
        for i in range(0, _EPISODES, pool.num_envs):
            driven, held = driven_and_seen(pool, agent, seeds[i : i + pool.num_envs])
            episodes, seen = episodes + driven, seen + held
            say(f"played {len(episodes)} of {_EPISODES} fresh episodes")
    with torch.inference_mode():
        layers = networks(agent, seen[0].state.at([0]).features, pool.observations)
        return _ask(agent, pool.observations, episodes, seen, layers)


def watch(
    history: History, config: RunConfig, served: Served, seed: int, device: torch.device, say: Callable[[str], None],
    output: Callable[[str], None] | None = None,
) -> Drive:  # fmt: skip
    """Drive one fresh episode with an agent that has no world model to ask."""
    with make_envs(config.env, 1, output=output) as pool:
        agents = dict.fromkeys(halves(1), served.agent_in(pool, history, config, device))
        wave = [EpisodeTask(one) for one in fresh_seeds(1, seed)]
        (episode,) = drive(pool, wave, agents, lambda frames, picture: None)
        say("played 1 of 1 fresh episodes")
    return drive_of(pool.observations, episode)


def driven_and_seen(pool: Envs, agent: WorldModelAgent, seeds: Sequence[int]) -> tuple[list[Episode], list[Seen]]:
    """Drive a wave of whole episodes without noise, and return them and what the agent saw in each."""
    trace, agents = Recorder(), dict.fromkeys(halves(pool.num_envs), agent)
    wave = [EpisodeTask(seed) for seed in seeds]
    episodes = drive(pool, wave, agents, lambda frames, picture: None, trace=trace)
    return episodes, [Seen(*trace.of(i, slice(0, len(episode)))) for i, episode in enumerate(episodes)]


def _ask(
    agent: WorldModelAgent, spec: ObservationSpec, episodes: Sequence[Episode], seen: Sequence[Seen],
    layers: dict[str, Sequence[Layer]],
) -> Probe:  # fmt: skip
    first, begun = episodes[0], seen[0]
    at = np.linspace(0, len(first) - 1, _PICTURES).astype(int)
    later = np.linspace(min(WARM, len(first) // 4), max(len(first) - 2, 0), _PICTURES).astype(int)
    expected = agent.world.expected(agent.world.advance(begun.state, begun.action).at(later.tolist()))
    pictures, real = agent.world.decode(begun.state.features), pictures_of(spec, first.observations[:-1])
    came = np.minimum(later + 1, len(first) - 1)
    strips, told, seen_error = list[Strip](), np.zeros((2, 0)), float("nan")
    none: np.ndarray = np.zeros((0, 1, 1, 3), np.uint8)
    shown = none, none, none, none
    draws = pictures is not None and real is not None and pictures.shape == real.shape
    tells = _tells(agent, spec, first, begun)
    branches = branch(agent, episodes, seen) if draws or tells else None
    if real is not None and pictures is not None and draws and branches:
        strips, told, seen_error = _pictured(agent, spec, episodes, seen, branches)
        shown = real[at], pictures[at], pictures[came], _decoded(agent, expected.features)
    vectors = probe_vectors(agent, spec, episodes, seen, branches) if tells and branches else None
    dream_error, stay_error = told
    rewards, dones = [], []
    imagination = agent.world.imagination(1.0)
    for episode, held in zip(episodes, seen, strict=True):
        generator = torch.Generator(held.action.device).manual_seed(derive_seed(episode.seed, "ahead"))
        ahead = foretell(imagination, held.state, held.action, _ONE_STEP, generator)
        reward, done = (part.cpu().numpy() for part in ahead)
        ends = np.zeros(len(episode))
        ends[-1] = float(episode.terminated)
        rewards.append(np.stack([reward * agent.world.reward_scale, episode.rewards], 1))
        dones.append(np.stack([done, ends], 1))
    warm = min(WARM, len(first) // 4)
    dream = dream_of(agent, spec, first, begun.state.at([warm]), warm)
    return Probe(
        [episode.score for episode in episodes], [episode.seed for episode in episodes],
        shown[0], shown[1], seen_error, shown[2], shown[3],
        strips, _steps(len(dream_error)), dream_error, stay_error, np.concatenate(rewards), np.concatenate(dones), layers,
        drive_of(spec, first, pictures if draws else None, rewards[0][:, 0]), dream, vectors,
    )  # fmt: skip


def _pictured(
    agent: WorldModelAgent, spec: ObservationSpec, episodes: Sequence[Episode], seen: Sequence[Seen], branches: Branches
) -> tuple[list[Strip], np.ndarray, float]:
    """Return some dreams, the errors (2, T) of all dreamt pictures and of those that they branched off from, and V's own."""
    picture = functools.partial(_picture, spec)
    steps, shown = _steps(len(branches.features)), dict[int, np.ndarray]()
    errors = np.zeros((2, len(branches.features)))
    begun = branches.real(episodes, 0, picture)
    for k, features in enumerate(branches.features, 1):
        real, pictures = branches.real(episodes, k, picture), _decoded(agent, features)
        errors[:, k - 1] = _error(pictures, real), _error(begun, real)
        if k in steps:
            shown[k] = pictures
    strips = []
    for n in branches.some():
        i, t = branches.places[n]
        came = np.stack([episodes[i].observations[t + k] for k in steps])
        told = _decoded(agent, agent.world.observe(None, None, came).features)
        real = np.stack([picture(observation) for observation in came])
        strips.append(Strip(episodes[i].seed, t, real, told, np.stack([shown[k][n] for k in steps])))
    return strips, errors, _seen_error(agent, spec, episodes, seen)


def _steps(ahead: int) -> list[int]:
    return [k for k in _STEPS if k <= ahead]


def _seen_error(
    agent: WorldModelAgent, spec: ObservationSpec, episodes: Sequence[Episode], seen: Sequence[Seen]
) -> float:
    chosen = [
        (_picture(spec, e.observations[t]), held.state.features[t])
        for e, held in zip(episodes, seen, strict=False)
        for t in range(0, len(e), 20)
    ]
    features = torch.stack([features for _, features in chosen])
    return _error(_decoded(agent, features), np.stack([picture for picture, _ in chosen]))


def _picture(spec: ObservationSpec, observation: np.ndarray) -> np.ndarray:
    picture = spec.picture(observation)
    assert picture is not None, "there are pictures"
    return picture


def _tells(agent: WorldModelAgent, spec: ObservationSpec, episode: Episode, held: Seen) -> bool:
    """Tell whether the world model knows the vectors that are observed."""
    real, told = spec.numbers(episode.observations[0]), decode_vector(agent.world, held.state.features[:1])
    return real is not None and told is not None and told.shape == (1, *real.shape)


def _decoded(agent: WorldModelAgent, features: Tensor) -> np.ndarray:
    pictures = agent.world.decode(features)
    assert pictures is not None, "it has drawn others"
    return pictures


def _error(pictures: np.ndarray, real: np.ndarray) -> float:
    return float(np.sqrt(np.square(pictures.astype(np.float32) - real).mean()))


def networks(agent: WorldModelAgent, features: Tensor, seen: ObservationSpec) -> dict[str, Sequence[Layer]]:
    """Return the layers of a world model that looks at observations of `seen`, and of C, which sees features (1, F)."""
    calls = dict(agent.world.networks(seen.shape))
    for name, network in (("C's actor", agent.actor), ("C's critic", agent.critic)):
        if isinstance(network, nn.Module):
            calls[name] = network, functools.partial(network, features)
    return {name: _layers(*call) for name, call in calls.items()}


@torch.no_grad()
def _layers(net: nn.Module, call: Callable[[], object]) -> list[Layer]:
    """Return the layers that `call` passes through, in its order."""
    found: list[Layer] = []
    hooks = []
    for name, module in net.named_modules():
        if next(module.children(), None) is not None:
            continue

        def note(layer: nn.Module, _: object, output: object, name: str = name) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            shape = " by ".join(map(str, tensor.shape[1:])) if isinstance(tensor, Tensor) else ""
            trained = sum(p.numel() for p in layer.parameters() if p.requires_grad)
            found.append(Layer(name, type(layer).__name__.lstrip("_"), shape, trained))

        hooks.append(module.register_forward_hook(note))
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    return found
