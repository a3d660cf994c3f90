"""Every setting of a run: typed, frozen, documented, refused when unknown."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wmloop.errors import UsageError
from wmloop.presets import PRESETS, PROFILES, profile

#: No count is larger, so that products of two stay exact, and no other number: all are to fit float32.
_MOST, _LARGEST = 10**12, 1e30


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the first number must not be above the second")
    return bounds


def _rectangle(crop: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, bottom, left, right = crop
    if top >= bottom or left >= right:
        raise ValueError("the numbers are top, bottom, left, right: bottom must be above top, and right above left")
    return crop


def _distinct(dimensions: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(dimensions)) < len(dimensions):
        raise ValueError("it names a dimension twice")
    return dimensions


def _named(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return _written(text)


def _written(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8, and config.toml is") from None
    return text


def _known(preset: str) -> str:
    if preset not in PRESETS:
        raise ValueError(f"it takes one of {', '.join(PRESETS)}")
    return preset


# Numbers are strict: neither a word nor a truth value is one.
Whole = Annotated[int, Field(strict=True, ge=0, le=_MOST)]
Count = Annotated[int, Field(strict=True, ge=1, le=_MOST)]
#: What memory is taken for, or processes: more than a million would only fail later.
Size = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Number = Annotated[float, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, Field(strict=True, gt=0, le=_LARGEST)]
Weight = Annotated[float, Field(strict=True, ge=0, le=_LARGEST)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Factor = Annotated[float, Field(strict=True, gt=0, le=1)]
Range = Annotated[tuple[Number, Number], AfterValidator(_ascending)]
Word = Annotated[str, AfterValidator(_written)]
#: Frames after which an episode is cut where neither the environment nor a setting has a limit.
UNLIMITED_FRAMES = 1000
#: Characters of a value that a message shows.
_SHOWN = 80


class Part(BaseModel):
    """Base of all configuration parts: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: Any) -> Any:
        # TOML has no null: a setting that may be nothing must be told so by a word, which elsewhere is a word
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        if not isinstance(values, dict):
            return values
        return {
            name: None if name in optional and isinstance(value, str) and value == "none" else _whole(value)
            for name, value in values.items()
        }


def _whole(value: Any) -> Any:
    """Return whole floats as integers, which every number takes: 1e6 is a count, too."""
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class RandomDriving(Part):
    """The first policy: temporally correlated random actions, varied per episode (an Ornstein-Uhlenbeck walk).

    Each tuple has one (low, high) pair per action dimension, in the environment's units; an episode draws its own value
    from it. Where a tuple is empty the action's own range decides.
    """

    mean: Annotated[
        tuple[Range, ...],
        Field(
            description="range of the episode's mean action, per dimension; empty: the middle half of the action's range"
        ),
    ] = ()
    scale: Annotated[
        tuple[Annotated[tuple[Weight, Weight], AfterValidator(_ascending)], ...],
        Field(
            description="range of the episode's noise scale, per dimension; empty: an eighth to a half of the action's range"
        ),
    ] = ()
    memory: Annotated[
        tuple[Share, Share],
        AfterValidator(_ascending),
        Field(description="range of the walk's memory per decision, 0 white, 1 frozen"),
    ] = (
        0.6,
        0.9,
    )
    boost: Annotated[
        tuple[Number, ...],
        Field(description="added to the mean in the first decisions, per dimension; empty: nothing"),
    ] = ()
    boost_decisions: Annotated[Whole, Field(description="decisions over which the boost fades out")] = 0


class EnvConfig(Part):
    """The real environment and how it is looked at."""

    id: Annotated[
        str, AfterValidator(_named), Field(description="Gymnasium id; observations are RGB pixels, actions a Box")
    ] = "CarRacing-v3"
    kwargs: Annotated[dict[Word, bool | int | float | Word], Field(description="passed to the environment")] = {}
    action_repeat: Annotated[Count, Field(description="frames per decision; rewards are summed over them")] = 1
    crop: Annotated[
        Annotated[tuple[Whole, Whole, Whole, Whole], AfterValidator(_rectangle)] | None,
        Field(description="rows and columns kept: top, bottom, left, right (none: all); then area-averaged to 64x64"),
    ] = None
    mirror: Annotated[
        tuple[Whole, ...],
        AfterValidator(_distinct),
        Field(
            description="action dimensions whose sign flips in a mirrored world; empty where mirroring is no symmetry"
        ),
    ] = ()
    episode_frames: Annotated[
        Count | None,
        Field(
            description=f"frames of an episode at most (none: the environment's own limit, or {UNLIMITED_FRAMES} where it has"
            " none)"
        ),
    ] = None
    driving: Annotated[RandomDriving, Field(description="the random policy of iteration 0")] = RandomDriving()
    num_envs: Annotated[Size, Field(le=10_000, description="copies driven side by side")] = 20
    timeout: Annotated[
        Positive,
        Field(le=1_000_000, description="seconds in which a copy has to begin, reset or decide, or it counts as hung"),
    ] = 120.0

    @property
    def most_frames(self) -> int:
        """Return the frames that an episode has at most."""
        return self.episode_frames or UNLIMITED_FRAMES


class RolloutConfig(Part):
    """What is collected in reality before each round of learning."""

    first: Annotated[
        tuple[tuple[Count, Count], ...],
        Field(
            min_length=1,
            description="iteration 0: (episodes, decisions at most) of random driving; where episodes end sooner, more of the"
            " last",
        ),
    ] = ((40, 250),)
    frames: Annotated[
        Count, Field(description="real frames C drives in each later iteration, as nearly as whole episodes")
    ] = 8_000
    replay: Annotated[Count, Field(description="newest iterations whose episodes are learnt from")] = 30
    patience: Annotated[
        Count | None,
        Field(description="decisions without any positive reward after which C's episode is stopped (truncated)"),
    ] = None
    quiet_fraction: Annotated[Share, Field(description="share of them driven without exploration noise and pushes")] = (
        0.25
    )
    push_rate: Annotated[
        Share, Field(description="chance per decision that a push begins: a held offset to C's action")
    ] = 0.0
    push_decisions: Annotated[
        tuple[Count, Count],
        AfterValidator(_ascending),
        Field(description="shortest and longest push"),
    ] = (2, 12)
    push_scale: Annotated[
        Weight, Field(description="standard deviation of a push per action dimension, in units of half its range")
    ] = 0.8


class VisionConfig(Part):
    """V, the convolutional VAE: 64x64x3 -> z."""

    network: Annotated[
        Literal["compact", "equalised", "light", "ha2018"],
        Field(
            description="light: four normalised convolutions; equalised: they see ranks too; compact: fewer of them, the"
            " first of stride 4; ha2018: the paper's"
        ),
    ] = "compact"
    latent: Annotated[Size, Field(description="size of z")] = 32
    recon_weight: Annotated[Positive, Field(description="weight of the summed squared error against the KL")] = 30.0
    reward_weight: Annotated[
        Weight, Field(description="weight of the squared error of the next decisions' rewards, told from z alone")
    ] = 1000.0
    kl_tolerance: Annotated[Weight, Field(description="free nats per latent dimension (HS18: 0.5)")] = 0.0
    batch: Annotated[Size, Field(description="images a step")] = 32
    learning_rate: Annotated[Positive, Field(description="Adam, iteration 0; warms up and decays to a tenth")] = 3e-3
    tune_learning_rate: Annotated[Positive, Field(description="Adam, later iterations")] = 1e-3
    beta2: Annotated[
        Weight, Field(lt=1, description="share of Adam's mean squared gradient that is kept at each step")
    ] = 0.95
    frame_cache: Annotated[Count, Field(description="images unpacked at a time, 12 KiB each")] = 40_000
    first_images: Annotated[Count, Field(description="images trained on in iteration 0")] = 40_000
    tune_images: Annotated[Whole, Field(description="images trained on in each later iteration")] = 24_000
    tune_iterations: Annotated[
        Whole | None, Field(description="later iterations in which V still moves, then it is frozen (none: never)")
    ] = None


class MemoryConfig(Part):
    """M, the MDN-RNN with reward, done and next-action heads: P(z', r', d', a' | z, a, h)."""

    hidden: Annotated[Size, Field(description="LSTM width")] = 256
    mixtures: Annotated[Size, Field(description="Gaussians per latent dimension")] = 5
    sequence: Annotated[Size, Field(description="decisions per training sequence")] = 32
    batch: Annotated[Size, Field(description="sequences a step")] = 32
    learning_rate: Annotated[Positive, Field(description="Adam; warms up and decays to a tenth")] = 2e-3
    beta2: Annotated[
        Weight, Field(lt=1, description="share of Adam's mean squared gradient that is kept at each step")
    ] = 0.95
    first_steps: Annotated[Count, Field(description="gradient steps in iteration 0")] = 800
    steps: Annotated[Whole, Field(description="gradient steps in each later iteration")] = 1000
    steps_growth: Annotated[
        Positive, Field(ge=1, le=10, description="factor of `steps` for each iteration in the replay")
    ] = 1.05
    input_noise: Annotated[Weight, Field(description="noise on M's input z, in posterior standard deviations")] = 1.0
    reward_scale: Annotated[
        Positive | Literal["auto"],
        Field(
            description="rewards are divided by this; auto: the root mean square of the first ones that are not zero"
        ),
    ] = "auto"
    reward_floor: Annotated[
        Number | None, Field(description="smallest reward the reward head is asked to predict, but of an end (or none)")
    ] = None
    reward_smoothing: Annotated[
        Whole, Field(le=1_000, description="reward targets are averaged over +- this many decisions")
    ] = 0
    reward_weight: Annotated[Weight, Field(description="weight of the reward loss")] = 2.0
    done_weight: Annotated[Positive, Field(description="weight of terminated steps in the done loss")] = 10.0
    action_weight: Annotated[Weight, Field(description="weight of the next-action loss")] = 0.1
    age_decay: Annotated[Factor, Field(description="sampling weight lost per iteration of an episode's age")] = 0.8
    max_grad_norm: Annotated[Positive, Field(description="gradient norm bound")] = 1.0


class DreamConfig(Part):
    """Imagined episodes inside M."""

    num_dreams: Annotated[Size, Field(description="dreams side by side")] = 1024
    horizon: Annotated[Size, Field(description="decisions dreamt before the value bootstraps")] = 15
    temperature: Annotated[
        Positive | Literal["auto"],
        Field(description="mixture temperature: logits/tau, sigma*sqrt(tau); auto follows the measured dream-real gap"),
    ] = 1.0
    warmup: Annotated[Whole, Field(description="real decisions M has seen before a dream branches off")] = 0


class ControllerConfig(Part):
    """C and the PPO that trains it, only inside the dream."""

    actor: Annotated[Literal["mlp", "linear"], Field(description="mlp: the seed's; linear: HS18's 867 parameters")] = (
        "mlp"
    )
    critic: Annotated[Literal["plain", "attention"], Field(description="the value network")] = "plain"
    first_updates: Annotated[Whole, Field(description="PPO iterations in iteration 0")] = 60
    updates: Annotated[Whole, Field(description="PPO iterations in each later iteration")] = 50
    update_epochs: Annotated[Count, Field(description="passes over each batch of dreams")] = 3
    minibatch_size: Annotated[Size, Field(description="dream steps a gradient step")] = 2048
    learning_rate: Annotated[
        Positive, Field(description="Adam; warms up, then decays to a tenth, within an iteration")
    ] = 3e-4
    gamma: Annotated[Factor, Field(description="discount per decision")] = 0.98
    settled_gamma: Annotated[
        Factor | None,
        Field(description="gamma once two scores in a row were no new best, and from then on (none: never)"),
    ] = None
    gae_lambda: Annotated[Share, Field(description="GAE's lambda")] = 0.95
    reward_ceiling: Annotated[
        Positive | None,
        Field(
            description="reward of a decision beyond which more is worth nothing, once reality pays C that (or none)",
        ),
    ] = None
    clip_coef: Annotated[Positive, Field(description="PPO's trust region")] = 0.2
    ent_coef: Annotated[Weight, Field(description="entropy bonus")] = 0.003
    vf_coef: Annotated[Weight, Field(description="value loss weight")] = 0.5
    max_grad_norm: Annotated[Positive, Field(description="gradient norm bound")] = 0.5
    target_kl: Annotated[Positive, Field(description="an update stops where approx_kl passes this")] = 0.045
    anchor_coef: Annotated[
        Weight, Field(description="weight of the KL divergence (nats) from the policy the stage began with")
    ] = 0.03
    log_std: Annotated[
        tuple[Annotated[Number, Field(ge=-20, le=10)], Annotated[Number, Field(ge=-20, le=10)]],
        AfterValidator(_ascending),
        Field(description="bounds of the policy's log standard deviation"),
    ] = (-3.0, 0.0)


class EvaluateConfig(Part):
    """How the triple (V, M, C) is scored in reality."""

    tracks: Annotated[Count, Field(le=1_000_000, description="held-out tracks after each iteration")] = 20
    confirm_tracks: Annotated[
        Count, Field(ge=2, le=1_000_000, description="further held-out tracks that confirm the goal")
    ] = 100


class StoreConfig(Part):
    """How often a long stage saves itself, and what stays on the disk. These may change on resume."""

    snapshot_seconds: Annotated[Weight, Field(description="seconds between snapshots inside a stage")] = 30.0
    keep_last: Annotated[
        Count | None,
        Field(description="newest iterations that training can go on from; older ones are pruned (none: all stay)"),
    ] = None
    keep_best: Annotated[Count, Field(description="best agents that are never pruned")] = 1
    keep_every: Annotated[Whole, Field(description="every so many-th agent is never pruned; 0: none")] = 0


class BudgetConfig(Part):
    """When the loop ends. These may change on resume."""

    iterations: Annotated[Count, Field(description="outer iterations at most")] = 60
    hours: Annotated[Positive | None, Field(description="wall-clock hours at most")] = None
    goal: Annotated[
        Number | None,
        Field(
            description="mean real score that ends the run, once further tracks confirm it with 95% certainty (none: it"
            " goes on to the last iteration)"
        ),
    ] = None


class RunConfig(Part):
    """All settings of one run. Written once into the run's folder; `resume` reads it from there."""

    preset: Annotated[str, AfterValidator(_known), Field(description="the preset these settings started from")] = (
        "laptop"
    )
    seed: Annotated[
        int, Field(strict=True, ge=0, le=2**63 - 1, description="the run's seed; every random number derives from it")
    ] = 0
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="where V, M and C compute")] = "auto"
    threads: Annotated[Whole, Field(le=4_096, description="CPU threads of the learner, 0: one per core")] = 0
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16", "bf16-mixed"],
        Field(
            description="what factors of matrix products may be rounded to; bf16-mixed: M and C learn in mixed precision"
            " besides; auto: what suits the processor"
        ),
    ] = "auto"
    budget: BudgetConfig = BudgetConfig()
    env: EnvConfig = EnvConfig()
    rollout: RolloutConfig = RolloutConfig()
    vision: VisionConfig = VisionConfig()
    memory: MemoryConfig = MemoryConfig()
    dream: DreamConfig = DreamConfig()
    controller: ControllerConfig = ControllerConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    store: StoreConfig = StoreConfig()


def build_config(preset: str, *layers: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of `preset` with each layer of nested settings laid over it in turn.

    Below the preset lies the profile of the environment that the layers name, where there is one (see presets.py).

    Raises:
        UsageError: an unknown preset or key (the nearest is named), or a value that does not fit its field.
    """
    for name in (preset, *(layer["preset"] for layer in layers if "preset" in layer)):
        if not isinstance(name, str) or name not in PRESETS:
            near = _did_you_mean(str(name), list(PRESETS))
            raise UsageError(f"unknown preset {_shown(name)}{near}: one of {', '.join(PRESETS)}")
    merged = RunConfig().model_dump()
    for layer in (profile(_environment(layers)), PRESETS[preset], *layers, {"preset": preset}):
        merged = _overlay(merged, layer)
    return _validate(merged)


def _environment(layers: Sequence[Mapping[str, Any]]) -> str:
    named = [layer["env"]["id"] for layer in layers if isinstance(layer.get("env"), Mapping) and "id" in layer["env"]]
    return str(named[-1]) if named else EnvConfig().id


def with_settings(config: RunConfig, layer: Mapping[str, Any]) -> RunConfig:
    """Return a copy of `config` with nested settings laid over it; raises UsageError as `build_config` does."""
    return _validate(_overlay(config.model_dump(), layer))


def settings(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return all settings flat: dotted name -> value."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            flat |= settings(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


class Setting(NamedTuple):
    """One setting: its dotted name, meaning, default, where other presets have another value, and what a run has."""

    name: str
    meaning: str
    default: Any
    presets: dict[str, Any]
    own: Any


def explain(word: str | None = None, run: RunConfig | None = None) -> list[Setting]:
    """Return the settings whose dotted names hold `word`, or all; `run` is whose values are told beside them.

    Raises:
        UsageError: there is none (the nearest is named).
    """
    defaults, meanings = settings(RunConfig()), _meanings(RunConfig)
    plain = {"env": {"id": "any"}}
    presets = {name: settings(build_config(name, plain)) for name in PRESETS if name != RunConfig().preset}
    presets |= {name: settings(build_config("laptop", {"env": {"id": name}})) for name in PROFILES}
    presets = {name: values | {key: defaults[key] for key in ("preset", "env.id")} for name, values in presets.items()}
    own = settings(run or RunConfig())
    # a group or a whole name first: `store` is not about `restore`
    exact = [name for name in defaults if word and (name == word or name.startswith(f"{word}."))]
    chosen = exact or [name for name in defaults if not word or word in name]
    if not chosen:
        raise UsageError(
            f"there is no setting like {word!r}{_did_you_mean(str(word), list(defaults))}; all: `wmloop config`"
        )
    return [
        Setting(
            name, meanings[name], defaults[name],
            {preset: values[name] for preset, values in presets.items() if values[name] != defaults[name]},
            own[name],
        )
        for name in chosen
    ]  # fmt: skip


def _meanings(part: type[BaseModel], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, info in part.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= _meanings(info.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = info.description or ""
    return found


#: What decides no result, and so may change whenever a run is taken up again.
_FREE = ("env.timeout", "vision.frame_cache")
#: What belongs to the machine that a run goes on upon: it may change, too, but numbers are no longer the same to the bit.
_MACHINE = ("device", "threads", "precision", "env.num_envs")


def changed_settings(old: RunConfig, new: RunConfig) -> list[str]:
    """Return the dotted names of settings outside `budget` and `store` that differ."""
    before, after = settings(old), settings(new)
    return [name for name in after if before[name] != after[name] and not name.startswith(("budget.", "store."))]


def changed_on_resume(old: RunConfig, new: RunConfig) -> tuple[list[str], list[str]]:
    """Return the names of settings that differ: those that a resume may not change, and those that change bits."""
    changed = [name for name in changed_settings(old, new) if name not in _FREE]
    return [name for name in changed if name not in _MACHINE], [name for name in changed if name in _MACHINE]


def _overlay(base: Mapping[str, Any], layer: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    result = dict(base)
    for key, value in layer.items():
        old, name = result.get(key), f"{path}{key}"
        if not isinstance(old, Mapping):
            result[key] = value
        elif isinstance(value, Mapping):
            result[key] = _overlay(old, value, f"{name}.")
        else:
            example = f"{name}.{next(iter(old), 'name')}"
            raise UsageError(
                f"{name!r} is a group of settings, not {_shown(value)}: set one of them, such as {example}"
            )
    return result


def _validate(merged: Mapping[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        told: dict[str, str] = {}  # the first reason for each: a value that may be of two kinds has two
        for fault in error.errors(include_url=False):
            name, reason = _name(fault["loc"]), _reason(fault)
            told[name] = told.get(name) or reason
        raise UsageError("; ".join(_explain(name, reason, merged) for name, reason in told.items())) from None


def _name(place: Sequence[int | str]) -> str:
    """Return the setting that a fault's place lies in; what is not known is named as it is."""
    parts, known = [str(part) for part in place], settings(RunConfig())
    return next((name for i in range(len(parts)) if (name := ".".join(parts[: i + 1])) in known), ".".join(parts))


def _reason(fault: Any) -> str:
    """Return what is wrong with a value, in our own words, or nothing where it is enough to say what would fit."""
    match fault["type"], fault.get("ctx", {}):
        case "value_error", {"error": error}:
            return str(error)
        case "finite_number", _:
            return "it has to be finite"
        case (("less_than_equal" | "greater_than_equal"), {"le": limit} | {"ge": limit}) if abs(limit) in (
            _MOST,
            _LARGEST,
        ):
            return f"numbers go up to {limit:,}" if limit == _MOST else f"numbers go from {-_LARGEST:g} to {_LARGEST:g}"
    return ""


def _explain(name: str, reason: str, merged: Mapping[str, Any]) -> str:
    part: Any = RunConfig
    value: Any = merged
    schema: dict[str, Any] = {}
    for key in name.split("."):
        if not (isinstance(part, type) and issubclass(part, BaseModel) and key in part.model_fields):
            near = _did_you_mean(name, [*settings(RunConfig()), *RunConfig.model_fields])
            return f"unknown setting {name!r}{near}; see `wmloop start --print-config`"
        schema, value = _properties(part)[key], value[key]
        part = part.model_fields[key].annotation
    return f"setting {name!r} does not accept {_shown(value)}: {reason or f'it takes {_fitting(schema)}'}"


@functools.cache
def _properties(part: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schemas of a part's settings by name."""
    properties: dict[str, Any] = part.model_json_schema()["properties"]
    return properties


def _fitting(schema: Mapping[str, Any], many: bool = False) -> str:
    """Return in words which values a field takes, from its JSON schema; of `many` of them in the plural."""
    article, ending = ("", "s") if many else ("a ", "")
    match schema:
        case {"anyOf": choices}:
            return " or ".join(_fitting(choice, many) for choice in choices)
        case {"enum": words}:
            return f"one of {', '.join(map(str, words))}"
        case {"const": word}:
            return str(word)
        case {"type": "integer" | "number" as kind}:
            noun = "whole number" if kind == "integer" else "number"
            return f"{article}{noun}{ending} {_bounds(schema)}".rstrip()
        case {"type": "array", "prefixItems": [first, *rest]}:
            return f"{article}list{ending} of {1 + len(rest)} {_fitting(first, True)}"
        case {"type": "array", "items": item}:
            some = "one or more " if schema.get("minItems") else ""
            return f"{article}list{ending} of {some}{_fitting(item, True)}"
        case {"type": "object"}:
            return "names with a number, a text, true or false"
        case {"type": "null"}:
            return "none"
    return f"{article}text{ending}"


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = (
        None if abs(schema.get(key, _MOST)) in (_MOST, _LARGEST) else schema[key] for key in ("minimum", "maximum")
    )
    if low is not None and high is not None:
        return f"from {low:,} to {high:,}"
    words = [
        f"of at least {low:,}" if low is not None else "",
        f"above {schema['exclusiveMinimum']:,}" if "exclusiveMinimum" in schema else "",
        f"below {schema['exclusiveMaximum']:,}" if "exclusiveMaximum" in schema else "",
        f"at most {high:,}" if high is not None else "",
    ]
    return " and ".join(word for word in words if word)


def _shown(value: Any) -> str:
    """Return a value as a message shows it: on one line, not too long, and as TOML would have it rather than Python."""
    text = "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _did_you_mean(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
