"""A pipeline: a table of stages, which the loop performs iteration by iteration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wmloop.entries import found, require_parts
from wmloop.errors import UsageError
from wmloop.pipelines.metrics import Metric

#: What an agent with a world model has besides, and where that is described.
_DREAMER, _DESCRIBED = ("world", "actor", "actions", "critic"), "wmloop.agents.world_model.WorldModelAgent"


def weights_file(network: str) -> str:
    """Return the name of the file of a version that holds the weights of a network."""
    return f"{network}.safetensors"


StageFunction = Callable[..., dict[str, float]]
"""(ctx, **versions) -> metrics. The versions that a stage reads are given by the names of their stages."""


@dataclass(frozen=True)
class Stage:
    """One row of the table: what a stage does, and the versions it reads.

    `entry` is its function, or its import path `module:function`, imported when the stage is performed. `needs` names
    stages of this iteration and `carries` stages of the one before (warm start). `carries_accepted` names stages of
    the newest accepted iteration: one whose mean score falls short of the best by at most 3 standard errors of the
    difference, or 1% of the best, whichever is more. In a run's first iteration nothing is carried. A stage that is done
    `once` is performed in iteration 0 alone; later iterations read what it wrote there. `about` says in a few words what it
    does, `unit` is what its progress counts, `headline` the metrics that tell most, best first, `images` the kinds of
    pictures it shows, `agent_files` the files of its versions that an agent acts with, and `metrics` what its figures mean.
    A stage that is `data_parallel` is performed by all ranks that torchrun began, up to the end of its training
    (training.fit), and its function shares each batch by `ctx.ranks`; any other is performed by the first rank.
    """

    name: str
    entry: str | StageFunction
    needs: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()
    carries_accepted: tuple[str, ...] = ()
    once: bool = False
    about: str = ""
    unit: str = "steps"
    headline: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    agent_files: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    data_parallel: bool = False

    @property
    def run(self) -> StageFunction:
        """Return the stage's function.

        Raises:
            UsageError: there is no such module or function.
        """
        run: StageFunction = found(self.entry, f"the stage {self.name!r}")
        return run


@dataclass(frozen=True)
class Pipeline:
    """The stages of a system, in order.

    `collected_by` names the stage that collects real episodes, or several that do (they report the metric `frames`),
    `scored_by` the one whose metric `score` is the evaluation score, and `agent` the one whose output, with the outputs that
    it needs, is an agent. `load` is the function that builds the agent of these outputs, and `accept` the one that checks
    the tensors of an imported agent and raises where they do not fit; each may be named as `module:function`. `dreams`
    says that this agent has a world model to dream in: it is an agents.world_model.WorldModelAgent. `settings` is
    the class of its runs' settings, a subclass of config.RunConfig that has the groups which the pipeline brings,
    and `shapes` the function that returns the shapes of its networks' tensors as configured: training cannot go on
    where they change. `fits` is the function (config, actions, observations) that raises UsageError where it cannot
    train in an environment with such spaces; without it every environment will do. `starts` is the function
    (config, rollouts, device, **versions), called as `load` is, that returns remembered states to begin dreams at, as a
    models.world_model.State, or None where the rollouts are gone; without it nobody else can dream in its world model.
    These are named likewise.

    Raises:
        UsageError: two stages have one name, or one reads what the table does not have by then.
    """

    name: str
    stages: tuple[Stage, ...]
    collected_by: str | tuple[str, ...]
    scored_by: str
    agent: str
    load: str | Callable[..., Any]
    accept: str | Callable[..., None]
    dreams: bool = False
    settings: str | type[Any] = "wmloop.config:RunConfig"
    shapes: str | Callable[..., Mapping[str, tuple[int, ...]]] = field(default=lambda config: {})
    fits: str | Callable[..., None] = field(default=lambda config, actions, observations: None)
    starts: str | Callable[..., Any] = field(default=lambda config, rollouts, device, **versions: None)

    def __post_init__(self) -> None:
        names = self.names
        for what, wrong in (
            ("has no stages", not names),
            ("has two stages of one name", len(set(names)) < len(names)),
            *((f"has no stage {role!r}", role not in names) for role in (*self.collectors, self.scored_by, self.agent)),
        ):
            if wrong:
                raise UsageError(f"the pipeline {self.name!r} {what}: its stages are {', '.join(names) or 'none'}")
        for place, stage in enumerate(self.stages):
            read = [*stage.needs, *stage.carries, *stage.carries_accepted]
            for name in read:
                if name not in (names[:place] if name in stage.needs else names):
                    raise UsageError(
                        f"the stage {stage.name!r} of the pipeline {self.name!r} reads {name!r}, which is no stage"
                        + (" before it" if name in names else f" of {', '.join(names)}")
                    )
            late = [name for name in read if stage.once and (name not in stage.needs or not self.row(name).once)]
            if late or (stage.once and stage.name in (self.scored_by, self.agent)):
                raise UsageError(
                    f"the stage {stage.name!r} of the pipeline {self.name!r} is done once, and "
                    + (f"reads {late[0]!r}, which is not" if late else "is the one that makes or scores its agents")
                )
            if len(set(read)) < len(read):
                raise UsageError(f"the stage {stage.name!r} of the pipeline {self.name!r} reads a stage twice")

    def check(self) -> None:
        """Import the functions that it names, and try that each takes the arguments that it will be called with.

        Raises:
            UsageError: something is not there, or a function does not take the versions that it is given.
        """
        parts = dict.fromkeys(part.name for part in self.parts)
        try:
            inspect.signature(self.shaper).bind(None)
        except TypeError as error:
            raise UsageError(
                f"the function 'shapes' of the pipeline {self.name!r} is called with (config), but its signature does not take"
                f" that: {error}"
            ) from None
        try:
            inspect.signature(self.checker).bind(None, None, None)
        except TypeError as error:
            raise UsageError(
                f"the function 'accept' of the pipeline {self.name!r} is called with (config, actions, tensors), but its"
                f" signature does not take that: {error}"
            ) from None
        try:
            inspect.signature(self.loader).bind(None, None, None, **parts)
        except TypeError as error:
            raise UsageError(
                f"the function 'load' of the pipeline {self.name!r} is called with (config, actions, device) and the stage"
                f" outputs {', '.join(parts)} by name, but its signature does not take that: {error}"
            ) from None
        try:
            inspect.signature(self.fitter).bind(None, None, None)
        except TypeError as error:
            raise UsageError(
                f"the function 'fits' of the pipeline {self.name!r} is called with (config, actions, observations), but its"
                f" signature does not take that: {error}"
            ) from None
        try:
            inspect.signature(self.rememberer).bind(None, None, None, **parts)
        except TypeError as error:
            raise UsageError(
                f"the function 'starts' of the pipeline {self.name!r} is called with (config, rollouts, device) and the stage"
                f" outputs {', '.join(parts)} by name, but its signature does not take that: {error}"
            ) from None
        for stage in self.stages:
            read = dict.fromkeys([*stage.needs, *stage.carries, *stage.carries_accepted])
            try:
                inspect.signature(stage.run).bind(None, **read)
                inspect.signature(stage.run).bind(None, **dict.fromkeys(stage.needs))
            except TypeError as error:
                raise UsageError(
                    f"the function of the stage {stage.name!r} of the pipeline {self.name!r} is called with the outputs of"
                    f" {', '.join(read) or 'no other stage'} as arguments (from iteration 1 on including those of the"
                    f" previous iteration), but its signature does not take that: {error}"
                ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its stages, in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def collectors(self) -> tuple[str, ...]:
        """Return the names of the stages that collect real episodes."""
        return (self.collected_by,) if isinstance(self.collected_by, str) else self.collected_by

    @property
    def images(self) -> tuple[str, ...]:
        """Return the kinds of pictures that its stages show."""
        return tuple(dict.fromkeys(kind for stage in self.stages for kind in stage.images))

    def row(self, name: str) -> Stage:
        """Return the stage of that name; for an unknown name, a stage without description or metrics."""
        return next((stage for stage in self.stages if stage.name == name), Stage(name, _missing))

    @property
    def loader(self) -> Callable[..., Any]:
        """Return the function that makes the agent: (config, actions, device, **versions), those of `parts` by name.

        `actions` is the environment's ActionSpec.

        Raises:
            UsageError: there is no such module or function.
        """
        loader: Callable[..., Any] = found(self.load, f"the attribute 'load' of the pipeline {self.name!r}")
        return loader

    def load_agent(self, config: Any, actions: Any, device: Any, versions: Mapping[str, Any]) -> Any:
        """Return the agent that the versions of `parts` are, by name.

        Raises:
            UsageError: what `load` made is none; what it lacks is listed.
        """
        agent = self.loader(config, actions, device, **versions)
        made = f"the function 'load' of the pipeline {self.name!r}"
        require_parts(agent, ("start", "act"), f"{made} returned", "wmloop.agents.agent.Agent")
        if self.dreams:
            require_parts(agent, _DREAMER, f"{made}, whose agents have a world model, returned", _DESCRIBED)
        return agent

    @property
    def checker(self) -> Callable[..., None]:
        """Return the function that checks an agent's tensors: (config, actions, {prefix: {name: array}}).

        It refuses by anything it raises. `actions` is the ActionSpec of the agent's environment, or None where that is not
        told.

        Raises:
            UsageError: there is no such module or function.
        """
        checker: Callable[..., None] = found(self.accept, f"the attribute 'accept' of the pipeline {self.name!r}")
        return checker

    @property
    def shaper(self) -> Callable[..., Mapping[str, tuple[int, ...]]]:
        """Return the function that tells the shapes of all networks' tensors by name: (config).

        Raises:
            UsageError: there is no such module or function.
        """
        what = f"the attribute 'shapes' of the pipeline {self.name!r}"
        shaper: Callable[..., Mapping[str, tuple[int, ...]]] = found(self.shapes, what)
        return shaper

    @property
    def fitter(self) -> Callable[..., None]:
        """Return the function that refuses an environment's spaces: (config, actions, observations).

        These are its ActionSpec and its ObservationSpec.

        Raises:
            UsageError: there is no such module or function.
        """
        fitter: Callable[..., None] = found(self.fits, f"the attribute 'fits' of the pipeline {self.name!r}")
        return fitter

    @property
    def rememberer(self) -> Callable[..., Any]:
        """Return the function that tells where dreams begin: (config, rollouts, device, **versions), those of `parts`.

        Raises:
            UsageError: there is no such module or function.
        """
        rememberer: Callable[..., Any] = found(self.starts, f"the attribute 'starts' of the pipeline {self.name!r}")
        return rememberer

    @property
    def config_type(self) -> type[Any]:
        """Return the class of its runs' settings.

        Raises:
            UsageError: there is no such module or class.
        """
        config_type: type[Any] = found(self.settings, f"the attribute 'settings' of the pipeline {self.name!r}")
        return config_type

    @property
    def parts(self) -> tuple[Stage, ...]:
        """Return the stages whose versions an agent consists of, its own last."""
        own = self.row(self.agent)
        return (*(self.row(name) for name in own.needs if self.row(name).agent_files), own)


def _missing(*_: object, **__: object) -> dict[str, float]:
    raise UsageError("this Stage does not belong to a pipeline: put it into a Pipeline's stages before running it")
