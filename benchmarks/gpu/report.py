"""What was measured as a page of tables, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]
Result = Mapping[str, Any]

#: What a GPU of the class of an H100 is to reach at least: dream steps/s, trained steps/s, minutes to the confirmed goal.
TARGETS = {"dream": 50e6, "trained": 8e6}
_TARGET_MINUTES = 15.0


def page(result: Result) -> str:
    """Return the page of a result, of as many parts as it has."""
    parts = result["parts"]
    made = result["made"]
    title = made.get("gpu", "") if result["device"] == "cuda" else f"CPU: {made['cpu']}"
    told = [
        f"# {title}",
        f"torch {made['versions']['torch']}, {made['cores']} CPU cores, commit {made.get('git', 'unknown')}.",
    ]
    if result["tiny"]:
        why = "There is no GPU here: all" if result["device"] == "cpu" else "All"
        told.append(f"{why} parts ran with tiny sizes, which proves the command. **Its rates mean nothing.**")
    told.append(_table(("part", "state", "seconds", ""), [_state(name, part, made) for name, part in parts.items()]))
    for name, section in _SECTIONS.items():
        if name in parts and parts[name]["lines"]:
            told += section(parts[name]["lines"])
    told.append("## Targets")
    told.append(_table(("what", "best", "target", ""), _targets(result)))
    return "\n\n".join(told) + "\n"


def best(lines: Iterable[Line]) -> Line | None:
    """Return the line with the highest rate, if one has a rate."""
    rated = [line for line in lines if "rate" in line]
    return max(rated, key=lambda line: line["rate"]) if rated else None


def _state(name: str, part: Line, made: Line) -> list[str]:
    lines = part["lines"]
    wrong = sum("error" in line for line in lines)
    left = sum("skipped" in line for line in lines)
    notes = [part.get("error", "")]
    if part.get("commit", made.get("git", "unknown")) != made.get("git", "unknown"):
        notes.append(f"of commit {part['commit']}")
    notes += [f"{wrong} of {len(lines)} lines failed"] if wrong else []
    notes += [f"{left} of {len(lines)} lines skipped"] if left else []
    return [name, part["state"], str(part.get("seconds", "")), _cell("; ".join(filter(None, notes)))]


def _facts(lines: Sequence[Line]) -> list[str]:
    about = [line for line in lines if "torch" in line]
    cards = [line for line in lines if "card" in line]
    rounding = [line for line in lines if "precision" in line]
    names = ("fp32", "tf32", "bf16")
    return [
        "## The card",
        *(", ".join(f"{name} {_amount(name, value)}" for name, value in line.items()) + "." for line in about),
        _table(
            ("at most", *(f"{name}, TFLOP/s" for name in names), "memory, GB/s"),
            [[line["card"], *(f"{line[name] / 1e12:.3g}" for name in names), f"{line['bandwidth'] / 1e9:,.0f}"]
             for line in cards],
        ),
        "Bits that a product keeps of its factors (float32 has 24, tf32 11, bf16 8):",
        _table(
            ("precision", "matrix product", "convolution", "LSTM under autocast"),
            [[line["precision"], *_told(line, "product keeps bits", "convolution keeps bits", "LSTM computes in")]
             for line in rounding],
        ),
    ]  # fmt: skip


def _rates(title: str, text: str, lines: Sequence[Line]) -> list[str]:
    return [
        f"## {title}", text,
        _table(
            ("networks of preset", "precision", "dreams", "graph", "steps/s, least to most", "share of the roofline",
             "operators' traffic", "peak memory, reserved"),
            [[line["preset"], line["precision"], f"{line['batch']:,}", _graph(line), _rate(line), _percent(line, "share"),
              _percent(line, "bandwidth share"), _memory(line)] for line in lines],
        ),
    ]  # fmt: skip


def _dream(lines: Sequence[Line]) -> list[str]:
    text = (
        "The roofline is what the card's products and memory allow a step whose operators were one kernel. The traffic is what"
        " the operators move, each on its own, as a share of the memory's bytes/s: near 100% a step waits for memory."
        " `bf16-mixed` is held against the card's bf16, though only C's hidden layers compute in it: M dreams in tf32."
    )
    return _rates("Dream steps", text, lines)


def _trained(lines: Sequence[Line]) -> list[str]:
    epochs = next((line["epochs"] for line in lines if "epochs" in line), "all")
    return _rates("Trained steps", f"A step is dreamt, and PPO passes over it {epochs} times.", lines)


def _agreement(lines: Sequence[Line]) -> list[str]:
    steps = next((line["steps"] for line in lines if "steps" in line), "some")
    rows = [
        [line["network"], line["precision"], *_told(line, "first", "last", "loss", "their loss", form=".3g")]
        for line in lines
    ]
    header = ("network", "precision", "first loss", f"last ten of {steps}", "their mean", "on the CPU in fp32")
    return ["## The same losses as the CPU's", "Differences are relative.", _table(header, rows)]


def _identity(lines: Sequence[Line]) -> list[str]:
    rows = [
        [line["kernels"], line["run"], *_told(line, "things", "equal", "first difference", "left")] for line in lines
    ]
    header = ("kernels", "run", "files and metrics", "as the whole run", "first difference", "times left")
    return ["## The same run again, and a resumed one", _table(header, rows)]


def _training(lines: Sequence[Line]) -> list[str]:
    rows = [
        [
            str(line["seed"]),
            *_told(line, "minutes to 900", "minutes to the goal", "minutes", form=".1f"),
            ", ".join(f"{score:.0f}" for score in line.get("scores", ())),
        ]
        for line in lines
    ]
    header = ("seed", "minutes to a score of 900", "to the confirmed goal", "minutes so far", "scores")
    return ["## Training", "Minutes are those of work, from the run's versions.", _table(header, rows)]


_SECTIONS: dict[str, Callable[[Sequence[Line]], list[str]]] = {
    "facts": _facts, "dream": _dream, "trained": _trained, "agreement": _agreement, "identity": _identity,
    "deterministic": _identity, "training": _training,
}  # fmt: skip


def _targets(result: Result) -> list[list[str]]:
    if result["tiny"]:
        return [["all", "not measured: sizes were tiny", "", ""]]
    rows = []
    for name, target in TARGETS.items():
        found = best(result["parts"].get(name, {"lines": []})["lines"])
        rows.append(
            [f"{name} steps/s", *_against(found and found["rate"], target, (found or {}).get("rate", 0) >= target)]
        )
    for line in result["parts"].get("training", {"lines": []})["lines"]:
        minutes = line.get("minutes to the goal")
        met = minutes is not None and minutes <= _TARGET_MINUTES
        rows.append([f"minutes to the confirmed goal, seed {line['seed']}", *_against(minutes, _TARGET_MINUTES, met)])
    return rows


def _against(found: float | None, target: float, met: bool) -> list[str]:
    if found is None:
        return ["not measured", f"{target:,.0f}", ""]
    return [f"{found:,.1f}" if target < 100 else f"{found:,.0f}", f"{target:,.0f}", "met" if met else "missed"]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _told(line: Line, *keys: str, form: str = "") -> list[str]:
    """Return what a line has by its keys, a cell each; where it has nothing of it, the first says why."""
    if not any(key in line for key in keys):
        return [_fault(line), *[""] * (len(keys) - 1)]
    return [_number(line.get(key), form) for key in keys]


def _number(value: Any, form: str) -> str:
    if value is None:
        return ""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else _cell(format(value, form))


def _fault(line: Line) -> str:
    """Return why a line tells nothing: it failed, or was skipped."""
    return _cell(
        f"failed: {line['error']}" if "error" in line else f"skipped: {line['skipped']}" if "skipped" in line else ""
    )


def _cell(text: str) -> str:
    """Return a text that stays within its cell."""
    return text.replace("|", "/").replace("\n", " ")[:120]


def _rate(line: Line) -> str:
    if "rate" not in line:
        return _fault(line)
    return f"{line['rate']:,.0f} ({line['least']:,.0f} to {line['most']:,.0f})"


def _graph(line: Line) -> str:
    if line.get("captured"):
        return "yes"
    if not line["graph"]:
        return "no"
    return (
        _cell(f"asked for, not captured: {line.get('not captured', 'there is no CUDA')}")
        if "captured" in line
        else "asked for"
    )


def _percent(line: Line, key: str) -> str:
    return f"{line[key]:.1%}" if key in line else ""


def _memory(line: Line) -> str:
    return f"{line['allocated'] / 2**30:.2f}, {line['reserved'] / 2**30:.2f} GiB" if "allocated" in line else ""


def _amount(name: str, value: Any) -> str:
    return f"{value / 2**30:.0f} GiB" if name == "memory" else str(value)
