"""Things from outside: names that installed packages bring, things in modules, and what is wrong with them."""

import pytest

from wmloop import entries
from wmloop.entries import Registry
from wmloop.errors import UsageError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return what installs a package of some entry points, `{group: {name: value}}`, and of a module."""

    def install(name, groups, module=""):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line
            for group, points in groups.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        (tmp_path / f"{name}.py").write_text(module)

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def registry():
    return Registry("things", "thing", {"ours": "math:pi"})


def test_our_own_thing_is_found_without_looking_through_packages(monkeypatch):
    monkeypatch.setattr(entries.importlib.metadata, "entry_points", lambda **_: pytest.fail("looked through packages"))
    assert registry().get("ours") == pytest.approx(3.14159, rel=1e-5)


def test_a_package_brings_things_by_their_names(package):
    package("kites", {"wmloop.things": {"kite": "kites:KITE"}}, "KITE = 'a kite'")
    assert registry().get("kite") == "a kite"
    assert registry().names() == ["ours", "kite"]
    assert "kite" in registry()
    assert "kites" not in registry()


def test_a_module_of_the_current_folder_can_be_named(tmp_path, monkeypatch):
    (tmp_path / "mine_alone.py").write_text("THING = 7")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(entries.sys, "path", entries.sys.path[:])
    assert registry().get("mine_alone:THING") == 7


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("", "'kite': 'kites:KITE' cannot be imported: .*KITE"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("raise ValueError('no wind')", "no wind"),
        ("KITE = ", "invalid syntax"),
    ],
)
def test_a_thing_that_cannot_be_imported_is_refused_with_the_reason(package, module, said):
    package("kites", {"wmloop.things": {"kite": "kites:KITE"}}, module)
    entries.sys.modules.pop("kites", None)
    with pytest.raises(UsageError, match=said):
        registry().get("kite")


def test_an_unknown_thing_is_refused_with_those_that_there_are(package):
    package("kites", {"wmloop.things": {"kite": "kites:KITE"}})
    with pytest.raises(UsageError, match=r"unknown thing 'kit'.*did you mean 'kite'.*one of ours, kite"):
        registry().get("kit")


def test_a_name_that_two_packages_bring_is_refused_with_both(package):
    package("kites", {"wmloop.things": {"kite": "kites:KITE"}})
    registry().require_unique()
    package("dragons", {"wmloop.things": {"kite": "dragons:KITE"}})
    with pytest.raises(UsageError, match=r"(dragons and kites|kites and dragons) each register the thing 'kite'"):
        registry().require_unique()


def test_a_name_of_our_own_that_a_package_brings_too_stays_ours_and_is_told(package):
    package("kites", {"wmloop.things": {"ours": "kites:KITE"}})
    assert registry().get("ours") == pytest.approx(3.14159, rel=1e-5)
    with pytest.raises(UsageError, match="wmloop and kites each register the thing 'ours'"):
        registry().require_unique()
