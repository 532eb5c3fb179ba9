"""The project keeps the rules that CONTRIBUTING.md and docs/architecture.md state about its code."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import petitbleu
import petitbleu.testing
import pytest
from petitbleu.store.queries import QUERIES

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "petitbleu"
PLUGINS = {
    folder.name: folder / f"petitbleu_{folder.name}" for folder in (ROOT / "plugins").iterdir() if folder.is_dir()
}
PLUGINS |= {one.name: one / one.name.replace("-", "_") for one in (ROOT / "examples").iterdir() if one.is_dir()}
"""The packages of plugins, bundled ones and examples."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


FOLDERS = (".ci", "benchmarks", "config", "core", "deploy", "docs", "examples", "plugins", "tests")
GENERATED = {"__pycache__", "build", "node_modules", "out", "var"}


def files() -> list[Path]:
    """What people wrote."""
    found = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    written = (path for path in found if path.is_file() and not path.is_symlink())
    return sorted(path for path in written if not GENERATED & {*path.relative_to(ROOT).parts})


def modules() -> list[Path]:
    """Every Python file of the repository, tests included."""
    return [path for path in files() if path.suffix == ".py"]


# -------------------------------------------------------------------------------------------------- what is public


PUBLIC = [petitbleu, petitbleu.testing]


@pytest.mark.parametrize("package", PUBLIC, ids=lambda package: package.__name__)
def test_the_public_names_are_sorted_and_exact(package: ModuleType) -> None:
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text("utf-8"))
    imported = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    # constants, classes, functions; each by the alphabet
    assert package.__all__ == sorted(package.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert len(package.__all__) == len(set(package.__all__))
    assert set(package.__all__) == imported | ({"__version__"} if package is petitbleu else set())


@pytest.mark.parametrize("package", PUBLIC, ids=lambda package: package.__name__)
def test_a_public_name_says_what_it_is(package: ModuleType) -> None:
    """By a docstring of its own: a dataclass without one has its signature."""
    silent = []
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            text = inspect.cleandoc(value.__doc__ or "")
            if not text or text.startswith(f"{name}("):
                silent.append(name)
    assert silent == []


@cache
def _imports(module: Path) -> Sequence[tuple[str, Sequence[str]]]:
    """(module, names) of each import, wherever in the file it stands; relative ones start with a dot."""
    found: list[tuple[str, Sequence[str]]] = []
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(("." * node.level + (node.module or ""), [alias.name for alias in node.names]))
    return found


@pytest.mark.parametrize("module", sorted(CORE.rglob("*.py")), ids=named)
def test_the_core_imports_no_plugin(module: Path) -> None:
    assert [name for name, _ in _imports(module) if name.startswith("petitbleu_")] == []


@pytest.mark.parametrize(
    "module", sorted(file for folder in PLUGINS.values() for file in folder.rglob("*.py")), ids=named
)
def test_plugins_import_public_names_only(module: Path) -> None:
    public = set(petitbleu.__all__)
    own = module.relative_to(ROOT).parts[2]
    for name, names in _imports(module):
        if name == "petitbleu" or name.startswith("petitbleu."):
            assert name == "petitbleu"
            assert names, "import names from petitbleu, not the package"
            assert set(names) <= public
        assert name.startswith(own) or not name.startswith("petitbleu_"), f"imports another plugin, {name}"


def _imported_by(name: str) -> Iterator[str]:
    """The core's modules that a module or folder of the core imports."""
    folder = CORE / name
    dots = ".." if folder.is_dir() else "."
    for file in folder.rglob("*.py") if folder.is_dir() else [CORE / f"{name}.py"]:
        for module, names in _imports(file):
            if module == dots:
                yield from names
            elif module.startswith(dots) and not module.startswith(dots + "."):
                yield module.removeprefix(dots).partition(".")[0]


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FACE = {"__init__", "__main__"}
"""Of the core: they belong to no layer."""


def test_layers_import_downwards() -> None:
    text = ARCHITECTURE.split("## Layers")[1]
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| [^|]+ \|([^|]+)\|$", text, re.M)]
    layers = {module: depth for depth, row in enumerate(filter(None, rows)) for module in row}
    upwards = [
        f"{name} imports {target}"
        for name, depth in layers.items()
        for target in _imported_by(name)
        if layers.get(target, depth) < depth
    ]
    assert upwards == []
    assert {*layers} == {
        one.stem for one in CORE.iterdir() if one.suffix == ".py" or (one / "__init__.py").is_file()
    } - FACE


def test_imports_go_in_no_circle() -> None:
    """Between modules and folders of the core: whoever reads one need not read another first that needs it."""
    units = {one.stem for one in CORE.iterdir() if one.suffix == ".py" or (one / "__init__.py").is_file()} - FACE
    imported = {name: {*_imported_by(name)} & units - {name} for name in units}
    assert imported["delivery"] >= {"metrics", "steps"}
    TopologicalSorter(imported).prepare()


def test_the_architecture_page_names_what_is_there() -> None:
    """Modules by their path, or in a paragraph about a folder by their name; and every table."""
    there = [path.relative_to(CORE).as_posix() for path in CORE.rglob("*.py")] + [named(Path(__file__))]
    named_there = {*re.findall(r"`([a-z_/]+\.py)`", ARCHITECTURE)}
    assert [one for one in sorted(named_there) if not any(f"/{path}".endswith(f"/{one}") for path in there)] == []
    tables = {*re.findall(r"table = \"(\w+)\"", (CORE / "store" / "models.py").read_text("utf-8"))}
    rows = " ".join(re.findall(r"^\| (`[^|]+) \|", ARCHITECTURE.split("## Tables")[1].split("## ")[0], re.M))
    assert {*re.findall(r"`(\w+)`", rows)} == tables


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugins_package_holds_hooks_and_nothing_else(name: str) -> None:
    body = ast.parse((PLUGINS[name] / "__init__.py").read_text("utf-8")).body[1:]
    for node in body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            assert node.name in vars(petitbleu.hookspecs)
            assert [ast.unparse(one) for one in node.decorator_list] == ["hookimpl"]


# ------------------------------------------------------------------------------------------------------ the repository


@pytest.mark.parametrize("module", modules(), ids=named)
def test_a_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text("utf-8")))


LEFT_OVER = r"\b(TO" + r"DO|FIX" + r"ME)\b"
REGISTRIES = "|".join((r"pypi\." + "org", "npm" + "js", r"deb\.debian\." + "org"))
"""Written in pieces: this file is looked at too."""


@pytest.mark.parametrize("words", [LEFT_OVER, REGISTRIES], ids=["left over", "registries"])
def test_no_file_has_words_that_do_not_belong(words: str) -> None:
    found = []
    for path in files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{named(path)}: {match[0]}" for match in re.finditer(words, text)]
    assert found == []


def test_no_statement_takes_the_name_of_another() -> None:
    """The dictionaries become one, in which the last of a name would silently be all of them."""
    names: list[str] = []
    for path in sorted((CORE / "store").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                names += [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    assert {*QUERIES} <= {*names}
    assert [name for name in QUERIES if names.count(name) > 1] == []
