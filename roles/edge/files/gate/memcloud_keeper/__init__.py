# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper of a memcloud node: starts tenants that somebody waits for, and minds the storage.

It has the engine's socket, so it has nothing else: no network, no capability, and no input but
names of files, which it checks against the node's records.
"""

from __future__ import annotations

__version__ = "0.1.0"
