#!/usr/bin/env bash
# Everything that must pass, or the named scenarios: brings what the tests need, then runs tools/test.py.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh dev
tools/test_packages.sh
PATH=$PWD/.venv/bin:$PATH exec python tools/test.py "$@"
