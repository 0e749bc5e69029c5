# SPDX-License-Identifier: Apache-2.0
"""The example DAGs load without an error or a deprecation warning, and can be run by hand, without a logical
date.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import airflow_provider_adobe_audiences as package

# {{ ds }} and the like are not defined in a run that a person, an asset or the REST API has started.
# As a value, that is: `{{ dag_run.run_after | ds }}` is fine.
UNDEFINED_BY_HAND = re.compile(
    r"(?:{{|[(,])\s*(ds|ds_nodash|ts|ts_nodash|logical_date|data_interval_start|data_interval_end)\b(?=[^}]*}})"
)


@pytest.fixture(scope="module")
def dagbag(dag_bag, repo):
    # On Airflow 3.1 Airflow's own approval operator causes one, for whoever is the first to load it.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("airflow.providers.standard.operators.hitl")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bag = dag_bag(repo / "example_dags")
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


def test_whoever_triggers_an_example_chooses_no_file_of_the_worker(dagbag):
    """A text that becomes a path is read with the worker's rights."""
    params = {
        f"{dag.dag_id} {name}": dag.params.get_param(name).schema
        for dag in dagbag.dags.values()
        for name in dag.params
    }
    texts = {name: schema for name, schema in params.items() if "string" in schema.get("type", "string")}

    assert len(texts) >= 5
    assert [name for name, schema in texts.items() if not schema.keys() & {"pattern", "enum", "format"}] == []


def test_no_example_writes_into_a_folder_that_others_may_own(repo):
    named = [
        f"{file.name}: {line.strip()}"
        for file in (repo / "example_dags").glob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r"/tmp|tempfile|mkdir|gettempdir", line)
    ]

    assert named == []


# In a process of its own: a module that other tests have imported warns no more.
IMPORT = """
import contextlib, importlib, pkgutil, runpy, sys, warnings
import airflow.providers.standard as standard
with warnings.catch_warnings():  # on Airflow 3.1 Airflow's own operators cause some
    warnings.simplefilter("ignore")
    for module in pkgutil.walk_packages(standard.__path__, "airflow.providers.standard."):
        with contextlib.suppress(Exception):
            importlib.import_module(module.name)
ours, *examples = sys.argv[1:]
found = []
for example in examples:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runpy.run_path(example)
    for warning in caught:
        deprecation = issubclass(warning.category, (DeprecationWarning, FutureWarning))
        airflows = warning.category.__module__.startswith("airflow.")
        if deprecation and (airflows or warning.filename.startswith((ours, *examples))):
            found.append(f"{warning.filename}:{warning.lineno}: {warning.message}")
sys.exit("\\n".join(found) or 0)
"""


def test_no_example_causes_a_deprecation_warning_in_a_new_process(repo, airflow_db):
    ours = str(Path(package.__file__).parent)
    examples = sorted(str(file) for file in (repo / "example_dags").glob("*.py"))

    process = subprocess.run(
        [sys.executable, "-c", IMPORT, ours, *examples], capture_output=True, text=True, check=False
    )

    assert len(examples) >= 7
    assert process.returncode == 0, process.stderr


def test_every_example_explains_itself_and_has_tags(dagbag):
    assert [dag_id for dag_id, dag in dagbag.dags.items() if not dag.doc_md or not dag.tags] == []


def test_no_template_needs_a_logical_date(repo):
    found = {
        file.name: UNDEFINED_BY_HAND.findall(file.read_text())
        for file in (repo / "example_dags").glob("*.py")
    }

    assert {name: names for name, names in found.items() if names} == {}
