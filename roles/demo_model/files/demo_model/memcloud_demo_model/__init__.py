# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A demo model provider: OpenAI's HTTP interface over word statistics, without any real model."""

from __future__ import annotations

__version__ = "0.1.0"
