"""TOML files of settings: read with all mistakes reported at once, written with every field explained."""

import difflib
import json
import textwrap
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from deeph.config import Config
from deeph.errors import UsageError

PATHS = (("data", "path"), ("data", "split"))
SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation for name, field in Config.model_fields.items() if isinstance(field.annotation, type)
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Parameters
    ----------
    path : path
        TOML file. Relative paths in it start from its folder; the word "none" unsets a value.
    overrides : sequence of str
        ``"section.key=value"``, TOML values or bare strings; they win over the file. Relative paths start from the working folder.

    Raises
    ------
    UsageError
        If the file is missing, is not TOML, or holds mistakes: all of them, with their dotted names.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error
    _prepare(values, path.resolve().parent)
    mistakes = _apply(values, overrides)
    try:
        # through JSON: strict types, and yet lists become tuples and strings paths
        config = Config.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        mistakes += _explain(error)
    if mistakes:
        head = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UsageError("\n  ".join([f"{path}: {head} in the configuration", *mistakes]))
    return config


def _prepare(values: dict[str, Any], folder: Path) -> None:
    """Turn the word "none" into None, which TOML lacks, and resolve relative paths."""
    for section, table in values.items():
        for key, value in table.items() if isinstance(table, dict) else ():
            if value == "none":
                table[key] = None
            elif (section, key) in PATHS and isinstance(value, str):
                table[key] = str(folder / Path(value).expanduser())


def _apply(values: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Write the overrides into the values; what cannot be understood is returned."""
    mistakes = []
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            mistakes.append(f"--set {text}: expected section.key=value, e.g. train.epochs=100")
            continue
        try:
            new: dict[str, Any] = {section: {key: tomllib.loads(f"value = {value}")["value"]}}
        except tomllib.TOMLDecodeError:  # a bare word, such as a path
            new = {section: {key: value.strip()}}
        _prepare(new, Path.cwd())
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table.update(new[section])
    return mistakes


def _explain(error: ValidationError) -> list[str]:
    """One line for each wrong setting."""
    lines: dict[str, list[str]] = {}
    for item in error.errors():
        where = [str(part) for part in item["loc"][:2]]
        name = ".".join(where)
        if item["type"] == "extra_forbidden":
            text = _closest(where)
        elif item["type"] == "missing":
            text = f"missing; expected {_meaning(where)}"
        elif item["type"] == "value_error":
            text = str(item["ctx"]["error"])
        else:
            text = f"got {item['input']!r}, {item['msg'].replace('Input should be', 'expected')}"
        previous = lines.setdefault(name, [])
        if previous:  # another alternative of the same field
            text = text.partition(", expected ")[2] or text
        previous.append(text)
    return [f"{name}: {' or '.join(texts)}" for name, texts in lines.items()]


def _closest(where: list[str]) -> str:
    key = where[-1]
    known = list(SECTIONS if len(where) == 1 else SECTIONS[where[0]].model_fields)
    elsewhere = [section for section, model in SECTIONS.items() if key in model.model_fields]
    if elsewhere:
        return f"unknown key here; it belongs in [{elsewhere[0]}]"
    match = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"the closest known one is {match[0]!r}" if match else f"known: {', '.join(known)}"
    return f"unknown {'section' if len(where) == 1 else 'key'}; {hint}"


def _meaning(where: list[str]) -> str:
    if len(where) == 1:
        return f"a table [{where[0]}]" + (" with 'path', the folder of the structure folders" if where[0] == "data" else "")
    return (SECTIONS[where[0]].model_fields[where[1]].description or "a value").splitlines()[0]


def to_toml(config: Config | None = None) -> str:
    """The settings as TOML, each explained; the defaults if no configuration is given."""
    values = config.model_dump(mode="json") if config is not None else {}
    parts = []
    for section, model in SECTIONS.items():
        parts.append(f"# {(model.__doc__ or '').strip()}\n[{section}]")
        for name, field in model.model_fields.items():
            text = textwrap.fill(" ".join((field.description or "").split()), 110, initial_indent="# ", subsequent_indent="# ")
            if config is None and field.is_required():
                parts.append(f"{text}\n# {name} =   (required)\n")
            else:
                parts.append(f"{text}\n{name} = {_literal(values[section][name] if config is not None else field.default)}\n")
    return "\n".join(parts)


def _literal(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
