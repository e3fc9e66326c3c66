"""TOML files of settings: read with all mistakes reported at once, written with every field explained."""

import difflib
import json
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from deeph.config import REMOVED, Config
from deeph.runtime.errors import UsageError

Settings = TypeVar("Settings", bound=BaseModel)
Sections = dict[str, type[BaseModel]]
NUMBERS: dict[Any, str] = {float: "numbers", int: "whole numbers"}
COUNTED = ("", "one", "two", "three", "four")
LIMITS = {"gt": "above", "ge": "from", "lt": "to below", "le": "to"}
"""Words for kinds of numbers, how many there are, and their limits."""


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read the configuration file of a training run; see :func:`load_settings`."""
    return load_settings(Config, path, overrides, removed={"model": REMOVED})


def load_settings(
    model: type[Settings], path: str | Path | None, overrides: Sequence[str] = (), removed: Mapping[str, Sequence[str]] | None = None
) -> Settings:
    """Read a file of settings.

    Parameters
    ----------
    model : class
        Its fields are the tables of the file.
    path : path or None
        TOML file. Relative paths in it start from its folder; the word "none" unsets a value. Without a file all but the
        overrides is as by default.
    overrides : sequence of str
        ``"section.key=value"``, TOML values or bare strings; they win over the file. Relative paths start from the working folder.
    removed : mapping of str to sequence of str, optional
        Settings of each table in earlier versions; one that is off means nothing.

    Raises
    ------
    UsageError
        If the file is missing, is not TOML, or holds mistakes: all of them, with their dotted names.
    """
    sections = _sections(model) | _families(model)
    values = {} if path is None else _read_toml(Path(path), sections)
    mistakes = _apply(values, overrides, sections)
    for section, keys in (removed or {}).items():
        table = values.get(section)
        if isinstance(table, dict):
            values[section] = {key: value for key, value in table.items() if key not in keys or value is not False}
    try:
        # through JSON: strict types, and yet lists become tuples and strings paths
        config = model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        mistakes += _explain(error, sections, values)
    if mistakes:
        head = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UsageError("\n  ".join([f"{'' if path is None else f'{path}: '}{head} in the configuration", *mistakes]))
    return config


def _read_toml(path: Path, sections: Sections) -> dict[str, Any]:
    """What a file says, with paths from its folder."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error
    _prepare(values, path.resolve().parent, sections)
    return values


def _sections(model: type[BaseModel]) -> Sections:
    """The tables of a file and what they hold."""
    return {name: field.annotation for name, field in model.model_fields.items() if isinstance(field.annotation, type)}


def _families(model: type[BaseModel]) -> Sections:
    """What each of several tables with names of their own holds, such as ``[elements.C]``."""
    return {name: get_args(f.annotation)[1] for name, f in model.model_fields.items() if get_origin(f.annotation) is dict}


def _prepare(values: dict[str, Any], folder: Path, sections: Sections) -> None:
    """Turn the word "none" into None, which TOML lacks, and resolve relative paths."""
    for section, table in values.items():
        for key, value in table.items() if isinstance(table, dict) else ():
            if value == "none":
                table[key] = None
            elif isinstance(value, str) and section in sections and _is_path(sections[section], key):
                table[key] = str(folder / Path(value).expanduser())


def _is_path(section: type[BaseModel], key: str) -> bool:
    """Whether a setting is the path of a file."""
    field = section.model_fields.get(key)
    return field is not None and Path in (field.annotation, *get_args(field.annotation))


def _apply(values: dict[str, Any], overrides: Sequence[str], sections: Sections) -> list[str]:
    """Write the overrides into the values; what cannot be understood is returned."""
    mistakes = []
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            mistakes.append(f"--set {text}: expected section.key=value, {_complete(name.strip(), sections)}")
            continue
        try:
            new: dict[str, Any] = {section: {key: tomllib.loads(f"value = {value}")["value"]}}
        except tomllib.TOMLDecodeError:  # a bare word, such as a path
            new = {section: {key: value.strip()}}
        _prepare(new, Path.cwd(), sections)
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table.update(new[section])
    return mistakes


def _complete(key: str, sections: Sections) -> str:
    """What a key without its table may have meant."""
    keys = {name: [f"{section}.{name}" for section, model in sections.items() if name in model.model_fields] for name in _keys(sections)}
    match = difflib.get_close_matches(key, keys, 1, 0.6)
    return f"did you mean {' or '.join(keys[match[0]])}?" if match else "e.g. train.epochs=100"


def _keys(sections: Sections) -> list[str]:
    return [name for model in sections.values() for name in model.model_fields]


def _explain(error: ValidationError, sections: Sections, values: Mapping[str, Any]) -> list[str]:
    """One line for each wrong setting."""
    lines: dict[str, list[str]] = {}
    for item in error.errors():
        where = [str(part) for part in item["loc"][:2]]
        name = ".".join(where)
        if item["type"] != "value_error" and (rows := _numbers(where, sections)):  # one line, whatever is wrong with how many of them
            whole = values[where[0]][where[1]]
            lines.setdefault(name, [f"got {_wrong(whole, item)}, expected {rows}"])
            continue
        if len(item["loc"]) > 2 and where[1] not in sections[where[0]].model_fields:  # one table of a family
            where[1] = str(item["loc"][2])
            name += f".{where[1]}"
        if item["type"] == "extra_forbidden":
            text = _closest(where, sections)
        elif item["type"] == "missing":
            text = f"missing; expected {_meaning(where, sections)}"
        elif item["type"] == "value_error":
            text = str(item["ctx"]["error"])
        else:
            text = f"got {item['input']!r}, {item['msg'].replace('Input should be', 'expected')}"
        previous = lines.setdefault(name, [])
        if previous:  # another alternative of the same field
            text = text.partition(", expected ")[2] or text
        previous.append(text)
    return [(f"{name}: " if name else "") + " or ".join(texts) for name, texts in lines.items()]


def _numbers(where: list[str], sections: Sections) -> str:
    """Such as ``two numbers from 0 to below 1``, for a setting that is a list of so many numbers; empty for all others."""
    field = sections[where[0]].model_fields.get(where[1]) if len(where) == 2 and where[0] in sections else None
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    for parts in (get_args(kind) for kind in kinds if get_origin(kind) is tuple):
        of, *limits = get_args(parts[0]) or (parts[0],)
        if of in NUMBERS and len(set(parts)) == 1 and len(parts) < len(COUNTED):
            return f"{COUNTED[len(parts)]} {NUMBERS[of]}{_between(limits)}"
    return ""


def _wrong(whole: Any, item: Any) -> str:
    """A list, with the number that is wrong, if it is long enough."""
    number = item["loc"][-1]
    of_one = isinstance(whole, list) and item["type"] not in ("missing", "too_long") and number in range(len(whole))
    return f"{item['input']!r} in {whole!r}" if of_one and len(whole) > 1 else repr(whole)


def _between(limits: Sequence[Any]) -> str:
    """Such as `` from 0 to below 1``, of the limits of an annotated number."""
    found = {key: getattr(limit, key) for field in limits for limit in field.metadata for key in LIMITS if hasattr(limit, key)}
    return "".join(f" {LIMITS[key]} {found[key]:g}" for key in LIMITS if key in found)


def _closest(where: list[str], sections: Sections) -> str:
    key = where[-1]
    known = list(sections if len(where) == 1 else sections[where[0]].model_fields)
    elsewhere = [section for section, model in sections.items() if key in model.model_fields]
    if elsewhere:
        return f"unknown key here; it belongs in [{elsewhere[0]}]"
    match = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"the closest known one is {match[0]!r}" if match else f"known: {', '.join(known)}"
    return f"unknown {'section' if len(where) == 1 else 'key'}; {hint}"


def _meaning(where: list[str], sections: Sections) -> str:
    if len(where) == 1:
        required = [f"{key!r}, {_first_line(field)}" for key, field in sections[where[0]].model_fields.items() if field.is_required()]
        return f"a table [{where[0]}]" + (f" with {', '.join(required)}" if required else "")
    return _first_line(sections[where[0]].model_fields[where[1]])


def _first_line(field: FieldInfo) -> str:
    return (field.description or "a value").splitlines()[0]


def to_toml(config: BaseModel | type[BaseModel] = Config) -> str:
    """Settings as TOML, each explained; the defaults if a class of settings is given."""
    values = config.model_dump(mode="json") if isinstance(config, BaseModel) else None
    parts = []
    for section, model in _sections(type(config) if isinstance(config, BaseModel) else config).items():
        parts.append(f"# {(model.__doc__ or '').strip()}\n[{section}]")
        for name, field in model.model_fields.items():
            text = textwrap.fill(" ".join((field.description or "").split()), 110, initial_indent="# ", subsequent_indent="# ")
            if values is None and field.is_required():
                parts.append(f"{text}\n# {name} =   (required)\n")
            else:
                parts.append(f"{text}\n{name} = {_literal(field.default if values is None else values[section][name])}\n")
    return "\n".join(parts)


def _literal(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_literal(v)}" for key, v in value.items()) + "}"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
