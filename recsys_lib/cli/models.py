"""Models by name and hyper-parameters as text, for the command line."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, Union

from recsys_lib import models
from recsys_lib.models.base import Recommender

# Options of their own on the command line.
_OWN_OPTIONS = ("device", "seed")
_TYPE_WORDS = {bool: "true|false", int: "whole number", float: "number", str: "text"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter: its name, type and default, and what its docstring says of it."""

    name: str
    type: Any
    default: Any
    words: str = ""
    choices: str = ""

    @property
    def type_words(self) -> str:
        """The type in words: ``whole number``, ``number or none``, ``a|b``."""
        return self.choices or " or ".join(_type_words(option) for option in reversed(_options(self.type)))

    def parse(self, text: str) -> Any:
        """Turn text into a value of the type; ValueError if it is none."""
        for option in _options(self.type):
            try:
                return _parse(text, option)
            except ValueError:
                continue
        raise ValueError(f"{self.name} must be {self.type_words}, got {text!r}.")


def model_names() -> list[str]:
    """Return the names of all models."""
    return sorted(_families())


def find_model(name: str) -> type[Recommender]:
    """Return the model of a name, written as in Python or without capitals: ``item-knn`` is ItemKNN."""
    by_plain = {_plain(known): family for known, family in _families().items()}
    if _plain(name) not in by_plain:
        close = difflib.get_close_matches(_plain(name), by_plain, n=1, cutoff=0.6)
        hint = f" Did you mean {by_plain[close[0]].__name__}?" if close else ""
        raise ValueError(f"there is no model {name!r}.{hint} Models: {', '.join(model_names())}.")
    return by_plain[_plain(name)]


def parameters(family: type[Recommender]) -> dict[str, Parameter]:
    """Return the hyper-parameters that ``--set`` takes, by name."""
    hints, documented = typing.get_type_hints(family), _documented(family)
    return {
        field.name: Parameter(
            field.name, hints[field.name], _default(field), *documented.get(field.name, ("", ""))
        )
        for field in fields(family)
        if field.init and field.name not in _OWN_OPTIONS
    }


def parse_settings(
    families: Sequence[type[Recommender]], settings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Turn ``name=value`` and ``Model.name=value`` into hyper-parameters of each model.

    A plain name goes to every model that has such a parameter; at least one must.
    """
    chosen: dict[str, dict[str, Any]] = {family.__name__: {} for family in families}
    for setting in settings:
        key, equals, text = setting.partition("=")
        model, dot, name = key.strip().rpartition(".")
        if not equals or not name:
            raise ValueError(f"--set takes NAME=VALUE, got {setting!r}.")
        if name in _OWN_OPTIONS:
            raise ValueError(f"use --{name} {text} instead of --set {setting}.")
        named = [find_model(model)] if dot else list(families)
        if dot and named[0] not in families:
            raise ValueError(f"--set {setting}: {named[0].__name__} is not among the models asked for.")
        takers = [family for family in named if name in parameters(family)]
        if not takers:
            whose = " or ".join(family.__name__ for family in named)
            known = sorted({name for family in named for name in parameters(family)})
            raise ValueError(f"{whose} has no parameter {name!r}. It has: {', '.join(known) or 'none'}.")
        for family in takers:
            chosen[family.__name__][name] = parameters(family)[name].parse(text.strip())
    return chosen


def short_list() -> str:
    """Return one line a model: its name and its parameters with their defaults."""
    lines = []
    for name, family in sorted(_families().items()):
        shown = " ".join(f"{p.name}={_shown(p.default)}" for p in parameters(family).values())
        lines.append(
            textwrap.fill(
                f"{name:<14}{shown}",
                width=100,
                initial_indent="  ",
                subsequent_indent=" " * 16,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(lines)


def long_list() -> str:
    """Return every model with what it is, and every parameter with its type, default and meaning."""
    blocks = []
    for name, family in sorted(_families().items()):
        lines = [name, textwrap.fill(_summary(family), 100, initial_indent="  ", subsequent_indent="  ")]
        for parameter in parameters(family).values():
            lines.append(f"    {parameter.name}={_shown(parameter.default)}  ({parameter.type_words})")
            if parameter.words:
                lines.append(
                    textwrap.fill(parameter.words, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
                )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


# ---------------------------------------------------------------------- the models


def _families() -> dict[str, type[Recommender]]:
    found = {name: getattr(models, name) for name in models.__all__}
    return {
        name: value
        for name, value in found.items()
        if inspect.isclass(value) and issubclass(value, Recommender) and not inspect.isabstract(value)
    }


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else None


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(_shown, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# ---------------------------------------------------------------------- types


def _options(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type: those of ``int | None`` are int and None, and None goes first."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(sorted(typing.get_args(hint), key=lambda option: option is not types.NoneType))
    return (hint,)


def _type_words(option: Any) -> str:
    if option is types.NoneType:
        return "none"
    if typing.get_origin(option) is Literal:
        return "|".join(map(str, typing.get_args(option)))
    if typing.get_origin(option) in (tuple, list):
        return f"{_type_words(typing.get_args(option)[0])},..."
    return _TYPE_WORDS.get(option, str(option))


def _parse(text: str, option: Any) -> Any:
    if typing.get_origin(option) is Literal:
        matching = [value for value in typing.get_args(option) if str(value) == text]
        if not matching:
            raise ValueError(text)
        return matching[0]
    if typing.get_origin(option) in (tuple, list):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return typing.get_origin(option)(_parse(part, typing.get_args(option)[0]) for part in parts)
    if option is types.NoneType:
        if text.lower() != "none":
            raise ValueError(text)
        return None
    if option is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text.lower()]
    if option not in (int, float, str):
        raise ValueError(text)
    return option(text)


# ---------------------------------------------------------------------- docstrings


def _summary(family: type) -> str:
    return " ".join(inspect.cleandoc(family.__doc__ or "").partition("\n\n")[0].split())


def _documented(family: type) -> dict[str, tuple[str, str]]:
    """Return what the numpydoc docstrings of a class and its bases say: words and choices by parameter."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(family.__mro__):
        found |= dict(_entries(base))
    return found


def _entries(family: type) -> Iterator[tuple[str, tuple[str, str]]]:
    doc = inspect.cleandoc(family.__doc__ or "")
    sections = re.findall(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", doc, re.S | re.M)
    for entry in re.finditer(r"^(\S.*)\n((?:[ \t]+.*\n?|\n)*)", "".join(sections), re.M):
        names, _, kind = entry[1].partition(":")
        choices = re.fullmatch(r"\{(.*)\}", kind.strip())
        text = " ".join(entry[2].split())
        here = _without_markup(text), re.sub(r"[\"' ]", "", choices[1]).replace(",", "|") if choices else ""
        elsewhere = re.match(r"See :class:`~?(\S+)\.(\w+)`", text)
        there = {}
        if elsewhere:
            there = _documented(getattr(importlib.import_module(elsewhere[1]), elsewhere[2]))
        for name in names.split(","):
            yield name.strip(), there.get(name.strip(), here)


def _without_markup(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", lambda found: found[1] or found[2], text)
    return re.sub(r"\\(\w+)", r"\1", text.replace(r"\ge", "≥").replace(r"\le", "≤"))
