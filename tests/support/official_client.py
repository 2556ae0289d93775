"""A program that stores numbered memories with the official client, as it was released.

It is told all it needs by a line of JSON on standard input, says of each attempt
[number, outcome, seconds], and ends when its input does.
"""

from __future__ import annotations

import itertools
import json
import select
import sys
import time

import requests
from memmachine_client import MemMachineClient


def main() -> None:
    given = json.loads(sys.stdin.readline())
    client = MemMachineClient(api_key=given["key"], base_url=given["url"])
    project = client.create_project(org_id="ci", project_id=given["project"])
    memory = project.memory()
    for number in itertools.count(1):
        began, outcome = time.monotonic(), "200"
        try:
            memory.add(given["sentence"].format(number))
        except requests.HTTPError as error:
            outcome = str(error.response.status_code)
        except Exception as error:  # whatever it is, it is no acknowledgement
            outcome = type(error).__name__
        print(json.dumps([number, outcome, time.monotonic() - began]), flush=True)
        if select.select([sys.stdin], [], [], given["pause"])[0]:
            return


if __name__ == "__main__":
    main()
