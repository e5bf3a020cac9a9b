"""Reminds of a stage's version when its code has changed: digests of the code of every stage, kept in `stages.lock`.

    python tests/architecture/stage_code.py      after raising the version, or when the results stay the same

Names are followed in the source, from a function through definitions, imports and attributes of imported modules, as
far as they lead into its own package or this project. Comments, docstrings and blank lines do not count. Not followed:
other libraries, the engine itself (how work is cut and kept, not what is computed), and what only a value at run time
decides.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
LOCK = PROJECT / "stages.lock"
_OURS = "biomedica_kedro"
_MACHINERY = "biomedica_kedro.stages"
# Stands for the statements of a module that run whatever is used of it: registrations, checks.
_ALWAYS = ""
_ALL = "*"


def code_digest(*things: object) -> str:
    """Hexadecimal digest of the source that functions and classes are made of.

    Args:
        things: top-level functions or classes, importable by module and name, or "package.module:name".
    """
    return _digest_of(*map(_symbol, things))


def _symbol(thing: object) -> tuple[str, str]:
    module, _, name = (
        thing.partition(":")
        if isinstance(thing, str)
        else (getattr(thing, "__module__", ""), "", getattr(thing, "__qualname__", ""))
    )
    return module, name.partition(".")[0]


@cache
def _digest_of(*symbols: tuple[str, str]) -> str:
    seen: dict[tuple[str, str], str] = {}
    for module, name in symbols:
        _follow(module, name, seen)
    # Without the modules' names: a script is the same code run and imported.
    told = sorted(f"{name}\n{source}" for (_, name), source in seen.items() if source)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@dataclass(slots=True)
class _Module:
    """The statements of a module by the top-level name they define; `_ALWAYS` holds what belongs to no name.

    Attributes:
        statements: by name.
        imported: what a name may stand for: modules, or names in modules.
        text: the whole source, where it is not Python's.
    """

    statements: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    text: str = ""

    def source(self, name: str) -> str:
        """What defines a name, in a form that knows no comments, docstrings and line breaks."""
        told = "\n".join(map(_told, self.statements.get(name, ())))
        return f"{self.text}\n{told}" if name == _ALWAYS and self.text else told

    def uses(self, name: str) -> set[tuple[str, str]]:
        """Names, and attributes of names, that the definition of a name uses."""
        return {used for statement in self.statements.get(name, ()) for used in _used_by(statement)}

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
        if f"{module}.".startswith(f"{_MACHINERY}."):
            continue
        read = _read(module) if module.partition(".")[0] in tops else None
        if read is None:
            seen[module, name] = module  # of another library: which one, not what is in it
            continue
        for own in {name, _ALWAYS} if name else {*read.statements, *read.imported, _ALWAYS}:
            if (module, own) in seen:
                continue
            seen[module, own] = read.source(own)
            waiting.extend(read.leads_to(own, ""))
            for word, attribute in read.uses(own):
                if word in read.statements:
                    waiting.append((module, word))
                waiting.extend(read.leads_to(word, attribute))


@cache
def _read(name: str) -> _Module | None:
    path = _path_of(name)
    if path is None:
        return None
    module = _Module()
    if path.suffix != ".py":
        module.text = path.read_text(encoding="utf-8")
        return module
    tree = ast.parse(path.read_bytes())
    for alias, target in _imports_of(tree, name if path.stem == "__init__" else name.rpartition(".")[0]):
        module.imported.setdefault(alias, set()).add(target)
    for statement in _flat(tree.body):
        for defined in _names_of(statement):
            module.statements.setdefault(defined, []).append(statement)
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
    """Statements of a module, those under `if` and `try` and the conditions included; imports are known already."""
    for statement in statements:
        if isinstance(statement, ast.If):
            yield ast.Expr(statement.test)
            yield from _flat(statement.body + statement.orelse)
        elif isinstance(statement, ast.Try):
            handled = [inner for handler in statement.handlers for inner in handler.body]
            yield from _flat(statement.body + handled + statement.orelse + statement.finalbody)
        elif not isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement


def _names_of(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        registered = any(
            isinstance(node, ast.Attribute) and node.attr == "register"
            for decorator in statement.decorator_list
            for node in ast.walk(decorator)
        )
        return [_ALWAYS] if registered else [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return names or [_ALWAYS]
    return [_ALWAYS]


def _told(node: object) -> str:
    """A syntax tree as text, the same for all versions of Python that have these statements."""
    if isinstance(node, ast.AST):
        parts = [f"{name}={_told(value)}" for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(_told(inner) for inner in node if not _is_text(inner))}]"
    return repr(node)


def _is_text(statement: object) -> bool:
    """Whether a statement is a string that stands alone."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _used_by(statement: ast.stmt) -> set[tuple[str, str]]:
    """Names that a statement uses, each with the attribute that is asked of it; "" where the name stands alone."""
    attributes = [node for node in ast.walk(statement) if isinstance(node, ast.Attribute)]
    used = {(node.value.id, node.attr) for node in attributes if isinstance(node.value, ast.Name)}
    roots = {id(node.value) for node in attributes}
    return used | {
        (node.id, "") for node in ast.walk(statement) if isinstance(node, ast.Name) and id(node) not in roots
    }


@cache
def _path_of(module: str) -> Path | None:
    """File of a module, found without importing it; None for what is no module with a source."""
    top, *parts = module.split(".")
    loaded = sys.modules.get(module)
    if loaded is not None and str(getattr(loaded, "__file__", "")).endswith(".py"):
        return Path(str(loaded.__file__))
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module without a specification: a script, or made by hand
        spec = None
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        stem = Path(root, *parts)
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py", stem.with_name(f"{stem.name}.pyx")):
            if parts and path.is_file():
                return path
        if not parts and (stem / "__init__.py").is_file():
            return stem / "__init__.py"
    return None


def stages_of_this_project() -> dict[str, dict[str, object]]:
    """Version and digest of the code of every stage and report, by the name of its node."""
    found = {}
    for name in ("ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation"):
        for node in importlib.import_module(f"{_OURS}.pipelines.{name}").create_pipeline().nodes:
            stage = getattr(node.func, "__wrapped__", None)
            if stage is not None:
                found[node.name] = {"version": stage.version, "code": code_digest(stage)[:16]}
    return dict(sorted(found.items()))


if __name__ == "__main__":
    LOCK.write_text(yaml.safe_dump(stages_of_this_project(), sort_keys=True))
