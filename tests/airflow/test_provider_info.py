# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns about the package is valid, complete and true."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import parse

import airflow_provider_adobe_audiences
from airflow_provider_adobe_audiences.get_provider_info import (
    CONNECTION_FIELDS,
    UI_FIELD_BEHAVIOUR,
    get_provider_info,
)
from scripts import registry

DISTRIBUTION = "airflow-provider-adobe-audiences"
PACKAGE = "airflow_provider_adobe_audiences"
INFO = get_provider_info()
AIRFLOW = parse(importlib.metadata.version("apache-airflow"))


def dotted(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def listed_modules(kind: str) -> list[str]:
    return [module for group in INFO.get(kind, ()) for module in group["python-modules"]]


def test_it_is_valid_for_this_airflow():
    jsonschema = pytest.importorskip("jsonschema")
    import airflow

    (schema,) = Path(airflow.__file__).parent.glob("**/provider_info.schema.json")

    jsonschema.validate(INFO, json.loads(schema.read_text()))


def test_the_entry_point_leads_to_it():
    (entry_point,) = [
        point
        for point in importlib.metadata.entry_points(group="apache_airflow_provider")
        if point.value.startswith(PACKAGE)
    ]

    assert entry_point.module == f"{PACKAGE}.get_provider_info"
    assert entry_point.load()() == INFO
    # Airflow refuses to start, whatever the command, when these differ.
    assert INFO["package-name"] == entry_point.dist.name == DISTRIBUTION


def test_airflow_finds_the_provider_and_the_hook_of_its_connection():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()

    assert manager.providers[DISTRIBUTION].version == airflow_provider_adobe_audiences.__version__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 3.3 has moved it, older ones have it here only
        hook = manager.hooks["adobe"]
    assert hook.hook_name == "Adobe"
    assert hook.connection_id_attribute_name == "adobe_conn_id"
    assert hook.connection_testable
    assert hook.hook_class_name == f"{PACKAGE}.hooks.adobe.AdobeHook"


@pytest.mark.parametrize(
    "connection_type", INFO["connection-types"], ids=lambda value: value["connection-type"]
)
def test_the_hook_class_agrees_with_its_connection_type(connection_type):
    hook = dotted(connection_type["hook-class-name"])

    assert hook.conn_type == connection_type["connection-type"] == "adobe"
    assert hook.hook_name == connection_type["hook-name"]
    assert hook.default_conn_name == "adobe_default"
    assert hook(**{hook.conn_name_attr: "elsewhere"}).adobe_conn_id == "elsewhere"


def test_the_behaviour_of_the_form_is_the_same_in_old_and_new_airflow():
    hook = dotted(INFO["connection-types"][0]["hook-class-name"])

    assert {
        name.replace("_", "-"): value for name, value in hook.get_ui_field_behaviour().items()
    } == UI_FIELD_BEHAVIOUR


def test_the_fields_of_the_form_are_the_same_in_old_and_new_airflow():
    fab = pytest.importorskip(
        "flask_appbuilder.fieldwidgets",
        reason="only Airflow 2, and 3 with the FAB auth manager, build the form with it",
    )
    hook = dotted(INFO["connection-types"][0]["hook-class-name"])

    widgets = hook.get_connection_form_widgets()

    assert list(widgets) == list(CONNECTION_FIELDS)
    for name, field in CONNECTION_FIELDS.items():
        assert widgets[name].kwargs["description"] == field["description"]
        assert str(widgets[name].kwargs["default"]) == str(field["schema"].get("default"))
        assert isinstance(widgets[name].kwargs.get("widget"), fab.BS3PasswordFieldWidget) == (
            field["schema"].get("format") == "password"
        )


@pytest.mark.skipif(
    not (parse("3.1") <= AIRFLOW < parse("3.2")),
    reason="other versions do not build the form from the hook in this way",
)
def test_airflow_without_fab_builds_the_form_from_the_hook():
    # In a process of its own: Airflow looks at hooks once only, and here other tests have made it do so.
    code = (
        "from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService; "
        "(form,) = [form for form in HookMetaService.hook_meta_data() if form.connection_type == 'adobe']; "
        "import json; print(json.dumps(list(form.extra_fields)))"
    )

    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert json.loads(printed.splitlines()[-1]) == list(CONNECTION_FIELDS)


@pytest.mark.parametrize("name", CONNECTION_FIELDS)
def test_every_field_of_the_form_can_be_left_empty_and_says_what_it_is(name):
    field = CONNECTION_FIELDS[name]

    assert field["label"]
    assert field["description"]
    assert "null" in field["schema"]["type"], "else the form demands it"


@pytest.mark.parametrize("kind", ["operators", "sensors", "hooks", "triggers"])
def test_every_module_is_listed_and_every_listed_module_exists(kind):
    listed = listed_modules(kind)
    services = {
        f"{PACKAGE}.{kind}.{service}" for service in ("experience_platform", "audience_manager", "target")
    }

    for module in listed:
        importlib.import_module(module)
    assert {module for module in registry.modules(kind) if module in services} <= set(listed)
    assert {group["integration-name"] for group in INFO.get(kind, ())} <= {
        group["integration-name"] for group in INFO["integrations"]
    }


def test_every_extra_link_is_listed():
    from airflow.providers.common.compat.sdk import BaseOperatorLink

    # Airflow 2 drops the links that are not.
    assert set(registry.public_classes(BaseOperatorLink, registry.modules())) == set(
        INFO.get("extra-links", ())
    )


def test_every_other_dotted_path_leads_somewhere():
    for scheme in INFO.get("asset-uris", ()):
        for key in ("handler", "factory", "to_openlineage_converter"):
            if scheme.get(key):
                assert callable(dotted(scheme[key]))
    for path in INFO.get("notifications", ()):
        assert callable(dotted(path))


def test_the_registry_file_is_up_to_date():
    assert registry.FILE.read_text() == registry.content(), "run `make registry`"


def test_every_public_class_says_what_it_is():
    entries = yaml.safe_load(registry.FILE.read_text())

    assert entries["package-name"] == DISTRIBUTION
    assert [entry for layer in registry.LAYERS for entry in entries[layer] if not entry["description"]] == []
