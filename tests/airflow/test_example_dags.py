# SPDX-License-Identifier: Apache-2.0
"""The example DAGs load without an error or a deprecation warning, and can be run by hand, without a logical
date.
"""

from __future__ import annotations

import re
import warnings

import pytest

pytest.importorskip("airflow.sdk", reason="the example DAGs are written for Airflow 3")

# {{ ds }} and the like are not defined in a run that a person, an asset or the REST API has started.
# As a value, that is: `{{ dag_run.run_after | ds }}` is fine.
UNDEFINED_BY_HAND = re.compile(
    r"(?:{{|[(,])\s*(ds|ds_nodash|ts|ts_nodash|logical_date|data_interval_start|data_interval_end)\b(?=[^}]*}})"
)


@pytest.fixture(scope="module")
def dagbag(airflow_db, repo):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0, 3.1
        from airflow.models.dagbag import DagBag
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bag = DagBag(repo / "example_dags")
    bag.warned = [
        warning for warning in caught if issubclass(warning.category, (DeprecationWarning, FutureWarning))
    ]
    return bag


def test_every_example_is_imported(dagbag, repo):
    files = {file.name for file in (repo / "example_dags").glob("*.py")}

    assert dagbag.import_errors == {}
    assert {dag.fileloc.rpartition("/")[2] for dag in dagbag.dags.values()} == files


def test_no_example_causes_a_deprecation_warning(dagbag):
    ours = [f"{warning.filename}:{warning.lineno}: {warning.message}" for warning in dagbag.warned]

    assert ours == []
    assert dict(getattr(dagbag, "captured_warnings", {})) == {}


def test_every_example_explains_itself_and_has_tags(dagbag):
    assert [dag_id for dag_id, dag in dagbag.dags.items() if not dag.doc_md or not dag.tags] == []


def test_no_template_needs_a_logical_date(repo):
    found = {
        file.name: UNDEFINED_BY_HAND.findall(file.read_text())
        for file in (repo / "example_dags").glob("*.py")
    }

    assert {name: names for name, names in found.items() if names} == {}
