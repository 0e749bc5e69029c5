# SPDX-License-Identifier: Apache-2.0
"""Reads YAML and JSON into plain values that remember their lines, from files that nobody has to trust.

Built on the parser's events instead of a ready-made loader: depth and size stay bounded whatever the file
holds, repeated keys are errors, and each value's line is known.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any

from airflow_provider_adobe_audiences.errors import DesiredStateError

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 2_000_000
MAX_NUMBER_LENGTH = 100
MAX_SHOWN = 40

Path = tuple[str | int, ...]

# What the parser repeats of the file.
_QUOTED = re.compile("'[^'<][^']+'")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_SURROGATES = re.compile(r"\\\\|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})", re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """A value and where each part of it was written.

    :param value: mappings, lists and scalars.
    :param source: how to call it in messages: a file name, or where the value came from.
    :param read_lines: returns the line (from 1) by path; none for a value that is no file.
    """

    value: Any
    source: str
    read_lines: Callable[[], Mapping[Path, int]] = field(default=dict, repr=False)

    @cached_property
    def lines(self) -> Mapping[Path, int]:
        """The line (from 1) of each part, by path."""
        return self.read_lines()

    def where(self, path: Path) -> str:
        """Return ``file:line`` of a part of the document, or of the nearest part around it that has a
        line.

        :param path: keys and indexes that lead to the part.
        """
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return f"{self.source}:{self.lines[path[:end]]}"
        return self.source


def refuse_special_file(path: str, source: str, *, of_shell: bool = False) -> None:
    """Refuse a pipe, a device or a socket before it is opened: that may wait without end.

    :param path: a path of this machine.
    :param source: what it is called in messages.
    :param of_shell: whether a pipe without a name is fine, as a shell makes it of ``<(command)``.
    :raises DesiredStateError: when it is one.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # it is said when it is opened
    pipe = stat.S_ISFIFO(mode)
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    if not (of_shell and pipe and not os.path.exists(os.path.realpath(path))):
        what = "a pipe" if pipe else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise DesiredStateError(f"{source} cannot be read: it is {what}, not a file")


def read(file: IO[bytes], source: str) -> Document:
    """Read a document from an open file, at most :data:`MAX_BYTES` of it.

    :param file: at its first byte.
    :param source: where it is, for messages.
    :returns: the document.
    :raises DesiredStateError: when it is too large, or no YAML or JSON.
    """
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DesiredStateError(
            f"{source} is larger than {MAX_BYTES // (1024 * 1024)} MB, which no list of groups is"
        )
    return parse(content, source)


def parse(content: bytes, source: str) -> Document:
    """Parse YAML or JSON.

    :param content: all bytes of the file.
    :param source: where it is, for messages.
    :returns: the document.
    :raises DesiredStateError: with file and line of the first thing that is wrong.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DesiredStateError(
            f"{source}:{line}: the file is not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8"
        ) from None
    if text.lstrip()[:1] in ("{", "["):
        if (value := _plain_json(text)) is not None:
            return Document(value, source, lambda: _built(_json_as_yaml(text, source), source)[1])
        text = _json_as_yaml(text, source)
    value, lines = _built(text, source)
    return Document(value, source, lambda: lines)


def _built(text: str, source: str) -> tuple[Any, dict[Path, int]]:
    lines: dict[Path, int] = {}
    return _Builder(source, lines).build(text), lines


def _plain_json(text: str) -> Any:
    """Return the value of JSON in which nothing can be read in two ways; ``None`` for any other text.

    To find the lines takes twenty times as long, and only messages need them.
    """
    # Each value comes after one of these.
    most = text.count("{") + text.count("[") + text.count(",")
    if not text.isascii() or "\x7f" in text or most > MAX_VALUES:
        return None
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_short_integer,
            parse_float=_not_plain,
            parse_constant=_not_plain,
        )
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _not_plain()


def _short_integer(written: str) -> int:
    return int(written) if len(written) <= MAX_NUMBER_LENGTH else _not_plain()


def _not_plain(*_: object) -> Any:
    raise ValueError("it is to be read, or refused, with its line")


def _json_as_yaml(text: str, source: str) -> str:
    """Return JSON in the dialect that YAML shares with it; flow YAML is left as it is."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if source.endswith(".json"):
            raise DesiredStateError(f"{source}:{error.lineno}: not valid JSON: {error.msg}") from None
        return text
    except (ValueError, RecursionError):
        # Such as a number of thousands of digits, for which YAML's reader names the line.
        return text
    # Inside JSON strings tabs are written \t, so every real one is just space; and YAML does not know
    # characters in two halves.
    return _SURROGATES.sub(
        lambda pair: json.loads(f'"{pair[0]}"') if pair[1] else pair[0], text.replace("\t", " ")
    )


@dataclass(slots=True)
class _Open:
    """A mapping or a list whose end has not been reached."""

    value: dict[str, Any] | list[Any]
    path: Path
    anchor: str | None
    values_before: int
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    source: str
    lines: dict[Path, int]
    values: int = 0
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    resolver: Any = None
    constructor: Any = None

    def error(self, line: int | None, message: str) -> DesiredStateError:
        return DesiredStateError(f"{self.source}{f':{line}' if line else ''}: {message}")

    def build(self, text: str) -> Any:
        import yaml

        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.resolver, self.constructor = yaml.resolver.Resolver(), yaml.constructor.SafeConstructor()
        try:
            return self._build(yaml.parse(text, Loader=loader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(part for part in (error.context, error.problem) if part)
            if "\\t" in problem or "tab" in problem or (mark and _has_tab(text, mark.line)):
                problem = "a tab is used for indentation; YAML wants spaces"
            elif "nesting depth" in problem:  # PyYAML's own limit, from 6.0.4 on
                problem = f"nested too deeply (more than {MAX_DEPTH} levels)"
            raise self.error(
                mark.line + 1 if mark else None, f"not valid YAML: {_QUOTED.sub('…', problem)}"
            ) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
            raise self.error(line, f"not valid YAML: {error.reason}") from None

    def _build(self, events: Iterable[Any]) -> Any:
        import yaml

        root: list[Any] = []
        stack: list[_Open] = []
        documents = 0
        for event in events:
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(line, "a second document begins here; write one list of groups per file")
            elif isinstance(event, yaml.CollectionEndEvent):
                done = stack.pop()
                if done.anchor:
                    self.anchors[done.anchor] = (done.value, self.values - done.values_before)
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, line, root, stack)
        if not root or root[0] is None:
            raise self.error(None, "the file is empty; to declare no group write 'groups: []'")
        return root[0]

    def _node(self, event: Any, line: int, root: list[Any], stack: list[_Open]) -> None:
        import yaml

        parent = stack[-1] if stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            self._key(event, line, parent)
            return
        self._count(1, line)
        container: dict[str, Any] | list[Any] | None = None
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.error(
                    line, f"the anchor &{shortened(str(event.anchor))} is not defined above (or holds itself)"
                )
            value, values = self.anchors[event.anchor]
            self._count(values, line)
        elif isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, line)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
        else:
            if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
                raise self.error(line, "the tag of a value is not allowed; use plain YAML")
            value = container = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._put(value, parent, root)
        self.lines.setdefault(path, line)
        if container is not None:
            if len(stack) >= MAX_DEPTH:
                raise self.error(line, f"nested too deeply (more than {MAX_DEPTH} levels)")
            stack.append(_Open(container, path, event.anchor, self.values))

    def _key(self, event: Any, line: int, parent: _Open) -> None:
        import yaml

        assert isinstance(parent.value, dict)
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(line, "a key must be a plain word")
        if event.value == "<<" and event.implicit[0]:
            raise self.error(
                line, "merge keys (<<) are not supported; write the fields out, or use an alias for one value"
            )
        if event.value in parent.value:
            # Of a file that may be no list of groups at all, nothing is repeated.
            ours = "groups" in (event.value, *parent.path[:1])
            raise self.error(
                line,
                f"{f'the key {shortened(event.value)!r}' if ours else 'a key'} is written twice (first in "
                f"line {self.lines[(*parent.path, event.value)]})",
            )
        parent.key = event.value
        self.lines[(*parent.path, event.value)] = line

    def _put(self, value: Any, parent: _Open | None, root: list[Any]) -> Path:
        if parent is None:
            root.append(value)
            return ()
        if isinstance(parent.value, dict):
            assert parent.key is not None
            path = (*parent.path, parent.key)
            parent.value[parent.key] = value
            parent.key = None
            return path
        parent.value.append(value)
        return (*parent.path, len(parent.value) - 1)

    def _count(self, values: int, line: int) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise self.error(
                line, f"the file holds more than {MAX_VALUES:,} values, counting what its aliases repeat"
            )

    def _scalar(self, event: Any, line: int) -> Any:
        import yaml

        tag = (
            event.tag
            if event.tag not in (None, "!")
            else self.resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        )
        if not tag.endswith((":str", ":timestamp")) and len(event.value) > MAX_NUMBER_LENGTH:
            raise self.error(
                line, f"a number of {len(event.value):,} characters is none that Audience Manager knows"
            )
        kind = tag.removeprefix("tag:yaml.org,2002:")
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return self.constructor.construct_yaml_bool(yaml.ScalarNode(tag, event.value))
                case "int":
                    return self._decimal(event.value, line)
                case "float":
                    return self.constructor.construct_yaml_float(yaml.ScalarNode(tag, event.value))
                case "str" | "timestamp" | "value" | "merge":
                    return event.value
        except (ValueError, KeyError, IndexError) as error:
            if isinstance(error, DesiredStateError):
                raise
            raise self.error(line, f"a value cannot be read as {kind}") from None
        raise self.error(line, "the tag of a value is not allowed; use plain YAML")

    def _decimal(self, written: str, line: int) -> int:
        """Return the number, unless YAML reads what was written in another way than people do."""
        import yaml

        if _DECIMAL.fullmatch(written):
            return int(written)
        number = self.constructor.construct_yaml_int(yaml.ScalarNode("tag:yaml.org,2002:int", written))
        raise self.error(
            line,
            f"{written} is a number that YAML reads as {number} (octal, hexadecimal, binary, base 60 or with "
            "underscores): write the id in decimal digits, without leading zeros; text in quotes",
        )


def shortened(text: str) -> str:
    """Return at most :data:`MAX_SHOWN` characters, for a message about a file that anybody may have named.

    :param text: any text.
    """
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _has_tab(text: str, line: int) -> bool:
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    return "\t" in written[: len(written) - len(written.lstrip())]
