"""Make docs/settings.md of the settings themselves (python -m tools.reference)."""

from __future__ import annotations

import json
from typing import Any

from wmloop.config import Setting, explain
from wmloop.pipelines import PIPELINES

HEAD = """# Settings

Every setting and its default. The preset `laptop` changes nothing, so with it the values of an environment's profile
hold. In a terminal:

```sh
wmloop settings
wmloop settings memory
wmloop settings learning_rate
wmloop settings --pipeline vanilla-ppo ppo
wmloop config demo
wmloop start --preset gpu --print-config
```

A profile holds settings that suit one environment id (`wmloop tasks` lists them). Settings come from, in this order, later
ones win: the defaults, the environment's profile, the preset, `--config FILE.toml`, `--set NAME=VALUE`, options. The last
column lists the presets that set it (even where that is the default, because a preset wins over a profile), and the
environments whose profile has another value. A run's settings are written into its folder once, and `resume` uses those.
`resume` may change `budget.*` and `store.*`; what does not affect results (`env.engine`, `env.worker_timeout`,
`vision.frame_cache`); and what depends on the machine (`device`, `threads`, `precision`, `env.num_envs`), after which the run
is no longer bit for bit the one that was never stopped. `fork` makes a new run, in which all settings but the preset and the
networks' shapes may change. An unknown name is refused, and the nearest one is named. This page is made by
`python -m tools.reference`.

An *agent step* (in names: `decisions`) is one action of the policy, repeated for `env.action_repeat` environment steps
(in names: `frames`). *Imagined episodes* (dreams) are those of the world model. Presets `gpu` and `paper` are not
measured: no run with them was ever finished.
"""


def page() -> str:
    """Return the page."""
    known = explain()
    lines = [HEAD, *_tables(known)]
    for pipeline in PIPELINES.own:
        mine = [setting for setting in explain(pipeline=pipeline) if setting.name != "pipeline"]
        own = [setting for setting in mine if setting not in known]
        if own:
            lines += [f"\n## The pipeline `{pipeline}`\n\n{_common(pipeline, known)}", *_tables(own, "#")]
    return "\n".join(lines) + "\n"


def _common(pipeline: str, known: list[Setting]) -> str:
    """Return what a pipeline has of the settings that are told already."""
    has = {setting.name: setting.default for setting in explain(pipeline=pipeline)}
    groups: dict[str, list[str]] = {}
    for setting in known:
        if setting.name in has and "." in setting.name:
            groups.setdefault(setting.name.partition(".")[0], []).append(setting.name)
    of = {group: sum(setting.name.startswith(f"{group}.") for setting in known) for group in groups}
    whole = ", ".join(f"`{group}`" for group, names in groups.items() if len(names) == of[group])
    parts = [", ".join(f"`{name}`" for name in names) for group, names in groups.items() if len(names) < of[group]]
    other = [
        f"`{setting.name}` is {_short(has[setting.name])}"
        for setting in known
        if setting.name != "pipeline" and setting.name in has and has[setting.name] != setting.default
    ]
    told = f"It has the settings above of every run, those of the groups {whole}"
    told += "".join(f"; {some}" for some in parts) + ", and its own."
    return told + (f" In it {', '.join(other)} by default." if other else "")


def _tables(settings: list[Setting], level: str = "") -> list[str]:
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    lines = []
    for group, some in groups.items():
        title = f"`[{group}]`" if group else "Every run"
        lines.append(f"\n{level}## {title}\n\n| setting | default | meaning | presets, profiles |\n|---|---|---|---|")
        for setting in some:
            name, default = setting.name.removeprefix(f"{group}."), _short(setting.default)
            others = ", ".join(f"{preset} {_short(value)}" for preset, value in setting.presets.items())
            lines.append(f"| `{name}` | {default} | {setting.meaning.replace('|', '/')} | {others} |")
    return lines


def _short(value: Any) -> str:
    return f"`{'none' if value is None else json.dumps(value, default=list, ensure_ascii=False)}`"
