# The targets people and the gate run. Every target does its own set-up; repeated runs are quick.
# Stamps in build/stamps say what is up to date; `make clean` forgets them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV     := .venv
BIN      := $(VENV)/bin
STAMPS   := build/stamps
CARGO    ?= cargo
# Options for pytest, e.g. `make test-python PYTEST_ARGS="-k console -x"`.
PYTEST_ARGS ?=
# Test files at a time: they wait more than they compute. 0 runs them one by one, as `--pdb` needs it.
PYTEST_JOBS ?= 3
# Debian programs that some tests in tests/interop talk to; an emulator and a compiler for examples/firmware.
PEERS    := mosquitto libmodbus-dev mbpoll tshark socat ser2net openssl rt-tests qemu-system-arm gcc-arm-none-eabi
# Rounds of the suite of examples/firmware, see `make firmware-rounds`.
ROUNDS   ?= 50
# Foreign stacks in Rust, a project of its own.
RUST_PEERS := tests/peers/rust_stacks

RUST_SOURCES := $(shell find rust -name '*.rs' -o -name '*.toml' 2>/dev/null) Cargo.toml Cargo.lock
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo guest test test-rust test-loom test-toy fuzz-smoke test-python bench firmware-rounds lint lint-rust lint-python format peers peers-debian peers-rust build clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMPS)/build ## Drive an emulated meter and judge a foreign Modbus server
	@$(BIN)/fieldrig demo

test: test-rust test-loom test-toy fuzz-smoke test-python ## Everything: Rust, model check, toy protocol, fuzz-smoke, Python

test-rust: $(STAMPS)/rust ## Unit, pair and property tests of the Rust crates
	$(CARGO) test --locked --quiet

test-loom: $(STAMPS)/rust ## Model check of the hand-over of a port between the reactor and a caller
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked --quiet --release --target-dir target/loom -p fieldrig-engine --test loom_lease

test-toy: $(STAMPS)/rust ## A protocol from outside the workspace, on the engine as it is
	@cp Cargo.lock tests/toy_protocol/Cargo.lock
	$(CARGO) test --quiet --manifest-path tests/toy_protocol/Cargo.toml --target-dir target/toy

fuzz-smoke: $(STAMPS)/rust ## 10 million random and mutated inputs into everything that reads bytes
	$(CARGO) run --locked --quiet --profile fuzz -p fieldrig-proto --example fuzz_smoke

# A test that demands an accusation is inconclusive, as it should be, if the machine stood still meanwhile: it is run again
# and counted; a failure never is.
test-python: $(STAMPS)/build ## The Python tests: unit, emulated, interop, meta
	$(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile --fieldrig-retry-inconclusive=3 $(PYTEST_ARGS)

bench: $(STAMPS)/build ## The benchmark table (BENCH_ROUNDS=3 for a quick look)
	$(CARGO) build --locked --quiet --release -p fieldrig-engine --example modbus_client --example timed_sends
	$(BIN)/python -m tests.bench

firmware-rounds: $(STAMPS)/build ## The suite of examples/firmware in QEMU, ROUNDS times, on a busy host
	$(BIN)/python -m tests.interop.firmware_rounds --rounds $(ROUNDS)

lint: lint-python lint-rust ## rustfmt, clippy, ruff, mypy --strict, stubtest; warnings are errors

lint-python: $(STAMPS)/build ## ruff, mypy --strict, stubtest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --concise fieldrig._core

lint-rust: $(STAMPS)/venv $(STAMPS)/rust ## rustfmt, clippy
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path $(RUST_PEERS)/Cargo.toml
	$(CARGO) clippy --locked --quiet --workspace --all-targets -- -D warnings
	@# A second cryptography library beside ring would double the build.
	@tree=$$($(CARGO) tree --locked --workspace --prefix none); if grep -q '^aws-lc-sys ' <<<"$$tree"; then \
		echo 'make lint-rust: aws-lc-sys is in the dependency tree; rustls is used with ring only' >&2; exit 1; fi

format: $(STAMPS)/venv ## Lay out Rust and Python sources
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path $(RUST_PEERS)/Cargo.toml
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

guest: $(STAMPS)/build ## Tests of tests/hardware in a virtual machine with real serial drivers (GUEST_KERNEL=FOLDER)
	$(BIN)/python -m tests.hardware.guest --kernel "$(GUEST_KERNEL)"

peers: peers-debian peers-rust ## Install and build the foreign programs that the interop tests talk to

peers-debian:
	@missing=(); for package in $(PEERS); do \
		dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$$package"); done; \
	if [ "$${#missing[@]}" = 0 ]; then echo "peers: $(PEERS) are installed"; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
		echo "make peers: no apt-get here; install by hand: $${missing[*]}" >&2; exit 1; fi; \
	as_root=(); if [ "$$(id -u)" != 0 ]; then as_root=(sudo); fi; \
	"$${as_root[@]}" apt-get update -qq; \
	"$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"

peers-rust: $(STAMPS)/rust
	@$(CARGO) build --locked --quiet --release --manifest-path $(RUST_PEERS)/Cargo.toml --target-dir build/rust_stacks
	@echo "peers: $(RUST_PEERS) is built"

build: $(STAMPS)/build ## Make the virtual environment and build the extension into it

$(STAMPS)/rust:
	@command -v $(CARGO) >/dev/null || { echo "make: no \`$(CARGO)\` here. Install Rust 1.90 or newer (rustup.rs), then run make again." >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: tests/requirements.txt
	@for python in "$${PYTHON:-}" python3.11 python3 python3.12 python3.13 python3.14; do \
		[ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found=$$python && break; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "make: no CPython 3.11 or newer here (tried python3.11, python3, ...). Install one, or say which: make PYTHON=/path/to/python3 ..." >&2; exit 1; fi; \
	[ -x $(BIN)/python ] || "$$found" -m venv $(VENV) || { \
		rm -rf $(VENV); echo "make: $$found cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet -r tests/requirements.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: $(STAMPS)/venv $(STAMPS)/rust pyproject.toml $(RUST_SOURCES)
	$(BIN)/maturin develop --locked --release --quiet
	@touch $@

clean: ## Forget builds, virtual environment and runs
	rm -rf build target $(VENV) fieldrig-runs python/fieldrig/_core*.so
