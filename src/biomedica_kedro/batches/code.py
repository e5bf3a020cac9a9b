"""A digest of the code that a stage runs: equal digests mean that nothing it is made of was changed.

Names are followed in the source, from a function through definitions, imports and attributes of imported modules, as
far as they lead into its own package or this one. Comments, docstrings and blank lines do not count. Not followed:
other libraries, `biomedica_kedro.batches` itself (how work is cut and kept, not what is computed), and what only a
value at run time decides; inputs that stand for code (sources, models) have digests of their own.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from biomedica_kedro import __version__

_OURS = __name__.partition(".")[0]
_MACHINERY = __name__.rpartition(".")[0]
# Stands for the statements of a module that run whatever is used of it: registrations, checks.
_ALWAYS = ""
_ALL = "*"


def code_digest(*things: object) -> str:
    """Hexadecimal digest of the source that functions and classes are made of.

    Args:
        things: top-level functions or classes, importable by module and name.
    """
    return _digest_of(
        *((getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "").partition(".")[0]) for thing in things)
    )


@cache
def _digest_of(*symbols: tuple[str, str]) -> str:
    seen: dict[tuple[str, str], str] = {}
    for module, name in symbols:
        _follow(module, name, seen)
    # Without the modules' names: a script is the same code run and imported.
    told = sorted(f"{name}\n{source}" for (_, name), source in seen.items() if source)
    # Where no source is to be had, the version has to do.
    return hashlib.sha256("\n".join(told or [__version__, *map(str, symbols)]).encode()).hexdigest()


@dataclass(slots=True)
class _Module:
    """The source of a module by top-level name; `_ALWAYS` holds what belongs to no name.

    Attributes:
        sources: statements by the name they define.
        used: names, and attributes of names, that these statements use.
        imported: what a name may stand for: modules, or names in modules.
    """

    sources: dict[str, str] = field(default_factory=dict)
    used: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    imported: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def define(self, name: str, source: str, used: set[tuple[str, str]]) -> None:
        """Add a statement to what defines a name."""
        self.sources[name] = self.sources.get(name, "") + source
        self.used.setdefault(name, set()).update(used)

    def leads_to(self, name: str, attribute: str) -> Iterator[tuple[str, str]]:
        """What an imported name, or an attribute of it, leads to in other modules."""
        for module, imported in self.imported.get(name, ()):
            if imported == _ALL:
                yield module, ""
            elif not imported:
                yield module, attribute
            elif _path_of(f"{module}.{imported}") is None:
                yield module, imported
            else:
                yield f"{module}.{imported}", attribute


def _follow(module: str, name: str, seen: dict[tuple[str, str], str]) -> None:
    """Gather a name of a module, and all that its definition uses; an empty name is the whole module."""
    tops = {module.partition(".")[0], _OURS}
    waiting = [(module, name)]
    while waiting:
        module, name = waiting.pop()
        if module.partition(".")[0] not in tops or f"{module}.".startswith(f"{_MACHINERY}."):
            continue
        read = _read(module)
        if read is None:
            continue
        for own in {name, _ALWAYS} if name else {*read.sources, _ALWAYS}:
            if (module, own) in seen:
                continue
            seen[module, own] = read.sources.get(own, "")
            waiting.extend(read.leads_to(own, ""))
            for word, attribute in read.used.get(own, ()):
                if word in read.sources:
                    waiting.append((module, word))
                waiting.extend(read.leads_to(word, attribute))


@cache
def _read(name: str) -> _Module | None:
    path = _path_of(name)
    if path is None:
        return None
    text = path.read_text(encoding="utf-8")
    module = _Module()
    if path.suffix != ".py":
        module.define(_ALWAYS, text, set())
        return module
    lines = text.splitlines()
    tree = ast.parse(text)
    for alias, target in _imports_of(tree, name if path.stem == "__init__" else name.rpartition(".")[0]):
        module.imported.setdefault(alias, set()).add(target)
    for statement in _flat(tree.body):
        for defined in _names_of(statement):
            module.define(defined, _source_of(statement, lines), _used_by(statement))
    return module


def _imports_of(tree: ast.Module, package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """What each imported name stands for, wherever the import is written; a star stands for all of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = importlib.util.resolve_name("." * node.level + module, package)
            for alias in node.names:
                yield (_ALWAYS if alias.name == _ALL else alias.asname or alias.name), (module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                is_dotted = "." in alias.name and not alias.asname
                yield alias.asname or alias.name.partition(".")[0], (alias.name, _ALL if is_dotted else "")


def _flat(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those under `if` and `try` included; imports are known already."""
    for statement in statements:
        if isinstance(statement, ast.If):
            yield from _flat(statement.body + statement.orelse)
        elif isinstance(statement, ast.Try):
            handled = [inner for handler in statement.handlers for inner in handler.body]
            yield from _flat(statement.body + handled + statement.orelse + statement.finalbody)
        elif not isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement


def _names_of(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        registered = any(isinstance(node, ast.Attribute) and node.attr == "register" for node in _decorators(statement))
        return [_ALWAYS] if registered else [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return names or [_ALWAYS]
    return [_ALWAYS]


def _decorators(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[ast.AST]:
    for decorator in statement.decorator_list:
        yield from ast.walk(decorator)


def _source_of(statement: ast.stmt, lines: list[str]) -> str:
    """Lines of a statement without comments of their own, blank lines and docstrings."""
    first = min((node.lineno for node in getattr(statement, "decorator_list", [])), default=statement.lineno)
    left_out: set[int] = set()
    for node in ast.walk(statement):
        body = getattr(node, "body", None)
        for inner in body if isinstance(body, list) else []:
            if _is_text(inner):
                left_out.update(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    kept = [lines[n - 1].rstrip() for n in range(first, (statement.end_lineno or first) + 1) if n not in left_out]
    if _is_text(statement):
        return ""
    return "".join(f"{line}\n" for line in kept if line and not line.lstrip().startswith("#"))


def _is_text(statement: ast.AST) -> bool:
    """Whether a statement is a string that stands alone."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _used_by(statement: ast.stmt) -> set[tuple[str, str]]:
    """Names that a statement uses, each with the attribute that is asked of it; "" where the name stands alone."""
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    roots = {id(node.value) for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    used |= {(node.id, "") for node in ast.walk(statement) if isinstance(node, ast.Name) and id(node) not in roots}
    return used


@cache
def _path_of(module: str) -> Path | None:
    """File of a module, found without importing it; None for what is no module with a source."""
    top, *parts = module.split(".")
    loaded = sys.modules.get(module)
    if loaded is not None and str(getattr(loaded, "__file__", "")).endswith(".py"):
        return Path(str(loaded.__file__))
    spec = importlib.util.find_spec(top) if top and top != "__main__" else None
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        stem = Path(root, *parts)
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py", stem.with_name(f"{stem.name}.pyx")):
            if parts and path.is_file():
                return path
        if not parts and (stem / "__init__.py").is_file():
            return stem / "__init__.py"
    return None
