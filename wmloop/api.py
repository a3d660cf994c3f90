"""wmloop from Python: train a run, read one, take its agent, dream inside its world model."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wmloop import bundle, loop
from wmloop.commands import runs_folder, wmloop
from wmloop.config import RunConfig
from wmloop.config.text import read_toml
from wmloop.device import resolve_device, set_up
from wmloop.dream_env.options import require_positive
from wmloop.envs import RealEnv, RemoteEnv
from wmloop.episodes import Episode
from wmloop.errors import UsageError
from wmloop.events import Event, Output
from wmloop.history import History
from wmloop.opening import history_of, open_named, pipeline_of, require_origin, require_trust, stored_config
from wmloop.player import Dreamt, Moment, Real
from wmloop.seeding import fresh_seeds
from wmloop.serving.agent import Served
from wmloop.serving.choice import choose
from wmloop.serving.trained import TrainedAgent
from wmloop.starting import begin, leaves_goal, on_this_machine, settle
from wmloop.store import Version
from wmloop.store.tensors import SUFFIX
from wmloop.tracking import MetricsTable
from wmloop.training.rollouts import episodes_of


class Run:
    """A run on the disk: its settings, versions, metrics and episodes, and its trained agent.

    `path` is a folder, the name of a run in `$WMLOOP_RUNS`, else `runs/`, or `demo`, the run that comes with wmloop.

    >>> import wmloop
    >>> run = wmloop.Run("demo")
    >>> run.config.env.id, run.best
    ('CarRacing-v3', 0)
    >>> [version.name for version in run.versions]
    ['0000/vision', '0000/memory', '0000/controller', '0000/evaluate']
    >>> run.metrics[-1]["evaluate"]["score"] > 900
    True

    Raises:
        UsageError: there is no such run.
        StoreCorruptError: it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._store = open_named(runs_folder(), str(path))
        self.config = stored_config(self._store)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def name(self) -> str:
        """Return its name."""
        return self._store.name

    @property
    def path(self) -> Path:
        """Return its folder."""
        return self._store.path

    @property
    def versions(self) -> list[Version]:
        """Return what it has committed so far, by iteration, in the order of the pipeline's stages."""
        return self._history().everything()

    @property
    def metrics(self) -> list[dict[str, dict[str, float]]]:
        """Return the metrics of each iteration, by stage."""
        figures: dict[int, dict[str, dict[str, float]]] = {}
        for version in self.versions:
            figures.setdefault(version.iteration, {})[version.stage] = dict(version.metrics)
        return [figures[iteration] for iteration in sorted(figures)]

    @property
    def best(self) -> int | None:
        """Return the iteration of the best agent; None if none was evaluated.

        It has the highest mean score less one standard error: over its confirming episodes where its iteration has any, else
        over the held-out ones.
        """
        best = self._history().best_evaluation()
        return None if best is None else best.iteration

    def episodes(self, iteration: int) -> Iterator[Episode]:
        """Yield the real episodes that an iteration collected; one shard of them is held at a time.

        Of T agent steps an Episode has `observations` (T+1, ...), `actions` (T, ...) in the environment's units, `rewards`
        (T,), `terminated`, `truncated`, `seed`, `frames`, `deterministic` and `score`.
        """
        for version in self._history().collected():
            if version.iteration == iteration:
                yield from episodes_of(version)

    def agent(self, iteration: int | None = None, device: str = "cpu", trust_env: bool = False) -> TrainedAgent:
        """Return the best agent, or that of an iteration.

        Raises:
            UsageError: there is none, or the run was imported from a file that names a module, or gives its environment text
                by which code could be loaded, and `trust_env` does not say that it may.
        """
        require_trust(self._store, self.config, trust_env)
        history = self._history()
        chosen, _ = choose(history, iteration)
        with contextlib.closing(RealEnv(self.config.env)) as env:
            served = Served.of(history, chosen)
            agent = served.agent_in(env, history, self.config, _device(device))
            return TrainedAgent(agent, env, self.config, chosen)

    def dream(
        self, iteration: int | None = None, seed: int = 0, temperature: float = 1.0, trust_env: bool = False
    ) -> Iterator[Moment]:
        """Yield one dream of its world model, agent step by agent step (see `wmloop.dream`)."""
        require_positive(temperature)
        require_trust(self._store, self.config, trust_env)
        history, config = self._history(), self.config
        if not history.pipeline.dreams:
            raise UsageError(
                f"{self.name} has no dreams: agents of its pipeline, {config.pipeline}, do not learn in them"
            )
        served, (start,) = Served.of(history, choose(history, iteration)[0]), fresh_seeds(1, seed)
        return self._dream(history, served, start, temperature)

    def _dream(self, history: History, served: Served, start: int, temperature: float) -> Iterator[Moment]:
        config = self.config
        with contextlib.closing(RemoteEnv(config.env)) as env:
            agent = served.agent_in(env, history, config, _device("cpu"))
            real = Real(env, agent, env.draw)
            real.temperature = temperature
            dreamt = Dreamt(real, config.env.most_decisions, config.env.action_repeat)
            dreamt.reset(start)
            yield dreamt.moment  # the environment stays: it may draw what is dreamt
            while not dreamt.moment.ended:
                dreamt.step()
                yield dreamt.moment

    def train(self, report: Callable[[Event], None] | None = None) -> str:
        """Train the run until its goal is reached or its budget used up; return which: `goal`, `iterations` or `hours`.

        `report` is called with each event of wmloop.events. What its environments print is in `environment.log` of its
        folder, and its figures are in `metrics.csv`; the log of events, which `wmloop watch` and learning curves go by, the
        command line alone keeps. After an interruption, call it again to continue from the last snapshot. Torch's threads and
        precision become those of the run.

        Raises:
            UsageError: it is an agent alone, such as the demo.
            RunLockedError: another process trains it.
            WmloopError: as `wmloop resume` does.
        """
        require_origin(self._store)
        with self._store.lock():
            config = on_this_machine(self.config)
            device, pipeline = set_up(config.device, config.threads, config.precision), pipeline_of(config)
            table = MetricsTable(self._store, pipeline.names[-1])

            def heard(event: Event) -> None:
                if isinstance(event, Output):
                    self._store.journal.append_output(event.line)
                table.report(event)
                if report is not None:
                    report(event)

            return loop.run(self._store, config, pipeline, device, heard, lambda: False)

    def _history(self) -> History:
        return history_of(self._store, self.config)


def train(
    config: RunConfig | Mapping[str, Any] | str | Path | None = None, *, name: str | None = None,
    runs: str | Path | None = None, report: Callable[[Event], None] | None = None,
) -> Run:  # fmt: skip
    """Train a new run until its goal is reached or its budget used up, as `wmloop start` does.

    It is made in the folder `runs`: without it in `$WMLOOP_RUNS`, else `./runs`. `config` is a TOML file, or nested
    settings: those of `wmloop settings`, over the preset's and the profile's. Remarks about the environment go to
    `report` as Message events; without `report` those of level warning are Python warnings.

        run = wmloop.train({"preset": "smoke", "env": {"id": "CarRacing-v3"}, "budget": {"iterations": 2}})

    Raises:
        UsageError: a setting or the environment does not fit, or there is a run of that name.
        WmloopError: as `wmloop start` does.
    """
    if isinstance(config, str | Path):
        config = read_toml(Path(config))
    # what was not given is left to the preset and the profile
    layer = config.model_dump(exclude_unset=True) if isinstance(config, RunConfig) else dict(config or {})
    _, settled, _ = settle(None, [layer])
    begun = begin(settled, runs_folder() if runs is None else Path(runs), name, [], leaves_goal([layer]))
    for note in begun.notes:
        if report is not None:
            report(note)
        elif note.level == "warning":
            warnings.warn(note.text, stacklevel=2)
    for line in begun.printed:
        begun.store.journal.append_output(line)
    run = Run(begun.store.path)
    run.train(report)
    return run


def load(
    run: str | Path, *, iteration: int | None = None, device: str = "cpu", trust_env: bool = False
) -> TrainedAgent:
    """Return a trained agent: of a run's folder or name, of `demo`, or of a file that `wmloop export` wrote.

    It takes the environment's observations, frame by frame.

    >>> import gymnasium, wmloop
    >>> agent = wmloop.load("demo")
    >>> env = gymnasium.make("CarRacing-v3")
    >>> agent.run_episode(env, seed=1) > 850
    True

    Raises:
        UsageError: there is no such run, file or agent, or an environment's module is not trusted (see Run.agent).
        StoreCorruptError: it is damaged.
    """
    with bundle.opened(run) as store:
        return Run(store.path).agent(iteration, device, trust_env)


def dream(
    run: str | Path, *, iteration: int | None = None, seed: int = 0, temperature: float = 1.0, trust_env: bool = False
) -> Iterator[Moment]:
    """Yield one dream of a run's world model, agent step by agent step, with the agent acting in it.

    It branches off the first real episode of `wmloop eval` with this `seed`, after 20 agent steps, or half of a shorter
    one. It ends once the episode has more probably terminated than not (dreams in training are never ended so), or after as
    many agent steps as a real episode has at most. Each Moment is one agent step of the dream; the first is the real moment
    that it branches off. Its fields:

    * `pictures["dream"]`: the image (H, W, 3) uint8, and `vectors["dream"]`: the vector (n,) in the environment's units;
      missing where the world model does not predict them
    * `decision`: agent steps of the dream so far, and `frames`: the frames that they are
    * `reward`: predicted for the step that led here, already weighted by the probability that the dream has come to that
      step; `score`: the sum of these so far
    * `done`: the probability that this step ends the episode, given that the dream has come to it
    * `ended`: empty until the last moment, which says how the dream ended
    * `action`: what the agent does next, in the environment's units (in one row and as floats); a choice is numbered from 0
    * `value`: the critic's estimate of the discounted rewards from here on; NaN without a critic

    >>> import itertools, wmloop
    >>> moments = list(itertools.islice(wmloop.dream("demo", seed=1), 5))
    >>> moments[-1].pictures["dream"].shape, moments[-1].decision
    ((64, 64, 3), 4)

    Raises:
        UsageError: as `load` does, `run` is an exported file (`wmloop import` makes a run of it) or has no dreams, or
            `temperature` is no number above 0. An environment that cannot be made, or is another one now, is refused at the
            first moment.
    """
    if Path(run).suffix == SUFFIX:
        raise UsageError(
            f"{run} is an exported agent: `{wmloop('import', str(run), 'NAME')}` makes a run of it, which dreams"
        )
    return Run(run).dream(iteration, seed, temperature, trust_env)


def _device(name: str) -> Any:
    import torch

    return torch.device(resolve_device(name))
