# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring what tenants store, for a schedule."""

from __future__ import annotations

from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._job import Job
from ansible_collections.memcloud.memmachine.plugins.module_utils._operation import (
    Busy,
    Operation,
)
from ansible_collections.memcloud.memmachine.plugins.module_utils._quota import mind_storage


class CheckStorage(Operation):
    """Measures, and closes or opens writes at the gate."""

    name = "check_storage"
    marks = False
    of_every_tenant = True

    def busy(self, busy: Busy) -> dict[str, Any] | None:
        """Whatever works on a tenant for long measures it at its end."""
        return {"message": f"not measured: {busy.error}"}

    def run(self, job: Job) -> dict[str, Any]:
        """What was found, in words and figures."""
        if job.record.get("state") is None:
            return {"message": "is not on its node"}
        found = mind_storage(job)
        job.keep()
        if found["changed"]:
            job.release()
        return found
