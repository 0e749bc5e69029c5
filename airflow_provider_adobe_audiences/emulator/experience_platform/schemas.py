# SPDX-License-Identifier: Apache-2.0
"""The shapes of request bodies. Names are Adobe's; what they do not mention may be sent, and is ignored."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Character = Annotated[str, StringConstraints(min_length=1, max_length=1)]
Flag = bool | Literal["true", "false"]
Second = Annotated[int, Field(ge=0, lt=10**11)]
Days = (
    Annotated[int, Field(ge=1, le=90)] | Annotated[str, StringConstraints(pattern=r"^(90|[1-8][0-9]|[1-9])$")]
)

CONNECTED_CLOUDS = {"S3", "GCS", "SFTP"}


class Body(BaseModel):
    """The base of all shapes."""

    model_config = ConfigDict(extra="ignore", strict=True)


class InputFormatBody(Body):
    """How the files of a batch are written."""

    format: str
    isMultiLineJson: Flag = False  # noqa: N815
    header: Flag = True
    delimiter: Character = ","
    quote: Character = '"'
    escape: Character = "\\"
    charset: str = "UTF-8"

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value.lower() not in {"json", "parquet", "csv"}:
            raise ValueError("must be json, parquet or csv")
        return value.lower()

    @field_validator("charset")
    @classmethod
    def _known_charset(cls, value: str) -> str:
        try:
            if codecs.lookup(value)._is_text_encoding:
                return value
        except (LookupError, ValueError):
            pass
        raise ValueError("is unknown")


class ReplayBody(Body):
    """Which batches a batch replaces."""

    predecessors: list[str] = []
    predecessorsByExternalId: list[str] = []  # noqa: N815
    reason: str = ""


class BatchBody(Body):
    """Create a batch."""

    datasetId: Text  # noqa: N815
    inputFormat: InputFormatBody | None = None  # noqa: N815
    externalId: Text | None = None  # noqa: N815
    tags: dict[str, list[str]] = {}
    enableErrorDiagnostics: bool = False  # noqa: N815
    partialIngestionPercent: int | None = Field(None, ge=0, le=100)  # noqa: N815
    replay: ReplayBody | None = None


class FieldBody(Body):
    """A column of an external audience."""

    name: Text
    type: Literal["string", "number", "long", "integer", "date", "datetime", "boolean"]
    identityNs: Text | None = None  # noqa: N815
    labels: list[str] = []


class SourceBody(Body):
    """Where the files of an external audience are."""

    path: Annotated[str, StringConstraints(pattern=r"^\S+$")]
    type: Literal["file", "folder"]
    #: Required in Adobe's table, left out in the sample of the same page.
    cloudType: Literal["S3", "DLZ", "GCS", "Azure", "SFTP"] | None = None  # noqa: N815
    baseConnectionId: Text | None = None  # noqa: N815

    @model_validator(mode="after")
    def _connected(self) -> SourceBody:
        connected = self.baseConnectionId is not None
        if self.cloudType is not None and (self.cloudType in CONNECTED_CLOUDS) != connected:
            raise ValueError("baseConnectionId is for S3, GCS and SFTP, and only for them")
        return self


class ExternalAudienceBody(Body):
    """Create an external audience."""

    name: Text
    description: str | None = None
    customAudienceId: Text | None = None  # noqa: N815
    fields: list[FieldBody] = Field(min_length=1, max_length=41)
    sourceSpec: SourceBody  # noqa: N815
    ttlInDays: Days = 30  # noqa: N815
    originName: Literal["CUSTOM_UPLOAD"]  # noqa: N815
    namespace: Text | None = None
    labels: list[str] = []
    tags: list[str] = []

    @field_validator("sourceSpec", mode="before")
    @classmethod
    def _nested_or_flat(cls, value: Any) -> Any:
        return (
            value["params"] if isinstance(value, dict) and "params" in value else value
        )  # Adobe's pages differ

    @field_validator("fields")
    @classmethod
    def _one_identity(cls, value: list[FieldBody]) -> list[FieldBody]:
        if sum(one.identityNs is not None for one in value) != 1:
            raise ValueError("one field must be the identity field, with identityNs")
        return value


class FieldLabelsBody(Body):
    """New labels of a column."""

    name: Text
    labels: list[str] = []


class ExternalAudienceChangeBody(Body):
    """Change an external audience."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = None
    labels: list[str] = []
    fields: list[FieldLabelsBody] = []
    ttlInDays: Days = 30  # noqa: N815


class RunBody(Body):
    """Ingest an external audience."""

    dataFilterStartTime: Second  # noqa: N815
    dataFilterEndTime: Second | None = None  # noqa: N815
    signVerificationKeyId: Text | None = None  # noqa: N815


class AudienceMetadataBody(Body):
    """Create an audience without data."""

    name: Text
    namespace: Text
    originName: Text  # noqa: N815
    description: Text | None = None
    audienceId: Text | None = None  # noqa: N815


class SchemaNameBody(Body):
    """The XDM class that an audience is about."""

    name: str = ""


class ExpressionBody(Body):
    """The rule of an audience."""

    type: str = ""
    format: str = ""
    value: str = ""


class EnabledBody(Body):
    """Whether a way of evaluation is on."""

    enabled: bool = False


class EvaluationBody(Body):
    """How an audience is evaluated."""

    batch: EnabledBody = EnabledBody()
    continuous: EnabledBody = EnabledBody()
    synchronous: EnabledBody = EnabledBody()


class AudienceBody(Body):
    """An audience of the audiences API, as far as the emulator looks into it."""

    name: Text
    description: str | None = None
    audienceId: Text | None = None  # noqa: N815
    namespace: str = ""
    originName: str = ""  # noqa: N815
    lifecycleState: Literal["draft", "published", "inactive", "archived", "delete", "deleted"] = (  # noqa: N815
        "published"
    )
    type: Literal["SegmentDefinition", "ExternalSegment", "ExternalAudience"] = "SegmentDefinition"
    labels: list[str] = []
    profileInstanceId: str = ""  # noqa: N815
    mergePolicyId: str = ""  # noqa: N815
    datasetId: str = ""  # noqa: N815
    xdm: SchemaNameBody = Field(SchemaNameBody(), alias="schema")
    expression: ExpressionBody = ExpressionBody()
    evaluationInfo: EvaluationBody = EvaluationBody()  # noqa: N815
    dataGovernancePolicy: dict[str, Any] = {}  # noqa: N815
    overridePerformanceWarnings: bool = False  # noqa: N815
    dependents: list[str] = []
    dependencies: list[str] = []
    definedOn: list[dict[str, Any]] = []  # noqa: N815


class BulkGetBody(Body):
    """Look several audiences up."""

    class Id(Body):
        id: str

    ids: list[Id] = Field(min_length=1, max_length=100)


class OperationBody(Body):
    """One JSON Patch operation."""

    op: Literal["add"]
    path: Annotated[str, StringConstraints(pattern=r"^/[^/]+$")]
    value: Any


class SchemaRef(Body):
    """The schema of a dataset."""

    id: Text
    contentType: str | None = None  # noqa: N815


class DatasetBody(Body):
    """Create or change a dataset."""

    name: str | None = None
    description: str | None = None
    tags: dict[str, list[str]] = {}
    enableErrorDiagnostics: bool = False  # noqa: N815
    observableSchema: dict[str, Any] = {}  # noqa: N815
    basePath: str | None = None  # noqa: N815
    fileDescription: dict[str, Any] = {}  # noqa: N815
    schemaRef: SchemaRef | None = None  # noqa: N815
    dataSourceId: int | None = None  # noqa: N815


class RowExpirationBody(Body):
    """How long rows are kept, as an ISO 8601 duration."""

    ttlValue: Annotated[str, StringConstraints(pattern=r"^P\d{1,4}[DMY]$")]  # noqa: N815


class LakeHouseBody(Body):
    """Settings of the data lake."""

    rowExpiration: RowExpirationBody  # noqa: N815


class ExtensionsBody(Body):
    """Settings of systems that keep a dataset."""

    adobe_lakeHouse: LakeHouseBody  # noqa: N815


class DatasetExtensionsBody(Body):
    """Change the settings of systems that keep a dataset."""

    extensions: ExtensionsBody


class PatchBody(Body):
    """One JSON Patch operation on a dataset."""

    op: Literal["add", "replace", "remove"]
    path: Annotated[str, StringConstraints(pattern=r"^(/[^/]+)+$", max_length=1000)]
    value: Any = None


class BatchPatchBody(Body):
    """Change a batch in Catalog."""

    status: Literal["aborted", "failed", "failure", "inactive", "deleted"] | None = None
    externalId: Text | None = None  # noqa: N815
    tags: dict[str, list[str]] | None = None
    recordCount: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    failedRecordCount: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    size: Annotated[int, Field(ge=0)] | None = None


def problem_of(shape: type[Body], body: Any) -> str | None:
    """Return what is wrong with a body, or None."""
    try:
        shape.model_validate(body)
    except ValidationError as error:
        return "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}"
            for e in error.errors(include_url=False)[:5]
        )
    return None
