"""What is built, installed and found: the wheel, the source archive, an editable install."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def _run(*command, **kwargs):
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files(folder):
    return {
        str(f.relative_to(folder))
        for f in folder.rglob("*")
        if f.is_file() and "__pycache__" not in f.parts
    }


@pytest.fixture(scope="module")
def checkout(root, tmp_path_factory):
    """A copy of what the build reads, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("kimi_provider", "templates", "dags", "tests"):
        shutil.copytree(root / folder, copy / folder, ignore=ignore)
    for file in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Makefile",
        "constraints.txt",
    ):
        shutil.copy(root / file, copy)
    return copy


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """Build the source archive, and the wheel from it, as a release does; return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    _run("-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout))
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (file,) = built.glob("*.whl")
    return file


FIND = """
import json, site, sys
for path in {drop!r}:
    sys.path[:] = [p for p in sys.path if p != path]
if {add!r}:
    site.addsitedir({add!r})
import kimi_provider
from kimi_provider.hooks.templates import bundled_templates, template_search_path
found = kimi_provider.__file__, bundled_templates(), template_search_path("reports")[-1]
print(json.dumps([str(path) for path in found]))
"""


def _found(root, tmp_path, *, add):
    """Ask an interpreter that does not see the checkout which package and templates it finds."""
    code = FIND.format(drop=[str(root), ""], add=str(add))
    return json.loads(_run("-c", code, cwd=tmp_path).splitlines()[-1])


def test_wheel_holds_the_whole_package_and_its_templates(root, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
        entry_points = archive.read(
            next(n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        ).decode()
    package = {f"kimi_provider/{name}" for name in _files(root / "kimi_provider")}
    templates = {f"kimi_provider/templates/{name}" for name in _files(root / "templates")}
    assert templates
    assert names == package | templates
    assert "kimi_provider/py.typed" in names
    assert "Requires-Python: <3.14,>=3.11" in metadata
    assert "Framework :: Apache Airflow :: Provider" in metadata
    assert "kimi_provider.get_provider_info:get_provider_info" in entry_points
    assert "kimi_provider.plugins.kimi:KimiPlugin" in entry_points


def test_source_archive_can_be_tested(root, built):
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "README.md", "CHANGELOG.md", "LICENSE"} <= names
    assert "tests/conftest.py" in names
    assert {f"templates/{name}" for name in _files(root / "templates")} <= names


def test_installed_wheel_finds_its_templates(root, wheel, tmp_path):
    target = tmp_path / "target"
    _run("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(target), str(wheel))
    package, templates, reports = _found(root, tmp_path, add=target)
    assert package == str(target / "kimi_provider" / "__init__.py")
    assert templates == str(target / "kimi_provider" / "templates")
    assert reports == f"{templates}/reports"
    assert _files(target / "kimi_provider" / "templates") == _files(root / "templates")


def test_editable_install_finds_the_templates_of_the_checkout(root, checkout, tmp_path):
    prefix = tmp_path / "prefix"
    _run(
        *("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"),
        *("--ignore-installed", "--prefix", str(prefix), "-e", str(checkout)),
    )
    site = sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)})
    package, templates, _ = _found(root, tmp_path, add=site)
    assert package == str(checkout / "kimi_provider" / "__init__.py")
    assert templates == str(checkout / "templates")


def _constraints(root):
    lines = (
        line.partition("#")[0].strip() for line in (root / "constraints.txt").read_text().splitlines()
    )
    return [line for line in lines if line]


def test_constraints_are_names_and_versions_only(root):
    for line in _constraints(root):
        assert re.fullmatch(r"[a-z0-9._-]+==[A-Za-z0-9.!+_-]+", line), line
    names = [line.partition("==")[0] for line in _constraints(root)]
    assert names == sorted(set(names))


def test_constraints_satisfy_what_the_project_asks_for(root, project):
    pinned = {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in _constraints(root))
    }
    table = tomllib.loads((root / "pyproject.toml").read_text())
    asked = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
        *table["dependency-groups"]["dev"],
        *table["build-system"]["requires"],
    ]
    for requirement in map(Requirement, asked):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"
