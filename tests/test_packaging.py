"""What is given away: a wheel and an sdist with everything they need, and files around them that agree with each other."""

import email
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

import wmloop
from tests.processes import ROOT
from tools import versions

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PYPROJECT["tool"]["wmloop"]["repository"]
LISTED = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
#: What lies about where somebody has worked.
SCRATCH = (
    "runs/mine/run.toml",
    "drive.mp4",
    "build/notes",
    "wmloop/__pycache__/a.pyc",
    "tests/__pycache__/a.pyc",
    ".venv/a",
)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def build(kind, tree, to):
    """Build as `pip` and `build` do, but with the hatchling that is installed."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(to)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of the project, without anything else."""
    copy = tmp_path_factory.mktemp("tree")
    for name in [*LISTED, "pyproject.toml", ".gitignore"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def sdist(tree, tmp_path_factory):
    """Return the sdist, made where somebody has worked, and the folder it unpacks to."""
    worked, out = tmp_path_factory.mktemp("worked"), tmp_path_factory.mktemp("sdist")
    shutil.copytree(tree, worked, dirs_exist_ok=True)
    for name in SCRATCH:
        (worked / name).parent.mkdir(parents=True, exist_ok=True)
        (worked / name).write_text("scratch")
    made = build("sdist", worked, out)
    with tarfile.open(made) as archive:
        archive.extractall(out, filter="data")
    return made, out / made.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Return the wheel, made from the sdist as an index's users would."""
    return build("wheel", sdist[1], tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_sdist_is_the_project_and_nothing_that_lies_about(sdist, tree):
    assert files(sdist[1]) == files(tree) | {"PKG-INFO"}
    assert {"tests/golden/format-1/run.toml", "docs/faq.md", "Makefile", "tests/outside/pyproject.toml"} <= files(tree)


def test_the_wheel_is_the_package_whole_and_below_six_megabytes(wheel, tree):
    assert wheel.stat().st_size <= 6_000_000
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert {name for name in archive.namelist() if name.endswith("/licenses/LICENSE")}
        (scripts,) = (archive.read(name) for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert inside == {f"wmloop/{name}" for name in files(tree / "wmloop")}
    assert b"wmloop = wmloop.__main__:main" in scripts


def test_the_wheel_is_the_same_from_the_sdist_and_from_a_checkout(wheel, tree, tmp_path):
    assert build("wheel", tree, tmp_path).read_bytes() == wheel.read_bytes()


def test_the_metadata_says_what_pyproject_says(metadata):
    assert metadata["Version"] == wmloop.__version__
    assert metadata["Author"] == "The wmloop authors"
    assert metadata["License-Expression"] == "MIT"
    assert len(metadata["Summary"]) > 20
    addresses = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert addresses.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert all(address.startswith(REPOSITORY) for address in addresses.values())
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra")) == set(extras)
    asked = [*PYPROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    names = {re.match(r"[\w-]+", line).group() for line in asked} - {"wmloop"}  # an extra of extras is spelt out
    assert {re.match(r"[\w-]+", line).group() for line in metadata.get_all("Requires-Dist")} == names


def test_every_link_on_the_index_page_is_whole_and_leads_to_a_file_of_the_project(metadata):
    text = re.sub(r"^```.*?^```$", "", metadata.get_payload(), flags=re.MULTILINE | re.DOTALL)
    targets = [one or other for one, other in re.findall(r"""\]\(([^)\s]+)|(?:src|href)="([^"]+)""", text)]
    assert {target for target in targets if not re.match(r"https://|#", target)} == set()
    here = [
        found.groups() for target in targets if (found := re.match(rf"{REPOSITORY}/(raw|blob)/main/([^#]+)", target))
    ]
    assert {path for _, path in here if not (ROOT / path).exists()} == set()
    assert {view for view, path in here if path.endswith((".png", ".gif", ".svg"))} == {"raw"}


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a page](docs/faq.md#no-display)", "[a page](R/blob/B/docs/faq.md#no-display)"),
        ("[![a film](docs/a.gif)](docs/b.md)", "[![a film](R/raw/B/docs/a.gif)](R/blob/B/docs/b.md)"),
        ('<img width="9" src="docs/a.png">', '<img width="9" src="R/raw/B/docs/a.png">'),
        ("[out](https://example.org) [here](#part) [to](mailto:a@example.org)", None),
        ("see\n```python\nagents[0](frame)\n```\nthere", None),
    ],
)
def test_links_to_files_become_addresses_and_nothing_else_does(written, shown):
    from hatch_build import absolute

    assert absolute(written, "R", "B") == (shown or written)


@pytest.mark.parametrize("page", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_files_around_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    assert links or page == "SECURITY.md"
    assert {link for link in links if not (ROOT / link).exists()} == set()


def test_the_citation_is_of_this_version_and_address():
    said = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {wmloop.__version__}\n" in said
    assert f'\nrepository-code: "{REPOSITORY}"\n' in said


def test_the_changelog_begins_with_this_version():
    (version, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == wmloop.__version__


def test_the_tested_versions_are_allowed_and_of_all_that_is_asked_for():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    tested = dict(line.split("==") for line in lines)
    for requirement in map(Requirement, versions.declared()):
        if requirement.name != "wmloop" and (requirement.marker is None or requirement.marker.evaluate()):
            assert requirement.specifier.contains(tested[versions.normal(requirement.name)]), requirement


def test_the_lowest_versions_are_the_bounds_and_every_requirement_has_one():
    found = versions.lowest(set())
    assert found.keys() == {versions.normal(Requirement(line).name) for line in versions.declared()} - {"wmloop"}
    assert (found["torch"], found["numpy"]) == ("2.6", "1.26")
    assert "torch" not in versions.lowest({"torch"})


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_git_passes_over_what_the_tutorial_and_the_questions_make(tmp_path):
    text = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("tutorial", "faq"))
    made = re.findall(r"--(?:render|to) (\w[\w.-]*[\w])(?=\s)", text)
    made = [name for name in made if name != "terminal"] + ["first-report/report.html"]
    assert len(made) >= 6
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for name in made:
        (tmp_path / name / "a" if "." not in name else tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name / "a" if "." not in name else tmp_path / name).touch()
    listed = ["git", "status", "--porcelain", "--untracked-files=all"]
    left = subprocess.run(listed, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert left.split() == ["??", ".gitignore"]
