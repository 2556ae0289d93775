#!/usr/bin/env bash
# Unit tests of the collection and of its services. Fails below the coverage of plugins/ that is asked for.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH

tools/test_packages.sh # restic

export COVERAGE_FILE=.cache/coverage
mkdir -p .cache
# The collection is imported by its full name, through the link that `make setup` made.
PYTHONPATH=.ansible/collections pytest -n auto --cov --cov-report=term --cov-fail-under="${COVERAGE:-85}" --durations=15 "$@" tests/unit
