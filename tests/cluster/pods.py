# SPDX-License-Identifier: Apache-2.0
"""An executor that starts each task as KubernetesExecutor does: the same command, in a fresh process with a
home, temporary and runtime folder that no other task has, and that are gone afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor


class PodsExecutor(BaseExecutor):
    """Runs each task in a "pod". What the tasks print is kept in ``$PODS_LOGS``."""

    is_local = True
    serve_logs = False
    supports_callbacks = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pods: dict[Any, tuple[subprocess.Popen[bytes], Path]] = {}

    def _process_workloads(self, workloads: Any) -> None:
        for workload in workloads:
            self.queued_tasks.pop(workload.key, None)
            self.running.add(workload.key)
            self.pods[workload.key] = self._start(workload)

    def _start(self, workload: Any) -> tuple[subprocess.Popen[bytes], Path]:
        # Airflow goes on when a task says that it is done, before its process has ended: what that leaves is
        # gone before another task looks for it.
        for key, (process, pod) in self.pods.items():
            if key.task_id != workload.ti.task_id:
                process.wait(60)
                shutil.rmtree(pod, ignore_errors=True)
        pod = Path(tempfile.mkdtemp(prefix="pod-"))
        environment = dict(os.environ)
        for variable in ("AIRFLOW_HOME", "HOME", "TMPDIR", "XDG_RUNTIME_DIR"):
            (pod / variable).mkdir(mode=0o700)
            environment[variable] = str(pod / variable)
        command = [sys.executable, "-m", "airflow.sdk.execution_time.execute_workload", "--json-string"]
        ti = workload.ti
        log = Path(os.environ["PODS_LOGS"]) / f"{ti.dag_id}.{ti.task_id}.{ti.map_index}.{ti.try_number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, workload.model_dump_json()],
                env=environment,
                cwd=pod,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, pod

    def sync(self) -> None:
        for key, (process, pod) in list(self.pods.items()):
            if process.poll() is None:
                continue
            del self.pods[key]
            shutil.rmtree(pod, ignore_errors=True)
            (self.success if process.returncode == 0 else self.fail)(key)

    def end(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        for process, pod in self.pods.values():
            process.kill()
            process.wait()
            shutil.rmtree(pod, ignore_errors=True)
        self.pods.clear()
