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

#: The functions that a pipeline names: what each is called with, and whether with the outputs of its agent's stages, too.
_CALLED_WITH = {
    "shapes": (("config",), False),
    "accept": (("config", "actions", "tensors"), False),
    "load": (("config", "actions", "device"), True),
    "fits": (("config", "actions", "observations"), False),
    "starts": (("config", "rollouts", "device"), True),
}


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
    it needs, is an agent. `dreams` says that this agent has a world model to dream in: it is an
    agents.world_model.WorldModelAgent. What follows is a function or class, or its import path `module:name`:

    * `load(config, actions, device, **versions)` returns the agent that the versions of `parts` are, by name; `actions` is
      the environment's ActionSpec.
    * `accept(config, actions, tensors)` refuses the tensors {prefix: {name: array}} of an imported agent that do not fit, by
      anything it raises; `actions` is None where the environment's are not told.
    * `settings` is the class of its runs' settings, a subclass of config.RunConfig that has the groups which the pipeline
      brings.
    * `shapes(config)` returns the shapes of all its networks' tensors by name: training cannot go on where they change.
    * `fits(config, actions, observations)` raises UsageError where it cannot train in an environment with such an ActionSpec
      and ObservationSpec; without it every environment will do.
    * `starts(config, rollouts, device, **versions)` returns remembered states to begin dreams at, as a
      models.world_model.State, or None where the rollouts are gone; without it nobody else can dream in its world model.

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
        for attribute, (arguments, takes_parts) in _CALLED_WITH.items():
            try:
                signature = inspect.signature(self.resolve(attribute))
                signature.bind(*[None] * len(arguments), **(parts if takes_parts else {}))
            except TypeError as error:
                besides = f" and the stage outputs {', '.join(parts)} by name" if takes_parts else ""
                raise UsageError(
                    f"the function {attribute!r} of the pipeline {self.name!r} is called with ({', '.join(arguments)})"
                    f"{besides}, but its signature does not take that: {error}"
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

    def resolve(self, attribute: str) -> Any:
        """Return the function or class that it names under `load`, `accept`, `settings`, `shapes`, `fits` or `starts`.

        Raises:
            UsageError: there is no such module, function or class.
        """
        return found(getattr(self, attribute), f"the attribute {attribute!r} of the pipeline {self.name!r}")

    def load_agent(self, config: Any, actions: Any, device: Any, versions: Mapping[str, Any]) -> Any:
        """Return the agent that the versions of `parts` are, by name.

        Raises:
            UsageError: what `load` made is none; what it lacks is listed.
        """
        agent = self.resolve("load")(config, actions, device, **versions)
        made = f"the function 'load' of the pipeline {self.name!r}"
        require_parts(agent, ("start", "act"), f"{made} returned", "wmloop.agents.agent.Agent")
        if self.dreams:
            require_parts(agent, _DREAMER, f"{made}, whose agents have a world model, returned", _DESCRIBED)
        return agent

    @property
    def parts(self) -> tuple[Stage, ...]:
        """Return the stages whose versions an agent consists of, its own last."""
        own = self.row(self.agent)
        return (*(self.row(name) for name in own.needs if self.row(name).agent_files), own)


def _missing(*_: object, **__: object) -> dict[str, float]:
    raise UsageError("this Stage does not belong to a pipeline: put it into a Pipeline's stages before running it")
