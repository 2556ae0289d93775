# memcloud.memmachine: `make help` lists what can be done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export MOLECULE_GLOB := molecule/*/molecule.yml
# Python keeps what it compiled: without it every ansible-playbook takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE
# Ansible starts in no other encoding. Where the variable is not set, Python sees to it.
ifneq ($(filter C POSIX,$(LC_ALL)),)
export LC_ALL := C.UTF-8
endif

##@ Use
.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z_-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make the virtual environment (.venv) from the lock file
	@tools/setup.sh

.PHONY: quickstart
quickstart: setup ## From a bare machine to two tenants, acme and globex, that remember
	@tools/quickstart.py

.PHONY: clean
clean: setup ## Take the quickstart away: tenants with their data, services, images, keys, the engine it brought
	@tools/quickstart.py --remove

##@ Develop
.PHONY: test
test: ## Everything that must pass: lint, unit tests, sanity, build, all molecule scenarios but two (make molecule)
	@tools/test.sh

.PHONY: dev
dev: ## Make .venv with the tools of lint and tests, and the checkout importable as the collection
	@tools/setup.sh dev

.PHONY: lint
lint: dev ## ruff, mypy, yamllint, ansible-lint, role options against their specs
	@tools/lint.sh

.PHONY: unit
unit: dev ## Unit tests, with the coverage of plugins/
	@tools/unit.sh

.PHONY: sanity
sanity: dev ## ansible-test sanity on a copy of the collection
	@tools/sanity.sh

.PHONY: molecule
molecule: dev ## The molecule scenarios (one of them: make molecule SCENARIO=drift)
	@tools/test.sh $(or $(SCENARIO),$(notdir $(patsubst %/molecule.yml,%,$(wildcard molecule/*/molecule.yml))))

.PHONY: bench
bench: dev ## Measure everything, an hour on a quiet machine (parts of it: make bench PARTS=no_op,edge)
	@python bench/bench.py --parts "$(PARTS)"

.PHONY: bench-small
bench-small: dev ## The benches on their smallest sizes: that they work, in 3 minutes
	@python bench/bench.py --small --parts "$(PARTS)"

.PHONY: soak
soak: ## A customer who never stops writing, operations and killed runs at random (ROUNDS=100 SEED=1)
	@SOAK_ROUNDS=$(or $(ROUNDS),100) SOAK_SEED=$(or $(SEED),1) tools/test.sh whole_life

.PHONY: build
build: dev ## Build the collection, install it elsewhere, check its documentation
	@tools/build.sh

.PHONY: lock
lock: dev ## Resolve all requirements*.in again into the lock files, with the newest versions that fit
	@tools/lock.sh
