# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of a memcloud node: decides which request may pass to which tenant's server."""

from __future__ import annotations

__version__ = "0.1.0"
