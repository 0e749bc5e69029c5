# SPDX-License-Identifier: Apache-2.0
"""Datasets, as Catalog shows them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.service import Environment


@dataclass
class Dataset:
    """A dataset.

    :param required: dotted names of fields that no row may lack.
    :param place: organisation and sandbox; None: it is in all of them.
    """

    id: str
    name: str = ""
    required: tuple[str, ...] = ()
    place: tuple[str, str] | None = None
    document: dict[str, Any] = field(default_factory=dict)


class Datasets:
    """The datasets of all organisations and sandboxes."""

    def __init__(self, environment: Environment, switches: ExperiencePlatformSwitches) -> None:
        self._environment, self._switches = environment, switches
        self.datasets: dict[str, Dataset] = {}

    def reset(self) -> None:
        """Forget all datasets."""
        self.datasets.clear()

    def add(self, dataset_id: str, name: str = "", required: tuple[str, ...] = ()) -> Dataset:
        """Register a dataset in every sandbox."""
        if not isinstance(dataset_id, str) or not isinstance(name, str):
            raise TypeError("id and name of a dataset are texts")
        if not all(isinstance(one, str) for one in required):
            raise TypeError("required: names of fields")
        self.datasets[dataset_id] = Dataset(dataset_id, name or dataset_id, tuple(required))
        return self.datasets[dataset_id]

    def create(self, caller: Caller, body: dict[str, Any]) -> Dataset:
        """Create a dataset, as its API does."""
        now, number = self._environment.clock.milliseconds(), secrets.token_hex(12)
        document = body | {
            "created": now,
            "createdClient": caller.client_id,
            "createdUser": caller.user,
            "updated": now,
            "updatedUser": caller.user,
        }
        name = body.get("name") or number
        self.datasets[number] = Dataset(number, name, place=caller.place, document=document)
        return self.datasets[number]

    def change(self, caller: Caller, dataset: Dataset, document: dict[str, Any]) -> None:
        """Replace what a client can set of a dataset."""
        times = {"updated": self._environment.clock.milliseconds(), "updatedUser": caller.user}
        dataset.name = str(document.get("name") or dataset.name)
        dataset.document = document | times
        self.datasets[dataset.id] = dataset

    def find(self, dataset_id: str, caller: Caller | None = None) -> Dataset | None:
        """Return a dataset; None when it is unknown, or in another sandbox than the caller's."""
        known = self.datasets.get(dataset_id)
        if known is None and self._switches.any_dataset:
            return Dataset(dataset_id, dataset_id)
        if known is None or caller is None or known.place in (None, caller.place):
            return known
        return None

    def of(self, caller: Caller) -> list[Dataset]:
        """Return the datasets of a sandbox, oldest first."""
        return [one for one in self.datasets.values() if one.place in (None, caller.place)]
