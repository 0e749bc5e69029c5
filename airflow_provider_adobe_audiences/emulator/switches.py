# SPDX-License-Identifier: Apache-2.0
"""Switches: one named, typed, described field for each behaviour that Adobe leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict


class ServiceSwitches(BaseModel):
    """Base of each service's switches. Every field needs a default and a description of what Adobe leaves
    open.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, frozen=False)


class Switchboard:
    """All switches of all services under flat, unique names.

    :param services: service name to its switches.
    :param initial: values to start with; :meth:`reset` goes back to them.
    """

    def __init__(
        self, services: Mapping[str, ServiceSwitches], initial: Mapping[str, Any] | None = None
    ) -> None:
        self._owner: dict[str, ServiceSwitches] = {}
        self._service: dict[str, str] = {}
        for service, switches in services.items():
            for name in type(switches).model_fields:
                if name in self._owner:
                    raise ValueError(f"switch {name!r} exists in {self._service[name]} and in {service}")
                self._owner[name], self._service[name] = switches, service
        self._initial = dict(initial or {})
        self.update(self._initial)

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner)

    def __getitem__(self, name: str) -> Any:
        return getattr(self._find(name), name)

    def __setitem__(self, name: str, value: Any) -> None:
        # A text from the command line is read by pydantic: "true", "0.5", "accept" all find their type.
        setattr(self._find(name), name, value)

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several switches; an unknown name or a wrong value changes none of them."""
        before = self.values()
        try:
            for name, value in values.items():
                self[name] = value
        except Exception:
            for name in values.keys() & before.keys():
                self[name] = before[name]
            raise

    def reset(self) -> None:
        """Go back to the values that the emulator was started with."""
        for name, switches in self._owner.items():
            setattr(switches, name, type(switches).model_fields[name].get_default(call_default_factory=True))
        self.update(self._initial)

    def values(self) -> dict[str, Any]:
        """Return every switch with its present value."""
        return {name: self[name] for name in self}

    def describe(self) -> list[dict[str, Any]]:
        """Return name, service, type, default, present value and description of every switch."""
        rows = []
        for name, switches in self._owner.items():
            field = type(switches).model_fields[name]
            schema = _properties(type(switches))[name]
            rows.append(
                {
                    "name": name,
                    "service": self._service[name],
                    "type": " | ".join(map(str, schema["enum"])) if "enum" in schema else _type_name(schema),
                    "default": field.get_default(call_default_factory=True),
                    "value": self[name],
                    "description": field.description or "",
                }
            )
        return rows

    def markdown(self) -> str:
        """Return the table for the documentation."""
        lines = ["| switch | service | values | default | what it decides |", "|---|---|---|---|---|"]
        for row in self.describe():
            values = row["type"].replace("|", "\\|")
            lines.append(
                f"| `{row['name']}` | {row['service']} | {values} | `{row['default']}` | "
                f"{row['description']} |"
            )
        return "\n".join(lines) + "\n"

    def _find(self, name: str) -> ServiceSwitches:
        try:
            return self._owner[name]
        except KeyError:
            raise KeyError(f"no switch {name!r}; there are: {', '.join(sorted(self._owner))}") from None


@cache
def _properties(switches: type[ServiceSwitches]) -> dict[str, Any]:
    """Return the JSON schema of each switch of a service."""
    properties: dict[str, Any] = switches.model_json_schema()["properties"]
    return properties


def _type_name(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " | ".join(_type_name(part) for part in schema["anyOf"])
    return str(schema.get("type", schema.get("const", "any")))
