# -*- coding: utf-8 -*-
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors written for the person who must act: what is wrong, where, and what to do next."""

from __future__ import annotations

import errno
import os
from types import TracebackType

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class MemcloudError(Exception):
    """An error whose text can be shown as it is; it never contains a secret."""


class VariableError(MemcloudError):
    """A variable of a tenant, or of the platform, that cannot be used.

    :param tenant: name of the tenant, or "platform" for a variable of the fleet.
    :param variable: name of the variable at fault.
    :param message: what is wrong and what to do.
    """

    def __init__(self, tenant: str, variable: str, message: str) -> None:
        self.tenant = tenant
        self.variable = variable
        self.message = message
        super().__init__("%s: %s: %s" % (tenant, variable, message))


def told(tenant: str, error: Exception, disk: str = "the node's disk") -> str:
    """Return the words for what went wrong with one tenant; they begin with its name.

    What nobody foresaw is told with its place in the code, and is no reason to leave other tenants.

    :param disk: what it is called where this runs.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = " (%s)" % error.filename if error.filename else ""
        text = "%s: make room on %s%s, then run this again" % (error.strerror, disk, where)
    elif not isinstance(error, (MemcloudError, OSError)):
        text = "unexpected %s: %s%s. Please report it, with what doctor -e tenant=%s says" % (
            type(error).__name__,
            error,
            _place(error.__traceback__),
            tenant,
        )
    named = text.startswith((tenant + ":", "tenant " + tenant))
    return text if named else "%s: %s" % (tenant, text)


def _place(traceback: TracebackType | None) -> str:
    """Where in the code an error came up; whatever sys.tracebacklimit is."""
    place = ""
    while traceback:
        name = os.path.basename(traceback.tb_frame.f_code.co_filename)
        place = " (%s:%s)" % (name, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place
