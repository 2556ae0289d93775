# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let Ansible find the collection's plugins by name, as in a run of its own."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".ansible" / "collections"))

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
