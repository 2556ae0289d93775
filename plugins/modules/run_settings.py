#!/usr/bin/python
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_settings
short_description: Tell what another run needs to be run like this one
version_added: 0.1.0
author: memcloud contributors (@memcloud)
description:
  - Tells which configuration file, collections and vault password files a run has, as environment
    variables, so that a schedule can start playbooks that read the same inventory.
  - Fails where the password of a vault was typed, which no schedule can do.
  - An action plugin that runs on the controller alone.
attributes:
  check_mode:
    description: Nothing is changed in either mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Look how this run was started
  memcloud.memmachine.run_settings:
  register: started
"""

RETURN = r"""
directory:
  description: Where the run was started.
  returned: always
  type: str
  sample: /srv/memcloud
environment:
  description:
    - The variables of Ansible, with absolute paths. There is no C(ANSIBLE_CONFIG) where no
      configuration file was found, and no C(ANSIBLE_VAULT_IDENTITY_LIST) without a vault.
  returned: always
  type: dict
  sample:
    ANSIBLE_CONFIG: /srv/memcloud/ansible.cfg
    ANSIBLE_COLLECTIONS_PATH: /srv/memcloud/collections
    ANSIBLE_VAULT_IDENTITY_LIST: default@/etc/memcloud/vault_password
"""
