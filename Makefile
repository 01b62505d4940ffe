# The two commands are `make up` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
FILE ?= scoring/readings.json
FORCE ?=
export FORCE # as it is: a reason may hold any sign

.DEFAULT_GOAL := help
.PHONY: help up preview score down destroy clean env environment promote rollback pr-preview test lint lock train

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/[$$][$$]/$$/g' | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

up: $(READY) ## Bring everything up: tools, the local Azure, the dev stack; score three readings
	@$(RUN) -m tools up

preview: $(READY) ## Show what `make up` would change
	@$(RUN) -m tools preview

score: $(READY) ## Send readings through the device and print the scores: make score FILE=readings.json
	@$(RUN) -m tools score --file $(FILE)

down: ## Stop what was started, keep all state
	@[ ! -e $(READY) ] || $(RUN) -m tools down

destroy: $(READY) ## Destroy the dev stack
	@$(RUN) -m tools destroy

clean: ## Stop and remove everything that this clone made
	@[ ! -e $(READY) ] || $(RUN) -m tools clean
	@rm -rf .local $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

env: $(READY) ## Print the environment of the local stacks: eval "$$(make -s env)"
	@$(RUN) -m tools env

promote: $(READY) ## What FROM runs goes to TO, asked for first: make promote FROM=dev TO=staging
	@$(RUN) -m tools promote --source="$(or $(FROM),dev)" --target="$(TO)" --force="$$FORCE" $(if $(YES),--yes)

rollback: $(READY) ## What a stack ran before: make rollback STACK=prod
	@$(RUN) -m tools rollback --target="$(STACK)" $(if $(YES),--yes)

pr-preview: $(READY) ## The comment that a pull request onto BASE would get: make pr-preview BASE=main
	@$(RUN) -m tools pr-preview --base="$(or $(BASE),main)"

environment: $(READY) ## Write a stack file for real Azure: make environment NAME=prod-eu FROM=dev
	@$(RUN) -m tools environment --name="$(NAME)" --source="$(or $(FROM),dev)"

test: $(READY) ## Run all tests, the real engine and real containers included
	@$(RUN) -m tools.testing

lint: $(READY) ## Formatting, style, types, import boundaries
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy components localazure pipeline policy scoring tools tests __main__.py
	@$(VENV)/bin/lint-imports
	@$(RUN) -m tools.actionlint

train: $(READY) ## Train the model again
	@$(RUN) -m scoring.train

lock: $(READY) ## Compile the lock files from requirements*.in
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-find-links \
	  --no-emit-index-url --custom-compile-command "make lock" requirements.in -o requirements.txt
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-find-links \
	  --no-emit-index-url --custom-compile-command "make lock" requirements-local.in -o requirements-local.txt

$(READY): requirements.txt requirements-local.txt
	@tools/make_venv.sh $(PYTHON) $(VENV)
	@touch $@
