# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions share that show something of all nodes: words for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import MemcloudError
from ansible_collections.memcloud.memmachine.plugins.module_utils._inventory_writer import (
    write_atomically,
)
from ansible_collections.memcloud.memmachine.plugins.plugin_utils._controller_action import (
    ControllerAction,
)

display = Display()
_OUTPUTS = ("table", "json", "none")


class ReportAction(ControllerAction):
    """Runs once for what was found on all nodes, on the controller alone."""

    BYPASS_HOST_LOOP = True

    def report(self, content: Any, in_words: Callable[[], str]) -> None:
        """Show the content as the option C(output) says, and write it to C(result_file), 0600.

        :param content: what JSON can hold.
        :param in_words: the table; only made when it is shown.
        :raises AnsibleActionFail: naming the option that is wrong.
        """
        output = str(self._task.args.get("output") or "table")
        if output not in _OUTPUTS:
            raise AnsibleActionFail(f"output is {output!r}; it can be table, json or none")
        text = json.dumps(content, indent=2)
        if output != "none":
            display.display(text if output == "json" else in_words())
        path = self.path("result_file")
        if not path:
            return
        try:
            write_atomically(path, text + "\n", 0o600)
        except MemcloudError as error:
            raise AnsibleActionFail(f"result_file: {error}") from None
