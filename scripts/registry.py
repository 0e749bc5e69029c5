# SPDX-License-Identifier: Apache-2.0
"""``make registry``: write .airflow-registry.yaml, the list of public classes, from the classes
themselves.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from pathlib import Path
from typing import Any

import yaml

import airflow_provider_adobe_audiences as package
from airflow_provider_adobe_audiences.get_provider_info import get_provider_info
from scripts.local_airflow import REPO

FILE = REPO / ".airflow-registry.yaml"
LAYERS = ("hooks", "operators", "sensors", "triggers")


def modules(layer: str = "") -> list[str]:
    """Return the names of our modules (of one layer), those of the emulator excepted."""
    root = importlib.import_module(f"{package.__name__}.{layer}" if layer else package.__name__)
    found = pkgutil.walk_packages(root.__path__, f"{root.__name__}.")
    return [module.name for module in found if not module.ispkg and ".emulator" not in module.name]


def public_classes(base: type, names: list[str]) -> dict[str, type]:
    """Return the public subclasses of ``base`` that the modules define, by their dotted path; a module called
    ``base`` is not for users.
    """
    return {
        f"{name}.{member.__name__}": member
        for name in names
        for _, member in inspect.getmembers(importlib.import_module(name), inspect.isclass)
        if issubclass(member, base)
        and member.__module__ == name
        and not member.__name__.startswith("_")
        and (not name.endswith(".base") or base.__name__ == "BaseHook")
        and not (inspect.getdoc(member) or "").startswith("Base of")
    }


def content() -> str:
    """Return what the file should contain."""
    from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseSensorOperator
    from airflow.triggers.base import BaseTrigger

    classes: tuple[type, ...] = (BaseHook, BaseOperator, BaseSensorOperator, BaseTrigger)
    bases = dict(zip(LAYERS, classes, strict=True))
    info = get_provider_info()
    document: dict[str, Any] = {
        "package-name": info["package-name"],
        "display-name": info["name"],
        "description": info["description"],
    }
    for layer in LAYERS:
        document[layer] = [
            {
                "module": path,
                "description": (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " "),
            }
            for path, member in sorted(public_classes(bases[layer], modules(layer)).items())
        ]
    return "# SPDX-License-Identifier: Apache-2.0\n# Written by `make registry`.\n" + yaml.safe_dump(
        document, sort_keys=False, width=140
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Path(FILE).write_text(content())
    print(f"wrote {FILE.name}")
