# SPDX-License-Identifier: Apache-2.0
"""What Adobe leaves open about Experience Platform."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_provider_adobe_audiences.emulator.switches import ServiceSwitches


class ExperiencePlatformSwitches(ServiceSwitches):
    # All APIs
    content_type_required: Literal["with_body", "always", "never"] = Field(
        "with_body",
        description=(
            "POST, PUT and PATCH without a valid `Content-Type`: 400 if they have a body, always (the "
            "troubleshooting guide), or never (some samples send none)"
        ),
    )

    # Audience metadata (AIS)
    core_ais_served: bool = Field(
        True, description="`/core/ais` is served next to `/data/core/ais` (Adobe's documents differ)"
    )
    ais_generation: Literal["v4", "v3"] = Field(
        "v4",
        description=(
            "metadata create: v4 takes `audienceId` and answers `id` too; v3 makes the `audienceId` and "
            "returns no `id`"
        ),
    )
    ais_audience_id: Literal["optional", "required"] = Field(
        "optional", description="v4: may `audienceId` be left out? (Adobe does not say)"
    )
    ais_duplicate: Literal["conflict", "new", "existing"] = Field(
        "conflict",
        description=(
            "same namespace and `audienceId` again: 409 100950-409, a second one, or the first as it is "
            "(Adobe does not say)"
        ),
    )
    ais_accept_missing: Literal["refuse", "not_acceptable", "ignore"] = Field(
        "refuse",
        description=(
            "metadata create without the versioned Accept: 400 100910-400, 406, or no matter (Adobe does not "
            "say)"
        ),
    )
    ais_flag_missing: Literal["refuse", "ignore"] = Field(
        "refuse",
        description=(
            "metadata create without `createAudienceMetaOnly=true`: 400 100910-400, or no matter (Adobe does "
            "not say)"
        ),
    )
    ais_max_name_length: int = Field(
        0, ge=0, description="maximum length of a name, in characters; 0: no limit (Adobe does not say)"
    )
    audience_visible_seconds: float = Field(
        0, ge=0, description="a new audience shows in list and get only after so long (Adobe does not say)"
    )

    # Audiences (UPS)
    ups_write_status: Literal[200, 201] = Field(
        200, description="status of create, PUT and PATCH of audiences (Adobe's documents differ)"
    )
    audiences_limit: int = Field(
        20, gt=0, description="audiences per page when `limit` is not given (Adobe does not say)"
    )
    audiences_max_limit: int = Field(
        100,
        gt=0,
        description="maximum of audiences per page; a larger `limit` is cut to it (Adobe does not say)",
    )
    audiences_start: Literal["page", "offset"] = Field(
        "page", description="`start` and `_page.next` count pages or audiences (Adobe's documents differ)"
    )
    audiences_page_strings: bool = Field(
        False, description="`_page.start` and `_page.next` are strings, as in samples"
    )
    audiences_external_type: Literal["ExternalSegment", "ExternalAudience"] = Field(
        "ExternalSegment", description="`type` of external audiences (Adobe's documents differ)"
    )

    # External audiences
    external_seconds: float = Field(
        0.5, ge=0, description="time that creating an external audience and each of its runs takes"
    )
    external_polls: int | None = Field(
        None, ge=0, description="instead: so many status reads until it is done"
    )
    external_outcome: Literal["SUCCESS", "FAILED"] = Field("SUCCESS", description="how creation and runs end")
    external_running_status: str = Field(
        "PROCESSING", description="status of a run in progress (Adobe does not say)"
    )
    external_create_status: Literal[202, 200] = Field(
        202, description="status of create (Adobe's documents differ)"
    )
    external_cloud_type_required: bool = Field(
        True, description="`cloudType` is required (the table says so, the page's own sample leaves it out)"
    )
    external_guardrails: bool = Field(
        True,
        description=(
            "enforce the guardrails: 10 runs per audience, 100 runs per sandbox, one run at a time (422, "
            "which Adobe does not say)"
        ),
    )

    # Batches
    batch_seconds: float = Field(1.0, ge=0, description="time from COMPLETE to the final status of a batch")
    batch_polls: int | None = Field(
        None, ge=0, description="instead: so many status reads that still show a running batch"
    )
    batch_stalls: bool = Field(False, description="a completed batch stays `stalled`")
    batch_abandon_seconds: float = Field(
        0, ge=0, description="a batch never completed is `abandoned` after so long; 0: never"
    )
    success_status: Literal["success", "active"] = Field(
        "success", description="status for success (synonyms)"
    )
    failure_status: Literal["failed", "failure"] = Field(
        "failed", description="status for failure (synonyms)"
    )
    any_dataset: bool = Field(True, description="every dataset id is known; false: registered ones only")
    external_id_duplicate: Literal["conflict", "bad_request", "accept", "existing"] = Field(
        "conflict",
        description=(
            'create with a used `externalId`: 409, 400, a second batch, or 201 with the first one ("expected '
            'to be unique", no more)'
        ),
    )
    external_id_freed: bool = Field(
        False,
        description="the `externalId` of a failed or aborted batch may be used again (Adobe does not say)",
    )
    input_format_required: bool = Field(
        True, description="create without `inputFormat` is refused (spec; a guide's sample leaves it out)"
    )
    put_limit: int = Field(
        256_000_000,
        ge=0,
        description=(
            "maximum bytes of a file in one PUT (Adobe's documents differ; whether MB or MiB is not said)"
        ),
    )
    put_limit_status: Literal[413, 400] = Field(
        413, description="status for a larger one (Adobe does not say)"
    )
    part_limit: int = Field(512_000_000, ge=0, description="maximum bytes of one part of a large file")
    received_bytes: Literal["without a gap", "in all"] = Field(
        "without a gap", description="what HEAD of a large file counts (Adobe does not say)"
    )
    put_created_status: Literal[200, 201] = Field(
        200, description="status of the first PUT of a file (guides: 200; spec: 201)"
    )
    large_file_responses: Literal["guides", "spec"] = Field(
        "guides",
        description=(
            "INITIALIZE, PATCH, COMPLETE of a large file: 201, 200, 201 without body, or 200 with File "
            "(Adobe's documents differ)"
        ),
    )
    large_files: bool = Field(True, description="the large-file protocol is there (Adobe's documents differ)")
    duplicate_part: Literal["replace", "overlap"] = Field(
        "replace", description="the same Content-Range again: replaces, or overlaps (Adobe does not say)"
    )
    range_format: Literal["bytes=", "bytes ", ""] = Field(
        "bytes=", description="what precedes `0-<last byte>` in the Range header of HEAD (Adobe does not say)"
    )
    batch_metrics: Literal["documented", "all"] = Field(
        "documented",
        description=(
            "`metrics` of a batch: none for CSV and for a batch that never succeeded (troubleshooting "
            "guide), or for every batch that was read"
        ),
    )
    max_batch_bytes: int = Field(
        1_099_511_627_776, gt=0, description="maximum bytes of a batch; one more and it fails"
    )
    action_response: Literal["empty", "batch"] = Field(
        "empty", description="response to COMPLETE, ABORT, FAIL, REVERT of a batch (guides, spec)"
    )
    abort_window: Literal["loading", "running"] = Field(
        "loading", description="ABORT until COMPLETE, or until the final status (Adobe's documents differ)"
    )
    repeated_abort: Literal["accept", "refuse"] = Field(
        "accept", description="ABORT of an aborted batch (Adobe does not say)"
    )
    complete_without_files: Literal["fail", "success", "refuse"] = Field(
        "fail", description="COMPLETE of a batch without files (Adobe does not say)"
    )
    complete_with_open_files: Literal["refuse", "ignore"] = Field(
        "refuse",
        description=(
            "COMPLETE of a batch while a large file is not complete: 400, or that file is left out (Adobe "
            "does not say)"
        ),
    )
    partial_ingestion_default: int = Field(
        0, ge=0, le=100, description="`partialIngestionPercent` when a batch does not give it"
    )
    check_rows: bool = Field(True, description="read every row; false: count lines only (for benchmarks)")
    max_files: int = Field(
        25_000,
        gt=0,
        description="maximum of files in a batch; one more and it fails (Adobe's documents differ)",
    )
    failed_listing_marker: bool = Field(
        True, description="`GET …/failed` lists a `_SUCCESS` marker too, as in samples"
    )

    # Catalog
    catalog_singular_path: bool = Field(
        False, description="`/catalog/batch/<id>` is served, too, as one page prints it"
    )
    catalog_batch_id: bool = Field(
        False, description="a batch has its `id` inside, and tags that are no arrays, as samples have"
    )
    catalog_limit: int = Field(
        20, gt=0, le=100, description="batches per list when `limit` is not given (Adobe does not say)"
    )
    catalog_batch_filter: Literal["any_of", "one", "ignored"] = Field(
        "any_of",
        description=(
            "the filter `batch` of a list takes several ids (as the guide has it for all filters), one (as "
            "the specification describes it), or is ignored"
        ),
    )
