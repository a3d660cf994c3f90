"""Every setting of a run: typed, frozen, documented, refused when unknown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wmloop.errors import UsageError
from wmloop.presets import PRESETS


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the first number must not be above the second")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]


class Part(BaseModel):
    """Base of all configuration parts: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, values: Any) -> Any:
        # TOML has no null: a setting that may be nothing must be told so by a word, which elsewhere is a word
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        if not isinstance(values, dict):
            return values
        return {name: None if value == "none" and name in optional else value for name, value in values.items()}


class RandomDriving(Part):
    """The first policy: temporally correlated random actions, varied per episode (an Ornstein-Uhlenbeck walk).

    Each tuple has one (low, high) pair per action dimension; an episode draws its own value from it. The defaults
    are CarRacing's (steer, gas, brake): gentle steering, a gas bias, and almost no brake. White noise would creep,
    because its mean gas equals its mean brake.
    """

    mean: Annotated[tuple[Range, ...], Field(description="range of the episode's mean action, per dimension")] = (
        (0.0, 0.0),
        (0.05, 0.4),
        (-0.3, -0.1),
    )
    scale: Annotated[tuple[Range, ...], Field(description="range of the episode's noise scale, per dimension")] = (
        (0.05, 0.35),
        (0.05, 0.2),
        (0.05, 0.2),
    )
    memory: Annotated[Range, Field(description="range of the walk's memory per decision, 0 white, 1 frozen")] = (
        0.6,
        0.9,
    )
    boost: Annotated[
        tuple[float, ...], Field(description="added to the mean in the first decisions, per dimension")
    ] = (
        0.0,
        0.5,
        0.0,
    )
    boost_decisions: Annotated[int, Field(ge=0, description="decisions over which the boost fades out")] = 12


class EnvConfig(Part):
    """The real environment and how it is looked at. The defaults are CarRacing's; nothing else in wmloop is."""

    id: Annotated[str, Field(description="Gymnasium id; observations are RGB pixels, actions a Box")] = "CarRacing-v3"
    kwargs: Annotated[dict[str, bool | int | float | str], Field(description="passed to the environment")] = {}
    action_repeat: Annotated[int, Field(ge=1, description="frames per decision; rewards are summed over them")] = 4
    crop: Annotated[
        tuple[int, int, int, int] | None,
        Field(description="rows and columns kept: top, bottom, left, right (none: all); then area-averaged to 64x64"),
    ] = None
    mirror: Annotated[
        tuple[int, ...],
        Field(
            description="action dimensions whose sign flips in a mirrored world; empty where mirroring is no symmetry"
        ),
    ] = (0,)
    episode_frames: Annotated[
        int, Field(ge=1, description="frames of a whole episode: what a dream promises is stated for so many")
    ] = 1000
    driving: Annotated[RandomDriving, Field(description="the random policy of iteration 0")] = RandomDriving()
    num_envs: Annotated[int, Field(ge=1, description="copies driven side by side")] = 20
    timeout: Annotated[float, Field(gt=0, description="seconds after which a worker counts as hung")] = 120.0


class RolloutConfig(Part):
    """What is collected in reality before each round of learning."""

    first: Annotated[
        tuple[tuple[int, int], ...],
        Field(description="iteration 0: (episodes, decisions at most) of random driving"),
    ] = ((64, 50), (48, 80), (16, 150))
    frames: Annotated[int, Field(ge=1, description="real frames C drives in each later iteration, at least")] = 32_000
    replay: Annotated[int, Field(ge=1, description="newest iterations whose episodes are learnt from")] = 30
    patience: Annotated[
        int | None,
        Field(ge=1, description="decisions without any positive reward after which C's episode is stopped (truncated)"),
    ] = 30
    quiet_fraction: Annotated[
        float, Field(ge=0, le=1, description="share of them driven without exploration noise and pushes")
    ] = 0.25
    push_rate: Annotated[
        float, Field(ge=0, le=1, description="chance per decision that a push begins: a held offset to C's action")
    ] = 0.03
    push_decisions: Annotated[
        tuple[Annotated[int, Field(ge=1)], int],
        AfterValidator(_ascending),
        Field(description="shortest and longest push"),
    ] = (2, 12)
    push_scale: Annotated[
        float, Field(ge=0, description="standard deviation of a push per action dimension, in units of half its range")
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
    latent: Annotated[int, Field(ge=1, description="size of z")] = 32
    recon_weight: Annotated[float, Field(gt=0, description="weight of the summed squared error against the KL")] = 30.0
    reward_weight: Annotated[
        float, Field(ge=0, description="weight of the squared error of the next decisions' rewards, told from z alone")
    ] = 1000.0
    kl_tolerance: Annotated[float, Field(ge=0, description="free nats per latent dimension (HS18: 0.5)")] = 0.0
    batch: Annotated[int, Field(ge=1, description="images a step")] = 32
    learning_rate: Annotated[float, Field(gt=0, description="Adam, iteration 0; warms up and decays to a tenth")] = 3e-3
    tune_learning_rate: Annotated[float, Field(gt=0, description="Adam, later iterations")] = 1e-3
    beta2: Annotated[
        float, Field(ge=0, lt=1, description="share of Adam's mean squared gradient that is kept at each step")
    ] = 0.95
    frame_cache: Annotated[int, Field(ge=1, description="images unpacked at a time, 12 KiB each")] = 40_000
    first_images: Annotated[int, Field(ge=1, description="images trained on in iteration 0")] = 40_000
    tune_images: Annotated[int, Field(ge=0, description="images trained on in each later iteration")] = 24_000
    tune_iterations: Annotated[
        int | None, Field(ge=0, description="later iterations in which V still moves, then it is frozen (none: never)")
    ] = None


class MemoryConfig(Part):
    """M, the MDN-RNN with reward, done and next-action heads: P(z', r', d', a' | z, a, h)."""

    hidden: Annotated[int, Field(ge=1, description="LSTM width")] = 256
    mixtures: Annotated[int, Field(ge=1, description="Gaussians per latent dimension")] = 5
    sequence: Annotated[int, Field(ge=1, description="decisions per training sequence")] = 32
    batch: Annotated[int, Field(ge=1, description="sequences a step")] = 32
    learning_rate: Annotated[float, Field(gt=0, description="Adam; warms up and decays to a tenth")] = 2e-3
    beta2: Annotated[
        float, Field(ge=0, lt=1, description="share of Adam's mean squared gradient that is kept at each step")
    ] = 0.95
    first_steps: Annotated[int, Field(ge=1, description="gradient steps in iteration 0")] = 800
    steps: Annotated[int, Field(ge=0, description="gradient steps in each later iteration")] = 1000
    steps_growth: Annotated[float, Field(ge=1, description="factor of `steps` for each iteration in the replay")] = 1.05
    input_noise: Annotated[float, Field(ge=0, description="noise on M's input z, in posterior standard deviations")] = (
        1.0
    )
    reward_scale: Annotated[float, Field(gt=0, description="rewards are divided by this for the reward head")] = 5.0
    reward_floor: Annotated[float, Field(description="smallest reward the reward head is asked to predict")] = -10.0
    reward_smoothing: Annotated[
        int, Field(ge=0, description="reward targets are averaged over +- this many decisions")
    ] = 1
    reward_weight: Annotated[float, Field(ge=0, description="weight of the reward loss")] = 2.0
    done_weight: Annotated[float, Field(gt=0, description="weight of terminated steps in the done loss")] = 10.0
    action_weight: Annotated[float, Field(ge=0, description="weight of the next-action loss")] = 0.1
    age_decay: Annotated[
        float, Field(gt=0, le=1, description="sampling weight lost per iteration of an episode's age")
    ] = 0.8
    max_grad_norm: Annotated[float, Field(gt=0, description="gradient norm bound")] = 1.0


class DreamConfig(Part):
    """Imagined episodes inside M."""

    num_dreams: Annotated[int, Field(ge=1, description="dreams side by side")] = 1024
    horizon: Annotated[int, Field(ge=1, description="decisions dreamt before the value bootstraps")] = 12
    temperature: Annotated[
        Annotated[float, Field(gt=0)] | Literal["auto"],
        Field(description="mixture temperature: logits/tau, sigma*sqrt(tau); auto follows the measured dream-real gap"),
    ] = 1.15
    warmup: Annotated[int, Field(ge=0, description="real decisions M has seen before a dream branches off")] = 4


class ControllerConfig(Part):
    """C and the PPO that trains it, only inside the dream."""

    actor: Annotated[Literal["mlp", "linear"], Field(description="mlp: the seed's; linear: HS18's 867 parameters")] = (
        "mlp"
    )
    critic: Annotated[Literal["plain", "attention"], Field(description="the value network")] = "plain"
    first_updates: Annotated[int, Field(ge=0, description="PPO iterations in iteration 0")] = 60
    updates: Annotated[int, Field(ge=0, description="PPO iterations in each later iteration")] = 50
    update_epochs: Annotated[int, Field(ge=1, description="passes over each batch of dreams")] = 3
    minibatch_size: Annotated[int, Field(ge=1, description="dream steps a gradient step")] = 2048
    learning_rate: Annotated[
        float, Field(gt=0, description="Adam; warms up, then decays to a tenth, within an iteration")
    ] = 3e-4
    gamma: Annotated[float, Field(gt=0, le=1, description="discount per decision")] = 0.98
    settled_gamma: Annotated[
        float | None,
        Field(
            gt=0, le=1, description="gamma once two scores in a row were no new best, and from then on (none: never)"
        ),
    ] = 0.95
    gae_lambda: Annotated[float, Field(ge=0, le=1, description="GAE's lambda")] = 0.95
    reward_ceiling: Annotated[
        float | None,
        Field(
            gt=0,
            description="reward of a decision beyond which more is worth nothing, once reality pays C that (or none)",
        ),
    ] = 5.0
    clip_coef: Annotated[float, Field(gt=0, description="PPO's trust region")] = 0.2
    ent_coef: Annotated[float, Field(ge=0, description="entropy bonus")] = 0.003
    vf_coef: Annotated[float, Field(ge=0, description="value loss weight")] = 0.5
    max_grad_norm: Annotated[float, Field(gt=0, description="gradient norm bound")] = 0.5
    target_kl: Annotated[float, Field(gt=0, description="an update stops where approx_kl passes this")] = 0.045
    anchor_coef: Annotated[
        float, Field(ge=0, description="weight of the KL divergence (nats) from the policy the stage began with")
    ] = 0.03
    log_std: Annotated[Range, Field(description="bounds of the policy's log standard deviation")] = (-3.0, 0.0)


class EvaluateConfig(Part):
    """How the triple (V, M, C) is scored in reality."""

    tracks: Annotated[int, Field(ge=1, description="held-out tracks after each iteration")] = 20
    confirm_tracks: Annotated[int, Field(ge=1, description="further held-out tracks that confirm the goal")] = 100


class StoreConfig(Part):
    """How often a long stage saves itself, and what stays on the disk. These may change on resume."""

    snapshot_seconds: Annotated[float, Field(ge=0, description="seconds between snapshots inside a stage")] = 30.0
    keep_last: Annotated[
        int | None,
        Field(
            ge=1, description="newest iterations that training can go on from; older ones are pruned (none: all stay)"
        ),
    ] = None
    keep_best: Annotated[int, Field(ge=1, description="best agents that are never pruned")] = 1
    keep_every: Annotated[int, Field(ge=0, description="every so many-th agent is never pruned; 0: none")] = 0


class BudgetConfig(Part):
    """When the loop ends. These may change on resume."""

    iterations: Annotated[int, Field(ge=1, description="outer iterations at most")] = 60
    hours: Annotated[float | None, Field(gt=0, description="wall-clock hours at most")] = None
    goal: Annotated[
        float,
        Field(
            description="mean real score that ends the run, once further tracks confirm it with 95% certainty;"
            " 905, so that the next hundred tracks have 900 too"
        ),
    ] = 905.0


class RunConfig(Part):
    """All settings of one run. Written once into the run's folder; `resume` reads it from there."""

    preset: Annotated[str, Field(description="the preset these settings started from")] = "laptop"
    seed: Annotated[int, Field(ge=0, description="the run's seed; every random number derives from it")] = 0
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="where V, M and C compute")] = "auto"
    threads: Annotated[int, Field(ge=0, description="CPU threads of the learner, 0: one per core")] = 0
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16", "bf16-mixed"],
        Field(
            description="what factors of matrix products may be rounded to; bf16-mixed: M and C learn in mixed precision"
            " besides; auto: what pays on this machine"
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

    Raises:
        UsageError: an unknown preset or key (the nearest is named), or a value that does not fit its field.
    """
    if preset not in PRESETS:
        raise UsageError(
            f"unknown preset {preset!r}{_did_you_mean(preset, list(PRESETS))}: one of {', '.join(PRESETS)}"
        )
    merged: dict[str, Any] = {}
    for layer in (PRESETS[preset], *layers, {"preset": preset}):
        merged = _overlay(merged, layer)
    return _validate(merged)


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
    presets = {name: settings(build_config(name)) for name in PRESETS if name != RunConfig().preset}
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
            {preset: values[name] for preset, values in presets.items() if name != "preset" and values[name] != defaults[name]},
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


def changed_settings(old: RunConfig, new: RunConfig) -> list[str]:
    """Return the dotted names of settings outside `budget` and `store` that differ: what a resume may not change."""
    before, after = settings(old), settings(new)
    return [name for name in after if before[name] != after[name] and not name.startswith(("budget.", "store."))]


def _overlay(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in layer.items():
        old = result.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping) and key != "kwargs"
        result[key] = _overlay(old, value) if nested else value  # type: ignore[arg-type]
    return result


def _validate(merged: Mapping[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise UsageError("; ".join(_explain(fault) for fault in error.errors())) from error


def _explain(fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    name = ".".join(path)
    if fault["type"] == "extra_forbidden":
        near = _did_you_mean(name, [*settings(RunConfig()), *RunConfig.model_fields])
        return f"unknown setting {name!r}{near}; see `wmloop start --print-config`"
    return f"setting {name!r} does not accept {fault['input']!r}: {fault['msg']}"


def _did_you_mean(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
