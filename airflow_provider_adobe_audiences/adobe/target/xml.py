# SPDX-License-Identifier: Apache-2.0
"""The XML that Target's profile API responds with.

Source: "Bulk profile update API", "Update a single profile".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_adobe_audiences.text import seen

MEDIA_TYPE = "text/xml"

_MAX_EXAMPLES = 20
_MAX_DEPTH = 8
_MAX_CHARACTERS = 10_000


@dataclass(slots=True)
class XmlResponse:
    """What a response holds.

    :param fields: the elements below ``response``, by name in lower case.
    :param failed_ids: the first profiles that failed.
    """

    fields: dict[str, str] = field(default_factory=dict)
    failed_ids: list[str] = field(default_factory=list, repr=False)


def read_xml(body: bytes) -> XmlResponse:
    """Read a response of the profile API. Memory does not grow with the number of profiles in it.

    :param body: the whole body.
    :returns: its fields and the profiles that failed.
    :raises ValueError: when it is not such XML, nests too deep, or declares a document type (and with it,
        entities).
    """
    from xml.parsers import expat

    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not XML: {expat.errors.messages[error.code]}") from None
    return reader.response


class _Reader:
    def __init__(self) -> None:
        self.response = XmlResponse()
        self._names: list[str] = []
        self._text: list[str] = []
        self._profile: dict[str, str] = {}

    def begin(self, name: str, _: object) -> None:
        self._names.append(name.lower())
        self._text.clear()
        if len(self._names) > _MAX_DEPTH or (len(self._names) == 1 and self._names[0] != "response"):
            raise ValueError("it is not a response of the profile API")

    def characters(self, piece: str) -> None:
        if len(self._names) > 1 and sum(map(len, self._text)) < _MAX_CHARACTERS:
            self._text.append(piece)

    def end(self, _: str) -> None:
        value = " ".join(seen("".join(self._text)).split())
        self._text.clear()
        name = self._names.pop()
        if len(self._names) == 1 and name != "profile":
            self.response.fields.setdefault(name, value)
        elif self._names and self._names[-1] == "profile":
            self._profile[name] = value
        elif name == "profile":
            failed = self._profile.get("status", "").lower() not in ("success", "pending")
            if failed and len(self.response.failed_ids) < _MAX_EXAMPLES:
                self.response.failed_ids.append(self._profile.get("id", "?"))
            self._profile.clear()

    def refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type, which no response of Adobe has")
